"""Every cell of the table in ``docs/servers.md``, by the real servers, a real KDC and real sockets."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.integration.serving import Answer, Wire

from .clients import MECHANISMS, NTLM, ONE_LEG, TWO_LEGS, Line, ListFirst, Mechanism, Reply, User, all_at_once, log_in
from .starting import AnyServer, start
from .table import PAGE, ROWS, UPDATE, Row, updated
from .telling import PAGE as CONNECTION

LINES = 24
BODY = b"x" * 1_000_000
UPLOADS = {
    "content-length": b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"%x\r\n%b\r\n" % (50_000, BODY[at : at + 50_000]) for at in range(0, len(BODY), 50_000))
    + b"0\r\n\r\n",
}


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.id)
def server(
    request: pytest.FixtureRequest,
    service_env: dict[str, str],
    certificate: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AnyServer]:
    row: Row = request.param
    if row.needs is not None and find_spec(row.needs) is None:
        pytest.skip(f"{row.needs} isn't installed")
    with start(row, service_env, certificate, tmp_path_factory.mktemp("server")) as server:
        yield server
        assert server.alive, server.log


def served_by(rows: list[Row]) -> pytest.MarkDecorator:
    """Only some rows' servers. They are the first, so that pytest still starts each server once."""
    assert rows == list(ROWS[: len(rows)])
    return pytest.mark.parametrize("server", rows, indirect=True, ids=lambda row: row.id)


OVER_HTTP_1_1 = served_by([row for row in ROWS if row.http == "1.1"])
WITH_CONNECTIONS = served_by([row for row in ROWS if row.connection != "none"])


@asynccontextmanager
async def http_2(server: AnyServer) -> AsyncIterator[Line]:
    """One connection of HTTP/2, with a stream for each request."""

    class Streams(Line):
        async def get(self, token: bytes, target: str = "/") -> Reply:
            answer = await client.get(target, headers={"authorization": f"Negotiate {b64encode(token).decode()}"})
            assert answer.http_version == "HTTP/2"
            return Reply(answer.status_code, answer.headers.get_list("www-authenticate"), answer.content)

    limits = httpx.Limits(max_connections=1)
    url = f"http://localhost:{server.port}"
    async with httpx.AsyncClient(
        base_url=url, http1=False, http2=True, limits=limits, timeout=30, trust_env=False
    ) as client:
        yield Streams.__new__(Streams)


@asynccontextmanager
async def lines(server: AnyServer, many: int) -> AsyncIterator[list[Line]]:
    """Connections, or streams of one connection."""
    if server.row.http == "2":
        async with http_2(server) as streams:
            yield [streams] * many
        return
    opened = [await server.line() for _ in range(many)]
    yield opened
    for line in opened:
        await line.close()


def log_in_once(server: AnyServer, mechanism: Mechanism, user: User) -> Reply:
    async def run() -> Reply:
        async with lines(server, 1) as (line,):
            return await log_in(mechanism.begin(user), line, mechanism.target)

    return asyncio.run(run())


def assert_user(reply: Reply | Answer, user: User, mechanism: Mechanism = ONE_LEG) -> None:
    assert reply.status == 200
    assert json.loads(reply.body)["principal"] == mechanism.principal(user)


def test_the_connection_is_known_as_the_table_says(server: AnyServer) -> None:
    async def run() -> Reply:
        async with lines(server, 1) as (line,):
            return await line.get(b"", CONNECTION)

    assert asyncio.run(run()).body.decode() == server.row.connection


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda mechanism: mechanism.title)
def test_a_mechanism_logs_in_where_the_table_says_so(server: AnyServer, alice: User, mechanism: Mechanism) -> None:
    mark = server.mark()

    reply = log_in_once(server, mechanism, alice)

    if server.row.takes(mechanism):
        assert_user(reply, alice, mechanism)
    else:
        assert reply.status == 401
        assert reply.challenges == ([] if mechanism is NTLM else ["Negotiate"])  # no second password box
        server.until_logged("refused with 401: needs-connection: ", mark=mark)


