"""What goes out: a refusal of ours, or the app's own response with the last token.

Law: every refusal of a kind is the same but for its reference; it never says why. A response that belongs to a user
is never left for a shared cache to give to another.
"""

import asyncio
import re
from binascii import b2a_base64
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from time import time

from negotiate_mw import telemetry
from negotiate_mw.connection import Message, Receive, Scope, Send, reads_away
from negotiate_mw.refusal import Refusal
from negotiate_mw.sessions import Session

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
OnRefused = Callable[[Scope, Refusal], ASGIApp]
Headers = list[tuple[bytes, bytes]]

RETRY_AFTER_SECONDS = 5
# of a refused request's body; what a browser posts by hand fits, an upload doesn't have to
_READ_AWAY_BYTES = 1024 * 1024
_READ_AWAY_SECONDS = 5

_SENTENCES = {
    400: "The request's Authorization header is broken.",
    401: "Sign-in is needed.",
    403: "This is not allowed.",
    431: "The request's Authorization header is too large.",
    503: "Sign-in is out of order for the moment.",
}
# fields that tell caches what to do; all but the first are for shared ones alone (RFC 9213), and go before it there
_CACHE_FIELDS = (b"cache-control", b"surrogate-control", b"edge-control", b"x-accel-expires")
# what an app may say to a browser's own cache (RFC 9111 5.2.2, RFC 8246, RFC 5861); quoted lists of fields don't match
_TO_BROWSERS = re.compile(
    rb"(?:^|,)\s*(no-store|no-cache|no-transform|must-revalidate|immutable|"
    rb"(?:max-age|stale-while-revalidate|stale-if-error)=\"?\d+\"?)(?=\s*(?:,|$))"
)
_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
# a part of it, or of a file, or the whole of one
_BODIES = frozenset({"http.response.body", "http.response.zerocopysend", "http.response.pathsend"})
_PRIVATE = (b"cache-control", b"private")
_VARY = (b"vary", b"Authorization, Cookie")
_MOST_NAMES = 256
_not_for_caches: set[bytes] = set()  # names that apps' responses had: they are few, and every response has some
# what a user's response gets: whether they are remembered for the connection isn't said, or is
_ADDED: dict[bool | None, Headers] = {
    None: [_VARY],
    True: [_VARY, (b"persistent-auth", b"true")],
    False: [_VARY, (b"persistent-auth", b"false")],
}


def carrying(scheme: str, token: bytes) -> bytes:
    """A ``WWW-Authenticate`` value that carries a token (RFC 4559 4.2)."""
    return (b"NTLM " if scheme == "ntlm" else b"Negotiate ") + b2a_base64(token, newline=False)


def with_identity_headers(
    send: Send, proof: bytes | None, is_remembered: bool | None = None, session: Session | None = None
) -> Send:
    """Wrap ``send`` for a response that belongs to a user: no shared cache may keep it, whatever the app says.

    An app that says ``public, max-age=60`` means "this page is the same for everyone", but not that whoever asks the
    cache may have it without a log-in; and the user's last token is in it. So ``Cache-Control`` becomes ``private``
    with what the app says to the user's own browser; the directives that invite shared caches (RFC 9111 3.5) and the
    fields that talk to one kind of them over its head are left out. What may be shared belongs under ``exempt``.

    Args:
        send: what to wrap.
        proof: a ``WWW-Authenticate`` value with the last token, if there is one.
        is_remembered: for ``Persistent-Auth``, as IIS sends it: is the user remembered for the connection? None: not
            said.
        session: as for ``with_cookie``.
    """
    ours = _ADDED[is_remembered]

    async def sending(message: Message) -> None:
        if message["type"] in _STARTS:
            added = ours
            if proof is not None and message.get("status") != 401:
                added = [(b"www-authenticate", proof), *added]
            if session is not None and time() >= session.quiet_until and (cookie := session.set_cookie()) is not None:
                added = [*added, (b"set-cookie", cookie)]
            message = _for_one_user(message, added)
        await send(message)

    return sending


def with_cookie(send: Send, session: Session) -> Send:
    """Wrap ``send`` for a request that has, or could have, a session, and is nobody's as yet.

    Whoever else gets a ``Set-Cookie`` of ours gets that session with it, or loses the own one; so such a response is
    one user's, whatever page it is.
    """

    async def sending(message: Message) -> None:
        if message["type"] in _STARTS and (cookie := session.set_cookie()) is not None:
            message = _for_one_user(message, [(b"set-cookie", cookie)])
        await send(message)

    return sending


