"""Which TCP connection does a request belong to, and what does its socket really say?

ASGI gives connections no identity, and ``scope["client"]`` is none: ports are reused, unix sockets have no peer, and
servers put forwarded addresses there. Law: a wrong answer logs the wrong person in, so only an object that a known
server keeps for exactly one connection counts, and where there is none the answer is None.

Tiers: *native*, where our server adapter put a ``Connection`` into the scope and tells when it closes; *derived*, by
the server's own object behind ``receive``, held weakly; *none* for HTTP/2 and later, HTTP/1.0 and anything unknown.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from weakref import WeakKeyDictionary

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

STATE_KEY = "negotiate_mw.connection"

_LOOPBACK_HOSTS = ("localhost", "[::1]")
_FORWARDING = frozenset(
    {b"forwarded", b"via", b"x-real-ip", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"}
)


class Connection:
    """The identity of one TCP connection: equal to itself alone.

    Attributes:
        native: True if its end is signalled.
    """

    __slots__ = ("__weakref__", "_on_close", "closed", "native")

    def __init__(self, *, native: bool) -> None:
        self.native = native
        self.closed = False
        self._on_close: list[Callable[[Connection], None]] = []

    def call_on_close(self, callback: "Callable[[Connection], None]") -> None:
        """Have ``callback`` called once, when the connection ends; only native ones tell."""
        if self.native and callback not in self._on_close:
            self._on_close.append(callback)

    def close(self) -> None:
        """The connection has ended (for server adapters)."""
        self.closed = True
        while self._on_close:
            self._on_close.pop()(self)


_derived: WeakKeyDictionary[Any, Connection] = WeakKeyDictionary()


def resolve(scope: Scope, receive: Receive) -> Connection | None:
    """The connection of an HTTP/1.1 request; None where a later leg couldn't be told from somebody else's.

    A websocket's handshake has none: refusing it ends its connection.
    """
    if scope.get("http_version") != "1.1" or scope["type"] != "http":
        return None
    if (state := scope.get("state")) and isinstance(native := state.get(STATE_KEY), Connection):
        return None if native.closed else native
    if (cycle := _uvicorn_cycle(receive)) is None:
        return None
    connection = _derived.get(cycle.flow)
    if connection is None:
        connection = _derived[cycle.flow] = Connection(native=False)
    return connection


def _uvicorn_cycle(receive: Receive) -> Any:
    """uvicorn's object for this request, whose ``flow`` belongs to the connection; None under other servers."""
    cycle = getattr(receive, "__self__", None)
    known = type(cycle).__module__.startswith("uvicorn.protocols.http.") and hasattr(cycle, "flow")
    return cycle if known else None


def reads_away(receive: Receive) -> bool:
    """True if the server itself reads away what a client still sends of a request that was answered already."""
    return _uvicorn_cycle(receive) is not None


def is_tls(scope: Scope, receive: Receive) -> bool:
    """True if the socket itself is TLS; a forwarded header alone never makes it so."""
    if (transport := _transport(receive)) is not None:
        return transport.get_extra_info("sslcontext") is not None
    return scope.get("scheme") in ("https", "wss") and not _is_forwarded(scope)


def is_loopback(scope: Scope, receive: Receive) -> bool:
    """True if the client is on this machine: by the raw peer, the Host it asked for, and no sign of a proxy."""
    transport = _transport(receive)
    peer = scope.get("client") if transport is None else transport.get_extra_info("peername")
    if not isinstance(peer, tuple | list) or not _is_loopback_address(str(peer[0])) or _is_forwarded(scope):
        return False
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    return len(hosts) == 1 and _is_loopback_host(hosts[0].lower())


def _transport(receive: Receive) -> Any:
    holder = getattr(receive, "__self__", None)
    return getattr(holder, "transport", None) if type(holder).__module__.startswith("uvicorn.protocols.") else None


def _is_forwarded(scope: Scope) -> bool:
    return any(name in _FORWARDING or name.startswith(b"x-forwarded-") for name, _ in scope["headers"])


def _is_loopback_address(address: str) -> bool:
    return address == "::1" or address.removeprefix("::ffff:").startswith("127.")


def _is_loopback_host(host: str) -> bool:
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name in _LOOPBACK_HOSTS or (name.startswith("127.") and name.replace(".", "").isdigit())
