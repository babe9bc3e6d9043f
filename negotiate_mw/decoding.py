"""A token or a whole header in plain words, for ``negotiate-mw decode``.

Law: what is encrypted, or proves anything, is never shown, not even in part, so that what is printed may be pasted into
a ticket; what somebody chose is escaped. Nothing is verified here, and nothing is sent anywhere.
"""

import binascii
import re
from collections.abc import Iterator

from negotiate_mw.errors import ConfigurationError
from negotiate_mw.telemetry import plain
from negotiate_mw.wire import kerberos, ntlm, spnego
from negotiate_mw.wire.errors import Incomplete, WireError

_HEADER = re.compile(
    r"[<>*\s]*(?:(?:proxy-)?(?:authorization|www-authenticate|authenticate|authentication-info)\s*:)?\s*"
    r"(?:(?P<scheme>negotiate|ntlm|kerberos|basic|bearer|digest)(?:\s+|$))?(?P<token>.*)",
    re.IGNORECASE | re.DOTALL,
)
_OTHERS = ("basic", "bearer", "digest")
_HEX = re.compile(r"(?:0x)?((?:[0-9a-f]{2}[\s:]*)+)", re.IGNORECASE)
_OPENINGS = (b"\x60", b"\x6e", b"\x7e", b"\xa1", ntlm.SIGNATURE)

_KERBEROS_OIDS = (spnego.KRB5, spnego.MS_KRB5)
_MECHANISMS = {
    spnego.KRB5: "Kerberos",
    spnego.MS_KRB5: "Kerberos (the OID of Windows 2000)",
    spnego.KRB5_U2U: "Kerberos user-to-user",
    spnego.NTLM: "NTLM",
    spnego.NEGOEX: "NegoEx",
    spnego.SPNEGO: "SPNEGO",
}
_STATES = {0: "accept-completed", 1: "accept-incomplete", 2: "reject", 3: "request-mic"}
_NAME_TYPES = {1: "principal", 2: "service and instance", 3: "service and host", 10: "enterprise"}
_TOK_IDS = {b"\x01\x00": "AP-REQ", b"\x02\x00": "AP-REP", b"\x03\x00": "KRB-ERROR"}
_WEAK = frozenset({1, 2, 3, 23, 24})

# RFC 4120 7.5.9, those that HTTP's clients and servers meet
_ERRORS = {
    6: "the KDC doesn't know the client",
    7: "the KDC doesn't know the service: its SPN is missing",
    8: "the database has more than one of that name: a duplicate SPN",
    12: "the KDC's policy forbids it",
    14: "the KDC has no key of an encryption type that was asked for",
    18: "the client's account is disabled, expired or locked",
    23: "the password has expired",
    24: "wrong password",
    25: "pre-authentication is needed",
    29: "a service that is needed isn't available",
    31: "wrong key: the ticket or authenticator doesn't decrypt",
    32: "the ticket has ended",
    33: "the ticket isn't valid yet",
    34: "a replay: this authenticator was seen before",
    35: "the ticket isn't for us",
    36: "ticket and authenticator don't match",
    37: "the clocks differ too much",
    39: "the message's version is wrong",
    40: "the message's type is wrong",
    41: "the message was modified",
    44: "the ticket's key version isn't in the keytab",
    45: "no key for the ticket in the keytab",
    46: "mutual authentication failed",
    52: "the answer is too large for UDP",
    60: "a general error",
    68: "another realm is to be asked",
}
_NTLM_FLAGS = {
    ntlm.UNICODE: "unicode",
    ntlm.OEM: "oem",
    ntlm.REQUEST_TARGET: "request-target",
    ntlm.SIGN: "sign",
    ntlm.SEAL: "seal",
    ntlm.NTLM: "ntlm",
    ntlm.ANONYMOUS: "anonymous",
    ntlm.DOMAIN_SUPPLIED: "domain-supplied",
    ntlm.WORKSTATION_SUPPLIED: "workstation-supplied",
    ntlm.ALWAYS_SIGN: "always-sign",
    ntlm.TARGET_TYPE_DOMAIN: "target-is-domain",
    ntlm.TARGET_TYPE_SERVER: "target-is-server",
    ntlm.EXTENDED_SESSION_SECURITY: "extended-session-security",
    ntlm.IDENTIFY: "identify",
    ntlm.TARGET_INFO: "target-info",
    ntlm.VERSION: "version",
    ntlm.KEY_128: "128-bit",
    ntlm.KEY_EXCHANGE: "key-exchange",
    ntlm.KEY_56: "56-bit",
}
_NTLM_NAMES = ("computer", "domain", "computer in DNS", "domain in DNS", "forest")
_ANSWERS = {
    ntlm.Answer.NONE: "none: anonymous",
    ntlm.Answer.LM: "LM: weak, refused",
    ntlm.Answer.NTLM_V1: "NTLMv1: weak, refused",
    ntlm.Answer.NTLM_V2: "NTLMv2",
}


