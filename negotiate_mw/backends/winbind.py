"""NTLM in a domain: gss-ntlmssp makes the messages, winbind asks the domain controller.

Law: who it is comes from the SID that the domain controller's answer carries, never from the name that the client
wrote; an answer without SIDs proves nobody. Kerberos has a credential of its own, and no mechanism but NTLM gets in
here.
"""

import errno
import os
from typing import Any

from negotiate_mw.extras import to_install

try:
    from gssapi import raw
    from gssapi.raw.misc import GSSError
except ImportError as _error:
    raise ImportError(f"NTLM by winbind needs python-gssapi: {to_install('kerberos')}") from _error

from negotiate_mw.backends import Context
from negotiate_mw.backends.wbclient import Winbind, WinbindError
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.identity import AcceptResult, Identity
from negotiate_mw.status import ContextFlag, SecStatus
from negotiate_mw.wire import der, ntlm, spnego
from negotiate_mw.wire.errors import Incomplete, WireError
from negotiate_mw.wire.spnego import NTLM, SPNEGO

_NTLM = raw.OID(elements=der.encode_oid(NTLM))
_SPNEGO = raw.OID(elements=der.encode_oid(SPNEGO))
_SIDS = b"urn:gssntlmssp:sids="  # the attribute's *name* goes on with them
_FLAGS = (
    (4, ContextFlag.REPLAY_DETECT),
    (8, ContextFlag.SEQUENCE_DETECT),
    (16, ContextFlag.CONFIDENTIALITY),
    (32, ContextFlag.INTEGRITY),
    (8192, ContextFlag.IDENTIFY),
    (2048, ContextFlag.CHANNEL_BOUND),  # GSS_C_CHANNEL_BOUND_FLAG
)
_DEFECTIVE_TOKEN = 9  # RFC 2744 3.9.1
_CURE = (
    "join the machine to the domain and start winbindd (`net ads join`, apt-get install winbind gss-ntlmssp), or take "
    'users from a file, Acceptor(ntlm_users="users.txt"), whose lines `negotiate-mw ntlm-hash DOMAIN USER` makes'
)


class WinbindBackend:
    """Accepts NTLM, raw or inside SPNEGO, from the users of the machine's domain and those that it trusts."""

    may_block = True  # a step waits for winbind, and winbind for the domain controller

    def __init__(self) -> None:
        self._credential: Any = None
        self._winbind: Winbind | None = None
        self._problem: str | None = None
        self.realms: frozenset[str] = frozenset()

    def acquire(self) -> None:
        """Find winbind and the mechanism.

        Raises:
            ConfigurationError: one of them isn't there; says both ways to have NTLM.
        """
        if os.environ.get("NTLM_USER_FILE"):
            raise ConfigurationError(
                "NTLM_USER_FILE is set, and gss-ntlmssp would take its users for the domain's; unset it, or take users "
                "from a file by Acceptor(ntlm_users=…)"
            )
        try:
            winbind = Winbind()
            domain = winbind.domain()
            # no store, and SPNEGO kept to NTLM: anything else lets in Kerberos, or ends the process
            credential = raw.acquire_cred(None, usage="accept", mechs=[_NTLM, _SPNEGO]).creds
            raw.set_neg_mechs(credential, [_NTLM])
        except (ConfigurationError, WinbindError, GSSError) as error:
            raise ConfigurationError(f"no NTLM from the domain here ({error}); {_CURE}") from error
        if not domain:
            raise ConfigurationError(f"winbind is of no domain; {_CURE}")
        self._winbind, self._credential, self.realms = winbind, credential, frozenset({domain})

    def problem(self) -> str | None:
        """What the last step found: asking winbind now could block."""
        return self._problem

    def step(self, context: Context, token: bytes, bindings: bytes | None) -> AcceptResult:
        try:
            _refuse_ntlm_v1(token)
            result = self._step(context, token, bindings)
        except AcceptError as error:
            error.mechanism = "ntlm"
            raise
        except Exception as error:
            refusal = self._translate(error)
            refusal.mechanism = "ntlm"
            raise refusal from error
        self._problem = None
        return result

    def _step(self, context: Context, token: bytes, bindings: bytes | None) -> AcceptResult:
        channel = None if bindings is None else raw.ChannelBindings(application_data=bindings)
        done = raw.accept_sec_context(token, self._credential, context.handle, channel)
        context.handle = done.context
        if done.more_steps:
            return AcceptResult(status=SecStatus.CONTINUE_NEEDED, context=context, token=done.token)
        if done.mech != _NTLM:
            raise AcceptError(SecStatus.LOGON_DENIED, "mechanism-not-allowed", detail="the context isn't NTLM")
        return self._complete(context, done)

    def _complete(self, context: Context, done: Any) -> AcceptResult:
        assert self._winbind is not None
        sids = _sids(raw.inquire_name(done.initiator_name, mech_name=False, attrs=True).attrs)
        if not sids:
            raise AcceptError(
                SecStatus.LOGON_DENIED, "name-unusable", detail="no domain controller said whose log-in it is"
            )
        domain, name = self._winbind.account(sids[0])
        if not (domain and name and f"{domain}{name}".isprintable()) or set(name) & {"\\", "@", "/"}:
            detail = f"the account {sids[0]} has no usable name"
            raise AcceptError(SecStatus.LOGON_DENIED, "name-unusable", detail=detail)
        at_home = domain in self.realms
        principal = f"{domain}\\{name}"
        attributes = ContextFlag(0)
        for bit, flag in _FLAGS:
            if int(done.flags) & bit:
                attributes |= flag
        identity = Identity(
            principal=principal,
            account_id=sids[0] if at_home else principal,
            username=principal,
            realm=domain,
            mechanism="ntlm",
            sid=sids[0] if at_home else None,
            attributes=attributes,
            channel_bound=ContextFlag.CHANNEL_BOUND in attributes,
            is_service=name.endswith("$"),
        )
        return AcceptResult(
            status=SecStatus.OK,
            context=context,
            token=done.token,
            attributes=attributes,
            identity=identity,
            group_sids=_GroupSids(principal, sids[1:], at_home=at_home),
        )

    def _translate(self, error: Exception) -> AcceptError:
        if isinstance(error, MemoryError):
            return AcceptError(SecStatus.INSUFFICIENT_MEMORY, "memory", detail="out of memory")
        if isinstance(error, Incomplete):
            return AcceptError(SecStatus.INCOMPLETE_MESSAGE, "incomplete", detail=str(error))
        if isinstance(error, WireError):
            return AcceptError(SecStatus.INVALID_TOKEN, "malformed", detail=str(error))
        if isinstance(error, WinbindError):
            return self._out_of_order(error)
        if not isinstance(error, GSSError):
            return AcceptError(SecStatus.INTERNAL_ERROR, "internal", detail=f"python-gssapi raised {error!r}")
        words = ", ".join(error.get_all_statuses(error.min_code, False))
        is_defective = error.maj_code >> 16 & 0xFF == _DEFECTIVE_TOKEN
        if is_defective and os.strerror(errno.EACCES) in words:  # the number may be another's: MIT krb5 renumbers
            detail = "the client is bound to another TLS channel, or its message was changed on its way"
            return AcceptError(SecStatus.BAD_BINDINGS, "bad-bindings", detail=detail)
        if is_defective:
            return AcceptError(SecStatus.INVALID_TOKEN, "malformed", detail=f"gss-ntlmssp can't read it ({words})")
        assert self._winbind is not None
        try:
            self._winbind.domain()
        except WinbindError as problem:
            return self._out_of_order(problem)
        return AcceptError(SecStatus.LOGON_DENIED, "ntlm-refused", detail=f"the domain turned the user down ({words})")

    def _out_of_order(self, error: WinbindError) -> AcceptError:
        self._problem = f"winbind can't be asked ({error}); look at winbindd, and at `wbinfo -t`"
        return AcceptError(SecStatus.NO_AUTHENTICATING_AUTHORITY, "winbind", detail=self._problem)


