"""The requests of a log-in, made out of the one that it is for.

Law: a token is spent when it is sent: it leaves the request's headers then, so that nothing, a redirect least of all,
sends it again. A body that can be read only once goes out once.
"""

from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator

import httpx

from negotiate_mw.client.errors import BodySentError
from negotiate_mw.client.flow import Send
from negotiate_mw.client.pinned import EXTENSION, Lane

_SCHEME = "Negotiate "
_OF_BODIES = {"content-length", "content-type", "content-encoding", "transfer-encoding", "expect"}

Body = httpx.SyncByteStream | httpx.AsyncByteStream
Spend = Callable[[Body, httpx.Headers], Body]


class Sending:
    """Makes the requests of one log-in out of the one that it is for."""

    def __init__(self, target: httpx.Request, once: bool, lane: Lane, spend: Spend) -> None:
        self._target = target
        self._body = body_of(target)
        self._once = once
        self._lane = lane
        self._spend = spend
        self._spent = False

    def prepare(self, send: Send) -> httpx.Request:
        """The request to send, with its token.

        Raises:
            BodySentError: it would take a body that is gone.
        """
        request = self._target
        if self._once and not send.last:
            # nothing is to happen yet, and a safe method (RFC 9110 9.2.1) makes sure that nothing does
            headers = {name: value for name, value in request.headers.items() if name not in _OF_BODIES}
            request = httpx.Request("HEAD", request.url, headers=headers, extensions=request.extensions)
        elif self._once and self._spent:
            raise BodySentError(
                "the server wants the request once more, and its body can be read only once; "
                "give the body as bytes, or log in first with a request that has none"
            )
        else:
            self._spent = True
        if request.headers.get("authorization", "").startswith(_SCHEME):
            del request.headers["authorization"]
        if send.token is not None:
            request.headers["authorization"] = _SCHEME + b64encode(send.token).decode()
        request.stream = self._spend(self._body if request is self._target else request.stream, request.headers)
        self._lane.fixed = send.on is not None and self._lane.transport is not None
        request.extensions = {**request.extensions, EXTENSION: self._lane}
        return request


class Spending(httpx.SyncByteStream):
    """A request's body, which is read when its headers are out, and then its token has been spent."""

    def __init__(self, body: httpx.SyncByteStream, headers: httpx.Headers) -> None:
        self.body = body
        self._headers = headers

    def __iter__(self) -> Iterator[bytes]:
        self._headers.pop("authorization", None)
        return iter(self.body)

    def close(self) -> None:
        self.body.close()


class AsyncSpending(httpx.AsyncByteStream):
    def __init__(self, body: httpx.AsyncByteStream, headers: httpx.Headers) -> None:
        self.body = body
        self._headers = headers

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._headers.pop("authorization", None)
        return aiter(self.body)

    async def aclose(self) -> None:
        await self.body.aclose()


def answer_to(request: httpx.Request, response: httpx.Response) -> httpx.Response:
    """The answer to ``request`` itself, among those that redirects led to."""
    return next(one for one in (response, *reversed(response.history)) if one.request is request)


def body_of(request: httpx.Request) -> httpx.SyncByteStream | httpx.AsyncByteStream:
    body = request.stream
    return body.body if isinstance(body, Spending | AsyncSpending) else body


def spend(body: Body, headers: httpx.Headers) -> Body:
    """For ``httpx.Client``; a body that is not for it is left as it is, for httpx to refuse."""
    return Spending(body, headers) if isinstance(body, httpx.SyncByteStream) else body


def async_spend(body: Body, headers: httpx.Headers) -> Body:
    """For ``httpx.AsyncClient``."""
    return AsyncSpending(body, headers) if isinstance(body, httpx.AsyncByteStream) else body
