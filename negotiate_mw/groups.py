"""Which groups a user is in: the seam of ``NegotiateMiddleware(groups=…)``.

Law: groups come from who vouches for the user, are read once for each log-in, and where they can't be had the request
is refused: missing from the ticket is 403, out of order is 503.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

from negotiate_mw import telemetry
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.identity import AcceptResult, Identity
from negotiate_mw.status import SecStatus

WELL_KNOWN: Mapping[str, str] = MappingProxyType(
    {
        "S-1-5-15": "This Organization",
        "S-1-5-1000": "Other Organization",
        "S-1-5-65-1": "This Organization Certificate",
        "S-1-5-21-0-0-0-496": "Compounded Authentication",
        "S-1-5-21-0-0-0-497": "Claims Valid",
        "S-1-18-1": "Authentication Authority Asserted Identity",
        "S-1-18-2": "Service Asserted Identity",
        "S-1-18-3": "Fresh Public Key Identity",
        "S-1-18-4": "Key Trust",
        "S-1-18-5": "Key Property MFA",
        "S-1-18-6": "Key Property Attestation",
    }
)
"""What the SIDs are called that KDCs put into PACs and that mean the same in every domain ([MS-DTYP] 2.4.2.4). Nothing
of ``BUILTIN``, which is another machine's, and no group of a domain, whose name is that domain's to give."""

_NUMBER = "(?:0|[1-9][0-9]{0,9})"
_SID = re.compile(f"S-1-(?:{_NUMBER}|0x[0-9A-F]{{12}})(?:-{_NUMBER}){{1,15}}")
_DOMAIN = re.compile(f"S-1-5-21-{_NUMBER}-{_NUMBER}-{_NUMBER}")
_SID_LIKE = re.compile("s-1-", re.IGNORECASE)
_TAKEN = frozenset(name.casefold() for name in WELL_KNOWN.values())

OfApp = Callable[[Identity], Awaitable[Iterable[str]]]


class Groups(Protocol):
    """Says which groups somebody is in who has just logged in."""

    async def of(self, identity: Identity, result: AcceptResult | None) -> frozenset[str]:
        """The groups of ``identity``.

        Args:
            identity: who may in.
            result: the handshake's last step, which may know of groups; None: another middleware's it was.

        Raises:
            AcceptError: LOGON_DENIED, ``"groups-missing"``: whoever vouches for the user says nothing of groups;
                any other status: they can't be had now.
        """

    async def start(self) -> None:
        """Get ready with the server, or raise ConfigurationError with what to type."""

    async def stop(self) -> None:
        """Give everything back."""


def compile_groups(option: object) -> Groups | None:
    """What ``NegotiateMiddleware(groups=…)`` means.

    Raises:
        ConfigurationError: it is none of what is allowed.
    """
    if option is None:
        return None
    if option == "pac":
        return PacGroups()
    if all(callable(getattr(option, name, None)) for name in ("of", "start", "stop")):
        return option  # type: ignore[return-value] # just asked
    if callable(option):
        return _OfApp(option)
    raise ConfigurationError(
        f'NegotiateMiddleware(groups={option!r}): give "pac", PacGroups(…), LdapGroups(…), or an async function that '
        "takes an Identity and returns names"
    )


class PacGroups:
    """The groups that the ticket itself says, as Active Directory writes them: no network, no directory.

    ::

        NegotiateMiddleware(app, groups=PacGroups(names={"S-1-5-21-1004336348-1177238915-682003330-1106": "HR"}))

    ``Identity.groups`` has the user's own SID, the primary group, the groups (nested ones expanded), domain local
    groups and the SIDs of elsewhere (``sIDHistory``, other domains of the forest), each under its name in ``names`` or
    in ``WELL_KNOWN``, else as SID. They are as they were when the user logged in to the KDC, ten hours ago perhaps.

    Who is believed: the KDC of the keytab's own realms, in all that it says. Any other realm's KDC writes the PACs of
    its users alone, and could claim our own groups for them; so an account of such a realm has groups only if
    ``realms`` lists the realm together with its domain's SID, and then those of that very domain and no others.

    Args:
        names: names of groups, by SID.
        realms: other realms whose users' groups count, each with the SID of its domain:
            ``{"PARTNER.EXAMPLE": "S-1-5-21-3623811015-3361044348-30300820"}``. That they may log in at all is
            ``Policy(realms=…)``.

    Raises:
        ConfigurationError: a key is no SID; a name is empty, looks like a SID, or is that of a well-known one.
    """

    def __init__(self, *, names: Mapping[str, str] | None = None, realms: Mapping[str, str] | None = None) -> None:
        names, realms = _mapping("names", names), _mapping("realms", realms)
        for sid, name in names.items():
            _check_name(sid, name)
        for realm, sid in realms.items():
            if not realm or not _is_sid(sid, _DOMAIN):
                raise ConfigurationError(
                    f"PacGroups(realms=…): {realm!r}: {sid!r} is no realm with its domain's SID; write it as in "
                    '{"PARTNER.EXAMPLE": "S-1-5-21-3623811015-3361044348-30300820"}, which `Get-ADDomain` shows there'
                )
        self._names = {**WELL_KNOWN, **names}
        self._realms = dict(realms)

    async def start(self) -> None:
        """Nothing to get ready."""

    async def stop(self) -> None:
        """Nothing to give back."""

    async def of(self, identity: Identity, result: AcceptResult | None) -> frozenset[str]:
        """Those of the ticket, by name where one was given, else by SID; see ``Groups``."""
        if result is None or result.group_sids is None:
            raise AcceptError(SecStatus.LOGON_DENIED, "groups-missing", detail=_why_none(identity, result))
        sids = set(result.group_sids(self._realms.get(identity.realm)))
        if identity.sid is not None:
            sids.add(identity.sid)
        return frozenset(map(self._names.get, sids, sids))


def _why_none(identity: Identity, result: AcceptResult | None) -> str:
    if result is None:
        return "the ticket was used up by an outer NegotiateMiddleware: give groups=… to that one, and none here"
    if identity.mechanism != "kerberos":
        return f"{identity.principal!r} logged in by {identity.mechanism}, which says nothing of groups"
    return (
        f"the ticket of {identity.principal!r} has no PAC with groups (KERB_VALIDATION_INFO): its realm is no Active "
        "Directory, or its client asked for none"
    )


def _mapping(option: str, given: object) -> Mapping[str, str]:
    given = {} if given is None else given
    if not isinstance(given, Mapping) or not all(isinstance(text, str) for pair in given.items() for text in pair):
        raise ConfigurationError(f"PacGroups({option}={given!r}): give a dict of strings")
    return given


def _check_name(sid: str, name: str) -> None:
    if not _is_sid(sid, _SID):
        raise ConfigurationError(
            f"PacGroups(names=…): {sid!r} is no SID; write all of it, as `Get-ADGroup HR` shows it: "
            '{"S-1-5-21-1004336348-1177238915-682003330-1106": "HR"}'
        )
    if not name.strip() or not name.isprintable():
        raise ConfigurationError(f'PacGroups(names=…): {name!r} is no name for {sid}; write one, such as "HR"')
    if _SID_LIKE.match(name) or name.casefold() in _TAKEN:
        raise ConfigurationError(
            f"PacGroups(names=…): {name!r}, for {sid}, would be taken for another group: it looks like a SID, or is "
            "the name of a well-known one; choose another"
        )


def _is_sid(text: str, form: re.Pattern[str]) -> bool:
    numbers = text.split("-")[3:]
    return form.fullmatch(text) is not None and all(int(number) < 2**32 for number in numbers)


class _OfApp:
    """The app's own function."""

    def __init__(self, function: OfApp) -> None:
        self._function = function

    async def start(self) -> None:
        """Nothing to get ready."""

    async def stop(self) -> None:
        """Nothing to give back."""

    async def of(self, identity: Identity, result: AcceptResult | None) -> frozenset[str]:
        try:
            names = await self._function(identity)
            if isinstance(names, str):
                raise TypeError(f"it returned {names!r}, and not several names")
            groups: frozenset[object] = frozenset(names)  # whatever the app gave us
            if not all(isinstance(name, str) and name for name in groups):
                raise TypeError("it returned something that is no name")
        except Exception as error:
            telemetry.app_failed("NegotiateMiddleware(groups=…)", error)
            detail = f"NegotiateMiddleware(groups=…) raised {type(error).__name__} for {identity.principal!r}"
            raise AcceptError(SecStatus.INTERNAL_ERROR, "groups-failed", detail=detail) from error
        return frozenset(map(str, groups))
