"""Who a finished context proved: the identity, and the rules by which a ticket's name becomes one.

Law: an ``Identity`` is made only from a completed context with a non-empty name, and the name of an Active
Directory ticket is never believed before it was held against the account in the ticket's PAC.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

from negotiate_mw.errors import AcceptError, DelegationError
from negotiate_mw.status import NO_FLAGS, ContextFlag, SecStatus
from negotiate_mw.wire.logon_info import LogonInfo
from negotiate_mw.wire.pac import UpnDnsInfo

if TYPE_CHECKING:
    from negotiate_mw.delegation import Delegated, ServiceTickets

TRANSITED = "urn:mspac:delegation-info"  # a named attribute's name
CLAIMS = "ad-claims/"  # what the names of those begin with that are an Active Directory's claims
_OK = SecStatus.OK  # Python 3.11 takes 0.2 µs to look a member up
NamedAttributes = tuple[tuple[str, tuple[str, ...]], ...]
# First components of names that stand for the realm's own machinery, or for nobody: never somebody who logs in.
_NEVER_A_USER = frozenset({"krbtgt", "kadmin", "kiprop", "k", "wellknown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """An authenticated user, as the app finds it in ``scope["user"]``; has the shape of Starlette's ``BaseUser``.

    Attributes:
        principal: the full name, ``"alice@EXAMPLE.COM"`` or ``"CORP\\alice"``; with a PAC, the account's own name.
        account_id: what to authorise, cache and revoke by: the SID where it is known, else the principal.
        username: the name for people and logs, by ``Policy.username``; an ``Acceptor`` alone leaves the realm off only
            where it is the one realm of its keytab.
        realm: the Kerberos realm or NTLM domain that vouches for the user.
        mechanism: ``"kerberos"``, ``"ntlm"`` or ``"basic"``; ``"dev"`` where ``DevAcceptor`` presumed it.
        groups: the user's groups.
        sid: the account's security identifier, in Active Directory, and where the account is of a realm of the
            keytab's; None elsewhere, since another realm's KDC could say anybody's.
        upn: the account's user principal name (Active Directory only).
        expires_at: when the proof ends (aware, UTC; a Kerberos ticket's end plus the allowed clock skew).
        attributes: what the context established.
        channel_bound: True if client and server proved that they share one TLS channel.
        is_service: True for computers (``pc1$``) and service principals (``host/pc1``).
        named_attributes: what the KDC vouches for beside the name; ask ``attributes_of``.
        claims: reads the ticket's claims, when called, since that takes time; None: there are none to read.
        delegated: the ticket-granting ticket that the user forwarded; None: none, or a session remembered this user, or
            ``Acceptor(delegation=True)`` isn't said.
        service_tickets: the user's tickets to other services; None: a session remembered this user, or the handshake
            took three legs, or ``Acceptor(constrained_delegation=True)`` isn't said.
    """

    principal: str
    account_id: str
    username: str
    realm: str
    mechanism: str
    groups: frozenset[str] = frozenset()
    sid: str | None = None
    upn: str | None = None
    expires_at: datetime | None = None
    attributes: ContextFlag = NO_FLAGS
    channel_bound: bool = False
    is_service: bool = False
    named_attributes: NamedAttributes = ()
    claims: Callable[[], NamedAttributes] | None = field(default=None, repr=False, compare=False)
    delegated: "Delegated | None" = field(default=None, repr=False, compare=False)
    service_tickets: "ServiceTickets | None" = field(default=None, repr=False, compare=False)
    _scopes: tuple[str, ...] = field(default=(), init=False, repr=False, compare=False)  # once somebody asked

    def need_delegated(self) -> "Delegated":
        """``delegated``, where the app can't do without it.

        Raises:
            DelegationError: there is none; says what may be missing.
        """
        if self.delegated is None:
            raise DelegationError(
                "not-delegated",
                f"{self.principal} forwarded no ticket with this request: Acceptor(delegation=True) has to be said, "
                "the ticket be forwardable, the client be set to forward it; and a session doesn't keep it",
            )
        return self.delegated

    def need_service_tickets(self) -> "ServiceTickets":
        """``service_tickets``, where the app can't do without them.

        Raises:
            DelegationError: there are none; says what may be missing.
        """
        if self.service_tickets is None:
            raise DelegationError(
                "not-delegated",
                f"{self.principal} brought no ticket to show for with this request: "
                "Acceptor(constrained_delegation=True) has to be said, and a session doesn't keep it",
            )
        return self.service_tickets

    @property
    def is_lasting(self) -> bool:
        """True if nothing in it ends with the request: no tickets of the user, nor what reads theirs."""
        return self.delegated is None and self.service_tickets is None and self.claims is None

    def without_tickets(self) -> "Identity":
        """Who it is, for whatever outlives the request: a user's tickets don't, so what they say is read now."""
        if self.is_lasting:
            return self
        named = self.named_attributes if self.claims is None else self.named_attributes + self.claims()
        return replace(self, named_attributes=named, claims=None, delegated=None, service_tickets=None)

    @property
    def via(self) -> tuple[str, ...]:
        """The services that got this log-in's ticket on the user's behalf (S4U2Proxy, [MS-PAC] 2.9), the nearest last.

        If there are any, the user may never have authenticated to them. Empty where the ticket says nothing: as with a
        forwarded ticket, and in realms without a PAC.
        """
        return self.attributes_of(TRANSITED)

    def attributes_of(self, name: str) -> tuple[str, ...]:
        """The values of a named attribute (RFC 6680), such as ``"auth-indicators"`` or, of the claims that a user's
        own Active Directory makes, ``"ad-claims/ad://ext/department:88d5d9085ea5c0c0"``; empty if there is none."""
        if self.claims is not None and name.startswith(CLAIMS):
            return dict(self.claims()).get(name, ())
        return dict(self.named_attributes).get(name, ())

    @property
    def scopes(self) -> tuple[str, ...]:
        """What Starlette's ``@requires`` goes by: ``"authenticated"``, the mechanism, ``"group:…"`` for each group."""
        if not self._scopes:
            scopes = ("authenticated", self.mechanism, *[f"group:{name}" for name in self.groups])
            object.__setattr__(self, "_scopes", scopes)
        return self._scopes

    @property
    def is_authenticated(self) -> bool:
        """True, as Starlette's ``BaseUser`` has it."""
        return True

    @property
    def display_name(self) -> str:
        """The name for people: ``username``."""
        return self.username

    @property
    def identity(self) -> str:
        """What to authorise by: ``account_id``."""
        return self.account_id

    @property
    def bare_name(self) -> str:
        """The name without its realm or domain; the whole principal where leaving that off would be ambiguous."""
        return _bare_name(self.principal, self.realm)


class Anonymous:
    """Nobody: in ``scope["user"]`` where no authentication was asked for; has the shape of Starlette's ``BaseUser``."""

    __slots__ = ()
    is_authenticated = False
    display_name = ""
    identity = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Anonymous)

    def __hash__(self) -> int:
        return hash(Anonymous)

    def __repr__(self) -> str:
        return "Anonymous()"


