r"""NTLM without a domain controller: users come from a file, messages and cryptography from pyspnego.

Law: whoever isn't proven by an NTLMv2 answer to our own challenge is nobody, and what the client says of itself
(a state, a flag, a MIC that it says it made) only ever gets it refused. pyspnego's own acceptor isn't driven: it
takes users and the least level of NTLM from the process's environment, so that the first line of our user file
would be the default credential of everybody else's *outgoing* NTLM, and it logs tokens at DEBUG. Its primitives do
neither, and no code of it that logs, reads a file or reads the environment is ever entered here.
"""

import os
from dataclasses import dataclass, field
from datetime import UTC
from hmac import compare_digest

try:
    from spnego._ntlm_raw.crypto import hmac_md5, md5, ntowfv2, rc4init, rc4k, sealkey, signkey
    from spnego._ntlm_raw.md4 import md4
    from spnego._ntlm_raw.messages import AvId, Challenge, FileTime, TargetInfo, Version
    from spnego._ntlm_raw.security import sign
    from spnego.channel_bindings import GssChannelBindings
except ImportError as error:
    raise ImportError(
        f"NTLM needs pyspnego, in a version that this one knows ({error}): pip install pyspnego"
    ) from error

from negotiate_mw.backends import Context
from negotiate_mw.backends.ntlm_user_file import NtlmUserFile
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.identity import AcceptResult, Identity
from negotiate_mw.ntlm_users import NtlmUser, NtlmUsers
from negotiate_mw.status import ContextFlag, SecStatus
from negotiate_mw.wire import ntlm, spnego
from negotiate_mw.wire.errors import Incomplete, WireError

_COMPLETED, _INCOMPLETE, _REJECT, _REQUEST_MIC = range(4)  # negState, RFC 4178 4.2.2

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

_ATTRIBUTES = (
    (ntlm.SIGN, ContextFlag.INTEGRITY | ContextFlag.REPLAY_DETECT | ContextFlag.SEQUENCE_DETECT),
    (ntlm.SEAL, ContextFlag.CONFIDENTIALITY),
    (ntlm.IDENTIFY, ContextFlag.IDENTIFY),
)
# What a stranger is told of this machine: nothing. NetBIOS names, at most 15 characters.
_COMPUTER = "SERVER"
_DOMAIN = "NEGOTIATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Handshake:
    """What we know between two legs. ``mech_list`` is empty for a bare token; ``challenge`` is until it was sent."""

    mech_list: bytes = b""
    mic_required: bool = False
    flags: int = 0
    server_challenge: bytes = field(default=b"", repr=False)
    negotiate: bytes = field(default=b"", repr=False)
    challenge: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """A log-in that was proven."""

    user: NtlmUser
    flags: int
    key: bytes = field(repr=False)
    channel_bound: bool


class _Spent:
    """The handle of a context that has had its last leg, whatever came of it."""


_SPENT = _Spent()


