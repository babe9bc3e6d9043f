"""Reads S4U_DELEGATION_INFO (MS-PAC 2.9), the PAC's buffer that says which services got a ticket on the user's behalf:
one structure in NDR, its strings behind it in the order of their pointers. Its law: as for `pac.py`."""

import struct

from .errors import WireError

# Type serialization version 1, little-endian (MS-RPCE 2.2.6.1); what else the two headers have is a length and filling
_VERSION = b"\x01\x10\x08\x00"
_BODY = 16
_PADDING = 7  # bytes at most, up to a multiple of eight
_STRING = struct.Struct("<HHI")  # RPC_UNICODE_STRING: octets, room for so many, the pointer
_FIXED = struct.Struct("<I8sII")  # the pointer to it all; S4U2proxyTarget, TransitedListSize, S4UTransitedServices
_COUNTS = struct.Struct("<III")  # of a string: how many characters fit, the first that is sent, how many are


def read_delegation_info(data: bytes) -> tuple[str, ...]:
    """The services through which the user came, the nearest one last, out of the buffer `data`, as krb5 hands it out
    as `urn:mspac:delegation-info`. Raises WireError, which names the offset."""
    least = _BODY + _FIXED.size
    if len(data) < least:
        raise _malformed(f"{len(data)} bytes, {least} are the least")
    if data[:4] != _VERSION:
        raise WireError("unsupported-version", "no little-endian type serialization of version 1, at offset 0")
    end = _BODY + int.from_bytes(data[8:12], "little")
    if not least <= end <= len(data) <= end + _PADDING:
        raise _malformed(f"{len(data)} bytes that say they end at offset {end}, at offset 8")
    everything, target, count, services = _FIXED.unpack_from(data, _BODY)
    if not everything or bool(count) is not bool(services):
        raise _malformed(f"a null pointer to what has to be there, at offset {_BODY}")
    octets, room, pointer = _STRING.unpack(target)
    _, at = _text(data, octets, room, pointer, least, end)
    heads = b""
    if count:
        begin, stop = at + 4, at + 4 + _STRING.size * count
        if stop > end or int.from_bytes(data[at:begin], "little") != count:
            raise _malformed(f"an array of {count} at offset {at} exceeds the buffer, or counts otherwise")
        heads, at = data[begin:stop], stop
    found = []
    for octets, room, pointer in _STRING.iter_unpack(heads):
        name, at = _text(data, octets, room, pointer, at, end)
        if not name:
            raise _malformed(f"a service without a name, before offset {at}")
        found.append(name)
    if not 0 <= end - at <= _PADDING:
        raise WireError("trailing-bytes", f"the last name ends at offset {at}, the buffer at {end}")
    return tuple(found)


def _text(data: bytes, octets: int, room: int, pointer: int, at: int, end: int) -> tuple[str, int]:
    """An RPC_UNICODE_STRING's characters at `at`, and where the next thing begins."""
    if not pointer:
        if octets:
            raise _malformed(f"a null pointer to a string of {octets} bytes, before offset {at}")
        return "", at
    start, stop = at + _COUNTS.size, at + _COUNTS.size + octets
    if stop > end:
        raise _malformed(f"a string of {octets} bytes at offset {at} exceeds the buffer")
    most, first, count = _COUNTS.unpack_from(data, at)
    if first or 2 * count != octets or most < count or room < octets:
        raise _malformed(f"a string of {octets} bytes at offset {at} that is counted otherwise there")
    try:
        name = data[start:stop].decode("utf-16-le")
    except UnicodeDecodeError:
        raise _malformed(f"a name at offset {at} that is not UTF-16") from None  # it quotes the bytes
    if "\0" in name:
        raise _malformed(f"a name at offset {at} with a NUL in it")
    return name, stop + (-stop & 3)


def _malformed(detail: str) -> WireError:
    return WireError("malformed", f"S4U_DELEGATION_INFO: {detail}")
