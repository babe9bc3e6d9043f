"""Reads a name with its attributes as MIT krb5 exports it (RFC 6680 7.8, `gss_export_name_composite`): in one call,
what printing the name and listing its attributes takes two for. Its law: it says what there is to ask for, and
vouches for nothing. The layout of the attributes is krb5's own and promised to nobody, so whatever isn't exactly that
layout is an error, and the library is asked call by call."""

import struct
from typing import NamedTuple

from . import der
from .errors import WireError
from .spnego import KRB5

_OID = der.encode(der.OID, der.encode_oid(KRB5))
_FRONT = b"\x04\x02" + len(_OID).to_bytes(2) + _OID  # TOK_ID of RFC 6680 7.8, the rest as in RFC 2743 3.2

# krb5's own modules for authorization data since 1.20, in its order: what each wrote comes after its name. Before, a
# third stood between them, and what a plugin writes, such as sssd's, comes first: neither is read here
_MODULES = (b"mspac", b"authentication-indicators")

# what krb5 calls the buffers of a PAC (MS-PAC 2.4); the others go by their numbers
_BUFFERS = {
    1: b"urn:mspac:logon-info",
    2: b"urn:mspac:credentials-info",
    6: b"urn:mspac:server-checksum",
    7: b"urn:mspac:privsvr-checksum",
    10: b"urn:mspac:client-info",
    11: b"urn:mspac:delegation-info",
    12: b"urn:mspac:upn-dns-info",
}
_PAC = b"urn:mspac:"
_INDICATORS = b"auth-indicators"


class CompositeName(NamedTuple):
    """`name` as `gss_display_name` prints it, and the `attributes` that `gss_inquire_name` lists."""

    name: bytes
    attributes: frozenset[bytes]


def read_composite_name(data: bytes) -> CompositeName:
    """What the exported name `data` is. Raises WireError.

    read_composite_name(exported).attributes  # frozenset({b"urn:mspac:", b"urn:mspac:client-info", ...})
    """
    if not data.startswith(_FRONT):
        raise WireError("malformed", "composite name: it begins with something else")
    name, at = _counted(data, len(_FRONT))
    size, at = _number(data, at)
    modules, start = _number(data, at)
    if at + size != len(data) or modules != len(_MODULES):
        raise WireError("malformed", f"composite name: {size} octets of {modules} modules at offset {at}")
    pac, at = _counted(data, _module(data, start, _MODULES[0]))
    _, at = _number(data, at)  # was its signature verified? the library says so itself when it is asked for a buffer
    indicators, at = _number(data, _module(data, at, _MODULES[1]))
    if indicators == 0 and at != len(data):
        raise WireError("trailing-bytes", f"composite name: {len(data) - at} bytes after its {at}")
    listed = _buffers(pac) if pac else []
    return CompositeName(name, frozenset([*listed, _INDICATORS] if indicators else listed))


def _buffers(pac: bytes) -> list[bytes]:
    """The buffers that a PACTYPE has (MS-PAC 2.3), and krb5's name for the whole."""
    count = int.from_bytes(pac[:4], "little")
    if pac[4:8] != bytes(4) or 8 + 16 * count > len(pac):
        raise WireError("malformed", f"PACTYPE: {count} buffers in {len(pac)} bytes")
    kinds = struct.unpack_from(f"<{4 * count}I", pac, 8)[::4]
    return [_PAC, *[_BUFFERS.get(kind) or b"%b%d" % (_PAC, kind) for kind in kinds]]


def _module(data: bytes, at: int, expected: bytes) -> int:
    name, at = _counted(data, at)
    if name != expected:
        raise WireError("malformed", f"composite name: another module at offset {at}")
    return at


def _counted(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _number(data, at)
    if size > len(data) - at:
        raise WireError("malformed", f"composite name: {size} octets at offset {at} of {len(data)}")
    return data[at : at + size], at + size


def _number(data: bytes, at: int) -> tuple[int, int]:
    if len(data) - at < 4:
        raise WireError("malformed", f"composite name: no number at offset {at} of {len(data)}")
    return int.from_bytes(data[at : at + 4]), at + 4