def _refuse_ntlm_v1(token: bytes) -> None:
    """A domain may still take answers that any eavesdropper can undo, and that no channel is bound to."""
    leg = spnego.read(token)
    if isinstance(leg, spnego.Continuation) and leg.mech_token is not None:
        message = ntlm.read_authenticate(leg.mech_token)
        if message.answer is not ntlm.Answer.NTLM_V2:
            detail = f"the client answers by {message.answer.value}; only NTLMv2 is taken"
            raise AcceptError(SecStatus.LOGON_DENIED, "ntlm-v1", detail=detail)
        # a domain controller believes either answer, and the channel is in the newer one alone; who is told the time,
        # as by gss-ntlmssp's challenge, sends zeros here (MS-NLMP 3.1.5.1.2)
        if message.has_lm:
            detail = "the client answers by LM or LMv2 besides, which proves no channel; only NTLMv2 is taken"
            raise AcceptError(SecStatus.LOGON_DENIED, "ntlm-v1", detail=detail)


class _GroupSids:
    """What the domain controller said of the user's groups: ``AcceptResult.group_sids``."""

    __slots__ = ("_at_home", "_principal", "_sids")

    def __init__(self, principal: str, sids: list[str], *, at_home: bool) -> None:
        self._principal = principal
        self._sids = sids
        self._at_home = at_home

    def __call__(self, domain_sid: str | None = None) -> frozenset[str]:
        if domain_sid is None and not self._at_home:
            detail = f"the groups of {self._principal!r} are another domain's; name it, as in PacGroups(realms=…)"
            raise AcceptError(SecStatus.LOGON_DENIED, "groups-missing", detail=detail)
        return frozenset(sid for sid in self._sids if domain_sid in (None, sid.rpartition("-")[0]))


def _sids(attributes: list[bytes]) -> list[str]:
    """The user's SID and then those of the groups; empty where nobody's password was checked by a domain."""
    lists = [name.removeprefix(_SIDS) for name in attributes if name.startswith(_SIDS)]
    return lists[0].rstrip(b"\0").decode("ascii").split(",") if len(lists) == 1 else []
