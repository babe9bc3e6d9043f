"""Just enough DER (X.690) for the token readers: step into an element, decode its contents. Its law: one
definite, minimal length per element, nothing left over, no recursion; positions go in and come out, bytes are
copied only at the end, so the cost is linear in what is read. No message quotes the input."""

from .errors import Incomplete, WireError

SEQUENCE = 0x30
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
OID = 0x06
ENUMERATED = 0x0A
GENERAL_STRING = 0x1B

# octets of one encoded OID. Mechanisms take 6 to 12, a UUID under 2.25 takes 20; the protocol sets no bound
MAX_OID_OCTETS = 64
# X.667 hangs 128-bit UUIDs under 2.25: the largest arcs that are met
_MAX_ARC = 2**128 - 1


def element(data: bytes, at: int, end: int, tag: int, field: str) -> tuple[int, int]:
    """Where the contents of the element at `at` start and stop; it must bear `tag` and lie within `end`."""
    if end - at < 2 or data[at] != tag:
        raise malformed(field, at)
    start, stop = _contents(data, at, end, field)
    if stop > end:
        raise malformed(field, at)
    return start, stop


def only(data: bytes, at: int, end: int, tag: int, field: str) -> int:
    """Where the contents of the element at `at` start; it must bear `tag` and reach exactly to `end`."""
    if end - at < 2 or data[at] != tag:
        raise malformed(field, at)
    start, stop = _contents(data, at, end, field)
    if stop != end:
        raise malformed(field, at)
    return start


def whole(data: bytes, field: str) -> int:
    """Where the contents of the one element start that `data` must consist of, whatever its tag.

    Only here can an element that runs past the end mean that more is to come; inside, it contradicts its
    parent."""
    size = len(data)
    if size < 2 or (data[1] > 0x80 and size < 2 + (data[1] & 0x7F)):
        if size and (size == 1 or data[1] <= 0x84):
            raise Incomplete(f"{field}: the length at offset 1 is cut off")
        raise malformed(field, 0)
    start, stop = _contents(data, 0, size, field)
    if stop > size:
        raise Incomplete(f"{field}: {size} of {stop} bytes")
    if stop < size:
        raise WireError("trailing-bytes", f"{field}: {size - stop} bytes after its {stop}")
    return start


def _contents(data: bytes, at: int, end: int, field: str) -> tuple[int, int]:
    length = data[at + 1]
    start = at + 2
    if length < 0x80:
        return start, start + length
    # X.690 10.1: definite and as short as can be; more than four octets would be a token of 4 GiB
    octets = length - 0x80
    start += octets
    if not 1 <= octets <= 4 or start > end:
        raise malformed(field, at)
    length = int.from_bytes(data[at + 2 : start])
    if length < 0x80 or length >> (8 * (octets - 1)) == 0:
        raise malformed(field, at)
    return start, start + length


def integer(data: bytes, start: int, stop: int, field: str, *, low: int, high: int) -> int:
    """The contents of an INTEGER or ENUMERATED, minimal (X.690 8.3.2) and within `low` and `high`."""
    octets = data[start:stop]
    # nine bits alike at the front could be one octet less; five octets hold every u32 and i32
    if not 1 <= len(octets) <= 5 or (
        len(octets) > 1 and ((octets[0] == 0 and octets[1] < 0x80) or (octets[0] == 0xFF and octets[1] >= 0x80))
    ):
        raise malformed(field, start)
    value = int.from_bytes(octets, signed=True)
    if not low <= value <= high:
        raise malformed(field, start)
    return value


def bit_string(data: bytes, start: int, stop: int, field: str) -> bytes:
    """The octets of a BIT STRING whose unused bits are, as X.690 11.2.1 wants, few and zero."""
    if stop <= start:
        raise malformed(field, start)
    unused, octets = data[start], data[start + 1 : stop]
    if unused > 7 or (unused and (not octets or octets[-1] & ((1 << unused) - 1))):
        raise malformed(field, start)
    return octets


def text(data: bytes, start: int, stop: int, field: str) -> str:
    """A string that RFC 4120 5.2.1 calls ASCII and that everyone writes as UTF-8."""
    try:
        return data[start:stop].decode()
    except UnicodeDecodeError:
        # `from None`: that error quotes the bytes
        raise malformed(field, start) from None


def oid(data: bytes, start: int, stop: int, field: str) -> str:
    """The dotted form of an OBJECT IDENTIFIER's contents: whole, minimal and bounded arcs (X.690 8.19)."""
    octets = data[start:stop]
    if not octets or octets[-1] >= 0x80:
        raise malformed(field, start)
    if len(octets) > MAX_OID_OCTETS:
        raise WireError("limit", f"{field}: an OID of {len(octets)} octets, {MAX_OID_OCTETS} are allowed")
    arcs: list[int] = []
    arc = 0
    for octet in octets:
        if arc == 0 and octet == 0x80:
            raise malformed(field, start)
        arc = arc << 7 | octet & 0x7F
        if octet < 0x80:
            arcs.append(arc)
            arc = 0
    # the first two arcs share one number (X.690 8.19.4)
    first = min(arcs[0] // 40, 2)
    arcs[:1] = [first, arcs[0] - 40 * first]
    if max(arcs) > _MAX_ARC:
        raise WireError("limit", f"{field}: an OID arc of more than 128 bits at offset {start}")
    return ".".join(map(str, arcs))


def encode(tag: int, *contents: bytes) -> bytes:
    """One element around `contents`."""
    body = b"".join(contents)
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 + len(octets))) + octets + body


def encode_oid(dotted: str) -> bytes:
    """The contents (no tag, no length) of the OBJECT IDENTIFIER `dotted`."""
    first, second, *rest = map(int, dotted.split("."))
    contents = bytearray()
    for arc in (first * 40 + second, *rest):
        shift = max(arc.bit_length() - 1, 0) // 7 * 7
        while shift:
            contents.append(0x80 | arc >> shift & 0x7F)
            shift -= 7
        contents.append(arc & 0x7F)
    return bytes(contents)


def malformed(field: str, at: int) -> WireError:
    """The error for a `field` that is not what it should be at offset `at`."""
    return WireError("malformed", f"{field} at offset {at}")
