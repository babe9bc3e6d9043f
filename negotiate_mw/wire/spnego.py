"""Reads what a Negotiate handshake opens or goes on with: SPNEGO (RFC 4178), a bare Kerberos token (RFC 2743
3.1, RFC 4121 4.1), a bare NTLM message (MS-NLMP 2.2.1); and writes SPNEGO answers. Its law: it says what the
peer sent and believes none of it. A `state` of accept-completed is the peer's claim; only a finished inner
context authenticates."""

import enum
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from . import der
from .errors import Incomplete, WireError

SPNEGO = "1.3.6.1.5.5.2"
KRB5 = "1.2.840.113554.1.2.2"
# 113554 cut to 16 bits by Windows 2000; Windows offers it beside the right one to this day
MS_KRB5 = "1.2.840.48018.1.2.2"
KRB5_U2U = "1.2.840.113554.1.2.2.3"
NTLM = "1.3.6.1.4.1.311.2.2.10"
NEGOEX = "1.3.6.1.4.1.311.2.2.30"

# mechanisms in one list. Windows offers four; the protocol sets no bound, only the token's size would
MAX_MECHANISMS = 32

_DOTTED = {der.encode_oid(oid): oid for oid in (SPNEGO, KRB5, MS_KRB5, KRB5_U2U, NTLM, NEGOEX)}
_SPNEGO_OID = der.encode(der.OID, der.encode_oid(SPNEGO))
_KRB5_OIDS = tuple(der.encode(der.OID, der.encode_oid(oid)) for oid in (KRB5, MS_KRB5))

# RFC 4121 4.1: what a Kerberos message begins with in its GSS-API frame, before the AP-REQ itself
_BEFORE_AP_REQ = _KRB5_OIDS[0] + b"\x01\x00"
_MAX_FRONT = 256  # octets; those of Windows take 93

_INITIAL = 0x60  # [APPLICATION 0], RFC 2743 3.1
_AP_REQ = 0x6E  # [APPLICATION 14], RFC 4120 5.5.1
_INIT, _RESPONSE = 0xA0, 0xA1  # NegotiationToken's choices, RFC 4178 4.2
_STATES = range(4)  # negState: accept-completed, accept-incomplete, reject, request-mic (RFC 4178 4.2.2)

_NTLM_SIGNATURE = b"NTLMSSP\0"
# octets, from MS-NLMP 2.2.1.1 and 2.2.1.3 without Version and MIC, which old clients leave out
_NTLM_NEGOTIATE, _NTLM_NEGOTIATE_OCTETS = 1, 32
_NTLM_AUTHENTICATE, _NTLM_AUTHENTICATE_OCTETS = 3, 64
# where the length and offset pairs of an AUTHENTICATE_MESSAGE stand: LM, NT, domain, user, workstation,
# session key
_NTLM_AUTHENTICATE_FIELDS = range(12, 60, 8)


class Wrapping(enum.Enum):
    """What the mechanism's own token travels in; an answer must travel in the same."""

    SPNEGO = "spnego"
    KERBEROS = "kerberos"
    NTLM = "ntlm"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstToken:
    """Opens a handshake.

    `mechanisms` are dotted OIDs as the client ranks them, one for a bare token: KRB5 (for either Kerberos
    OID) or NTLM. `mech_token` is the optimistic token for the first of them, or the whole bare token.
    `mech_list` is the exact DER of the list, the thing that the mechListMICs of RFC 4178 5 sign; empty for a
    bare token.
    """

    wrapping: Wrapping
    mechanisms: tuple[str, ...]
    mech_token: bytes | None = field(default=None, repr=False)
    mech_list: bytes = field(default=b"", repr=False)
    mic: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """Goes on with a handshake: a NegTokenResp or a bare NTLM AUTHENTICATE_MESSAGE. `state` and `mechanism`
    are what the peer claims, `None` where it said nothing."""

    wrapping: Wrapping
    state: int | None = None
    mechanism: str | None = None
    mech_token: bytes | None = field(default=None, repr=False)
    mic: bytes | None = field(default=None, repr=False)


def read(token: bytes) -> FirstToken | Continuation:
    """What `token`, as a client sent it, is. Raises WireError, or Incomplete if its lengths promise more.

    read(bytes.fromhex("a1073005a0030a0101")).state  # 1, accept-incomplete
    """
    tag = token[0] if token else None
    if tag == _INITIAL:
        return _initial(token)
    if tag == _RESPONSE:
        return _continuation(token)
    if tag == _NTLM_SIGNATURE[0]:
        return _bare_ntlm(token)
    if tag == _AP_REQ:
        raise WireError("unexpected-message", "an AP-REQ without its GSS-API frame")
    raise WireError("malformed", "neither SPNEGO, nor Kerberos, nor NTLM")


