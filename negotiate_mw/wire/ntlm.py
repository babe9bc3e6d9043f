"""Reads the NTLM messages that a client sends (MS-NLMP 2.2.1.1, 2.2.1.3) and the NTLMv2 answer inside (2.2.2.7,
2.2.2.8). Its law: every length and offset is checked against the message, a text is whole or refused, and what
the client claims of itself is only passed on; what proves it is the acceptor's to compute."""

import enum
from dataclasses import dataclass, field

from .errors import Incomplete, WireError

SIGNATURE = b"NTLMSSP\0"

# MS-NLMP 2.2.2.5, the flags that mean something to an acceptor of NTLMv2
UNICODE = 0x0000_0001
OEM = 0x0000_0002
REQUEST_TARGET = 0x0000_0004
SIGN = 0x0000_0010
SEAL = 0x0000_0020
NTLM = 0x0000_0200
ANONYMOUS = 0x0000_0800
DOMAIN_SUPPLIED = 0x0000_1000
WORKSTATION_SUPPLIED = 0x0000_2000
ALWAYS_SIGN = 0x0000_8000
TARGET_TYPE_DOMAIN = 0x0001_0000
TARGET_TYPE_SERVER = 0x0002_0000
EXTENDED_SESSION_SECURITY = 0x0008_0000
IDENTIFY = 0x0010_0000
TARGET_INFO = 0x0080_0000
VERSION = 0x0200_0000
KEY_128 = 0x2000_0000
KEY_EXCHANGE = 0x4000_0000
KEY_56 = 0x8000_0000

_NEGOTIATE, _CHALLENGE, _AUTHENTICATE = 1, 2, 3
_NEGOTIATE_OCTETS, _CHALLENGE_OCTETS, _AUTHENTICATE_OCTETS = 32, 48, 64
_MIC_OCTETS = 16
_V1_OCTETS = 24  # MS-NLMP 2.2.2.6
_PROOF_OCTETS, _BLOB_OCTETS = 16, 28  # MS-NLMP 2.2.2.8, 2.2.2.7: up to the AV pairs

# MS-NLMP 2.2.2.1
_AV_EOL, _AV_FLAGS, _AV_TIMESTAMP, _AV_TARGET_NAME, _AV_CHANNEL_BINDINGS = 0, 6, 7, 9, 10
_AV_NAMES = range(1, 6)  # of computer and domain, NetBIOS then DNS, and of the forest
_AV_OCTETS = {_AV_FLAGS: 4, _AV_TIMESTAMP: 8, _AV_CHANNEL_BINDINGS: 16}
_AV_FLAG_MIC = 0x2
# Windows sends ten
_MAX_AV_PAIRS = 64


class Answer(enum.Enum):
    """How a client answered the challenge, told by the lengths alone."""

    NONE = "none"  # nothing, or the lone zero octet of an anonymous client (MS-NLMP 3.2.5.1.2)
    LM = "lm"
    NTLM_V1 = "ntlm-v1"  # or what Windows calls NTLM2 session, of the same strength
    NTLM_V2 = "ntlm-v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Negotiate:
    """A NEGOTIATE_MESSAGE: `flags` are what the client asks for."""

    flags: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A CHALLENGE_MESSAGE, which a server sends (MS-NLMP 2.2.1.2): `names` are those of computer and domain, NetBIOS
    then DNS, and of the forest, None where it doesn't say. The challenge itself is left out."""

    flags: int
    target_name: str
    names: tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticate:
    """An AUTHENTICATE_MESSAGE. Names are as the client spelled them and may hold any character.

    `mic_at` is where the MIC stands, `None` where the payload leaves no room for one; that one stands there says
    nothing about whether the client computed it: `V2Response.has_mic` does. `has_lm`: there is an answer in the older
    field besides, which isn't zeros.
    """

    flags: int
    user: str
    domain: str
    workstation: str
    answer: Answer
    has_lm: bool
    nt_response: bytes = field(repr=False)
    session_key: bytes = field(repr=False)
    mic_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class V2Response:
    """An NTLMv2_RESPONSE: `proof` is computed over all of `signed`, from which the rest is read.

    `channel_bindings` are the 16 octets of MsvAvChannelBindings, `None` where the client sent none or, as those do
    who know of none, zeros (MS-NLMP 2.2.2.1). `timestamp` is a FILETIME.
    """

    proof: bytes = field(repr=False)
    signed: bytes = field(repr=False)
    timestamp: int
    has_mic: bool
    channel_bindings: bytes | None
    target_name: str | None