async def refuse_http(
    scope: Scope,
    receive: Receive,
    send: Send,
    refusal: Refusal,
    challenges: Sequence[bytes],
    on_refused: OnRefused | None,
) -> None:
    """Answer with the refusal's status; body and ``Content-*`` headers are the app's where it has ``on_refused``.

    ``challenges`` are ``WWW-Authenticate`` values. A client that answers one sends its next token on this connection,
    so what it still sends of this request is read away first, where the server doesn't do that itself.
    """
    ours = _headers(refusal, challenges)
    if challenges and not reads_away(receive):
        if not await _read_away(scope, receive):
            ours.append((b"connection", b"close"))
        receive = _read_already(receive)
    if on_refused is not None:
        page = _Page(send, refusal.status, ours)
        try:
            await on_refused(scope, refusal)(scope, receive, page.send)
        except Exception as error:  # noqa: BLE001 - the app's own code
            telemetry.app_failed("NegotiateMiddleware(on_refused=…)", error)
        if page.started:
            return await page.end()
    body = _body(refusal)
    await send({"type": "http.response.start", "status": refusal.status, "headers": [*_content(body), *ours]})
    await send({"type": "http.response.body", "body": body})


async def refuse_websocket(
    scope: Scope, receive: Receive, send: Send, refusal: Refusal, challenges: Sequence[bytes]
) -> None:
    """Refuse a websocket before it is accepted, with the same answer where the server can give one."""
    await receive()  # websocket.connect
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        return await send({"type": "websocket.close", "code": 1008})
    body = _body(refusal)
    # one field, not several: a server exists that falls over two of the same name here
    joined = [b", ".join(challenges)] if challenges else []
    headers = [*_content(body), *_headers(refusal, joined)]
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


class _Page:
    """Lets a page of the app through, under our status and our headers."""

    def __init__(self, send: Send, status: int, ours: Headers) -> None:
        self._send = send
        self._status = status
        self._ours = ours
        self.started = False
        self._ended = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            theirs = [pair for pair in message.get("headers") or () if pair[0].lower().startswith(b"content-")]
            message = {**message, "status": self._status, "headers": [*theirs, *self._ours]}
            self.started = True
        elif message["type"] in _BODIES:
            self._ended = not message.get("more_body", False)
        await self._send(message)

    async def end(self) -> None:
        """Close a response that the page left open."""
        if not self._ended:
            await self._send({"type": "http.response.body", "body": b""})


def _for_one_user(start: Message, added: Headers) -> Message:
    said: Iterable[tuple[bytes, bytes]] = start.get("headers") or ()
    headers = said if isinstance(said, list) else list(said)
    for name, _ in headers:
        if name not in _not_for_caches:
            headers, directives = _without_shared_caches(headers)
            break
    else:
        directives = _PRIVATE
    if start["type"] == "websocket.http.response.start":
        headers = [*headers]
        for name, value in added:
            _join(headers, name, value)
        added = []
    return {**start, "headers": [*headers, *added, directives]}


def _without_shared_caches(headers: Headers) -> tuple[Headers, tuple[bytes, bytes]]:
    """An app's headers without those for caches, and the ``Cache-Control`` that is left of them."""
    said = [value for name, value in headers if name.lower() == b"cache-control"]
    left = [pair for pair in headers if not pair[0].lower().endswith(_CACHE_FIELDS)]
    _not_for_caches.update(name for name, _ in left)
    if len(_not_for_caches) > _MOST_NAMES:
        _not_for_caches.clear()
    return left, (b"cache-control", _private(b",".join(said)))


@lru_cache(maxsize=256)
def _private(said: bytes) -> bytes:
    """The app's ``Cache-Control`` without what it says to shared caches."""
    to_browsers = _TO_BROWSERS.findall(said.lower())
    return b"no-store" if b"no-store" in to_browsers else b", ".join([b"private", *to_browsers])


def _join(headers: Headers, name: bytes, value: bytes) -> None:
    """Add a field for a server that falls over two of one name: into the one that is there, or else not at all."""
    for index, (other, content) in enumerate(headers):
        if other.lower() == name:
            if name != b"set-cookie":  # these can't be joined (RFC 6265 3)
                headers[index] = (other, content + b", " + value)
            return
    headers.append((name, value))


async def _read_away(scope: Scope, receive: Receive) -> bool:
    """Read what is left of the request's body; False if that is too much, or takes too long."""
    if scope.get("http_version") not in ("1.0", "1.1"):
        return True  # the rest of a stream is no other stream's business
    read = 0
    try:
        async with asyncio.timeout(_READ_AWAY_SECONDS):
            while read <= _READ_AWAY_BYTES:
                message = await receive()
                read += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return True
    except TimeoutError:
        pass
    return False


def _read_already(receive: Receive) -> Receive:
    """``receive`` for a page that asks for the body that was read away: there is none any more."""
    unsaid: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receiving() -> Message:
        return unsaid.pop() if unsaid else await receive()

    return receiving


def _headers(refusal: Refusal, challenges: Sequence[bytes]) -> Headers:
    headers: Headers = [(b"cache-control", b"no-store")]
    headers += [(b"www-authenticate", challenge) for challenge in challenges]
    if refusal.status == 503:
        headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
    return headers


def _body(refusal: Refusal) -> bytes:
    return f"{_SENTENCES[refusal.status]} Reference: {refusal.reference}\n".encode()


def _content(body: bytes) -> Headers:
    return [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