def test_interleaved_pairs_of_users_keep_their_identities(server: AnyServer, alice: User, bob: User) -> None:
    mechanism = NTLM if server.row.takes(NTLM) else ONE_LEG
    users = [alice, bob] * server.row.pairs

    async def run() -> list[tuple[User, Reply]]:
        async with lines(server, LINES) as opened:
            handshakes = ((user, mechanism.begin(user)) for user in users)
            return await all_at_once(handshakes, opened, mechanism.target)

    done = asyncio.run(run())

    assert len(done) == len(users)
    for user, reply in done:
        assert_user(reply, user, mechanism)


@WITH_CONNECTIONS
def test_a_later_leg_over_another_connection_is_refused(server: AnyServer, alice: User) -> None:
    client = ListFirst(alice)

    with server.wire() as wire, server.wire() as other:
        token = client.step(wire.get(token=client.step()).token)
        elsewhere = other.get(token=token)
        in_its_place = wire.get(token=token)

    assert elsewhere.status == 401
    assert elsewhere.challenges == ["Negotiate"]
    assert_user(in_its_place, alice)


def upload(wire: Wire, body: str, token: bytes | None = None) -> Answer:
    ticket = b"" if token is None else b"Authorization: Negotiate " + b64encode(token) + b"\r\n"
    wire.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n" + ticket + UPLOADS[body])
    return wire.answer("POST")


@OVER_HTTP_1_1
@pytest.mark.parametrize("body", UPLOADS)
def test_an_upload_that_is_challenged_keeps_its_connection(server: AnyServer, alice: User, body: str) -> None:
    mechanism = TWO_LEGS if server.row.takes(TWO_LEGS) else ONE_LEG
    client = mechanism.begin(alice)

    with server.wire() as wire:
        answers = [upload(wire, body), upload(wire, body, client.step())]
        while answers[-1].status == 401:
            answers.append(upload(wire, body, client.step(answers[-1].token)))

    assert [answer.status for answer in answers] == [401] * mechanism.legs + [200]
    assert answers[0].challenges == ["Negotiate"]
    assert_user(answers[-1], alice)


@OVER_HTTP_1_1
def test_an_upload_that_is_too_large_to_read_away_harms_nobody(server: AnyServer, alice: User) -> None:
    with server.wire() as wire:
        try:
            wire.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n" + BODY * 3)
            assert wire.answer("POST").status == 401
        except (OSError, HTTPException):
            pass  # a server may close while we still send

    assert_user(log_in_once(server, ONE_LEG, alice), alice)


# Websockets


def open_websocket(server: AnyServer, ticket: bytes | None) -> dict[str, object]:
    """What the app says first on a websocket."""
    headers = {} if ticket is None else {"Authorization": f"Negotiate {b64encode(ticket).decode()}"}
    with connect(
        "ws://localhost/echo", sock=server.plain_socket(), additional_headers=headers, proxy=None, open_timeout=30
    ) as websocket:
        said: dict[str, object] = json.loads(websocket.recv(30))
        websocket.send("bye")
        assert websocket.recv(30) == "bye"
    return said


@OVER_HTTP_1_1
def test_a_websocket_with_a_ticket_is_opened(server: AnyServer, alice: User) -> None:
    said = open_websocket(server, ONE_LEG.begin(alice).step())

    assert said["principal"] == alice.principal


@OVER_HTTP_1_1
@pytest.mark.parametrize("ticket", [None, b"\x60\x00", "list-first"], ids=["no-ticket", "broken", "a-first-leg"])
def test_any_other_websocket_is_refused_and_the_server_goes_on(
    server: AnyServer, alice: User, ticket: bytes | str | None
) -> None:
    token = ListFirst(alice).step() if isinstance(ticket, str) else ticket

    with pytest.raises(InvalidStatus) as refused:
        open_websocket(server, token)

    assert refused.value.response.status_code == server.row.websocket
    if server.row.websocket == 401:
        assert refused.value.response.headers.get_all("www-authenticate") == ["Negotiate"]
    assert_user(log_in_once(server, ONE_LEG, alice), alice)


# The page


def test_the_page_has_this_table() -> None:
    page = PAGE.read_text()

    assert page == updated(page), f"to bring {PAGE.name} up to date: {UPDATE}"


def test_a_row_is_proven_for_every_program_of_the_page() -> None:
    programs = {row.start.split()[0] for row in ROWS}
    many = {row.start.split()[0] for row in ROWS if row.pairs >= 1000}

    assert many == programs
    assert len(ROWS) == len({row.id for row in ROWS})
