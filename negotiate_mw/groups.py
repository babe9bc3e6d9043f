"""Which groups a user is in: the seam of ``NegotiateMiddleware(groups=…)``.

Law: groups come from who vouches for the user, are read once for each log-in, and where they can't be had the request
is refused: missing from the ticket is 403, out of order is 503.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from negotiate_mw import telemetry
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.identity import AcceptResult, Identity
from negotiate_mw.status import SecStatus

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
    if all(callable(getattr(option, name, None)) for name in ("of", "start", "stop")):
        return option  # type: ignore[return-value] # just asked
    if callable(option):
        return _OfApp(option)
    raise ConfigurationError(
        f'NegotiateMiddleware(groups={option!r}): give "pac", PacGroups(…), LdapGroups(…), or an async function that '
        "takes an Identity and returns names"
    )


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