class PyspnegoBackend:
    """Accepts NTLMv2, raw or inside SPNEGO, from the users of a file.

    A step takes well under a millisecond and waits for nobody, since passwords are hashed when the file is read (0.1
    ms each; lines with hashes cost nothing), so that it may run on the event loop.

    Args:
        users: path of the user file, whose lines ``negotiate-mw ntlm-hash`` makes.
    """

    may_block = False
    # Kerberos realms; this one has NTLM domains
    realms: frozenset[str] = frozenset()

    def __init__(self, *, users: str | os.PathLike[str]) -> None:
        self._file = NtlmUserFile(users, nt_hash)
        # whoever isn't in the file is held against this one, so that it takes the same time to say no
        self._nobody = NtlmUser(domain="", name="", nt_hash=os.urandom(16))

    @property
    def domains(self) -> frozenset[str]:
        """The NTLM domains that the file has users of; the same object as long as they stay the same."""
        self._file.problem()
        return self._file.domains

    def acquire(self) -> None:
        """Read the user file.

        Raises:
            ConfigurationError: it can't be used; says what to type.
        """
        if problem := self._file.look_again():
            raise ConfigurationError(problem)

    def problem(self) -> str | None:
        return self._file.problem()

    def step(self, context: Context, token: bytes, bindings: bytes | None) -> AcceptResult:
        pending, context.handle = context.handle, _SPENT
        try:
            if pending is None:
                return self._begin(context, token)
            if not isinstance(pending, _Handshake):
                raise AcceptError(SecStatus.INVALID_HANDLE, "context-deleted", detail="a leg after the last one")
            return self._continue(context, pending, token, bindings)
        except AcceptError:
            raise
        except Exception as error:
            raise _translate(error) from error

    def delete(self, context: Context) -> None:
        context.handle = None

    def _begin(self, context: Context, token: bytes) -> AcceptResult:
        first = spnego.read(token)
        if isinstance(first, spnego.Continuation):
            raise _invalid("no-handshake", "a later leg came without its first one")
        if spnego.NTLM not in first.mechanisms:
            raise AcceptError(
                SecStatus.UNSUPPORTED_FUNCTION, "mechanism-not-allowed", detail="the client doesn't offer NTLM"
            )
        if first.mic is not None:
            raise _invalid("malformed", "a mechListMIC before there is a key that could have made it")
        preferred = first.mechanisms[0] == spnego.NTLM
        begun = _Handshake(mech_list=first.mech_list, mic_required=not preferred)
        if preferred and first.mech_token is not None:
            return self._challenge(context, begun, first.mech_token, answers_first=True)
        # RFC 4178 5: what the client prefers isn't what it gets, so both have to sign the list
        state = _INCOMPLETE if preferred else _REQUEST_MIC
        context.handle = begun
        answer = spnego.response(state=state, mechanism=spnego.NTLM)
        return AcceptResult(status=SecStatus.CONTINUE_NEEDED, context=context, token=answer)

    def _continue(self, context: Context, pending: _Handshake, token: bytes, bindings: bytes | None) -> AcceptResult:
        leg = spnego.read(token)
        expected = spnego.Wrapping.SPNEGO if pending.mech_list else spnego.Wrapping.NTLM
        if isinstance(leg, spnego.FirstToken) or leg.wrapping is not expected:
            raise _invalid("unexpected-message", "a first leg, or one in another wrapping, in mid-handshake")
        if leg.state == _REJECT or leg.mechanism not in (None, spnego.NTLM):
            raise _invalid("unexpected-message", "the client turned down NTLM in mid-handshake")
        if leg.mech_token is None:
            # accept-completed above all: it is the client's claim, and proves nothing
            raise _invalid("no-proof", "a leg without an NTLM message")
        if not pending.challenge:
            return self._challenge(context, pending, leg.mech_token, answers_first=False)
        session = self._authenticate(pending, leg.mech_token, bindings)
        answer = _check_mech_list(pending, session, leg.mic) if pending.mech_list else None
        return _complete(context, session, answer)

    def _challenge(self, context: Context, begun: _Handshake, token: bytes, *, answers_first: bool) -> AcceptResult:
        asked = ntlm.read_negotiate(token).flags
        users = self._users()
        flags = asked & _GRANTED | _ALWAYS
        if not flags & ntlm.EXTENDED_SESSION_SECURITY:
            flags &= ~_NEEDS_EXTENDED
        if flags & ntlm.UNICODE:
            flags &= ~ntlm.OEM
        elif not flags & ntlm.OEM:
            raise _invalid("malformed", "NEGOTIATE: neither Unicode nor OEM")
        domain = next(iter(users.domains)) if len(users.domains) == 1 else _DOMAIN
        if not domain.isascii() and flags & ntlm.OEM:
            domain = _DOMAIN
        flags |= ntlm.TARGET_TYPE_SERVER if domain == _DOMAIN else ntlm.TARGET_TYPE_DOMAIN
        info = TargetInfo()
        info[AvId.nb_domain_name] = domain
        info[AvId.nb_computer_name] = _COMPUTER
        # who sees this makes a MIC (MS-NLMP 3.1.5.1.2)
        info[AvId.timestamp] = FileTime.now(UTC)
        server_challenge = os.urandom(8)
        challenge = Challenge(
            flags,
            server_challenge,
            target_name=domain,
            target_info=info,
            version=Version() if flags & ntlm.VERSION else None,
        ).pack()
        context.handle = _Handshake(
            mech_list=begun.mech_list,
            mic_required=begun.mic_required,
            flags=flags,
            server_challenge=server_challenge,
            negotiate=token,
            challenge=challenge,
        )
        answer = challenge
        if begun.mech_list:
            mechanism = spnego.NTLM if answers_first else None
            answer = spnego.response(state=_INCOMPLETE, mechanism=mechanism, token=challenge)
        return AcceptResult(status=SecStatus.CONTINUE_NEEDED, context=context, token=answer)

    def _authenticate(self, pending: _Handshake, token: bytes, bindings: bytes | None) -> _Session:
        """MS-NLMP 3.2.5.1.2 and 3.3.2, for NTLMv2 alone."""
        message = ntlm.read_authenticate(token)
        if message.flags & ntlm.ANONYMOUS or not message.user or message.answer is ntlm.Answer.NONE:
            raise _denied("anonymous", "the client names no user, or gives no answer to the challenge")
        if message.answer is not ntlm.Answer.NTLM_V2:
            raise _denied("ntlm-v1", f"the client answers by {message.answer.value}; only NTLMv2 is taken")
        answer = ntlm.read_v2_response(message.nt_response)
        user = self._users().find(message.domain, message.user)

        key = ntowfv2(message.user, (user or self._nobody).nt_hash, message.domain)
        proof = hmac_md5(key, pending.server_challenge + answer.signed)
        if not compare_digest(proof, answer.proof) or user is None:
            what = "has no such user" if user is None else "has another password"
            raise _denied("logon-failed", f"the client says {message.domain!r}, {message.user!r}; the file {what}")

        flags = message.flags & pending.flags
        session_key = hmac_md5(key, proof)
        if flags & ntlm.KEY_EXCHANGE and flags & (ntlm.SIGN | ntlm.SEAL):
            if len(message.session_key) != 16:
                raise _invalid("malformed", f"AUTHENTICATE: a session key of {len(message.session_key)} bytes")
            session_key = rc4k(session_key, message.session_key)
        if answer.has_mic:
            _check_mic(pending, token, message.mic_at, session_key)
        channel_bound = False
        if bindings is not None and answer.channel_bindings is not None:
            ours = md5(GssChannelBindings(application_data=bindings).pack())
            if not compare_digest(ours, answer.channel_bindings):
                raise AcceptError(
                    SecStatus.BAD_BINDINGS, "bad-bindings", detail="the client is bound to another TLS channel"
                )
            channel_bound = True
        return _Session(user=user, flags=flags, key=session_key, channel_bound=channel_bound)

    def _users(self) -> NtlmUsers:
        problem = self._file.problem()
        users = self._file.users
        if problem or users is None:
            raise AcceptError(SecStatus.NO_CREDENTIALS, "ntlm-users", detail=problem or "call acquire() first")
        return users


