"""Every cell of the table in ``docs/proxies.md``, by the real proxies, a real KDC and real sockets."""

import asyncio
import json
import re
import time
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any, Self

import pytest

from tests.integration.serving import SECONDS, Server
from tests.servers.clients import MECHANISMS, NTLM, Line, Mechanism, Reply, User, all_at_once, log_in

from .running import free_ports, haproxy, nginx
from .table import PAGE, ROWS, UPDATE, Row, updated

LINES = 6
PAIRS = 20
ALONE = 3

Done = list[tuple[User, Reply]]
Ports = dict[Row, int]


class ReopenedLine(Line):
    """A client's connection to a proxy, opened again where the proxy closed it after an answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        super().__init__(reader, writer)
        self._port = port

    @classmethod
    async def to(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port), port)

    async def get(self, token: bytes, target: str = "/") -> Reply:
        try:
            return await super().get(token, target)
        except (asyncio.IncompleteReadError, ConnectionError):
            await self.close()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
            return await super().get(token, target)

    async def close(self) -> None:
        with suppress(ConnectionError):
            await super().close()


def source(row: Row) -> str:
    """The address that a proxy calls the servers from, so that their logs tell one proxy's lines from another's."""
    return f"127.0.9.{ROWS.index(row) + 1}"


@pytest.fixture(scope="module")
def ports(servers: tuple[Server, Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """Where each row's proxy listens: one HAProxy and one nginx, with a section for each row."""
    ports = dict(zip(ROWS, free_ports(len(ROWS)), strict=True))
    behind = [f"127.0.0.1:{server.port}" for server in servers]
    sections, http, stream = "", "", ""
    for number, (row, port) in enumerate(ports.items()):
        at = f"127.0.0.1:{port}"
        if row.proxy == "HAProxy":
            lines = [f"server {name} {name} source {source(row)}" for name in behind[: row.servers]]
            sections += "\n  ".join([f"listen of{number}", f"bind {at}", row.setup, *lines]) + "\n"
            continue
        lines = [f"server {name};" for name in behind[: row.servers]]
        if "Connection" in row.setup:
            lines.append("keepalive 16;")
        upstream = f"upstream of{number} {{ {' '.join(lines)} }}\n"
        if row.setup.startswith("stream"):
            stream += f"{upstream}server {{ listen {at}; proxy_pass of{number}; proxy_bind {source(row)}; }}\n"
        else:
            setup = "" if row.setup.startswith("proxy_pass") else row.setup
            location = f"location / {{ proxy_pass http://of{number}; proxy_bind {source(row)}; {setup} }}"
            http += f"{upstream}server {{ listen {at}; {location} }}\n"
    of_haproxy = [port for row, port in ports.items() if row.proxy == "HAProxy"]
    of_nginx = [port for row, port in ports.items() if row.proxy == "nginx"]
    places = [tmp_path_factory.mktemp(name) for name in ("haproxy", "nginx")]
    with haproxy(places[0], of_haproxy, sections), nginx(places[1], of_nginx, http=http, stream=stream):
        yield ports


def title(value: Row | Mechanism) -> str:
    return value.id if isinstance(value, Row) else value.title


def run(job: Coroutine[Any, Any, Done]) -> Done:
    async def in_time() -> Done:
        return await asyncio.wait_for(job, SECONDS)

    return asyncio.run(in_time())


async def alone(port: int, mechanism: Mechanism, user: User) -> Done:
    """Somebody logs in, again and again, and nobody else is there."""
    line = await ReopenedLine.to(port)
    done = [(user, await log_in(mechanism.begin(user), line, mechanism.target)) for _ in range(ALONE)]
    await line.close()
    return done


async def crossed(port: int, mechanism: Mechanism, users: tuple[User, ...]) -> Done:
    """Each user sends the first leg, and only then each sends the next, each on a connection of their own."""
    under_way = []
    for user in users:
        client, line = mechanism.begin(user), await ReopenedLine.to(port)
        under_way.append((user, client, line, await line.get(client.step() or b"", mechanism.target)))
    done = []
    for user, client, line, first in under_way:
        reply = first
        while reply.status == 401 and reply.token is not None:
            reply = await line.get(client.step(reply.token) or b"", mechanism.target)
        done.append((user, reply))
        await line.close()
    return done


async def crowd(port: int, mechanism: Mechanism, users: tuple[User, ...]) -> Done:
    """Everybody at once, over fewer connections than users."""
    lines = [await ReopenedLine.to(port) for _ in range(LINES)]
    handshakes = ((user, mechanism.begin(user)) for user in users * PAIRS)
    done = await all_at_once(handshakes, lines, mechanism.target)  # type: ignore[arg-type]
    for line in lines:
        await line.close()
    return done


def assert_nobody_is_somebody_else(done: Done, mechanism: Mechanism) -> None:
    for user, reply in done:
        assert reply.status in (200, 401)
        if reply.status == 200:
            assert json.loads(reply.body)["principal"] == mechanism.principal(user)


def until_logged(servers: tuple[Server, Server], marks: list[int], line: str) -> None:
    """Wait until either server has said it."""
    deadline = time.monotonic() + SECONDS
    while not any(re.search(line, server.since(mark)) for server, mark in zip(servers, marks, strict=True)):
        assert time.monotonic() < deadline, line
        time.sleep(0.01)


CURES = {"HAProxy": "HAProxy: leave out `option http-server-close` and", "nginx": "nginx:? its `stream` module"}
BROKEN = [(row, mechanism) for row in ROWS for mechanism in MECHANISMS if row.takes(mechanism) != "yes"]


# before the crowds: repeats of one peer get no line of their own
@pytest.mark.parametrize(("row", "mechanism"), BROKEN, ids=title)
def test_where_it_does_not_get_through_the_log_names_the_proxys_setting(
    ports: Ports, servers: tuple[Server, Server], alice: User, bob: User, row: Row, mechanism: Mechanism
) -> None:
    marks = [server.mark() for server in servers]

    if row.takes(mechanism) == "no":
        done = run(alone(ports[row], mechanism, alice))
    else:
        done = run(crossed(ports[row], mechanism, (alice, bob)))

    assert any(reply.status == 401 for _, reply in done)
    first, *of_ntlm = row.reasons
    for reason in [f"{first}: .* Cure: .*{CURES[row.proxy]}", *(of_ntlm if mechanism is NTLM else ())]:
        until_logged(servers, marks, rf"refused with 401: {reason}.*peer={re.escape(source(row))} ")


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=title)
@pytest.mark.parametrize("row", ROWS, ids=title)
def test_a_mechanism_gets_through_as_the_table_says_and_nobody_is_ever_somebody_else(
    ports: Ports, alice: User, bob: User, row: Row, mechanism: Mechanism
) -> None:
    by_herself = run(alone(ports[row], mechanism, alice))
    with_others = run(crossed(ports[row], mechanism, (alice, bob))) + run(crowd(ports[row], mechanism, (alice, bob)))

    for user, reply in by_herself + with_others:
        assert reply.status in (200, 401)
        if reply.status == 200:
            assert json.loads(reply.body)["principal"] == mechanism.principal(user)
    assert all(reply.status == 200 for _, reply in by_herself) == (row.takes(mechanism) != "no")
    assert all(reply.status == 200 for _, reply in with_others) == (row.takes(mechanism) == "yes")


def test_the_page_has_this_table() -> None:
    page = PAGE.read_text()

    assert page == updated(page), f"to bring {PAGE.name} up to date: {UPDATE}"
