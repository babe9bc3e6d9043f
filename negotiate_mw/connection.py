"""Which TCP connection does a request belong to, and what does its socket really say?

ASGI gives connections no identity, and ``scope["client"]`` is none: ports are reused, unix sockets have no peer, and
servers put forwarded addresses there. Law: a wrong answer logs the wrong person in, so only an object that a known
server keeps for exactly one connection counts, and where there is none the answer is None.

Tiers: *native*, where our server adapter put a ``Connection`` into the scope and tells when it closes; *derived*, by
the server's own object behind ``receive`` or ``send``, held weakly; *none* for HTTP/2 and later, HTTP/1.0 and anything
unknown.
"""

import ssl
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

STATE_KEY = "negotiate_mw.connection"

_LOOPBACK_HOSTS = ("localhost", "[::1]")
# what browsers send, and no proxy adds
_CLIENTS_OWN = frozenset(
    {b"host", b"user-agent", b"accept", b"accept-encoding", b"accept-language", b"cache-control", b"connection"}
    | {b"content-length", b"content-type", b"cookie", b"dnt", b"if-modified-since", b"if-none-match", b"origin"}
    | {b"pragma", b"priority", b"referer", b"sec-ch-ua", b"sec-ch-ua-mobile", b"sec-ch-ua-platform", b"te"}
    | {b"sec-fetch-dest", b"sec-fetch-mode", b"sec-fetch-site", b"sec-fetch-user", b"sec-gpc"}
    | {b"upgrade-insecure-requests", b"x-requested-with"}
)
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
        self.native: bool = native
        self.closed: bool = False
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


def resolve(scope: Scope, receive: Receive, send: Send | None = None) -> Connection | None:
    """The connection of an HTTP/1.1 request; None where a later leg couldn't be told from somebody else's.

    A websocket's handshake has none: refusing it ends its connection.
    """
    if scope.get("http_version") != "1.1" or scope["type"] != "http":
        return None
    if (connection := native(scope)) is not None:
        return None if connection.closed else connection
    if (cycle := _uvicorn_cycle(receive)) is not None:
        server_own = cycle.flow
    elif type(server_own := _hypercorn_protocol(send)).__module__ != "hypercorn.protocol.h11":
        return None
    connection = _derived.get(server_own)
    if connection is None:
        connection = _derived[server_own] = Connection(native=False)
    return connection


def native(scope: Scope) -> Connection | None:
    """The connection of an HTTP/1.1 request or websocket, where our server adapter tells of its end."""
    state = scope.get("state")
    if not state or scope.get("http_version") != "1.1":
        return None
    connection = state.get(STATE_KEY)
    return connection if isinstance(connection, Connection) else None


def _uvicorn_cycle(receive: Receive) -> Any:
    """uvicorn's object for this request, whose ``flow`` belongs to the connection; None under other servers."""
    cycle: Any = getattr(receive, "__self__", None)
    return cycle if _is_uvicorns(cycle.__class__) and hasattr(cycle, "flow") else None


def _hypercorn_protocol(send: Send | None) -> Any:
    """hypercorn's object for the connection that a request's stream sends on; None under other servers."""
    stream: Any = getattr(send, "__self__", None)
    return getattr(getattr(stream, "send", None), "__self__", None) if _is_hypercorns(stream.__class__) else None


# of the few kinds of objects that a server has; each request asks
@lru_cache(maxsize=64)
def _is_uvicorns(kind: type) -> bool:
    return kind.__module__.startswith("uvicorn.protocols.")


@lru_cache(maxsize=64)
def _is_hypercorns(kind: type) -> bool:
    return kind.__module__.startswith("hypercorn.protocol.")


def reads_away(receive: Receive) -> bool:
    """True if the server itself reads away what a client still sends of a request that was answered already."""
    return _uvicorn_cycle(receive) is not None


def tls_context(receive: Receive, send: Send | None = None) -> ssl.SSLContext | None:
    """The SSLContext that this request's own socket was accepted with; None where it isn't TLS, or not to be seen."""
    transport = _transport(receive, send)
    if transport is None:
        return None
    context = transport.get_extra_info("sslcontext")
    if context is None:
        return None
    # a server that chooses by the name the client asked for (SNI) changes the object's context, not the transport's
    context = getattr(transport.get_extra_info("ssl_object"), "context", None) or context
    return context if isinstance(context, ssl.SSLContext) else None


def lifespan_tls_context(receive: Receive) -> ssl.SSLContext | None:
    """The SSLContext that the server is about to serve with, by its lifespan's ``receive``; None if not to be seen."""
    holder = getattr(receive, "__self__", None)
    config = getattr(holder, "config", None)
    if type(holder).__module__.startswith("uvicorn."):
        return getattr(config, "ssl", None)
    if type(holder).__module__.startswith("hypercorn.") and config is not None:
        context: ssl.SSLContext | None = config.create_ssl_context()
        return context
    return None


def is_tls(scope: Scope, receive: Receive, send: Send | None = None) -> bool:
    """True if the socket itself is TLS; a forwarded header alone never makes it so."""
    if (transport := _transport(receive, send)) is not None:
        return transport.get_extra_info("sslcontext") is not None
    return scope.get("scheme") in ("https", "wss") and not is_forwarded(dict(scope["headers"]))


def is_loopback(scope: Scope, receive: Receive, send: Send | None = None) -> bool:
    """True if the client is on this machine: by the raw peer, the Host it asked for, and no sign of a proxy."""
    transport = _transport(receive, send)
    peer = scope.get("client") if transport is None else transport.get_extra_info("peername")
    if not isinstance(peer, tuple | list) or not peer or not _is_loopback_address(str(peer[0])):
        return False
    if is_forwarded(dict(scope["headers"])) or _may_be_passed_on(scope):
        return False
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    return len(hosts) == 1 and _is_loopback_host(hosts[0].lower())


def _transport(receive: Receive, send: Send | None) -> Any:
    holder: Any = getattr(receive, "__self__", None)
    if _is_uvicorns(holder.__class__):
        return getattr(holder, "transport", None)
    server = getattr(getattr(_hypercorn_protocol(send), "send", None), "__self__", None)
    return getattr(server, "writer", None)  # it has a transport's ``get_extra_info``


def is_forwarded(names: Collection[bytes]) -> bool:
    """True if a proxy shows, by the names of a request's headers: many don't, so False proves nothing."""
    if _CLIENTS_OWN.issuperset(names):
        return False  # all that nearly every request is asked
    return any(name in _FORWARDING or name.startswith(b"x-forwarded-") for name in names)


def _may_be_passed_on(scope: Scope) -> bool:
    """True if a proxy that shows in no header may have sent this: nginx opens a connection for each request."""
    closes = any(name == b"connection" and value.lower() == b"close" for name, value in scope["headers"])
    return closes or scope.get("http_version") == "1.0"


def _is_loopback_address(address: str) -> bool:
    return address == "::1" or address.removeprefix("::ffff:").startswith("127.")


def _is_loopback_host(host: str) -> bool:
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name in _LOOPBACK_HOSTS or (name.startswith("127.") and name.replace(".", "").isdigit())
