"""Reads the readable part of Kerberos messages in their GSS-API frame (RFC 4121 4.1): of an AP-REQ (RFC 4120
5.5.1) which service and key the ticket is for and the encrypted authenticator, of a KRB-ERROR (5.9.1) its
code. Its law: nothing here is verified. The names explain a failure; the authenticator, which is what no
attacker can vary, tells a replay, so exactly one spelling of it is read."""

import re
from dataclasses import dataclass, field

from . import der
from .errors import WireError
from .spnego import KRB5, MS_KRB5, read

# components in one service name. Real ones have two or three; the protocol sets no bound, the token's size
# would
MAX_COMPONENTS = 32

_KRB5_OIDS = tuple(der.encode(der.OID, der.encode_oid(oid)) for oid in (KRB5, MS_KRB5))
_TOK_ID_AP_REQ, _TOK_ID_ERROR = b"\x01\x00", b"\x03\x00"  # RFC 4121 4.1
_AP_REQ, _TICKET, _KRB_ERROR = 0x6E, 0x61, 0x7E  # [APPLICATION 14], [APPLICATION 1], [APPLICATION 30]
# DER has one spelling for each value, so fields of one possible value can be compared whole
_PVNO = der.encode(0xA0, der.encode(der.INTEGER, b"\x05"))
_MSG_TYPE = der.encode(0xA1, der.encode(der.INTEGER, b"\x0e"))
_MSG_TYPE_ERROR = der.encode(0xA1, der.encode(der.INTEGER, b"\x1e"))
_GENERALIZED_TIME = 0x18
_TIME = re.compile(rb"([0-9]{4})" + 5 * rb"([0-9]{2})" + b"Z")
_MUTUAL_REQUIRED = 0x20  # bit 2 of ap-options
_I32 = {"low": -(2**31), "high": 2**31 - 1}

_ENCTYPES = {
    1: "des-cbc-crc",
    3: "des-cbc-md5",
    16: "des3-cbc-sha1",
    17: "aes128-cts-hmac-sha1-96",
    18: "aes256-cts-hmac-sha1-96",
    19: "aes128-cts-hmac-sha256-128",
    20: "aes256-cts-hmac-sha384-192",
    23: "rc4-hmac",
    24: "rc4-hmac-exp",
    25: "camellia128-cts-cmac",
    26: "camellia256-cts-cmac",
}

