"""Transports that keep a log-in's legs on one connection, and never send a token over another.

httpx's pool may give each request another connection. NTLM's legs must share one, and a token that is bound to a TLS
channel is only safe on that channel: on another one, somebody in between could pass it on.

Law: a lane, which is a transport of its own, belongs to one request at a time, from its first leg to the end of the
last answer; so it has one connection per origin, and nobody else gets at it. A leg for a certain connection fails
before it is sent when the lane would have to connect anew.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Generic, TypeVar

import httpx

EXTENSION = "negotiate_mw.lane"
GONE = "negotiate_mw.gone"  # on an answer that no server gave: the leg was not sent
_CONNECTING = (".connect_tcp.started", ".connect_unix_socket.started")  # httpcore's trace events

T = TypeVar("T", httpx.BaseTransport, httpx.AsyncBaseTransport)


class ConnectionGone(Exception):
    """The connection that a leg is for has ended, and the leg was not sent; never leaves this module."""


class Lane:
    """What one request's legs go over: nothing special, until a pinned transport puts its own here.

    Attributes:
        transport: the transport of its own; None: the client's transport knows nothing of lanes.
        fixed: the next leg must not go over a new connection.
    """

    def __init__(self) -> None:
        self.transport: Any = None
        self.fixed = False
        self._free: list[Any] = []
        self._holders = 1

    def take(self, free: list[Any], make: Callable[[], Any]) -> Any:
        """Its transport, one that is free or else a new one, held once more."""
        self._holders += 1
        if self.transport is None:
            self._free = free
            try:
                self.transport = free.pop()  # the last one used has the best chance of a living connection
            except IndexError:
                self.transport = make()
        return self.transport

    def let_go(self) -> None:
        """Of the request that began with it, and of each answer, once."""
        self._holders -= 1
        if not self._holders and self.transport is not None:
            self._free.append(self.transport)


class _Lanes(Generic[T]):
    def __init__(self, make: Callable[[], T]) -> None:
        self._make: Callable[[], T] = make
        self._free: list[T] = []
        self._all: list[T] = []
        self._shared: T = self._new()  # for requests without a log-in

    def _new(self) -> T:
        transport: T = self._make()
        self._all.append(transport)
        return transport


class PinnedTransport(_Lanes[httpx.BaseTransport], httpx.BaseTransport):
    """A transport for ``httpx.Client`` that keeps each log-in on a connection of its own.

    There are as many connections as requests under way at a time; they are kept and used again, and closed with the
    client.

    Args:
        make: makes the transports below, each with the same settings; None: ``httpx.HTTPTransport`` with httpx's
            defaults. A client that is given a transport ignores its own ``verify``, ``cert``, ``http2`` and ``proxy``,
            so they belong here::

                context = httpx.create_ssl_context(verify="ca.pem")
                transport = PinnedTransport(lambda: httpx.HTTPTransport(verify=context))
                client = httpx.Client(transport=transport, auth=NegotiateAuth(channel_binding="required"))
    """

    def __init__(self, make: Callable[[], httpx.BaseTransport] | None = None) -> None:
        if make is None:
            context = httpx.create_ssl_context()
            make = lambda: httpx.HTTPTransport(verify=context)  # noqa: E731
        super().__init__(make)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; each leg of a log-in goes over the same connection."""
        lane = request.extensions.get(EXTENSION)
        if lane is None:
            return self._shared.handle_request(request)
        transport = lane.take(self._free, self._new)
        try:
            response: httpx.Response = transport.handle_request(_guarded(request, lane, _refuse_to_connect))
        except ConnectionGone:
            lane.let_go()
            return _gone()
        except BaseException:
            lane.let_go()
            raise
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Held(response.stream, lane)
        return response

    def close(self) -> None:
        """Close every connection; ``httpx.Client`` does it at its own end."""
        for transport in self._all:
            transport.close()


class AsyncPinnedTransport(_Lanes[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport):
    """The same for ``httpx.AsyncClient``.

    Args:
        make: makes the transports below, each with the same settings; None: ``httpx.AsyncHTTPTransport`` with httpx's
            defaults.
    """

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport] | None = None) -> None:
        if make is None:
            context = httpx.create_ssl_context()
            make = lambda: httpx.AsyncHTTPTransport(verify=context)  # noqa: E731
        super().__init__(make)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; each leg of a log-in goes over the same connection."""
        lane = request.extensions.get(EXTENSION)
        if lane is None:
            return await self._shared.handle_async_request(request)
        transport = lane.take(self._free, self._new)
        try:
            response: httpx.Response = await transport.handle_async_request(
                _guarded(request, lane, _async_refuse_to_connect)
            )
        except ConnectionGone:
            lane.let_go()
            return _gone()
        except BaseException:
            lane.let_go()
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _AsyncHeld(response.stream, lane)
        return response

    async def aclose(self) -> None:
        """Close every connection; ``httpx.AsyncClient`` does it at its own end."""
        for transport in self._all:
            await transport.aclose()


class _Held(httpx.SyncByteStream):
    """An answer's body, which holds the lane until it is closed."""

    def __init__(self, body: httpx.SyncByteStream, lane: Lane) -> None:
        self._body = body
        self._let_go: Callable[[], None] | None = lane.let_go

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        try:
            self._body.close()
        finally:
            let_go, self._let_go = self._let_go, None
            if let_go is not None:
                let_go()


class _AsyncHeld(httpx.AsyncByteStream):
    def __init__(self, body: httpx.AsyncByteStream, lane: Lane) -> None:
        self._body = body
        self._let_go: Callable[[], None] | None = lane.let_go

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._body)

    async def aclose(self) -> None:
        try:
            await self._body.aclose()
        finally:
            let_go, self._let_go = self._let_go, None
            if let_go is not None:
                let_go()


def _gone() -> httpx.Response:
    # an exception would end the request: httpx asks its auth about answers only
    return httpx.Response(503, extensions={GONE: True})


def _guarded(request: httpx.Request, lane: Lane, guard: Callable[[Any], Any]) -> httpx.Request:
    if not lane.fixed or "authorization" not in request.headers:
        return request
    trace = guard(request.extensions.get("trace"))
    return httpx.Request(
        request.method,
        request.url,
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "trace": trace},
    )


def _refuse_to_connect(also: Callable[[str, Any], None] | None) -> Callable[[str, Any], None]:
    def trace(event: str, info: Any) -> None:
        if event.endswith(_CONNECTING):
            raise ConnectionGone
        if also is not None:
            also(event, info)

    return trace


def _async_refuse_to_connect(also: Callable[[str, Any], Awaitable[None]] | None) -> Callable[[str, Any], Any]:
    async def trace(event: str, info: Any) -> None:
        if event.endswith(_CONNECTING):
            raise ConnectionGone
        if also is not None:
            await also(event, info)

    return trace