class Opening(NamedTuple):
    """How a token opens a handshake.

    `mechanisms` are as in `FirstToken`. `kerberos_at` is where in a SPNEGO token a Kerberos one begins that is
    for the client's first choice and goes on to the end, so that all of SPNEGO that is left to do is `answer`
    (RFC 4178 5: then neither side needs a mechListMIC); 0 where it isn't as simple as that.
    """

    mechanisms: tuple[str, ...]
    kerberos_at: int = 0


def opens(token: bytes) -> Opening | None:
    """How `token` opens a handshake, `None` if it goes on with one: as `read` says, and raises.

    With one ticket, all that stands before its AP-REQ stays the same, and so mostly does the length; `read` goes by
    nothing else where the AP-REQ is the end, so it needn't do that again for each log-in.
    """
    at = token.find(_BEFORE_AP_REQ, 0, _MAX_FRONT)
    if at >= 0:
        try:
            return _opens(token[: at + len(_BEFORE_AP_REQ)], len(token))
        except WireError:  # it isn't the end, or the whole is malformed
            pass
    first = read(token)
    return Opening(first.mechanisms) if isinstance(first, FirstToken) else None


@lru_cache(maxsize=256)
def _opens(front: bytes, size: int) -> Opening:
    first = read(front.ljust(size, b"\0"))
    inner = first.mech_token or b""
    # of all that stands in a token, the mechanism's own one is alone in not being read
    if not isinstance(first, FirstToken) or len(inner) <= size - len(front):
        raise WireError("malformed", "what goes before an AP-REQ stands somewhere else")
    is_kerberos = first.wrapping is Wrapping.SPNEGO and first.mechanisms[0] in (KRB5, MS_KRB5) and _is_framed(inner)
    return Opening(first.mechanisms, size - len(inner) if is_kerberos else 0)


def _is_framed(inner: bytes) -> bool:
    """True if it is one Kerberos message in its GSS-API frame, and no byte besides."""
    try:
        return inner.startswith(_BEFORE_AP_REQ, der.whole(inner, "mechToken")) and inner[0] == _INITIAL
    except WireError:
        return False


def answer(state: int, mechanism: str, token: bytes | None) -> bytes:
    """What `response` writes, for the answer to each log-in: its beginning is the same for all of one kind."""
    if not token:
        return response(state=state, mechanism=mechanism)
    return _before_answer(state, mechanism, len(token)) + token


@lru_cache(maxsize=64)  # AP-REPs of one kind of key differ in length by the few octets of a sequence number
def _before_answer(state: int, mechanism: str, size: int) -> bytes:
    return response(state=state, mechanism=mechanism, token=bytes(size))[:-size]


def response(
    *, state: int, mechanism: str | None = None, token: bytes | None = None, mic: bytes | None = None
) -> bytes:
    """A NegTokenResp in DER (RFC 4178 4.2.2): `state` 0 accept-completed, 1 accept-incomplete, 2 reject, 3
    request-mic.

    `mechanism` is a dotted OID, for the acceptor's first answer only. Raises WireError for any other state.
    """
    if state not in _STATES:
        raise WireError("malformed", f"negState {state} is none of 0 to 3")
    fields = [der.encode(0xA0, der.encode(der.ENUMERATED, bytes((state,))))]
    if mechanism is not None:
        fields.append(der.encode(0xA1, der.encode(der.OID, der.encode_oid(mechanism))))
    if token is not None:
        fields.append(der.encode(0xA2, der.encode(der.OCTET_STRING, token)))
    if mic is not None:
        fields.append(der.encode(0xA3, der.encode(der.OCTET_STRING, mic)))
    return der.encode(_RESPONSE, der.encode(der.SEQUENCE, *fields))


def _initial(token: bytes) -> FirstToken:
    at = der.whole(token, "InitialContextToken")
    if token.startswith(_SPNEGO_OID, at):
        return _neg_token_init(token, at + len(_SPNEGO_OID))
    if token.startswith(_KRB5_OIDS, at):
        return FirstToken(wrapping=Wrapping.KERBEROS, mechanisms=(KRB5,), mech_token=token)
    start, stop = der.element(token, at, len(token), der.OID, "thisMech")
    raise WireError("unknown-mechanism", f"a bare token of mechanism {der.oid(token, start, stop, 'thisMech')}")


