r"""NTLMv2 as an acceptor computes it (MS-NLMP 3.2.5.1, 3.3.2, 3.4.4), with pyspnego's messages and cryptography.

Law: who isn't proven by an answer to our own challenge, over what both sides saw, is nobody; an unknown user costs
the same steps as a wrong password. pyspnego's own acceptor isn't driven: it takes users and the least level of NTLM
from the process's environment, so that the first line of our user file would be the default credential of everybody
else's *outgoing* NTLM, and it logs tokens at DEBUG. No code of it that logs, reads a file or reads the environment is
ever entered here.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC
from hmac import compare_digest

try:
    from spnego._ntlm_raw.crypto import hmac_md5, md5, ntowfv2, rc4init, rc4k, sealkey, signkey
    from spnego._ntlm_raw.md4 import md4
    from spnego._ntlm_raw.messages import AvId, Challenge, FileTime, TargetInfo, Version
    from spnego._ntlm_raw.security import sign
    from spnego.channel_bindings import GssChannelBindings
except ImportError as _error:
    raise ImportError(
        f"NTLM needs pyspnego, in a version that this one knows ({_error}): pip install 'pyspnego>=0.11'"
    ) from _error

from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.ntlm_users import NtlmUser, NtlmUsers
from negotiate_mw.status import SecStatus
from negotiate_mw.wire import ntlm

# What a client may have if it asks. Not LM_KEY, DATAGRAM, ANONYMOUS and the undocumented ones.
_GRANTED = (
    ntlm.UNICODE
    | ntlm.OEM
    | ntlm.SIGN
    | ntlm.SEAL
    | ntlm.ALWAYS_SIGN
    | ntlm.EXTENDED_SESSION_SECURITY
    | ntlm.IDENTIFY
    | ntlm.VERSION
    | ntlm.KEY_128
    | ntlm.KEY_EXCHANGE
    | ntlm.KEY_56
)
_ALWAYS = ntlm.REQUEST_TARGET | ntlm.NTLM | ntlm.TARGET_INFO
# Without extended session security there is one key for both directions and a CRC for a signature.
_NEEDS_EXTENDED = ntlm.SIGN | ntlm.SEAL | ntlm.KEY_EXCHANGE

# What a stranger is told of this machine: nothing. NetBIOS names, at most 15 characters.
_COMPUTER = "SERVER"
_DOMAIN = "NEGOTIATE"

# whoever isn't in the file is held against this one, so that it takes the same time to say no
_NOBODY = NtlmUser(domain="", name="", nt_hash=os.urandom(16))


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A challenge that was sent, and what it answered."""

    flags: int
    server_challenge: bytes = field(repr=False)
    negotiate: bytes = field(repr=False)
    challenge: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A log-in that was proven."""

    user: NtlmUser
    flags: int
    key: bytes = field(repr=False)
    channel_bound: bool

    @property
    def signs(self) -> bool:
        """True if a signature takes the key."""
        return bool(self.flags & ntlm.SIGN)


def check_cryptography() -> None:
    """Raises ConfigurationError where the machine lacks what NTLM needs."""
    try:
        rc4k(hmac_md5(b"", b""), md4(b""))
    except Exception as error:
        raise ConfigurationError(
            f"this machine has no RC4 or MD5 ({type(error).__name__}), which NTLM is made of: "
            "leave FIPS mode, let OpenSSL load its legacy provider, or take ntlm out of Acceptor(mechanisms=…)"
        ) from error


def nt_hash(password: str) -> bytes:
    """The NT hash of a password (MS-NLMP 3.3.1, NTOWFv1), by pyspnego's own MD4: OpenSSL 3 comes without."""
    return md4(password.encode("utf-16-le"))


def offer(negotiate: bytes, domains: Collection[str]) -> Offer:
    """Answer a NEGOTIATE_MESSAGE; ``domains`` are those that users may come from. Raises AcceptError, WireError."""
    flags = ntlm.read_negotiate(negotiate).flags & _GRANTED | _ALWAYS
    if not flags & ntlm.EXTENDED_SESSION_SECURITY:
        flags &= ~_NEEDS_EXTENDED
    if flags & ntlm.UNICODE:
        flags &= ~ntlm.OEM
    elif not flags & ntlm.OEM:
        raise _invalid("NEGOTIATE: neither Unicode nor OEM")
    domain = next(iter(domains)) if len(domains) == 1 else _DOMAIN
    if not domain.isascii() and flags & ntlm.OEM:
        domain = _DOMAIN
    flags |= ntlm.TARGET_TYPE_SERVER if domain == _DOMAIN else ntlm.TARGET_TYPE_DOMAIN
    info = TargetInfo()
    info[AvId.nb_domain_name] = domain
    info[AvId.nb_computer_name] = _COMPUTER
    # who sees this makes a MIC (MS-NLMP 3.1.5.1.2)
    info[AvId.timestamp] = FileTime.now(UTC)
    server_challenge = os.urandom(8)
    version = Version() if flags & ntlm.VERSION else None
    challenge = Challenge(flags, server_challenge, target_name=domain, target_info=info, version=version)
    return Offer(flags=flags, server_challenge=server_challenge, negotiate=negotiate, challenge=challenge.pack())


