"""Asks a Redis (or Valkey) server, within a quarter of a second, or says that it is down.

Law: a client belongs to one event loop of one process; a question is never broken off in the middle, whoever has
stopped waiting for it, so that no connection is left half set up or with an answer that another would take for its own;
every error of the library becomes ``StoreDown`` in ``ask`` and nowhere else.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from negotiate_mw import telemetry
from negotiate_mw.errors import ConfigurationError, NegotiateError

try:
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import TimeoutError as RedisTimeoutError
except ImportError as _error:
    raise ImportError("Redis needs redis-py: pip install 'negotiate-mw[redis]'") from _error

T = TypeVar("T")
Source = str | Callable[[], Any]

# for one question, the wait for a connection counts. In a data centre an answer takes under 1 ms; a user notices 250
SECONDS = 0.25
CONNECTIONS = 32  # of one event loop; each is busy for the milliseconds of one question
_WARN_SECONDS = 60.0


class StoreDown(NegotiateError):
    """The server gave no usable answer in time; the sentence says what it or the library said."""


class RedisStore:
    """One server, or one cluster of them.

    Args:
        source: a URL as redis-py takes it (``redis://``, ``rediss://`` for TLS, ``unix://``; user, password and TLS
            options in it), or a function without arguments that makes a ``redis.asyncio`` client, called once for each
            event loop: for Sentinel and Cluster.
        option: what the operator wrote, for error messages: ``"RedisSessions"``.

    Raises:
        ConfigurationError: it is neither.
    """

    def __init__(self, source: Source, *, option: str) -> None:
        self._option = option
        self._make: Callable[[], Any] = source if callable(source) else lambda: _client_of(source)
        if not callable(source):
            try:
                _client_of(source)  # connects to nothing yet
            except (ValueError, TypeError, AttributeError) as error:
                # without the URL, which may have a password, and without the cause, which may quote it
                raise ConfigurationError(
                    f'{option}(url): give a URL such as "rediss://user:password@redis.corp.example:6379/0", or a '
                    f"function that makes a redis.asyncio client ({type(error).__name__})"
                ) from None
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()
        self._asking: set[asyncio.Future[Any]] = set()
        self._is_slow = False  # the last question that was waited for had no answer in time
        self._is_asking = False  # one question looks whether it still is
        self._warn_at = 0.0

    async def ask(self, question: Callable[[Any], Awaitable[T]]) -> T:
        """What ``question(client)`` returns; it may be put twice, where a connection broke.

        While the server is slow, one question at a time waits for it.

        Raises:
            StoreDown: no answer within ``SECONDS``, or not one that can be used.
        """
        if self._pid != os.getpid():
            _INHERITED.append(list(self._clients.items()))
            self._forget()
        is_trial = self._is_slow
        if is_trial and self._is_asking:
            telemetry.store_failed(self._option)
            raise StoreDown("it was too slow a moment ago")
        self._is_asking = self._is_asking or is_trial
        try:
            asking = asyncio.ensure_future(question(self._client()))
            self._asking.add(asking)
            asking.add_done_callback(self._asked)
            async with asyncio.timeout(SECONDS):
                answer = await asyncio.shield(asking)
        except (TimeoutError, RedisTimeoutError):
            self._is_slow = True
            telemetry.store_failed(self._option)
            raise StoreDown(f"no answer within {SECONDS * 1000:.0f} ms") from None
        except Exception as error:  # the library's, whatever it is
            telemetry.store_failed(self._option)
            raise StoreDown(f"{type(error).__name__}: {error}") from error
        finally:
            if is_trial:
                self._is_asking = False
        self._is_slow = False
        return answer

    def _asked(self, asking: "asyncio.Future[Any]") -> None:
        self._asking.discard(asking)
        if not asking.cancelled():
            asking.exception()  # nobody else may ask for it

    def is_time_to_warn(self) -> bool:
        """True at most once a minute."""
        now = time.monotonic()
        if now < self._warn_at:
            return False
        self._warn_at = now + _WARN_SECONDS
        return True

    async def aclose(self) -> None:
        """Close the connections of this event loop. A later question opens new ones."""
        loop = asyncio.get_running_loop()
        client = self._clients.pop(loop, None) if self._pid == os.getpid() else None
        if client is not None:
            if asking := [each for each in self._asking if each.get_loop() is loop]:
                await asyncio.wait(asking, timeout=4 * SECONDS)
            await client.aclose()

    def _client(self) -> Any:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            client = self._clients[loop] = self._make()
        return client


# a parent process's loops and clients, kept for ever: an end of them here would be one in the epoll that both share
_INHERITED: list[object] = []


def _client_of(url: str) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=SECONDS,
        socket_timeout=SECONDS,
        socket_connect_timeout=SECONDS,
        # once more at once: what we ask may be asked twice, and a connection may have broken while it was idle
        retry=Retry(NoBackoff(), 1),
        # RESP2 has no messages that nobody asked for, so whatever comes unasked condemns its connection
        protocol=2,
        decode_responses=False,
    )
    return Redis.from_pool(pool)