class GroupSids(Protocol):
    """Reads the groups that a ticket's PAC says its account is in (see ``vouched_groups``)."""

    def __call__(self, domain_sid: str | None = None) -> frozenset[str]:
        """The groups' SIDs.

        Args:
            domain_sid: the SID of the domain whose groups are wanted; a must for accounts of a realm that isn't one of
                the keytab's. None: all.

        Raises:
            AcceptError: LOGON_DENIED, ``"groups-missing"``: the PAC says nothing that can be believed;
                ``"name-mismatch"``: it is another account's. INTERNAL_ERROR: the library can't read it.
        """


@dataclass(slots=True, kw_only=True)  # not frozen, since each log-in makes one, and that would take it 0.7 µs more
class AcceptResult:
    """One successful accept step (what ``AcceptSecurityContext`` returns through its out-parameters).

    Attributes:
        status: ``OK`` or ``CONTINUE_NEEDED``.
        context: the handle for the next leg.
        token: what to send to the initiator (``pOutput``); None if the mechanism has nothing to say.
        attributes: final once ``status`` is ``OK`` (``pfContextAttr``).
        expires_at: when the context ends, aware and in UTC (``ptsExpiry``); None if it doesn't.
        identity: who it is; there exactly if ``status`` is ``OK``.
        group_sids: reads the SIDs of the user's groups from the ticket, when called, since that takes time; None: there
            are none to read.
    """

    status: SecStatus
    context: object
    token: bytes | None = field(default=None, repr=False)
    attributes: ContextFlag = NO_FLAGS
    expires_at: datetime | None = None
    identity: Identity | None = None
    group_sids: "GroupSids | None" = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.status is _OK) is not (self.identity is not None):
            raise ValueError("a result has an identity exactly if its status is OK")

    def __repr__(self) -> str:
        return f"AcceptResult(status={self.status.name}, identity={self.identity!r})"