def prove(offered: Offer, token: bytes, users: NtlmUsers, bindings: bytes | None) -> Session:
    """Hold an AUTHENTICATE_MESSAGE against our challenge.

    Args:
        offered: what it answers.
        token: the message.
        users: who may log in.
        bindings: application data of the channel bindings, which must match if the client sent any; None: not checked.

    Raises:
        AcceptError: it is no proof.
        WireError: it is no such message.
    """
    message = ntlm.read_authenticate(token)
    if message.flags & ntlm.ANONYMOUS or not message.user or message.answer is ntlm.Answer.NONE:
        raise denied("anonymous", "the client names no user, or gives no answer to the challenge")
    if message.answer is not ntlm.Answer.NTLM_V2:
        raise denied("ntlm-v1", f"the client answers by {message.answer.value}; only NTLMv2 is taken")
    answer = ntlm.read_v2_response(message.nt_response)
    user = users.find(message.domain, message.user)

    key = ntowfv2(message.user, (user or _NOBODY).nt_hash, message.domain)
    proof = hmac_md5(key, offered.server_challenge + answer.signed)
    if not compare_digest(proof, answer.proof) or user is None:
        what = "has no such user" if user is None else "has another password"
        raise denied("logon-failed", f"the client says {message.domain!r}, {message.user!r}; the file {what}")

    flags = message.flags & offered.flags
    session_key = hmac_md5(key, proof)
    if flags & ntlm.KEY_EXCHANGE and flags & (ntlm.SIGN | ntlm.SEAL):
        if len(message.session_key) != 16:
            raise _invalid(f"AUTHENTICATE: a session key of {len(message.session_key)} bytes")
        session_key = rc4k(session_key, message.session_key)
    if answer.has_mic:
        _check_mic(offered, token, message.mic_at, session_key)
    channel_bound = _check_bindings(answer.channel_bindings, bindings)
    return Session(user=user, flags=flags, key=session_key, channel_bound=channel_bound)


def signature(session: Session, side: str, message: bytes) -> bytes | None:
    """The first signature that a side, ``"initiate"`` or ``"accept"``, makes; None where it can't make any.

    A session that doesn't sign, but always signs, has one that is the same for everyone (MS-NLMP 3.4.4).
    """
    if not session.flags & (ntlm.SIGN | ntlm.ALWAYS_SIGN):
        return None
    handle = rc4init(sealkey(session.flags, session.key, side))
    return sign(session.flags, handle, signkey(session.flags, session.key, side), 0, message)


def denied(reason: str, detail: str) -> AcceptError:
    return AcceptError(SecStatus.LOGON_DENIED, reason, detail=detail)


def _invalid(detail: str) -> AcceptError:
    return AcceptError(SecStatus.INVALID_TOKEN, "malformed", detail=detail)


def _check_mic(offered: Offer, token: bytes, at: int | None, session_key: bytes) -> None:
    """The client said, in what its proof covers, that it made a MIC; so somebody else took or changed it."""
    if at is None:
        raise denied("mic", "the client made a MIC, but it was taken out on its way")
    mic = hmac_md5(session_key, offered.negotiate + offered.challenge + ntlm.without_mic(token, at))
    if not compare_digest(mic, ntlm.mic(token, at)):
        raise denied("mic", "a message of the handshake was changed on its way")


def _check_bindings(theirs: bytes | None, application_data: bytes | None) -> bool:
    """Whether the client proved that it is on our channel; none sent is no proof, and no offence."""
    if application_data is None or theirs is None:
        return False
    ours = md5(GssChannelBindings(application_data=application_data).pack())
    if not compare_digest(ours, theirs):
        raise AcceptError(SecStatus.BAD_BINDINGS, "bad-bindings", detail="the client is bound to another TLS channel")
    return True
