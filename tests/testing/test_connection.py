"""``connection()``: log-ins in several legs, in memory."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from negotiate_mw import NegotiateMiddleware
from negotiate_mw.testing import LATER, ScriptedAcceptor, connection, user

BLOB2 = LATER + b"ClientBlob2"


async def hello(scope: Any, receive: Any, send: Any) -> None:
    message = await receive()
    body = f'["{scope["user"].username}", "{scope["method"]}", {len(message["body"])}]'.encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-path", scope["raw_path"])]})
    await send({"type": "http.response.body", "body": body[:3], "more_body": True})
    await send({"type": "http.response.body", "body": body[3:]})


def dialogue() -> tuple[NegotiateMiddleware, ScriptedAcceptor]:
    acceptor = ScriptedAcceptor({b"ClientBlob1": b"ServerBlob1", BLOB2: (user("alice@EXAMPLE.COM"), b"ServerBlob2")})
    return NegotiateMiddleware(hello, acceptor=acceptor), acceptor


def test_a_log_in_takes_two_legs_of_one_connection() -> None:
    app, _ = dialogue()

    async def talk() -> None:
        async with connection(app) as client:
            first = await client.get()
            challenge = await client.get(token=b"ClientBlob1")
            answer = await client.request("POST", "/page?q=1", token=BLOB2, body=b"four")

        assert (first.status, first.header("WWW-Authenticate"), first.token) == (401, "Negotiate", None)
        assert "Reference" in first.text
        assert (challenge.status, challenge.token) == (401, b"ServerBlob1")
        assert (answer.status, answer.token, answer.json()) == (200, b"ServerBlob2", ["alice", "POST", 4])
        assert answer.header("x-path") == "/page"
        assert answer.header("x-absent") is None

    asyncio.run(talk())


def test_legs_on_two_connections_are_no_log_in() -> None:
    app, _ = dialogue()

    async def talk() -> int:
        async with connection(app) as one, connection(app) as other:
            await one.get(token=b"ClientBlob1")
            return (await other.get(token=BLOB2)).status

    assert asyncio.run(talk()) == 401


def test_a_client_that_hangs_up_leaves_nothing_half_open() -> None:
    app, acceptor = dialogue()

    async def talk() -> None:
        async with connection(app) as client:
            await client.get(token=b"ClientBlob1")
            assert len(acceptor.open) == 1

    asyncio.run(talk())

    assert not acceptor.open


def test_what_the_app_raises_is_raised_in_the_test() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("the app's own")

    async def talk() -> None:
        async with connection(broken) as client:
            await client.get()

    with pytest.raises(LookupError, match="own"):
        asyncio.run(talk())


def test_the_kit_needs_neither_pytest_nor_gssapi() -> None:
    code = (
        "import sys; sys.modules['pytest'] = sys.modules['gssapi'] = None\n"
        "import negotiate_mw.testing as kit\n"
        "for name in kit.__all__: getattr(kit, name)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
