"""An acceptor for a laptop without a realm: everyone on this machine is the user you name.

Law: it says who somebody is without any proof. So it works only where its environment variable allows it, only for
clients on this machine itself, and says so in the log at every start.
"""

import os
from collections.abc import Iterable

from negotiate_mw import telemetry
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.identity import AcceptResult, Identity
from negotiate_mw.policy import Limits
from negotiate_mw.status import SecStatus

SWITCH = "NEGOTIATE_MW_DEV"


class DevAcceptor:
    """Takes every request from this machine for one user's, with no proof at all: for development only.

    ::

        app = NegotiateMiddleware(app, acceptor=DevAcceptor("alice@DEV", groups=["HR"]))    # NEGOTIATE_MW_DEV=1

    Args:
        principal: who everybody is, with a realm: ``"alice@DEV"``.
        groups: the groups they are in.

    Attributes:
        presumed: the identity that everybody is.
        acquired: it is between start and stop.
        limits, realms, mechanisms, ntlm_domains, asks_host: what the middleware asks of every acceptor.

    Raises:
        ConfigurationError: ``NEGOTIATE_MW_DEV`` isn't 1, or the principal has no realm.
    """

    def __init__(self, principal: str, *, groups: Iterable[str] = ()) -> None:
        name, _, realm = principal.rpartition("@")
        if not name or not realm:
            raise ConfigurationError(f'DevAcceptor({principal!r}): give a name and a realm, as in "alice@DEV"')
        if isinstance(groups, str):
            raise ConfigurationError(f'DevAcceptor(groups={groups!r}): give a list, groups=["{groups}"]')
        if os.environ.get(SWITCH) != "1":
            raise ConfigurationError(
                f"DevAcceptor logs everyone in as {principal!r} without any proof; "
                f"on a developer's machine, and nowhere else, set {SWITCH}=1"
            )
        self.limits: Limits = Limits()
        self.realms: frozenset[str] | None = frozenset({realm})
        self.mechanisms: frozenset[str] = frozenset({"kerberos"})
        self.asks_host: bool = False
        self.ntlm_domains: frozenset[str] | None = None
        self.acquired: bool = False
        self.presumed: Identity | None = Identity(
            principal=principal,
            account_id=principal,
            username=principal,
            realm=realm,
            mechanism="dev",
            groups=frozenset(groups),
        )

    def ready(self) -> bool:
        """True between start and stop."""
        return self.acquired

    def look(self) -> None:
        """There is nothing to look at."""

    async def acquire(self) -> None:
        """Say loudly what this is."""
        self.acquired = True
        who = telemetry.plain(self.presumed and self.presumed.principal)
        telemetry.warned(
            "dev-acceptor",
            f"DEVELOPMENT ONLY: everyone on this machine is logged in as {who} without any proof ({SWITCH}=1)",
        )

    async def aclose(self) -> None:
        """Nothing to give back."""
        self.acquired = False

    async def accept(
        self, context: object, token: bytes, *, bindings: bytes | None = None, host: str | None = None
    ) -> AcceptResult:
        """Refuse, whatever ``bindings`` and ``host``: whoever sends a token wants it checked, and nothing here can."""
        raise AcceptError(SecStatus.LOGON_DENIED, "dev-acceptor", detail="DevAcceptor can't check tokens")

    def discard(self, context: object) -> None:
        """There are no contexts."""
