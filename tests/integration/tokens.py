"""Tokens framed by hand: what no library would send, or not in this order."""

from collections.abc import Sequence

from negotiate_mw.wire import der
from negotiate_mw.wire.spnego import SPNEGO


def neg_token_init(mechanisms: Sequence[str], mech_token: bytes | None = None) -> bytes:
    """A SPNEGO token that opens a handshake (RFC 4178 4.2.1)."""
    oids = b"".join(der.encode(der.OID, der.encode_oid(oid)) for oid in mechanisms)
    fields = der.encode(0xA0, der.encode(der.SEQUENCE, oids))
    if mech_token is not None:
        fields += der.encode(0xA2, der.encode(der.OCTET_STRING, mech_token))
    init = der.encode(0xA0, der.encode(der.SEQUENCE, fields))
    return der.encode(0x60, der.encode(der.OID, der.encode_oid(SPNEGO)) + init)


def neg_token_resp(mech_token: bytes | None = None) -> bytes:
    """A SPNEGO token that goes on with a handshake (RFC 4178 4.2.2)."""
    field = b"" if mech_token is None else der.encode(0xA2, der.encode(der.OCTET_STRING, mech_token))
    return der.encode(0xA1, der.encode(der.SEQUENCE, field))


# [MS-NLMP] 2.2.1.1: a whole NEGOTIATE_MESSAGE with a Version, as pyspnego sends it
NTLM_NEGOTIATE = b"NTLMSSP\0" + bytes.fromhex("01000000 b78208e2 0000000000000000 0000000000000000 0a00614a0000000f")
