"""Kerberos through the system's GSS-API library and its own SPNEGO (python-gssapi's raw calls).

Law: one credential, or one for each of several names, which accepts and does nothing else, is shared by all handshakes
and takes the one mechanism that it is told; each finished context is held against that rule again. Every error of the
library is translated in ``_translate`` and nowhere else.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from time import monotonic, time
from typing import Any, TypeVar

try:
    from gssapi import Credentials, raw
    from gssapi.raw.misc import GSSError
except ImportError as _error:
    from negotiate_mw.extras import to_install

    raise ImportError(f"Kerberos needs python-gssapi: {to_install('kerberos')}") from _error

from negotiate_mw import telemetry
from negotiate_mw.backends import Context, Holdings
from negotiate_mw.backends.keytab import Keytab
from negotiate_mw.backends.replay_file import ReplayFile
from negotiate_mw.delegation import CacheFiles, Delegated, ServiceAccount, ServiceTickets
from negotiate_mw.errors import AcceptError, ConfigurationError, DelegationError
from negotiate_mw.identity import (
    CLAIMS,
    TRANSITED,
    AcceptResult,
    Account,
    Identity,
    NamedAttributes,
    account_of,
    parse_principal,
    vouched_groups,
)
from negotiate_mw.status import ContextFlag, SecStatus
from negotiate_mw.wire import der, spnego
from negotiate_mw.wire.ccache import Principal
from negotiate_mw.wire.claims import read_claims
from negotiate_mw.wire.composite_name import read_composite_name
from negotiate_mw.wire.delegation_info import read_delegation_info
from negotiate_mw.wire.errors import WireError
from negotiate_mw.wire.kerberos import krb_error_code, read_ap_req, read_ticket, unparse
from negotiate_mw.wire.logon_info import read_logon_info
from negotiate_mw.wire.pac import read_upn_dns_info
from negotiate_mw.wire.spnego import KRB5, SPNEGO

T = TypeVar("T")

_KRB5 = raw.OID(elements=der.encode_oid(KRB5))
_SPNEGO = raw.OID(elements=der.encode_oid(SPNEGO))
_MOST_KEPT = 4096  # bytes of an exported name; with hundreds of groups it is longer
_GSSPROXY = Path("/etc/gss/mech.d/proxymech.conf")  # without it, GSS_USE_PROXY asks nobody
_UPN_DNS_INFO = b"urn:mspac:upn-dns-info"
_LOGON_INFO = b"urn:mspac:logon-info"
_CLAIMS = b"urn:mspac:13"  # PAC_CLIENT_CLAIMS_INFO, for which krb5 has no name
_INDICATORS = b"auth-indicators"
_TRANSITED = TRANSITED.encode()
_OK = SecStatus.OK  # Python 3.11 takes 0.2 µs to look a member up
_MAX_REALMS = 1000  # that we remember something of; a forest has dozens
_UNAVAILABLE = 16  # GSS_S_UNAVAILABLE (RFC 2744 3.9.1); what its minor status says is an earlier call's
_REREAD_SECONDS = 1.0  # as often as the library looks whether krb5.conf itself is another one
_COMPLETED, _REJECTED = 0, 2  # negState (RFC 4178 4.2.2)
_CHANNEL_BOUND = 2048  # GSS_C_CHANNEL_BOUND_FLAG (MIT krb5 1.19)

# RFC 2744 flag bits -> ours
_FLAGS = (
    (1, ContextFlag.DELEGATE),
    (2, ContextFlag.MUTUAL_AUTH),
    (4, ContextFlag.REPLAY_DETECT),
    (8, ContextFlag.SEQUENCE_DETECT),
    (16, ContextFlag.CONFIDENTIALITY),
    (32, ContextFlag.INTEGRITY),
    (8192, ContextFlag.IDENTIFY),
    (_CHANNEL_BOUND, ContextFlag.CHANNEL_BOUND),
)
_KNOWN_FLAGS = sum(bit for bit, _ in _FLAGS)

# RFC 4120 7.5.9 error codes that the library tells the client -> what we tell the operator
_BY_KRB_ERROR = {
    31: (SecStatus.LOGON_DENIED, "wrong-key", "the ticket or its authenticator doesn't decrypt with the keytab's key"),
    32: (SecStatus.CONTEXT_EXPIRED, "ticket-expired", "the ticket has ended"),
    33: (SecStatus.TIME_SKEW, "clock-skew", "the ticket isn't valid yet by this machine's clock"),
    34: (SecStatus.LOGON_DENIED, "replay", "this authenticator was accepted before"),
    35: (SecStatus.WRONG_PRINCIPAL, "wrong-principal", "the ticket is for another name than this acceptor's"),
    37: (SecStatus.TIME_SKEW, "clock-skew", "the client's clock and this machine's differ too much"),
    41: (SecStatus.LOGON_DENIED, "wrong-key", "the authenticator was changed on its way"),
    44: (SecStatus.LOGON_DENIED, "no-key", "the keytab has no key of the ticket's version"),
    45: (SecStatus.LOGON_DENIED, "no-key", "the keytab has no key for the ticket"),
}
# RFC 2744 3.9.1 routine errors, in the upper half of the major status
_BY_ROUTINE_ERROR = {
    4: (SecStatus.BAD_BINDINGS, "bad-bindings", "the client is bound to another TLS channel"),
    9: (SecStatus.INVALID_TOKEN, "malformed", "the library can't read the token"),
    12: (SecStatus.CONTEXT_EXPIRED, "ticket-expired", "the ticket has ended"),
}
# No client has a part in these; the system's own words come through the library as they are.
_OF_THIS_MACHINE = frozenset(
    {
        "Improper format of Kerberos configuration file",
        "Can't open/find Kerberos configuration file",
        *map(os.strerror, (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOLCK)),
        *map(os.strerror, (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE)),
    }
)
_REFUSED = (SecStatus.LOGON_DENIED, "refused", "the library refused the token")


class GssapiBackend:
    """Accepts Kerberos, raw or inside SPNEGO.

    Args:
        service: first component of our names, ``"HTTP"``.
        hosts: hosts whose names we answer to; empty: any host that the keytab has a key for.
        of_request: of these, only to the one that the request asks for.
        keytab: the file with our keys; None: ``KRB5_KTNAME``, else ``/etc/krb5.keytab``.
        rcache: see ``ReplayFile``.
        delegation: where caches of forwarded tickets go; None: forwarded tickets are dropped.
        constrained_delegation: where those of service tickets go; None: none are got.
    """

    def __init__(
        self,
        *,
        service: str,
        hosts: Sequence[str],
        of_request: bool = False,
        keytab: str | os.PathLike[str] | None,
        rcache: str | os.PathLike[str] | None,
        delegation: CacheFiles | None = None,
        constrained_delegation: CacheFiles | None = None,
    ) -> None:
        self._service = service
        self._hosts = frozenset(f"{service}/{host}".encode() for host in hosts)
        self._of_request = of_request
        self._keytab = Keytab(keytab, service)
        self._replay_file = ReplayFile(rcache)
        self._delegation = delegation
        self._account = (
            None if constrained_delegation is None else ServiceAccount(self._keytab.path, constrained_delegation)
        )
        self._credential: Any = None
        self._named: dict[str, Any] = {}  # where there are several names: the credential of each, by its principal
        self._realms_with_pac: set[str] = set()
        self._exports_names = True  # in a layout that we know
        # gssproxy answers from another process
        self.may_block: bool = os.environ.get("GSS_USE_PROXY", "").lower() in ("1", "yes", "true", "on")

    @property
    def realms(self) -> frozenset[str]:
        self._keytab.problem()
        return self._keytab.realms

    def acquire(self) -> None:
        """Probe what the library would find out only at the first log-in, then acquire the shared credential.

        Raises:
            ConfigurationError: keytab or replay cache can't be used, or the library refuses them.
        """
        if problem := self._keytab.look_again() or self._replay_file.problem():
            raise ConfigurationError(problem)
        if missing := self._hosts - {entry.principal.encode() for entry in self._keytab.entries}:
            names = b", ".join(sorted(missing)).decode()
            raise ConfigurationError(
                f"the keytab {str(self._keytab.path)!r} holds no key of {names}; export one, or correct "
                "Acceptor(hostname=…)"
            )
        with contextlib.suppress(OSError):
            self._replay_file.create()  # what went wrong is said at the first log-in, and by ready()
        if not self._replay_file.is_known:
            telemetry.warned(
                "replay-cache-unchecked",
                f'the replay cache is {self._replay_file.store_value!r}: with "none:", whoever copies a token can log '
                "in with it again; name a directory, Acceptor(rcache=…), to have it checked",
            )
        store: dict[bytes | str, bytes | str] = {
            b"keytab": os.fsencode(self._keytab.path),
            b"rcache": os.fsencode(self._replay_file.store_value),
        }
        name = self._service if len(self._hosts) != 1 else f"{self._service}@{self._only_host()}"
        entries = [entry for entry in self._keytab.entries if entry.principal.encode() in self._hosts]
        ours = {f"{entry.principal}@{entry.realm}" for entry in entries}
        try:
            self._credential = _accepting(name, raw.NameType.hostbased_service, store)
            if len(self._hosts) > 1:
                self._named = {spn.lower(): _accepting(spn, raw.NameType.kerberos_principal, store) for spn in ours}
        except GSSError as error:
            refuses = f"the Kerberos library refuses {str(self._keytab.path)!r} ({error})"
            raise ConfigurationError(_of_this_machine(error) or refuses) from error

    def problem(self) -> str | None:
        return self._keytab.problem() or self._replay_file.problem()

    def holdings(self) -> Holdings:
        """What there is to accept with; looks at the replay cache's lock, so not for the event loop."""
        return Holdings(
            service=self._service,
            hosts=frozenset(map(bytes.decode, self._hosts)),
            keytab=str(self._keytab.path),
            entries=self._keytab.entries,
            locked_replay_file=self._replay_file.locked(),
            uses_gssproxy=self.may_block and _GSSPROXY.exists(),
        )

    def step(self, context: Context, token: bytes, bindings: bytes | None) -> AcceptResult:
        channel = None if bindings is None else raw.ChannelBindings(application_data=bindings)
        opening = context.opening
        # the library takes a tenth longer with SPNEGO, which has nothing to negotiate where Kerberos comes first
        chosen = opening.mechanisms[0] if opening is not None and opening.kerberos_at else None
        try:
            inner = token if opening is None or chosen is None else token[opening.kerberos_at :]
            credential = self._credential_for(inner) if self._named else self._credential
            done = _LATEST.accept(inner, credential, context.handle, channel)
            context.handle = done.context
            if not done.more_steps:
                return self._complete(context, done, token, chosen)
            if chosen is None and spnego.read(token).wrapping is spnego.Wrapping.SPNEGO:
                return AcceptResult(status=SecStatus.CONTINUE_NEEDED, context=context, token=done.token)
            raise AcceptError(SecStatus.INVALID_TOKEN, "malformed", detail="Kerberos that wants more than one leg")
        except AcceptError:
            raise
        except Exception as error:
            raise self._translate(error, chosen) from error  # kept in no name, or it would keep this frame alive

    async def impersonate(self, principal: str) -> ServiceTickets:
        """See ``Acceptor.impersonate``."""
        assert self._account is not None
        if problem := self._keytab.problem():
            raise DelegationError("failed", problem)
        return await self._account.impersonate(principal, we=self._own_name(None))

    def _credential_for(self, token: bytes) -> Any:
        """The one for the very name that a leg's ticket is for.

        Names of one account share its key, and without a name the library takes the first that this key fits. Which one
        the ticket is for stands there in clear: that chooses among our names, and proves nothing.

        Raises:
            AcceptError: WRONG_PRINCIPAL: it is for none of them.
        """
        try:
            asked = read_ap_req(spnego.read(token).mech_token or b"")
        except WireError:
            return self._credential  # a leg without a ticket; and what is broken, the library refuses
        if (credential := self._named.get(asked.spn.lower())) is not None:
            return credential
        name = unparse(asked.service)
        if name.lower().encode() not in map(bytes.lower, self._hosts):
            raise AcceptError(SecStatus.WRONG_PRINCIPAL, "wrong-principal", detail=f"the ticket is for {name!r}")
        return self._credential  # another realm's key may have come since

    def _complete(self, context: Context, done: Any, token: bytes, chosen: str | None) -> AcceptResult:
        if done.mech != _KRB5:
            raise AcceptError(SecStatus.LOGON_DENIED, "mechanism-not-allowed", detail="the context isn't Kerberos")
        if self._hosts:
            self._check_target(done.context, context.host)
        initiator = done.initiator_name
        # what there is to ask for, since the binding puts an error into words at once: half as long as a log-in
        name, listed = self._printed_and_listed(initiator)
        info = _verified(initiator, _UPN_DNS_INFO) if _UPN_DNS_INFO in listed else None
        # the library counts in seconds too, so all log-ins with one ticket end at the same
        ends = None if done.lifetime is None else int(time()) + done.lifetime
        named = _named_attributes(initiator, listed) if _INDICATORS in listed or _TRANSITED in listed else ()
        realms = self._keytab.realms
        identity = _identity(name, info, int(done.flags) & _KNOWN_FLAGS, ends, named, realms)
        self._hold_to_pac(identity)
        # another realm's KDC could claim anything; and without a UPN_DNS_INFO it isn't said whose claims they are
        if info is not None and _CLAIMS in listed and identity.realm in realms:
            identity = replace(identity, claims=_Claims(initiator, identity.principal))
        if self._delegation is not None or self._account is not None:
            identity = replace(
                identity,
                delegated=None if self._delegation is None else _forwarded(done, self._delegation),
                service_tickets=None if self._account is None else self._evident(self._account, name, token, done),
            )
        return AcceptResult(
            status=_OK,
            context=context,
            token=done.token if chosen is None else spnego.answer(_COMPLETED, chosen, done.token),
            attributes=identity.attributes,
            expires_at=identity.expires_at,
            group_sids=_GroupSids(initiator, name, info, realms) if _LOGON_INFO in listed else None,
            identity=identity,
        )

    def _printed_and_listed(self, name: Any) -> tuple[bytes, Collection[bytes]]:
        """The name as the library prints it, and its attributes; by one call where that can be read, since each of the
        library's calls about a name makes a Kerberos context of its own."""
        if self._exports_names:
            try:
                exported = raw.export_name_composite(name)
                return _of_ticket(exported) if len(exported) <= _MOST_KEPT else read_composite_name(exported)
            except (GSSError, WireError):  # another version of the library, or a plugin of it writes there too
                self._exports_names = False  # from now on, or each log-in would take a call more
        return raw.display_name(name, False).name, raw.inquire_name(name, mech_name=False, attrs=True).attrs

    def _hold_to_pac(self, identity: Identity) -> None:
        """A realm that tells whose account a ticket is does so for each; a client can only ask it not to."""
        if identity.upn is not None:
            if len(self._realms_with_pac) < _MAX_REALMS:
                self._realms_with_pac.add(identity.realm)
        elif identity.realm in self._realms_with_pac:
            raise AcceptError(
                SecStatus.LOGON_DENIED,
                "pac-missing",
                detail=f"the ticket of {identity.principal!r} has no PAC with its account, as others of its realm have",
            )

    def _check_target(self, handle: Any, host: str | None) -> None:
        """krb5.conf's ``ignore_acceptor_hostname`` would undo the host part of our name; this doesn't let it."""
        target: Any = raw.inquire_context(handle, target_name=True).target_name
        name = raw.display_name(target, False).name.rpartition(b"@")[0]
        detail = f"the ticket is for {name.decode(errors='replace')!r}"
        if name not in self._hosts:
            raise AcceptError(SecStatus.WRONG_PRINCIPAL, "wrong-principal", detail=detail)
        if self._of_request and name.decode().partition("/")[2].lower() != host:
            detail += f", the request asks for {host!r}; a proxy has to hand on the Host header as it came"
            raise AcceptError(SecStatus.WRONG_PRINCIPAL, "wrong-host", detail=detail)

    def _evident(self, account: ServiceAccount, name: bytes, token: bytes, done: Any) -> ServiceTickets | None:
        """What the ticket that was just accepted is good for; None where it came in an earlier leg."""
        try:
            leg = spnego.read(token)
            ticket, spn = read_ticket(leg.mech_token or b""), read_ap_req(leg.mech_token or b"").spn
        except WireError:
            return None
        components, realm = parse_principal(_printed(name))
        # the library and the KDC hold this name against the ticket's: another's ticket is of no use under it
        user = Principal(_octets(realm), tuple(map(_octets, components)))
        end = int(time() + (done.lifetime or 0))
        return account.proxy(ticket, we=self._own_name(spn), user=user, end=end)

    def _own_name(self, spn: str | None) -> str:
        """Whom we ask the KDC as: the one account of the keytab, else who a ticket is for, else our first name."""
        entries = self._keytab.entries
        accounts = {f"{entry.principal}@{entry.realm}" for entry in entries if len(entry.components) == 1}
        if len(accounts) == 1:
            return accounts.pop()
        ours = [f"{entry.principal}@{entry.realm}" for entry in entries if entry.components[0] == self._service]
        return spn if spn and (spn in ours or not ours) else ours[0]

    def _only_host(self) -> str:
        (name,) = self._hosts
        return name.decode().partition("/")[2]

    def _translate(self, error: Exception, chosen: str | None) -> AcceptError:
        if isinstance(error, MemoryError):
            return AcceptError(SecStatus.INSUFFICIENT_MEMORY, "memory", detail="out of memory")
        if isinstance(error, WireError):  # of a later leg, which the library reads less strictly
            return AcceptError(SecStatus.INVALID_TOKEN, "malformed", detail=str(error))
        if not isinstance(error, GSSError):
            return AcceptError(SecStatus.INTERNAL_ERROR, "internal", detail=f"python-gssapi raised {error!r}")
        token = error.token or None
        known = _BY_ROUTINE_ERROR.get(error.maj_code >> 16 & 0xFF)
        if known is None:
            known = _BY_KRB_ERROR.get(_krb_error_code(token), _REFUSED)
        status, reason, detail = known
        if token is not None and chosen is not None:
            token = spnego.answer(_REJECTED, chosen, token)
        if reason in ("no-key", "refused"):
            # it may be our own fault, which is not the client's to answer for
            if problem := self._keytab.look_again():
                return AcceptError(SecStatus.NO_CREDENTIALS, "keytab", detail=problem, token=token)
            if problem := self._replay_file.problem():
                return AcceptError(SecStatus.INTERNAL_ERROR, "replay-cache", detail=problem, token=token)
            if problem := _of_this_machine(error):
                return AcceptError(SecStatus.INTERNAL_ERROR, "library", detail=problem, token=token)
        return AcceptError(status, reason, detail=f"{detail} [{error.gen_message()}]", token=token)