def describe(text: str) -> list[str]:
    """What a token, or a header with one, says in clear; a line each.

    Args:
        text: base64 (either alphabet, padded or not, broken into lines or not) or hexadecimal digits, alone, after a
            scheme, or in a whole ``Authorization`` or ``WWW-Authenticate`` header.

    Raises:
        ConfigurationError: there is no token in it that can be read; one sentence, which doesn't quote it.
    """
    token = _token_in(text)
    try:
        return [f"{len(token)} bytes", *_token(token)]
    except Incomplete as error:
        raise ConfigurationError(f"the token is cut off: {error.detail}") from error
    except WireError as error:
        raise ConfigurationError(f"this is no token that can be read: {error.detail}") from error


def _token_in(text: str) -> bytes:
    found = _HEADER.fullmatch(text.strip().strip("\"'"))
    assert found is not None  # it takes anything
    scheme, written = (found["scheme"] or "").lower(), found["token"].strip().rstrip(",")
    if scheme in _OTHERS:
        raise ConfigurationError(f"{scheme.title()} carries no token of Negotiate; what it does carry is a secret")
    if not written:
        raise ConfigurationError(
            "no token: a header that says Negotiate alone asks for one"
            if scheme
            else 'give a token, or a header such as "Authorization: Negotiate YII…"'
        )
    hexadecimal = _HEX.fullmatch(written)
    if hexadecimal is not None:
        token = bytes.fromhex(re.sub(r"[\s:]", "", hexadecimal[1]))
        if token.startswith(_OPENINGS):
            return token
    letters = re.sub(r"\s", "", written).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return binascii.a2b_base64(letters.encode("ascii", "replace") + b"=" * (-len(letters) % 4), strict_mode=True)
    except binascii.Error:
        raise ConfigurationError(f"{len(letters)} characters that are neither base64 nor hexadecimal") from None


def _token(token: bytes) -> Iterator[str]:
    if token.startswith(ntlm.SIGNATURE):
        yield "bare NTLM, without SPNEGO"
        yield from _ntlm(token)
        return
    first = spnego.read(token)
    if first.wrapping is spnego.Wrapping.KERBEROS:
        yield "bare Kerberos, without SPNEGO"
        yield from _inner(token)
        return
    if isinstance(first, spnego.FirstToken):
        yield "SPNEGO NegTokenInit: a client opens a handshake"
        yield f"mechanisms, best first: {', '.join(_MECHANISMS.get(oid, oid) for oid in first.mechanisms)}"
        if first.mechanisms[0] not in _KERBEROS_OIDS and not set(first.mechanisms).isdisjoint(_KERBEROS_OIDS):
            yield "Kerberos isn't the first, so the handshake takes more than one leg"
        if first.mech_token is None:
            yield "no token for the first mechanism, so the handshake takes more than one leg"
    else:
        yield "SPNEGO NegTokenResp: an answer, or a later leg"
        if first.state is not None:
            yield f"state: {_STATES[first.state]}"
        if first.mechanism is not None:
            yield f"mechanism: {_MECHANISMS.get(first.mechanism, first.mechanism)}"
    if first.mic is not None:
        yield f"signature of the list of mechanisms: {_masked(first.mic)}"
    if first.mech_token is not None:
        yield from _inner(first.mech_token)


def _inner(token: bytes) -> Iterator[str]:
    try:
        if token.startswith(ntlm.SIGNATURE):
            yield from _ntlm(token)
        elif token.startswith(b"NEGOEXTS"):
            yield f"NegoEx: {_masked(token)}"
        else:
            yield from _kerberos(token)
    except WireError as error:
        yield f"the token inside can't be read: {error.detail}"