def nt_hash(password: str) -> bytes:
    """The NT hash of a password (MS-NLMP 3.3.1, NTOWFv1), by pyspnego's own MD4: OpenSSL 3 comes without."""
    return md4(password.encode("utf-16-le"))


def _check_mic(pending: _Handshake, token: bytes, at: int | None, session_key: bytes) -> None:
    """The client said, in what its proof covers, that it made a MIC; so somebody else took or changed it."""
    if at is None:
        raise _denied("mic", "the client made a MIC, but it was taken out on its way")
    mic = hmac_md5(session_key, pending.negotiate + pending.challenge + ntlm.without_mic(token, at))
    if not compare_digest(mic, ntlm.mic(token, at)):
        raise _denied("mic", "a message of the handshake was changed on its way")


def _check_mech_list(pending: _Handshake, session: _Session, mic: bytes | None) -> bytes:
    """RFC 4178 5: the list of mechanisms that we saw is the one that the client sent."""
    if mic is None:
        if pending.mic_required:
            raise _denied("mech-list-mic", "the client prefers another mechanism and didn't sign its list")
        return spnego.response(state=_COMPLETED)
    signs = bool(session.flags & ntlm.SIGN)
    # ALWAYS_SIGN alone makes a signature that is the same for everyone (MS-NLMP 3.4.4): fine where none is needed
    if not signs and (pending.mic_required or not session.flags & ntlm.ALWAYS_SIGN):
        raise _denied("mech-list-mic", "the client signed its list of mechanisms without a key")
    if not compare_digest(_signature(session, "initiate", pending.mech_list), mic):
        raise _denied("mech-list-mic", "the client's list of mechanisms was changed on its way")
    return spnego.response(state=_COMPLETED, mic=_signature(session, "accept", pending.mech_list))


def _signature(session: _Session, side: str, message: bytes) -> bytes:
    """The first signature that ``side`` makes (MS-NLMP 3.4.4)."""
    handle = rc4init(sealkey(session.flags, session.key, side))
    return sign(session.flags, handle, signkey(session.flags, session.key, side), 0, message)


def _complete(context: Context, session: _Session, answer: bytes | None) -> AcceptResult:
    attributes = ContextFlag(0)
    for bit, flag in _ATTRIBUTES:
        if session.flags & bit:
            attributes |= flag
    if session.channel_bound:
        attributes |= ContextFlag.CHANNEL_BOUND
    principal = f"{session.user.domain}\\{session.user.name}"
    identity = Identity(
        principal=principal,
        account_id=principal,
        username=principal,
        realm=session.user.domain,
        mechanism="ntlm",
        attributes=attributes,
        channel_bound=session.channel_bound,
        is_service=session.user.name.endswith("$"),
    )
    return AcceptResult(status=SecStatus.OK, context=context, token=answer, attributes=attributes, identity=identity)


def _denied(reason: str, detail: str) -> AcceptError:
    return AcceptError(SecStatus.LOGON_DENIED, reason, detail=detail)


def _invalid(reason: str, detail: str) -> AcceptError:
    return AcceptError(SecStatus.INVALID_TOKEN, reason, detail=detail)


def _translate(error: Exception) -> AcceptError:
    if isinstance(error, Incomplete):
        return AcceptError(SecStatus.INCOMPLETE_MESSAGE, "incomplete", detail=error.detail)
    if isinstance(error, WireError):
        return _invalid("malformed", str(error))
    if isinstance(error, MemoryError):
        return AcceptError(SecStatus.INSUFFICIENT_MEMORY, "memory", detail="out of memory")
    # the kind alone: what these say may quote the message
    return AcceptError(SecStatus.INTERNAL_ERROR, "internal", detail=f"pyspnego raised {type(error).__name__}")