def _neg_token_init(token: bytes, at: int) -> FirstToken:
    end = len(token)
    at = der.only(token, at, end, _INIT, "NegTokenInit")
    at = der.only(token, at, end, der.SEQUENCE, "NegTokenInit")
    mech_list, at = der.element(token, at, end, 0xA0, "mechTypes")
    mechanisms = _mechanisms(token, mech_list, at)
    list_end = at
    mech_token = mic = None
    if at < end and token[at] == 0xA1:
        start, at = der.element(token, at, end, 0xA1, "reqFlags")
        # RFC 4178 4.2.1: unprotected, so a receiver must ignore what they say
        der.bit_string(token, der.only(token, start, at, der.BIT_STRING, "reqFlags"), at, "reqFlags")
    if at < end and token[at] == 0xA2:
        start, at = der.element(token, at, end, 0xA2, "mechToken")
        mech_token = token[der.only(token, start, at, der.OCTET_STRING, "mechToken") : at]
    if at < end and token[at] == 0xA3:
        start, at = der.element(token, at, end, 0xA3, "mechListMIC")
        if token[start:at].startswith(b"\x30"):
            # MS-SPNG 2.2.1 puts negHints here in what a server says first, unasked
            raise WireError("unexpected-message", "a NegTokenInit2, which is a server's")
        mic = token[der.only(token, start, at, der.OCTET_STRING, "mechListMIC") : at]
    if at != end:
        raise der.malformed("NegTokenInit", at)
    return FirstToken(
        wrapping=Wrapping.SPNEGO,
        mechanisms=mechanisms,
        mech_token=mech_token,
        mech_list=token[mech_list:list_end],
        mic=mic,
    )


def _mechanisms(token: bytes, at: int, end: int) -> tuple[str, ...]:
    at = der.only(token, at, end, der.SEQUENCE, "mechTypes")
    mechanisms: list[str] = []
    while at < end:
        if len(mechanisms) == MAX_MECHANISMS:
            raise WireError("limit", f"more than {MAX_MECHANISMS} mechanisms")
        start, at = der.element(token, at, end, der.OID, "mechType")
        mechanisms.append(_DOTTED.get(token[start:at]) or der.oid(token, start, at, "mechType"))
    if not mechanisms:
        raise der.malformed("mechTypes", at)
    return tuple(mechanisms)


def _continuation(token: bytes) -> Continuation:
    end = len(token)
    at = der.only(token, der.whole(token, "NegTokenResp"), end, der.SEQUENCE, "NegTokenResp")
    state = mechanism = mech_token = mic = None
    if at < end and token[at] == 0xA0:
        start, at = der.element(token, at, end, 0xA0, "negState")
        start = der.only(token, start, at, der.ENUMERATED, "negState")
        state = der.integer(token, start, at, "negState", low=0, high=3)
    if at < end and token[at] == 0xA1:
        start, at = der.element(token, at, end, 0xA1, "supportedMech")
        mechanism = der.oid(token, der.only(token, start, at, der.OID, "supportedMech"), at, "supportedMech")
    if at < end and token[at] == 0xA2:
        start, at = der.element(token, at, end, 0xA2, "responseToken")
        mech_token = token[der.only(token, start, at, der.OCTET_STRING, "responseToken") : at]
    if at < end and token[at] == 0xA3:
        start, at = der.element(token, at, end, 0xA3, "mechListMIC")
        mic = token[der.only(token, start, at, der.OCTET_STRING, "mechListMIC") : at]
    if at != end:
        raise der.malformed("NegTokenResp", at)
    return Continuation(wrapping=Wrapping.SPNEGO, state=state, mechanism=mechanism, mech_token=mech_token, mic=mic)


def _bare_ntlm(token: bytes) -> FirstToken | Continuation:
    if not _NTLM_SIGNATURE.startswith(token[:8]):
        raise WireError("malformed", "neither SPNEGO, nor Kerberos, nor NTLM")
    if len(token) < 12:
        raise Incomplete(f"NTLM: {len(token)} of at least 12 bytes")
    message = int.from_bytes(token[8:12], "little")
    if message == _NTLM_NEGOTIATE:
        # its payload, domain and workstation, must be ignored unless flags say otherwise (MS-NLMP 2.2.1.1)
        _at_least(token, _NTLM_NEGOTIATE_OCTETS)
        return FirstToken(wrapping=Wrapping.NTLM, mechanisms=(NTLM,), mech_token=token)
    if message == _NTLM_AUTHENTICATE:
        _at_least(token, _NTLM_AUTHENTICATE_OCTETS)
        for at in _NTLM_AUTHENTICATE_FIELDS:
            length = int.from_bytes(token[at : at + 2], "little")
            if length:
                _at_least(token, int.from_bytes(token[at + 4 : at + 8], "little") + length)
        return Continuation(wrapping=Wrapping.NTLM, mech_token=token)
    raise WireError("unexpected-message", f"an NTLM message of type {message}, which no client sends")


def _at_least(token: bytes, octets: int) -> None:
    if len(token) < octets:
        raise Incomplete(f"NTLM: {len(token)} of at least {octets} bytes")