def _accepting(name: str, kind: Any, store: dict[bytes | str, bytes | str]) -> Any:
    """A credential that accepts tickets for ``name``, and takes no mechanism but Kerberos.

    Raises:
        GSSError: the library can't.
    """
    acceptor = raw.import_name(name.encode(), kind)
    # SPNEGO has to be asked for beside Kerberos, and then kept from negotiating whatever else is installed.
    # Kerberos alone before: where it fails beside SPNEGO, the library goes on without it.
    raw.acquire_cred_from(store, acceptor, usage="accept", mechs=[_KRB5])
    credential = raw.acquire_cred_from(store, acceptor, usage="accept", mechs=[_KRB5, _SPNEGO]).creds
    raw.set_neg_mechs(credential, [_KRB5])
    return credential


def _of_this_machine(error: GSSError) -> str | None:
    """What keeps the library from working, as one sentence; None if that isn't known."""
    for words in error.get_all_statuses(error.min_code, False):
        if words in _OF_THIS_MACHINE:
            conf = os.environ.get("KRB5_CONFIG") or "/etc/krb5.conf"
            return (
                f"the Kerberos library can't work on this machine ({words}); look at {conf}, the replay cache's disk "
                "and the limit of open files"
            )
    return None


def _krb_error_code(token: bytes | None) -> int:
    """RFC 4120's error code: from the error token, since SPNEGO renumbers the minor status; 0 if there is none."""
    try:
        return (krb_error_code(token) if token else None) or 0
    except WireError:
        return 0