class Account(NamedTuple):
    """The account behind a Kerberos ticket's name."""

    principal: str
    realm: str
    sid: str | None
    upn: str | None
    is_service: bool

    @property
    def bare_name(self) -> str:
        return _bare(self.principal)


@lru_cache(maxsize=1024)
def _bare_name(principal: str, realm: str) -> str:
    if not principal.endswith(f"@{realm}"):  # CORP\\alice
        return principal.removeprefix(f"{realm}\\")
    return _bare(principal)


def _bare(principal: str) -> str:
    name = principal.rpartition("@")[0]
    return principal if "\\" in name or "/" in name else name


def parse_principal(text: str) -> tuple[tuple[str, ...], str]:
    r"""Take an unparsed principal (``krb5_unparse_name``) apart into its components and its realm.

    A backslash quotes: ``\/`` and ``\@`` are plain characters of a component, ``\n``, ``\t``, ``\b`` and ``\0``
    stand for control characters.

    Raises:
        AcceptError: LOGON_DENIED, ``"name-unusable"``: no realm, an empty part, or a character that isn't printable, or
            a space at the end of a part.
    """
    if "\\" not in text:
        name, at, realm = text.partition("@")
        if _is_plain(name) and at and _is_plain(realm) and "@" not in realm and "/" not in text:
            return (name,), realm
    return _parse_quoted(text)


def _parse_quoted(text: str) -> tuple[tuple[str, ...], str]:
    parts, separators, letters = [""], "", iter(text)
    for letter in letters:
        if letter == "\\":
            letter = next(letters, "\n")
            # only printable characters can stay: \n, \t, \b and \0 are refused below with the bare ones
            parts[-1] += "\n" if letter in "ntb0" else letter
        elif letter == "@" or (letter == "/" and "@" not in separators):
            separators += letter
            parts.append("")
        else:
            parts[-1] += letter
    usable = all(map(_is_plain, parts)) and not set(parts[-1]) & {"@", "\\"}
    if separators.count("@") != 1 or not usable:
        raise AcceptError(
            SecStatus.LOGON_DENIED, "name-unusable", detail=f"the ticket's name {text!r} has no usable form"
        )
    return tuple(parts[:-1]), parts[-1]


def _is_plain(part: str) -> bool:
    """True for printable text without spaces at its ends, which get lost in headers, and with them who that is."""
    return part.isprintable() and part.strip() == part != ""