# exactly what krb5_unparse_name does; other control characters stay as they are, and loggers must mind them
_ESCAPES = str.maketrans({"\\": "\\\\", "/": "\\/", "@": "\\@", "\0": "\\0", "\b": "\\b", "\t": "\\t", "\n": "\\n"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ApReq:
    """What an AP-REQ says in clear: `realm`, `service`, `name_type`, `kvno` and `enctype` of the ticket, the
    client's wish for mutual authentication, and the `authenticator`: the whole ciphertext, as unique as the
    log-in."""

    realm: str
    service: tuple[str, ...]
    name_type: int
    kvno: int | None
    enctype: int
    authenticator: bytes = field(repr=False)
    authenticator_enctype: int
    mutual_required: bool

    @property
    def spn(self) -> str:
        """The service's principal as krb5 tools print it: `HTTP/www.corp.example@CORP.EXAMPLE`."""
        return f"{unparse(self.service)}@{unparse((self.realm,))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KrbError:
    """A KRB-ERROR, as an acceptor or a KDC answers: the `code`, the service, and both clocks where they are said, as
    `2026-01-05 09:30:00 UTC`."""

    code: int
    realm: str
    service: tuple[str, ...]
    client_time: str | None
    server_time: str
    text: str | None


def unparse(components: tuple[str, ...]) -> str:
    """`components` joined by slashes, escaped as krb5_unparse_name does."""
    return "/".join(component.translate(_ESCAPES) for component in components)


def read_ap_req(mech_token: bytes) -> ApReq:
    """The AP-REQ in `mech_token`, a GSS-API krb5 token as in `FirstToken.mech_token`.

    Raises WireError, or Incomplete if its lengths promise more."""
    end = len(mech_token)
    at = _framed(mech_token, _TOK_ID_AP_REQ)
    at = der.only(mech_token, at, end, _AP_REQ, "AP-REQ")
    at = der.only(mech_token, at, end, der.SEQUENCE, "AP-REQ")
    at = _literally(mech_token, at, end, _PVNO, "pvno")
    at = _literally(mech_token, at, end, _MSG_TYPE, "msg-type")
    start, at = der.element(mech_token, at, end, 0xA2, "ap-options")
    start = der.only(mech_token, start, at, der.BIT_STRING, "ap-options")
    options = der.bit_string(mech_token, start, at, "ap-options")
    if len(options) < 4:
        # RFC 4120 5.2.8: no fewer than 32 bits
        raise der.malformed("ap-options", start)
    start, at = der.element(mech_token, at, end, 0xA3, "ticket")
    realm, name_type, service, enctype, kvno = _ticket(mech_token, start, at)
    start = der.only(mech_token, at, end, 0xA4, "authenticator")
    authenticator_enctype, _, authenticator = _encrypted(mech_token, start, end, "authenticator")
    return ApReq(
        realm=realm,
        service=service,
        name_type=name_type,
        kvno=kvno,
        enctype=enctype,
        authenticator=authenticator,
        authenticator_enctype=authenticator_enctype,
        mutual_required=bool(options[0] & _MUTUAL_REQUIRED),
    )


def read_ticket(mech_token: bytes) -> bytes:
    """The ticket in the AP-REQ in `mech_token`, sealed as it is, in DER. Raises as `read_ap_req` does."""
    read_ap_req(mech_token)
    end = len(mech_token)
    at = der.only(mech_token, _framed(mech_token, _TOK_ID_AP_REQ), end, _AP_REQ, "AP-REQ")
    at = der.only(mech_token, at, end, der.SEQUENCE, "AP-REQ") + len(_PVNO) + len(_MSG_TYPE)
    _, at = der.element(mech_token, at, end, 0xA2, "ap-options")
    start, stop = der.element(mech_token, at, end, 0xA3, "ticket")
    return mech_token[start:stop]


def krb_error_code(token: bytes) -> int | None:
    """The error-code (RFC 4120 7.5.9) in an acceptor's error `token`, bare or in a NegTokenResp; None where
    that one carries no Kerberos token. Raises WireError, or Incomplete if its lengths promise more."""
    if (framed := _krb_error(token)) is None:
        return None
    token, at = framed
    end = len(token)
    # ctime and cusec are optional, stime and susec are not; what follows the code is for people
    for tag in (0xA2, 0xA3, 0xA4, 0xA5):
        if tag >= 0xA4 or token.startswith(bytes((tag,)), at):
            _, at = der.element(token, at, end, tag, "KRB-ERROR")
    return _number(token, at, end, 0xA6, "error-code", **_I32)[0]


def read_krb_error(token: bytes) -> KrbError | None:
    """All of the KRB-ERROR (RFC 4120 5.9.1) that `krb_error_code` takes the number of; None likewise.

    Raises WireError, or Incomplete if its lengths promise more."""
    if (framed := _krb_error(token)) is None:
        return None
    token, at = framed
    end = len(token)
    client_time = None
    if token.startswith(b"\xa2", at):
        client_time, at = _time(token, at, end, 0xA2, "ctime")
    if token.startswith(b"\xa3", at):
        _, at = der.element(token, at, end, 0xA3, "cusec")
    server_time, at = _time(token, at, end, 0xA4, "stime")
    _, at = der.element(token, at, end, 0xA5, "susec")
    code, at = _number(token, at, end, 0xA6, "error-code", **_I32)
    for tag in (0xA7, 0xA8):  # crealm, cname
        if token.startswith(bytes((tag,)), at):
            _, at = der.element(token, at, end, tag, "KRB-ERROR")
    start, at = der.element(token, at, end, 0xA9, "realm")
    realm = der.text(token, der.only(token, start, at, der.GENERAL_STRING, "realm"), at, "realm")
    start, at = der.element(token, at, end, 0xAA, "sname")
    _, service = _principal_name(token, start, at)
    text = None
    if token.startswith(b"\xab", at):
        start, at = der.element(token, at, end, 0xAB, "e-text")
        text = der.text(token, der.only(token, start, at, der.GENERAL_STRING, "e-text"), at, "e-text")
    return KrbError(
        code=code, realm=realm, service=service, client_time=client_time, server_time=server_time, text=text
    )


def enctype_name(enctype: int) -> str:
    """The name of an encryption type as krb5 tools print it (IANA's Kerberos parameters), or its number."""
    return _ENCTYPES.get(enctype, f"encryption type {enctype}")


def _krb_error(token: bytes) -> tuple[bytes, int] | None:
    """The Kerberos token in `token`, and where the optional fields of its KRB-ERROR begin."""
    if token.startswith(b"\xa1"):
        answer = read(token).mech_token
        if answer is None:
            return None
        token = answer
    end = len(token)
    at = _framed(token, _TOK_ID_ERROR)
    at = der.only(token, at, end, _KRB_ERROR, "KRB-ERROR")
    at = der.only(token, at, end, der.SEQUENCE, "KRB-ERROR")
    at = _literally(token, at, end, _PVNO, "pvno")
    return token, _literally(token, at, end, _MSG_TYPE_ERROR, "msg-type")


def _time(data: bytes, at: int, end: int, tag: int, field: str) -> tuple[str, int]:
    start, stop = der.element(data, at, end, tag, field)
    start = der.only(data, start, stop, _GENERALIZED_TIME, field)
    # RFC 4120 5.2.3: no fraction, always UTC
    found = _TIME.fullmatch(data, start, stop)
    if found is None:
        raise der.malformed(field, start)
    year, month, day, hour, minute, second = (octets.decode() for octets in found.groups())
    return f"{year}-{month}-{day} {hour}:{minute}:{second} UTC", stop


def _framed(token: bytes, tok_id: bytes) -> int:
    if not token.startswith(b"\x60"):
        raise der.malformed("InitialContextToken", 0)
    at = der.whole(token, "InitialContextToken")
    if not token.startswith(_KRB5_OIDS, at):
        start, stop = der.element(token, at, len(token), der.OID, "thisMech")
        raise WireError("unknown-mechanism", f"a token of mechanism {der.oid(token, start, stop, 'thisMech')}")
    at += 2 + token[at + 1]
    if not token.startswith(tok_id, at):
        raise WireError("unexpected-message", f"a Kerberos token without the TOK_ID {tok_id.hex()}")
    return at + len(tok_id)


def _ticket(data: bytes, at: int, end: int) -> tuple[str, int, tuple[str, ...], int, int | None]:
    at = der.only(data, at, end, _TICKET, "ticket")
    at = der.only(data, at, end, der.SEQUENCE, "ticket")
    at = _literally(data, at, end, _PVNO, "tkt-vno")
    start, at = der.element(data, at, end, 0xA1, "realm")
    realm = der.text(data, der.only(data, start, at, der.GENERAL_STRING, "realm"), at, "realm")
    start, at = der.element(data, at, end, 0xA2, "sname")
    name_type, service = _principal_name(data, start, at)
    start = der.only(data, at, end, 0xA3, "enc-part")
    enctype, kvno, _ = _encrypted(data, start, end, "enc-part")
    return realm, name_type, service, enctype, kvno


def _principal_name(data: bytes, at: int, end: int) -> tuple[int, tuple[str, ...]]:
    at = der.only(data, at, end, der.SEQUENCE, "sname")
    name_type, at = _number(data, at, end, 0xA0, "name-type", **_I32)
    at = der.only(data, at, end, 0xA1, "name-string")
    at = der.only(data, at, end, der.SEQUENCE, "name-string")
    components: list[str] = []
    while at < end:
        if len(components) == MAX_COMPONENTS:
            raise WireError("limit", f"name-string: more than {MAX_COMPONENTS} components")
        start, at = der.element(data, at, end, der.GENERAL_STRING, "name-string")
        components.append(der.text(data, start, at, "name-string"))
    if not components:
        raise der.malformed("name-string", at)
    return name_type, tuple(components)


def _encrypted(data: bytes, at: int, end: int, field: str) -> tuple[int, int | None, bytes]:
    at = der.only(data, at, end, der.SEQUENCE, field)
    enctype, at = _number(data, at, end, 0xA0, field, **_I32)
    kvno = None
    if at < end and data[at] == 0xA1:
        # a read-only DC puts its number into the upper 16 bits (MS-KILE 3.1.5.8), and some encode the u32 as
        # an i32
        kvno, at = _number(data, at, end, 0xA1, field, low=-(2**31), high=2**32 - 1)
        kvno &= 0xFFFF_FFFF
    start = der.only(data, at, end, 0xA2, field)
    return enctype, kvno, data[der.only(data, start, end, der.OCTET_STRING, field) : end]


def _literally(data: bytes, at: int, end: int, expected: bytes, field: str) -> int:
    if not data.startswith(expected, at, end):
        raise der.malformed(field, at)
    return at + len(expected)


def _number(data: bytes, at: int, end: int, tag: int, field: str, *, low: int, high: int) -> tuple[int, int]:
    start, stop = der.element(data, at, end, tag, field)
    start = der.only(data, start, stop, der.INTEGER, field)
    return der.integer(data, start, stop, field, low=low, high=high), stop