def _printed(name: bytes) -> str:
    """The library's name as text; what isn't UTF-8 becomes unprintable, and with that nobody's name."""
    return name.decode("utf-8", "surrogateescape")


class _Latest:
    """Keeps the last context of this process until the next: while any lives, the library needn't read krb5.conf again.

    It looks whether that file is another one, but not at those that it includes (``/etc/krb5.conf.d``); so once in
    ``_REREAD_SECONDS`` none is kept, and all of them are read. One for all acceptors: each would keep the others' file.
    """

    __slots__ = ("_context", "_until")

    def __init__(self) -> None:
        self._context: Any = None
        self._until = 0.0

    def accept(self, token: bytes, credential: Any, context: Any, channel: Any) -> Any:
        """One leg, by the library."""
        if (now := monotonic()) >= self._until:
            self._context, self._until = None, now + _REREAD_SECONDS
        done = raw.accept_sec_context(token, credential, context, channel)
        self._context = done.context
        return done


_LATEST = _Latest()


class _GroupSids:
    """Reads the groups out of a ticket's PAC when called: ``AcceptResult.group_sids``."""

    __slots__ = ("_info", "_name", "_realms", "_ticket_name")

    def __init__(self, name: Any, ticket_name: bytes, info: bytes | None, realms: frozenset[str]) -> None:
        self._name = name
        self._ticket_name = ticket_name
        self._info = info
        self._realms = realms

    def __call__(self, domain_sid: str | None = None) -> frozenset[str]:
        try:
            buffer = _vouched(self._name, _LOGON_INFO)
            if buffer is None:
                raise _no_groups("the ticket's PAC isn't verified")
            logon = read_logon_info(buffer)
        except GSSError as error:
            raise AcceptError(SecStatus.INTERNAL_ERROR, "groups-failed", detail=f"the library says {error}") from error
        except WireError as error:
            raise _no_groups(f"the ticket's PAC can't be read: KERB_VALIDATION_INFO, {error}") from error
        account = _account(self._ticket_name, self._info)
        return vouched_groups(account, logon, at_home=account.realm in self._realms, domain_sid=domain_sid)


