r"""Kerberos and NTLM through Windows' own SSPI (sspilib's raw calls).

Law: Windows decides, this module asks and translates: one inbound credential of the Negotiate package is shared by
all handshakes, each finished context's package is held against what is allowed, and statuses, attributes and expiry
are Windows' own. **The project's tests have not run this on Windows**: they run it against a stand-in that behaves
as Microsoft documents ``AcceptSecurityContext`` and as sspilib's type stubs say.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

try:
    from sspilib import raw
except ImportError as _error:
    raise ImportError("SSPI needs Windows and sspilib: pip install sspilib") from _error

from negotiate_mw.backends import Context
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.identity import AcceptResult, Identity
from negotiate_mw.status import NO_FLAGS, ContextFlag, SecStatus
from negotiate_mw.wire import ntlm

_PACKAGE = "Negotiate"

# sspi.h: ASC_REQ_*, SEC_I_*, SECBUFFER_*; ASC_RET_* of ours have ContextFlag's numbers
_REPLAY_DETECT, _SEQUENCE_DETECT, _CONFIDENTIALITY, _ALLOCATE_MEMORY, _INTEGRITY = 0x4, 0x8, 0x10, 0x100, 0x20000
_REQUESTED = _REPLAY_DETECT | _SEQUENCE_DETECT | _CONFIDENTIALITY | _ALLOCATE_MEMORY | _INTEGRITY
_ALLOW_MISSING_BINDINGS = 0x1000_0000
_NULL_SESSION = 0x10_0000
_RETURNED = (
    ContextFlag.DELEGATE
    | ContextFlag.MUTUAL_AUTH
    | ContextFlag.REPLAY_DETECT
    | ContextFlag.SEQUENCE_DETECT
    | ContextFlag.CONFIDENTIALITY
    | ContextFlag.INTEGRITY
    | ContextFlag.IDENTIFY
)
_OK, _CONTINUE, _COMPLETE, _COMPLETE_AND_CONTINUE = 0, 0x00090312, 0x00090313, 0x00090314
_NETWORK_DREP = 0
_TOKEN = 2
_INBOUND = 1

# winerror.h codes that SSPI gives beside those of SecStatus -> ours
_OTHERS = {
    0x80090305: (SecStatus.NO_CREDENTIALS, "package-missing"),  # SECPKG_NOT_FOUND
    0x8009030D: (SecStatus.NO_CREDENTIALS, "credentials"),  # UNKNOWN_CREDENTIALS
    0x8009030F: (SecStatus.INVALID_TOKEN, "malformed"),  # MESSAGE_ALTERED
    0x80090310: (SecStatus.INVALID_TOKEN, "malformed"),  # OUT_OF_SEQUENCE
    0x80090326: (SecStatus.INVALID_TOKEN, "malformed"),  # ILLEGAL_MESSAGE
    0x80090348: (SecStatus.LOGON_DENIED, "no-key"),  # NO_KERB_KEY
}
_REASONS = {
    SecStatus.INSUFFICIENT_MEMORY: "memory",
    SecStatus.INVALID_HANDLE: "context-deleted",
    SecStatus.UNSUPPORTED_FUNCTION: "unsupported",
    SecStatus.INTERNAL_ERROR: "internal",
    SecStatus.INVALID_TOKEN: "malformed",
    SecStatus.NO_CREDENTIALS: "credentials",
    SecStatus.NO_AUTHENTICATING_AUTHORITY: "no-authority",
    SecStatus.CONTEXT_EXPIRED: "ticket-expired",
    SecStatus.INCOMPLETE_MESSAGE: "incomplete",
    SecStatus.WRONG_PRINCIPAL: "wrong-principal",
    SecStatus.TIME_SKEW: "clock-skew",
    SecStatus.BAD_BINDINGS: "bad-bindings",
}

_FILETIME_EPOCH = datetime(1601, 1, 1)  # noqa: DTZ001 - of no zone yet: see _expiry


class SspiBackend:
    """Accepts Kerberos and NTLM as the account that the process runs as, raw or inside SPNEGO.

    ``CHANNEL_BOUND`` is never set, as SSPI doesn't say whether a client that was let in sent bindings; wrong ones it
    refuses. Guests and null sessions are refused; a guest account that was renamed can't be told by its name, so
    disable it.

    Args:
        mechanisms: ``"kerberos"``, ``"ntlm"`` or both.
    """

    # the LSA is another process, and may ask a domain controller
    may_block = True
    # those that the machine's domain trusts: Windows' to know
    realms: frozenset[str] = frozenset({"*"})

    def __init__(self, *, mechanisms: Sequence[str]) -> None:
        self._mechanisms = frozenset(mechanisms)
        self._credential: Any = None

    def acquire(self) -> None:
        """Acquire the inbound credential that all handshakes share.

        Raises:
            ConfigurationError: Windows refuses.
        """
        try:
            self._credential = raw.acquire_credentials_handle(None, _PACKAGE, _INBOUND).credential
        except OSError as error:
            raise ConfigurationError(
                f"Windows gives no credential of the {_PACKAGE} package ({error.strerror}); run as a service account, "
                "or as one that has the SPN: setspn -S HTTP/www.corp.example ACCOUNT"
            ) from error

    def problem(self) -> str | None:
        return None if self._credential is not None else "no credential was acquired"

    def step(self, context: Context, token: bytes, bindings: bytes | None) -> AcceptResult:
        try:
            return self._step(context, token, bindings)
        except AcceptError as error:
            error.mechanism = _mechanism(token)
            raise
        except Exception as error:
            refusal = _translate(error)
            refusal.mechanism = _mechanism(token)
            raise refusal from error

    def _step(self, context: Context, token: bytes, bindings: bytes | None) -> AcceptResult:
        requested = _REQUESTED
        buffers = [raw.SecBuffer(bytearray(token), _TOKEN)]
        channel = None if bindings is None else raw.SecChannelBindings(application_data=bindings)
        if channel is not None:
            requested |= _ALLOW_MISSING_BINDINGS
            buffers.append(channel.get_sec_buffer_copy())
        answer = raw.SecBufferDesc([raw.SecBuffer(None, _TOKEN)])
        done = raw.accept_security_context(
            credential=self._credential,
            context=context.handle,
            input_buffers=raw.SecBufferDesc(buffers),
            context_req=requested,
            target_data_rep=_NETWORK_DREP,
            output_buffers=answer,
        )
        context.handle = done.context
        if done.status in (_COMPLETE, _COMPLETE_AND_CONTINUE):
            raw.complete_auth_token(done.context, answer)
        reply = bytes(answer[0].data) or None
        if done.status in (_CONTINUE, _COMPLETE_AND_CONTINUE):
            return AcceptResult(status=SecStatus.CONTINUE_NEEDED, context=context, token=reply)
        if done.status not in (_OK, _COMPLETE):
            raise AcceptError(SecStatus.LOGON_DENIED, "refused", detail=f"an unknown success, 0x{done.status:08X}")
        return self._complete(context, done, reply)

    def _complete(self, context: Context, done: Any, reply: bytes | None) -> AcceptResult:
        mechanism = raw.query_context_attributes(done.context, raw.SecPkgContextPackageInfo).name.lower()
        if mechanism not in self._mechanisms:
            raise AcceptError(
                SecStatus.LOGON_DENIED, "mechanism-not-allowed", detail=f"the finished context is {mechanism!r}"
            )
        if int(done.attributes) & _NULL_SESSION:
            raise AcceptError(SecStatus.LOGON_DENIED, "anonymous", detail="a null session")
        principal = raw.query_context_attributes(done.context, raw.SecPkgContextNames).username
        realm, name = _names(principal)
        attributes = ContextFlag(int(done.attributes) & _RETURNED) or NO_FLAGS
        expires_at = _expiry(done.expiry)
        return AcceptResult(
            status=SecStatus.OK,
            context=context,
            token=reply,
            attributes=attributes,
            expires_at=expires_at,
            identity=Identity(
                principal=principal,
                account_id=principal,
                username=principal,
                realm=realm,
                mechanism=mechanism,
                expires_at=expires_at,
                attributes=attributes,
                is_service=name.endswith("$"),
            ),
        )


def _names(principal: str) -> tuple[str, str]:
    r"""Realm and name of ``CORP\alice``, or of ``alice@CORP.EXAMPLE``, which is how Windows names foreign accounts."""
    realm, separator, name = principal.partition("\\")
    if not separator:
        name, _, realm = principal.rpartition("@")
    if not realm or not name or "\\" in name or not principal.isprintable():
        raise AcceptError(SecStatus.LOGON_DENIED, "name-unusable", detail=f"the context's name is {principal!r}")
    if name.casefold() == "guest" or (realm.casefold(), name.casefold()) == ("nt authority", "anonymous logon"):
        raise AcceptError(SecStatus.LOGON_DENIED, "anonymous", detail=f"the context's name is {principal!r}")
    return realm, name


def _expiry(filetime: int) -> datetime | None:
    """A context's end in UTC; None where it has none.

    Microsoft documents ``ptsExpiry`` as local time, and its readers take it for UTC; whoever is wrong, the earlier
    of the two isn't too late.
    """
    try:
        naive = _FILETIME_EPOCH + timedelta(microseconds=filetime // 10)
        return min(naive.replace(tzinfo=UTC), naive.astimezone(UTC))
    except (OverflowError, ValueError, OSError):  # "never" is a date beyond Python's
        return None


def _mechanism(token: bytes) -> str | None:
    # bare or in SPNEGO; a Kerberos token holds these bytes only by a wild chance
    return "ntlm" if ntlm.SIGNATURE in token else None


def _translate(error: Exception) -> AcceptError:
    if isinstance(error, MemoryError):
        return AcceptError(SecStatus.INSUFFICIENT_MEMORY, "memory", detail="out of memory")
    code = getattr(error, "winerror", None)
    if not isinstance(error, OSError) or not isinstance(code, int):
        return AcceptError(SecStatus.INTERNAL_ERROR, "internal", detail=f"sspilib raised {type(error).__name__}")
    number = code & 0xFFFF_FFFF  # an HRESULT is signed
    detail = f"Windows says 0x{number:08X}, {error.strerror}"
    if number in _OTHERS:
        status, reason = _OTHERS[number]
        return AcceptError(status, reason, detail=detail)
    try:
        status = SecStatus(number)
    except ValueError:
        status = SecStatus.LOGON_DENIED
    if status in (SecStatus.OK, SecStatus.CONTINUE_NEEDED):  # no error is a success
        status = SecStatus.INTERNAL_ERROR
    return AcceptError(status, _REASONS.get(status, "refused"), detail=detail)