# a NEGOTIATE_MESSAGE is kept until the next leg, for its MIC; with two names of 255 characters it is under 600 octets
_MAX_NEGOTIATE_OCTETS = 2048


def read_negotiate(token: bytes) -> Negotiate:
    """The NEGOTIATE_MESSAGE that `token` is. Raises WireError, or Incomplete."""
    _check(token, _NEGOTIATE, _NEGOTIATE_OCTETS, "NEGOTIATE")
    if len(token) > _MAX_NEGOTIATE_OCTETS:
        raise WireError("limit", f"NEGOTIATE: {len(token)} bytes, {_MAX_NEGOTIATE_OCTETS} are allowed")
    flags = int.from_bytes(token[12:16], "little")
    # MS-NLMP 2.2.1.1: to be ignored unless the flag is set
    if flags & DOMAIN_SUPPLIED:
        _payload(token, 16, _NEGOTIATE_OCTETS, "DomainName")
    if flags & WORKSTATION_SUPPLIED:
        _payload(token, 24, _NEGOTIATE_OCTETS, "Workstation")
    return Negotiate(flags=flags)


def read_challenge(token: bytes) -> Challenge:
    """The CHALLENGE_MESSAGE that `token` is. Raises WireError, or Incomplete."""
    _check(token, _CHALLENGE, _CHALLENGE_OCTETS, "CHALLENGE")
    flags = int.from_bytes(token[20:24], "little")
    target_name = _payload(token, 12, _CHALLENGE_OCTETS, "TargetName")[0]
    target_info = _payload(token, 40, _CHALLENGE_OCTETS, "TargetInfo")[0] if flags & TARGET_INFO else b""
    pairs = _av_pairs(target_info, 0) if target_info else {}
    names = ((pairs.get(kind), f"AV pair {kind}") for kind in _AV_NAMES)
    return Challenge(
        flags=flags,
        target_name=_text(target_name, flags, "TargetName"),
        names=tuple(None if octets is None else _text(octets, UNICODE, name) for octets, name in names),
    )


def read_authenticate(token: bytes) -> Authenticate:
    """The AUTHENTICATE_MESSAGE that `token` is. Raises WireError, or Incomplete."""
    _check(token, _AUTHENTICATE, _AUTHENTICATE_OCTETS, "AUTHENTICATE")
    lm, lm_at = _payload(token, 12, _AUTHENTICATE_OCTETS, "LmChallengeResponse")
    nt, nt_at = _payload(token, 20, _AUTHENTICATE_OCTETS, "NtChallengeResponse")
    domain, domain_at = _payload(token, 28, _AUTHENTICATE_OCTETS, "DomainName")
    user, user_at = _payload(token, 36, _AUTHENTICATE_OCTETS, "UserName")
    workstation, workstation_at = _payload(token, 44, _AUTHENTICATE_OCTETS, "Workstation")
    session_key, session_key_at = _payload(token, 52, _AUTHENTICATE_OCTETS, "EncryptedRandomSessionKey")
    flags = int.from_bytes(token[60:64], "little")
    return Authenticate(
        flags=flags,
        user=_text(user, flags, "UserName"),
        domain=_text(domain, flags, "DomainName"),
        workstation=_text(workstation, flags, "Workstation"),
        answer=_answer(lm, nt),
        has_lm=any(lm),
        nt_response=nt,
        session_key=session_key,
        mic_at=_mic_at(min(lm_at, nt_at, domain_at, user_at, workstation_at, session_key_at)),
    )