def account_of(ticket_name: str, info: UpnDnsInfo | None) -> Account:
    """Say which account a Kerberos ticket stands for.

    Any user of an Active Directory may own an account whose tickets bear another account's name, so where the
    PAC says whose ticket it is ([MS-PAC] 2.10), the ticket's name has to be that account's name or UPN, and
    principal and SID are taken from there.

    Args:
        ticket_name: the initiator's name as the library prints it, ``"alice@EXAMPLE.COM"``.
        info: the PAC's UPN_DNS_INFO; None only if the ticket has none.

    Raises:
        AcceptError: LOGON_DENIED with ``"name-unusable"``, ``"name-forbidden"`` (``krbtgt``, ``kadmin``, anonymous)
            or ``"name-mismatch"``.
    """
    components, realm = parse_principal(ticket_name)
    name = "/".join(components)
    is_service = len(components) > 1 or name.endswith("$")
    if info is None:
        account, sid, upn = ticket_name, None, None
    else:
        account, sid, upn = _matching_account(name, realm, info)
        is_service = is_service or account.endswith("$")
        account = f"{account}@{realm}"
    first = components[0].casefold()
    if "krbtgt" in (first, account.partition("@")[0].casefold()) or (len(components) > 1 and first in _NEVER_A_USER):
        raise AcceptError(
            SecStatus.LOGON_DENIED, "name-forbidden", detail=f"{ticket_name!r} is never somebody who logs in"
        )
    return Account(principal=account, realm=realm, sid=sid, upn=upn, is_service=is_service)


def _matching_account(name: str, realm: str, info: UpnDnsInfo) -> tuple[str, str | None, str]:
    account = info.sam_account_name
    if account is None and info.upn_constructed:
        # [MS-PAC] 2.10: without a UPN of its own, the account's UPN is made of its name and its domain.
        account = info.upn.rpartition("@")[0]
    known = {info.upn.casefold(), *([account.casefold()] if account else [])}
    if not account or not _is_plain(account) or "@" in account or "/" in account or "\\" in account:
        raise AcceptError(
            SecStatus.LOGON_DENIED,
            "name-mismatch",
            detail=f"the ticket says {name!r}, and its PAC (UPN {info.upn!r}) has no account name to check it by",
        )
    if name.casefold() not in known and f"{name}@{realm}".casefold() not in known:
        raise AcceptError(
            SecStatus.LOGON_DENIED,
            "name-mismatch",
            detail=f"the ticket says {name!r}, but its account is {account!r} (UPN {info.upn!r})",
        )
    return account, info.sid, info.upn


def vouched_groups(
    account: Account, info: LogonInfo, *, at_home: bool, domain_sid: str | None = None
) -> frozenset[str]:
    """The groups of an account, as far as whoever says so may be believed.

    The KDC of a keytab's own realm may say anything. Any other realm's KDC wrote the PAC of its users alone, and could
    have put our administrators' SIDs into it, as theirs or as their groups; whether our KDC filtered that can't be
    seen. So of such a PAC count the groups of that realm's own domain and no others: none of our domain, none of a
    third one, none of ``BUILTIN``, no well-known ones; and what its domain's SID is has to be known beforehand.

    Args:
        account: who ``account_of`` found.
        info: the PAC's KERB_VALIDATION_INFO.
        at_home: the account's realm is one of the keytab's.
        domain_sid: the SID of the domain whose groups are wanted; None: all.

    Raises:
        AcceptError: LOGON_DENIED, ``"name-mismatch"``: the groups are another account's; ``"groups-missing"``: nothing
            that its KDC says can be believed.
    """
    if account.sid is not None:
        is_same = account.sid == info.user_sid
    else:  # domain controllers before late 2021 don't say whose SID it is
        is_same = account.bare_name.casefold() == info.account_name.casefold()
    if not is_same:
        raise AcceptError(
            SecStatus.LOGON_DENIED,
            "name-mismatch",
            detail=f"the account is {account.principal!r} ({account.sid}), but the ticket's groups are those of "
            f"{info.account_name!r} ({info.user_sid})",
        )
    if domain_sid is None and at_home:
        return info.group_sids()
    problem = None
    if domain_sid is None:
        problem = f"could claim any; name its domain, as in PacGroups(realms={{{account.realm!r}: 'S-1-5-21-…'}})"
    elif info.user_sid.rpartition("-")[0] != domain_sid:
        problem = f"says that it is {info.user_sid}, which is not of {domain_sid}"
    if problem:
        detail = f"the groups of {account.principal!r}: the KDC of {account.realm} {problem}"
        raise AcceptError(SecStatus.LOGON_DENIED, "groups-missing", detail=detail)
    return frozenset(sid for sid in info.group_sids() if sid.rpartition("-")[0] == domain_sid)
