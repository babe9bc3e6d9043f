r"""NTLM without a domain controller: users come from a file, messages and cryptography from pyspnego.

Law: what the client says of itself (a state, a flag, a MIC that it says it made) only ever gets it refused. Who it is
comes out of ``ntlmv2.prove()`` alone; SPNEGO around it is read and written here, and a context is never stepped
again after its last leg, whatever came of that.
"""

import os
from dataclasses import dataclass, replace

from negotiate_mw.backends import Context, ntlmv2
from negotiate_mw.backends.ntlm_user_file import NtlmUserFile
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.identity import AcceptResult, Identity
from negotiate_mw.ntlm_users import NtlmUsers
from negotiate_mw.status import ContextFlag, SecStatus
from negotiate_mw.wire import ntlm, spnego
from negotiate_mw.wire.errors import Incomplete, WireError

_COMPLETED, _INCOMPLETE, _REJECT, _REQUEST_MIC = range(4)  # negState, RFC 4178 4.2.2

_ATTRIBUTES = (
    (ntlm.SIGN, ContextFlag.INTEGRITY | ContextFlag.REPLAY_DETECT | ContextFlag.SEQUENCE_DETECT),
    (ntlm.SEAL, ContextFlag.CONFIDENTIALITY),
    (ntlm.IDENTIFY, ContextFlag.IDENTIFY),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Handshake:
    """What we know between two legs: ``mech_list`` is empty for a bare token, ``offer`` None before our challenge."""

    mech_list: bytes
    mic_required: bool
    offer: ntlmv2.Offer | None = None


class _Spent:
    """The handle of a context that has had its last leg."""


_SPENT = _Spent()


class PyspnegoBackend:
    """Accepts NTLMv2, raw or inside SPNEGO, from the users of a file.

    A step takes about 40 µs and waits for nobody, so it may run on the event loop. A changed file is read there too,
    at 3 µs a line with a hash, 16 µs a line with a password.

    Args:
        users: path of the user file, whose lines ``negotiate-mw ntlm-hash`` makes.
    """

    may_block = False

    def __init__(self, *, users: str | os.PathLike[str]) -> None:
        self._file = NtlmUserFile(users, ntlmv2.nt_hash)

    @property
    def realms(self) -> frozenset[str]:
        """The NTLM domains that the file has users of; the same object as long as they stay the same."""
        self._file.problem()
        return self._file.domains

    def acquire(self) -> None:
        """Read the user file.

        Raises:
            ConfigurationError: it can't be used, or the machine can't do NTLM; says what to type.
        """
        ntlmv2.check_cryptography()
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
        except AcceptError as error:
            error.mechanism = "ntlm"
            raise
        except Exception as error:
            refusal = _translate(error)
            refusal.mechanism = "ntlm"
            raise refusal from error

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
        if pending.offer is None:
            return self._challenge(context, pending, leg.mech_token, answers_first=False)
        session = ntlmv2.prove(pending.offer, leg.mech_token, self._users(), bindings)
        answer = _check_mech_list(pending, session, leg.mic) if pending.mech_list else None
        return _complete(context, session, answer)

    def _challenge(self, context: Context, begun: _Handshake, token: bytes, *, answers_first: bool) -> AcceptResult:
        offer = ntlmv2.offer(token, self._users().domains)
        context.handle = replace(begun, offer=offer)
        answer = offer.challenge
        if begun.mech_list:
            mechanism = spnego.NTLM if answers_first else None
            answer = spnego.response(state=_INCOMPLETE, mechanism=mechanism, token=offer.challenge)
        return AcceptResult(status=SecStatus.CONTINUE_NEEDED, context=context, token=answer)

    def _users(self) -> NtlmUsers:
        problem = self._file.problem()
        users = self._file.users
        if users is None:
            raise AcceptError(SecStatus.NO_CREDENTIALS, "ntlm-users", detail=problem or "")
        return users


def _check_mech_list(pending: _Handshake, session: ntlmv2.Session, mic: bytes | None) -> bytes:
    """RFC 4178 5: the list of mechanisms that we saw is the one that the client sent."""
    if mic is None:
        if pending.mic_required:
            raise ntlmv2.denied("mech-list-mic", "the client prefers another mechanism and didn't sign its list")
        return spnego.response(state=_COMPLETED)
    # a signature that is the same for everyone is fine where none is needed: that is how browsers sign
    if pending.mic_required and not session.signs:
        raise ntlmv2.denied("mech-list-mic", "the client signed its list of mechanisms without a key")
    if ntlmv2.signature(session, "initiate", pending.mech_list) != mic:
        raise ntlmv2.denied("mech-list-mic", "the client's list of mechanisms was changed on its way")
    return spnego.response(state=_COMPLETED, mic=ntlmv2.signature(session, "accept", pending.mech_list))


def _complete(context: Context, session: ntlmv2.Session, answer: bytes | None) -> AcceptResult:
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
