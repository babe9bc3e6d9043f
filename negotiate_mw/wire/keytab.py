"""Reads which keys a keytab holds (MIT's file format 0x0502). Its law: never the keys themselves; what it
returns may be logged, and a file that is damaged is refused as a whole."""

from dataclasses import dataclass

from .errors import Incomplete, WireError
from .kerberos import unparse

# octets of a key by enctype (IANA's Kerberos parameters): a key of another size is a damaged file
_KEY_OCTETS = {1: 8, 2: 8, 3: 8, 16: 24, 17: 16, 18: 32, 19: 16, 20: 32, 23: 16, 25: 16, 26: 32}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeytabEntry:
    """One key's label: whose it is (`principal` is `components` as krb5 tools print them, without the realm),
    its version, its enctype and when it was written (seconds since 1970)."""

    principal: str
    realm: str
    components: tuple[str, ...]
    kvno: int
    enctype: int
    timestamp: int


def read_keytab(data: bytes) -> tuple[KeytabEntry, ...]:
    """The entries of the keytab file `data`, in its order. Raises WireError, or Incomplete if it is cut off.

    read_keytab(b"\\x05\\x02")  # (): a keytab without keys
    """
    if len(data) < 2:
        raise Incomplete(f"keytab: {len(data)} of at least 2 bytes")
    if data[:2] == b"\x05\x01":
        raise WireError(
            "unsupported-version",
            "keytab format 0x0501, whose numbers are in the byte order of the machine that wrote it; "
            "write it anew with ktutil",
        )
    if data[:2] != b"\x05\x02":
        raise WireError("malformed", "this is not a keytab: it does not start with 0x0502")
    entries: list[KeytabEntry] = []
    at, end = 2, len(data)
    while at < end:
        if end - at < 4:
            raise Incomplete(f"keytab: the record length at offset {at} is cut off")
        size = int.from_bytes(data[at : at + 4], signed=True)
        if size == 0:
            # by the format's definition the end, whatever follows
            break
        at += 4
        stop = at + abs(size)
        if stop > end:
            raise Incomplete(f"keytab: {end - at} of {stop - at} bytes of the record at offset {at}")
        # a negative size is a hole, where an entry was removed
        if size > 0:
            entries.append(_entry(data, at, stop))
        at = stop
    return tuple(entries)


def _entry(data: bytes, at: int, end: int) -> KeytabEntry:
    count, at = _number(data, at, end, 2)
    if count == 0:
        raise WireError("malformed", f"keytab: a principal without components at offset {at}")
    realm, at = _text(data, at, end)
    components: list[str] = []
    for _ in range(count):
        component, at = _text(data, at, end)
        components.append(component)
    _, at = _number(data, at, end, 4)  # name type
    timestamp, at = _number(data, at, end, 4)
    kvno, at = _number(data, at, end, 1)
    enctype, at = _number(data, at, end, 2, signed=True)
    octets, at = _number(data, at, end, 2)
    if octets > end - at or octets != _KEY_OCTETS.get(enctype, octets):
        raise WireError("malformed", f"keytab: a key of {octets} bytes for enctype {enctype} at offset {at}")
    at += octets
    if end - at >= 4:
        # the whole kvno, where 8 bits were too few; zero is filling. What else may follow is Heimdal's flags
        kvno = _number(data, at, end, 4)[0] or kvno
    return KeytabEntry(
        principal=unparse(tuple(components)),
        realm=realm,
        components=tuple(components),
        kvno=kvno,
        enctype=enctype,
        timestamp=timestamp,
    )


def _number(data: bytes, at: int, end: int, octets: int, *, signed: bool = False) -> tuple[int, int]:
    if end - at < octets:
        raise WireError("malformed", f"keytab: the record ends too early, at offset {end}")
    return int.from_bytes(data[at : at + octets], signed=signed), at + octets


def _text(data: bytes, at: int, end: int) -> tuple[str, int]:
    octets, at = _number(data, at, end, 2)
    if octets > end - at:
        raise WireError("malformed", f"keytab: a name of {octets} bytes at offset {at} exceeds its record")
    try:
        return data[at : at + octets].decode(), at + octets
    except UnicodeDecodeError:
        raise WireError("malformed", f"keytab: a name at offset {at} that is not UTF-8") from None