class _Claims:
    """Reads the claims out of a ticket's PAC when first called: ``Identity.claims``."""

    __slots__ = ("_name", "_owner", "_read")

    def __init__(self, name: Any, owner: str) -> None:
        self._name = name
        self._owner = owner
        self._read: NamedAttributes | None = None

    def __call__(self) -> NamedAttributes:
        if self._read is None:
            self._read = ()
            try:
                buffer = _vouched(self._name, _CLAIMS)
                if buffer is not None:
                    self._read = tuple([(CLAIMS + name, values) for name, values in read_claims(buffer)])
            except (GSSError, WireError) as error:
                telemetry.warned(
                    "claims-unreadable", f"the claims in the ticket of {self._owner!r} don't count: {error}"
                )
        return self._read

    def __reduce__(self) -> tuple[Any, ...]:
        """Copied or pickled, they are what was read, since the name of the library can't be."""
        return partial, (tuple, self())


_of_ticket = lru_cache(maxsize=256)(read_composite_name)  # the same for each log-in with one ticket


def _no_groups(detail: str) -> AcceptError:
    return AcceptError(SecStatus.LOGON_DENIED, "groups-missing", detail=detail)


def _named_attributes(name: Any, listed: Collection[bytes]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What the KDC vouches for beside the name: how the user logged in to it (RFC 8129), and through whom they came."""
    named: tuple[tuple[str, tuple[str, ...]], ...] = ()
    if _INDICATORS in listed:
        found = raw.get_name_attribute(name, _INDICATORS)
        if found.authenticated:
            named = ((_INDICATORS.decode(), tuple(_printed(value) for value in found.values)),)
    if _TRANSITED in listed:
        named += ((TRANSITED, _read(_verified(name, _TRANSITED), _TRANSITED, read_delegation_info)),)
    return named


def _verified(name: Any, attribute: bytes) -> bytes:
    """A buffer of the ticket's PAC, if the KDC's signature on it was verified."""
    buffer = _vouched(name, attribute)
    if buffer is None:
        raise AcceptError(SecStatus.LOGON_DENIED, "name-mismatch", detail="the ticket's PAC isn't verified")
    return buffer


def _vouched(name: Any, attribute: bytes) -> bytes | None:
    """A buffer of the ticket's PAC; None if its signature wasn't verified."""
    try:
        found = raw.get_name_attribute(name, attribute)
    except GSSError as error:
        if error.maj_code >> 16 & 0xFF != _UNAVAILABLE:  # MIT krb5 hides the buffers of a PAC that doesn't verify
            raise
        return None
    return found.values[0] if found.authenticated else None


def _read(buffer: bytes, attribute: bytes, reader: Callable[[bytes], T]) -> T:
    try:
        return reader(buffer)
    except WireError as error:
        part = attribute.rpartition(b":")[2].decode().upper().replace("-", "_")
        detail = f"the ticket's PAC can't be read: {part}, {error}"
        raise AcceptError(SecStatus.LOGON_DENIED, "name-mismatch", detail=detail) from error


def _account(name: bytes, info: bytes | None) -> Account:
    return account_of(_printed(name), None if info is None else _read(info, _UPN_DNS_INFO, read_upn_dns_info))


# the same for each log-in with one ticket; what comes here was signed by a KDC that we trust
@lru_cache(maxsize=1024)
def _identity(
    name: bytes, info: bytes | None, flags: int, ends: int | None, named: NamedAttributes, realms: frozenset[str]
) -> Identity:
    account = _account(name, info)
    at_home = account.realm in realms
    sid = account.sid if at_home else None  # a realm of elsewhere might say anybody's
    return Identity(
        principal=account.principal,
        account_id=sid or account.principal,
        username=account.bare_name if at_home and len(realms) == 1 else account.principal,
        realm=account.realm,
        mechanism="kerberos",
        sid=sid,
        upn=account.upn,
        expires_at=None if ends is None else datetime.fromtimestamp(ends, UTC),
        attributes=_attributes(flags),
        channel_bound=bool(flags & _CHANNEL_BOUND),
        is_service=account.is_service,
        named_attributes=named,
    )


def _forwarded(done: Any, files: CacheFiles) -> Delegated | None:
    """The ticket that the client sent along, if it bears the client's own name: what is written beside it is theirs."""
    if done.delegated_creds is None:
        return None
    owner = raw.inquire_cred(done.delegated_creds, lifetime=False, usage=False, mechs=False).name
    if owner is None or raw.display_name(owner, False).name != raw.display_name(done.initiator_name, False).name:
        return None
    return Delegated(Credentials(done.delegated_creds), files)


def _octets(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _attributes(flags: int) -> ContextFlag:
    attributes = ContextFlag(0)
    for bit, flag in _FLAGS:
        if flags & bit:
            attributes |= flag
    return attributes