def read_v2_response(data: bytes) -> V2Response:
    """The NTLMv2_RESPONSE that an `Authenticate.nt_response` is. Raises WireError."""
    if len(data) < _PROOF_OCTETS + _BLOB_OCTETS + 4:
        raise WireError("malformed", f"NTLMv2 response: {len(data)} bytes are too few")
    if data[16:18] != b"\x01\x01":
        raise WireError("unsupported-version", "NTLMv2 response: RespType or HiRespType isn't 1")
    pairs = _av_pairs(data, _PROOF_OCTETS + _BLOB_OCTETS)
    bindings = pairs.get(_AV_CHANNEL_BINDINGS)
    target_name = pairs.get(_AV_TARGET_NAME)
    return V2Response(
        proof=data[:_PROOF_OCTETS],
        signed=data[_PROOF_OCTETS:],
        timestamp=int.from_bytes(data[24:32], "little"),
        has_mic=bool(int.from_bytes(pairs.get(_AV_FLAGS, b""), "little") & _AV_FLAG_MIC),
        channel_bindings=bindings if bindings and any(bindings) else None,
        target_name=None if target_name is None else _text(target_name, UNICODE, "MsvAvTargetName"),
    )


def mic(token: bytes, at: int) -> bytes:
    """The MIC of the AUTHENTICATE_MESSAGE `token`, at its `mic_at`."""
    return token[at : at + _MIC_OCTETS]


def without_mic(token: bytes, at: int) -> bytes:
    """`token` as its MIC is computed: with zeros in the place of it (MS-NLMP 3.1.5.1.2)."""
    return token[:at] + bytes(_MIC_OCTETS) + token[at + _MIC_OCTETS :]


def _check(token: bytes, message: int, octets: int, name: str) -> None:
    if not SIGNATURE.startswith(token[:8]):
        raise WireError("malformed", f"{name}: not an NTLM message")
    if len(token) >= 12 and int.from_bytes(token[8:12], "little") != message:
        raise WireError("unexpected-message", f"not the NTLM message that was to come, {name}")
    if len(token) < octets:
        raise Incomplete(f"{name}: {len(token)} of at least {octets} bytes")


def _payload(token: bytes, at: int, header: int, name: str) -> tuple[bytes, int]:
    """A field's bytes and where they stand; the message's end if it has none, whatever its offset says."""
    length = int.from_bytes(token[at : at + 2], "little")
    if not length:
        return b"", len(token)
    offset = int.from_bytes(token[at + 4 : at + 8], "little")
    if not header <= offset <= len(token) - length:
        raise WireError("malformed", f"{name}: {length} bytes at offset {offset} are not within the payload")
    return token[offset : offset + length], offset


def _text(octets: bytes, flags: int, name: str) -> str:
    # the OEM code page is nobody's to know (MS-NLMP 2.2): only what all of them share can be read
    encoding = "utf-16-le" if flags & UNICODE else "ascii"
    try:
        return octets.decode(encoding)
    except UnicodeDecodeError:
        # `from None`: that error quotes the bytes
        raise WireError("malformed", f"{name}: not {encoding}") from None


def _answer(lm: bytes, nt: bytes) -> Answer:
    if not nt:
        return Answer.LM if any(lm) else Answer.NONE
    return Answer.NTLM_V1 if len(nt) <= _V1_OCTETS else Answer.NTLM_V2


def _mic_at(payload: int) -> int | None:
    """Before the payload stand a version and a MIC (MS-NLMP 2.2.1.3), or as some write it the MIC alone, or neither."""
    if payload >= _AUTHENTICATE_OCTETS + 8 + _MIC_OCTETS:
        return _AUTHENTICATE_OCTETS + 8
    return _AUTHENTICATE_OCTETS if payload >= _AUTHENTICATE_OCTETS + _MIC_OCTETS else None


def _av_pairs(data: bytes, at: int) -> dict[int, bytes]:
    """AV pairs up to MsvAvEOL; what follows that is filling. No two of a kind, for readers would differ on which."""
    pairs: dict[int, bytes] = {}
    while len(data) - at >= 4:
        kind = int.from_bytes(data[at : at + 2], "little")
        length = int.from_bytes(data[at + 2 : at + 4], "little")
        at += 4
        if kind == _AV_EOL:
            if length:
                break
            return pairs
        if length > len(data) - at or length != _AV_OCTETS.get(kind, length):
            raise WireError("malformed", f"AV pair {kind}: {length} bytes at offset {at}")
        if kind in pairs:
            raise WireError("malformed", f"AV pair {kind}: a second one at offset {at}")
        if len(pairs) == _MAX_AV_PAIRS:
            raise WireError("limit", f"more than {_MAX_AV_PAIRS} AV pairs")
        pairs[kind] = data[at : at + length]
        at += length
    raise WireError("malformed", f"AV pairs: no end at offset {at}")
