"""Replay detection across nodes: one AP-REQ is accepted once by all nodes that share a store.

Law: what is remembered is the authenticator's ciphertext, whole and alone. Everything else in a token can be changed by
a stranger without the library's noticing, the service's name included, so a key made with any of it would let a copied
token in again. Nobody but the client can make the same log-in under another ciphertext.
"""

import hashlib
import secrets
from collections.abc import Callable
from typing import Any, Literal, Protocol

from negotiate_mw import telemetry
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.status import SecStatus
from negotiate_mw.wire import ntlm, spnego
from negotiate_mw.wire.errors import WireError
from negotiate_mw.wire.kerberos import read_ap_req

_KEY = "negotiate-mw:replay:"
_KERBEROS = (spnego.KRB5, spnego.MS_KRB5)
# seconds by which nodes' clocks may differ besides: what is good on one of them is remembered by another's clock
_SLACK = 60
_MAX_CLOCKSKEW = 86_400


class ReplayCache(Protocol):
    """What ``Acceptor(replay=…)`` asks, once the library has verified a log-in and before it counts."""

    async def spend(self, authenticator: bytes) -> None:
        """Return if this authenticator was never spent before.

        Raises:
            AcceptError: LOGON_DENIED, ``"replay"``: it was; any other status: that can't be told.
        """

    async def aclose(self) -> None:
        """Give connections back; asking again opens new ones."""


class RedisReplayCache:
    """Remembers, on a Redis or Valkey server, which log-ins were accepted: ``Acceptor(replay=RedisReplayCache(…))``.

    ::

        Acceptor(replay=RedisReplayCache("rediss://nmw:secret@redis.corp.example", when_down="refuse"))

    Each node's own replay file is asked first, by the library, and stays in force.

    Args:
        url: the server, as redis-py takes it, or a function that makes a ``redis.asyncio`` client (Sentinel, Cluster).
        when_down: while the server gives no answer within 250 ms, ``"refuse"``: nobody logs in (503); ``"local"``: a
            log-in counts that is new to this node, so a copied token can be used once on each other node.
        clockskew: seconds, krb5.conf's ``clockskew`` of the nodes; a log-in is remembered for twice as long, since
            that is how long a token may be good for (RFC 4120 3.2.3).

    Attributes:
        relies_on_nodes: a log-in may count by what this node alone knows, so that its own replay file has to be there.

    Raises:
        ConfigurationError: an option is wrong or missing.
    """

    def __init__(
        self,
        url: str | Callable[[], Any],
        *,
        when_down: Literal["refuse", "local"] | None = None,
        clockskew: int = 300,
    ) -> None:
        from negotiate_mw.redis_store import RedisStore

        if when_down not in ("refuse", "local"):
            raise ConfigurationError(
                f"RedisReplayCache(when_down={when_down!r}): say what happens while Redis is down: "
                '"refuse" answers every log-in with 503; "local" accepts what is new to this node, so that a copied '
                "token can be used once on each other node"
            )
        if type(clockskew) is not int or not 0 < clockskew <= _MAX_CLOCKSKEW:
            raise ConfigurationError(
                f"RedisReplayCache(clockskew={clockskew!r}): give krb5.conf's clockskew in seconds, 1 to "
                f"{_MAX_CLOCKSKEW}; 300 is the library's own"
            )
        self._store = RedisStore(url, option="RedisReplayCache")
        self.relies_on_nodes: bool = when_down == "local"
        self._seconds = 2 * clockskew + _SLACK

    async def spend(self, authenticator: bytes) -> None:
        """See ``ReplayCache``."""
        from negotiate_mw.redis_store import StoreDown

        key = _KEY + hashlib.sha256(authenticator).hexdigest()
        mine = secrets.token_bytes(16)

        async def first_to_come(client: Any) -> object:
            # by its value an answer says whose it is: a question may be put twice, and only the first to come is new
            async with client.pipeline(transaction=False) as pipeline:
                pipeline.set(key, mine, nx=True, ex=self._seconds)
                pipeline.get(key)
                return (await pipeline.execute())[1]

        try:
            first = await self._store.ask(first_to_come)
            if not isinstance(first, bytes):
                raise StoreDown(f"it forgot what it was told at once, or answers {type(first).__name__}")
        except StoreDown as error:
            self._without_store(str(error))
        else:
            if first != mine:
                raise AcceptError(SecStatus.LOGON_DENIED, "replay", detail="another node accepted this authenticator")

    async def aclose(self) -> None:
        """Close the connections of this event loop; asking again opens new ones."""
        await self._store.aclose()

    def _without_store(self, problem: str) -> None:
        if not self.relies_on_nodes:
            raise AcceptError(
                SecStatus.NO_AUTHENTICATING_AUTHORITY,
                "replay-store",
                detail=f"whether another node accepted this log-in can't be told: Redis: {problem}; look at "
                "RedisReplayCache(url) and its server",
            )
        if self._store.is_time_to_warn():
            telemetry.warned(
                "replay-store",
                "log-ins are held against this node's own replay cache alone, since Redis can't be asked "
                f"({telemetry.plain(problem)}): a copied token can be used once on each other node",
            )


def authenticator_in(token: bytes) -> bytes | None:
    """The authenticator that one leg brings; None: it brings none.

    Raises:
        WireError: the leg has a Kerberos message that isn't plainly an AP-REQ in its one spelling.
    """
    leg = spnego.read(token)
    # a first leg's token is for the mechanism that it names first (RFC 4178 4.2.1); for another, it is set aside
    if isinstance(leg, spnego.FirstToken) and leg.mechanisms[0] not in _KERBEROS:
        return None
    if not leg.mech_token or leg.mech_token.startswith(ntlm.SIGNATURE):
        return None
    return read_ap_req(leg.mech_token).authenticator


def unreadable(error: WireError) -> AcceptError:
    """The refusal of a leg that ``authenticator_in`` raised for."""
    detail = f"it can't be told whether this log-in was used before: {error}"
    return AcceptError(SecStatus.INVALID_TOKEN, "malformed", detail=detail)
