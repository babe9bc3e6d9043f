"""Single sign-on for whatever stands behind a proxy that asks first: nginx, Traefik, Envoy.

The proxy sends each request's headers here, and lets the request through with ours if the answer is 200. Law: what a
request does and where it comes from is believed only from where that proxy is known to say it, and what isn't said
counts as a request that may change something; nothing is kept for a connection, since the proxy shares it among
clients; every header that we answer with is always there, so that none of a client's own is left standing.
"""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from negotiate_mw.connection import Message, Receive, Scope, Send
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.identity import Identity
from negotiate_mw.middleware import NegotiateMiddleware

HEADERS = ("remote-user", "remote-account", "remote-groups")
"""What a user's request gets: the name, what to authorise by, and the groups, joined by commas."""

# what a header's value may hold as it is (RFC 9110 5.5), but for the comma that joins, and what quotes
_PLAIN = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ",%")
_UNKNOWN = "UNKNOWN"  # a method that may change something, like every other but GET and HEAD
# nginx makes a 500 of every other refusal than 401 and 403, and a client's broken header is no error of the server
_NGINX_STATUSES = {400: 403, 431: 403}


class _Sayings(NamedTuple):
    """The headers in which a proxy says what its client asked for; None: its own request has it."""

    method: bytes | None
    host: bytes | None
    target: bytes | None
    statuses: Mapping[int, int] = MappingProxyType({})


PROXIES: Mapping[str, _Sayings] = MappingProxyType(
    {
        "nginx": _Sayings(method=b"x-original-method", host=None, target=b"x-original-uri", statuses=_NGINX_STATUSES),
        "traefik": _Sayings(method=b"x-forwarded-method", host=b"x-forwarded-host", target=b"x-forwarded-uri"),
        "envoy": _Sayings(method=None, host=None, target=None),
    }
)


class ForwardAuth:
    """An ASGI app that answers a proxy's question who its client is: 200 with ``HEADERS``, or a refusal.

    ::

        app = ForwardAuth("nginx", sessions=CookieSessions(keys=[key]), policy=Policy(tls_terminated_by_proxy=True))

    Handshakes of more than one leg, and the last token that proves us to the client, don't survive a subrequest.

    Args:
        proxy: who asks: ``"nginx"`` (``auth_request``), ``"traefik"`` (``forwardAuth``) or ``"envoy"`` (``ext_authz``
            over http). It says where the client's method, host and target are found.
        options: those of ``NegotiateMiddleware``; ``exempt`` and ``required`` are the proxy's business.

    Raises:
        ConfigurationError: an option is wrong.
    """

    def __init__(self, proxy: str, **options: Any) -> None:
        if proxy not in PROXIES:
            raise ConfigurationError(f"ForwardAuth({proxy!r}): give one of {', '.join(map(repr, PROXIES))}")
        if wrong := sorted({"exempt", "required", "connection_bound"} & set(options)):
            raise ConfigurationError(f"ForwardAuth({wrong[0]}=…): say in the proxy which requests it asks about")
        self._sayings = PROXIES[proxy]
        self._app = NegotiateMiddleware(_answer, **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope, receive, send = self._as_asked(scope), _of_no_connection(receive), self._as_understood(send)
        await self._app(scope, receive, send)

    def _as_understood(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "status": self._sayings.statuses.get(status, status)}
            await send(message)

        return sending

    def _as_asked(self, scope: Scope) -> Scope:
        """The request as the proxy's client made it."""
        said = _only(scope["headers"])
        method = scope["method"] if self._sayings.method is None else said.get(self._sayings.method, _UNKNOWN)
        if any(name.startswith(b"sec-websocket-") for name, _ in scope["headers"]):
            method = _UNKNOWN  # a websocket is opened by GET, and then sends what it likes
        headers = scope["headers"]
        if self._sayings.host is not None:
            asked = said.get(self._sayings.host, "").encode("latin-1")
            headers = [(name, asked if name == b"host" else value) for name, value in headers]
        target = None if self._sayings.target is None else said.get(self._sayings.target, "")
        path = scope["path"] if target is None else unquote(target.partition("?")[0])
        known = {name: value for name, value in scope.items() if name != "state"}
        headers = [*headers, (b"via", b"1.1 proxy")]  # or the proxy's own address could make its clients local
        return {**known, "method": method, "headers": headers, "path": path, "root_path": ""}


def _only(headers: list[tuple[bytes, bytes]]) -> dict[bytes, str]:
    """The headers that are there once: of two, nobody knows which one the proxy meant."""
    times = Counter(name for name, _ in headers)
    return {name: value.decode("latin-1") for name, value in headers if times[name] == 1}


def _of_no_connection(receive: Receive) -> Receive:
    """``receive`` without the server's object behind it, by which a connection would be known."""

    async def receiving() -> Message:
        return await receive()

    return receiving


def _quoted(name: str) -> str:
    # spaces at the ends get lost on the way, and with them whose name it is
    inner = name.strip(" ")
    before, _, after = name.partition(inner) if inner else (name, "", "")
    return "%20" * len(before) + quote(inner, safe=_PLAIN) + "%20" * len(after)


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    """200, and who it is; a preflight that may pass is nobody's."""
    if scope["type"] == "websocket":
        return await send({"type": "websocket.close", "code": 1008})
    identity = scope["user"]
    values = ("", "", "")
    if isinstance(identity, Identity):
        groups = ",".join(map(_quoted, sorted(identity.groups)))
        values = _quoted(identity.username), _quoted(identity.account_id), groups
    headers = [(name.encode(), value.encode()) for name, value in zip(HEADERS, values, strict=True)]
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, (b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
