"""One request, or many at a time, by either kind of httpx client.

Law: what a test says holds for both.
"""

import asyncio
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from negotiate_mw.client import AsyncPinnedTransport, NegotiateAuth, PinnedTransport

KINDS = ["sync", "async"]
SECONDS = 30.0


def context(certificate: Path | None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=certificate)
    if version is not None:
        made.minimum_version = made.maximum_version = version
    return made


def ask(kind: str, auth: NegotiateAuth, url: str, method: str = "GET", **options: Any) -> httpx.Response:
    """One request by a client of its own."""
    return ask_many(kind, auth, [url], method, **options)[0]


def ask_many(
    kind: str,
    auth: NegotiateAuth,
    urls: Sequence[str],
    method: str = "GET",
    *,
    pinned: bool = False,
    verify: ssl.SSLContext | None = None,
    at_a_time: int = 1,
    connections: int = 100,
    follow_redirects: bool = False,
    proxy: str | None = None,
    **options: Any,
) -> list[httpx.Response]:
    """Requests by one client, so many at a time."""
    limits = httpx.Limits(max_connections=connections)
    verified: Any = True if verify is None else verify
    common: dict[str, Any] = {
        "auth": auth,
        "follow_redirects": follow_redirects,
        "timeout": SECONDS,
        "trust_env": False,
    }
    wire: dict[str, Any] = {"verify": verified, "limits": limits, "proxy": proxy}
    if kind == "sync":
        transport: Any = PinnedTransport(lambda: httpx.HTTPTransport(**wire)) if pinned else httpx.HTTPTransport(**wire)
        with httpx.Client(transport=transport, **common) as client, ThreadPoolExecutor(at_a_time) as pool:
            return list(pool.map(lambda url: client.request(method, url, **options), urls))

    async def run() -> list[httpx.Response]:
        transport: Any = (
            AsyncPinnedTransport(lambda: httpx.AsyncHTTPTransport(**wire))
            if pinned
            else httpx.AsyncHTTPTransport(**wire)
        )
        gate = asyncio.Semaphore(at_a_time)

        async def one(url: str) -> httpx.Response:
            async with gate:
                answer: httpx.Response = await asking.request(method, url, **options)
                return answer

        async with httpx.AsyncClient(transport=transport, **common) as asking:
            return await asyncio.gather(*map(one, urls))

    return asyncio.run(run())