def _kerberos(token: bytes) -> Iterator[str]:
    name = next((name for tok_id, name in _TOK_IDS.items() if tok_id in token[11:17]), None)
    if name == "AP-REP":
        yield f"Kerberos AP-REP: the server proves itself to the client: {_masked(token)}"
    elif name == "KRB-ERROR":
        error = kerberos.read_krb_error(token)
        if error is None:  # a NegTokenResp without a token, where no SPNEGO belongs
            raise WireError("malformed", "SPNEGO inside SPNEGO")
        yield f"Kerberos KRB-ERROR {error.code}: {_ERRORS.get(error.code, 'see RFC 4120 7.5.9')}"
        if error.text:
            yield f"text: {plain(error.text)}"
        yield f"service: {plain(kerberos.unparse(error.service))}@{plain(error.realm)}"
        yield f"clock of who says so: {error.server_time}"
        if error.client_time is not None:
            yield f"clock of the client: {error.client_time}"
    else:
        yield from _ap_req(kerberos.read_ap_req(token))


def _ap_req(request: kerberos.ApReq) -> Iterator[str]:
    yield "Kerberos AP-REQ: a client's ticket"
    kind = _NAME_TYPES.get(request.name_type, "another")
    yield f"ticket for: {plain(request.spn)} (name type {request.name_type}, {kind})"
    yield f"kvno: {_kvno(request.kvno)}"
    yield f"ticket: {_enctype(request.enctype)}, encrypted, not shown"
    yield (
        f"authenticator: {_enctype(request.authenticator_enctype)}, encrypted, not shown; the user's name, the clock "
        "and the channel bindings are in there"
    )
    yield f"asks for mutual authentication: {'yes' if request.mutual_required else 'no'}"


def _kvno(kvno: int | None) -> str:
    if kvno is None:
        return "not said"
    if kvno < 1 << 16:
        return str(kvno)
    return f"{kvno} ({kvno & 0xFFFF}, by the read-only domain controller {kvno >> 16})"


def _enctype(enctype: int) -> str:
    return kerberos.enctype_name(enctype) + (" (weak: give the account AES keys)" if enctype in _WEAK else "")


def _ntlm(token: bytes) -> Iterator[str]:
    message = int.from_bytes(token[8:12], "little") if len(token) >= 12 else 0
    if message == 1:
        yield "NTLM NEGOTIATE: a client opens the handshake; so it is not Kerberos"
        yield f"flags: {_flags(ntlm.read_negotiate(token).flags)}"
    elif message == 2:
        challenge = ntlm.read_challenge(token)
        yield "NTLM CHALLENGE: a server asks for the proof; the challenge isn't shown"
        yield f"flags: {_flags(challenge.flags)}"
        yield f"target: {plain(challenge.target_name) or 'none'}"
        for label, name in zip(_NTLM_NAMES, challenge.names, strict=True):
            if name is not None:
                yield f"{label}: {plain(name)}"
    else:
        yield from _authenticate(ntlm.read_authenticate(token))


def _authenticate(message: ntlm.Authenticate) -> Iterator[str]:
    yield "NTLM AUTHENTICATE: the client's proof"
    yield f"user: {plain(message.user) or 'none'}"
    yield f"domain: {plain(message.domain) or 'none'}"
    yield f"workstation: {plain(message.workstation) or 'none'}"
    yield f"flags: {_flags(message.flags)}"
    besides = "; and LM or LMv2 besides, which a domain's acceptor refuses" if message.has_lm else ""
    yield f"answer: {_ANSWERS[message.answer]}; {_masked(message.nt_response)}{besides}"
    if message.session_key:
        yield f"session key: {_masked(message.session_key)}"
    if message.answer is ntlm.Answer.NTLM_V2:
        response = ntlm.read_v2_response(message.nt_response)
        yield f"target: {plain(response.target_name) if response.target_name else 'not said'}"
        yield f"channel bindings: {'yes, not shown' if response.channel_bindings else 'none'}"
        mic = "promised, but there is none: refused" if message.mic_at is None else "yes, not shown"
        yield f"MIC: {mic if response.has_mic else 'none'}"


def _flags(flags: int) -> str:
    names = ", ".join(name for bit, name in _NTLM_FLAGS.items() if flags & bit) or "none"
    return f"0x{flags:08x} ({names})"


def _masked(secret: bytes) -> str:
    return f"{len(secret)} bytes, not shown"
