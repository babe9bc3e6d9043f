"""What a logged-in user gets: the final token on every response but 401, and websockets that know who is there."""

import asyncio
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

import gssapi
import pytest
import websockets.exceptions
import websockets.sync.client
import wsproto
import wsproto.events

from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire.spnego import KRB5

from .serving import Server, Wire, get, serve
from .tokens import neg_token_init

HTTP = "HTTP/localhost"


@pytest.fixture
def client(kerberos_realm: KerberosRealm, alice: Path) -> gssapi.SecurityContext:
    return kerberos_realm.initiator(HTTP, alice)


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/", 200, rb'.*"alice@TEST\.EXAMPLE".*'),
        ("/stream", 200, rb"one two alice@TEST\.EXAMPLE"),
        ("/missing", 404, rb"Not Found"),
        ("/empty", 204, rb""),
        ("/error", 500, rb"Internal Server Error"),
    ],
)
def test_the_final_token_comes_once_with_whatever_the_app_answers(
    server: Server, client: gssapi.SecurityContext, target: str, status: int, body: bytes
) -> None:
    answer = get(server, target, client.step())

    assert answer.status == status
    assert re.fullmatch(body, answer.body)
    client.step(answer.token)  # of the one WWW-Authenticate header
    assert client.complete
    assert answer.headers["vary"] == "Authorization, Cookie"
    assert answer.headers["cache-control"] == "private"


def test_a_head_request_carries_the_final_token_as_well(server: Server, client: gssapi.SecurityContext) -> None:
    answer = get(server, token=client.step(), method="HEAD")

    client.step(answer.token)
    assert client.complete


def test_the_apps_own_401_is_left_as_the_app_wrote_it(server: Server, client: gssapi.SecurityContext) -> None:
    answer = get(server, "/login-needed", client.step())

    assert (answer.status, answer.body) == (401, b"the app's own 401")
    assert answer.challenges == ['Bearer realm="app"']


def test_a_post_is_served_with_its_body(server: Server, client: gssapi.SecurityContext) -> None:
    with Wire(server.port) as wire:
        refused = wire.get(method="POST", headers=[("Content-Length", "0")])
        served = wire.get(token=client.step(), method="POST", headers=[("Content-Length", "0")])

    assert (refused.status, served.status) == (401, 200)


def test_nobody_is_served_where_it_is_optional_but_a_bad_token_is_never_nobody(
    service_env: dict[str, str], client: gssapi.SecurityContext
) -> None:
    with serve("optional", env=service_env) as server:
        token = client.step()
        nobody = get(server)
        alice = get(server, token=token)
        replayed = get(server, token=token)

    assert nobody.status == 200
    assert nobody.json["is_authenticated"] is False
    assert nobody.challenges == []
    assert alice.json["principal"] == "alice@TEST.EXAMPLE"
    assert replayed.status == 401


# Websockets


WEBSOCKETS = {
    "websockets": ("--ws", "websockets"),
    "websockets-sansio": ("--ws", "websockets-sansio"),
    "wsproto": ("--ws", "wsproto"),
    "our-auto": ("--http", "negotiate_mw.servers.uvicorn:Auto"),
    "our-h11-wsproto": ("--http", "negotiate_mw.servers.uvicorn:H11", "--ws", "wsproto"),
}


@pytest.fixture(scope="module", params=WEBSOCKETS.values(), ids=list(WEBSOCKETS))
def ws_server(request: pytest.FixtureRequest, service_env: dict[str, str]) -> Iterator[Server]:
    with serve("app", *request.param, env=service_env) as server:
        yield server


def authorization(token: bytes | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Negotiate {b64encode(token).decode()}"}


def open_websocket(
    server: Server, token: bytes | None, headers: dict[str, str] | None = None
) -> websockets.sync.client.ClientConnection:
    return websockets.sync.client.connect(
        f"ws://localhost:{server.port}/echo", additional_headers=authorization(token) | (headers or {}), proxy=None
    )


def test_a_websocket_with_a_ticket_knows_its_user(ws_server: Server, client: gssapi.SecurityContext) -> None:
    with open_websocket(ws_server, client.step()) as socket:
        user = json.loads(socket.recv())
        socket.send("hello")
        echoed = socket.recv()
    assert socket.response is not None
    final = socket.response.headers["www-authenticate"]

    assert user["principal"] == "alice@TEST.EXAMPLE"
    assert user["scopes"] == ["authenticated", "kerberos"]
    assert echoed == "hello"
    client.step(b64decode(final.removeprefix("Negotiate ")))
    assert client.complete


@pytest.mark.parametrize("case", ["without", "replayed", "half"])
def test_a_websocket_without_a_good_ticket_is_refused_before_it_is_accepted(
    ws_server: Server, client: gssapi.SecurityContext, case: str
) -> None:
    token = None
    if case == "replayed":
        token = client.step()
        with open_websocket(ws_server, token):
            pass
    elif case == "half":
        token = neg_token_init([KRB5])

    with pytest.raises(websockets.exceptions.InvalidStatus) as refused, open_websocket(ws_server, token):
        pass

    response = refused.value.response
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Negotiate"
    assert re.fullmatch(rb"Sign-in is needed\. Reference: [0-9a-f]{12}\n", response.body or b"")


def test_a_websocket_from_another_origins_page_is_refused_though_it_brings_a_ticket(
    ws_server: Server, client: gssapi.SecurityContext
) -> None:
    foreign = {"Origin": "http://evil.example"}

    with (
        pytest.raises(websockets.exceptions.InvalidStatus) as refused,
        open_websocket(ws_server, client.step(), foreign),
    ):
        pass

    assert refused.value.response.status_code == 403


def test_a_websocket_from_our_own_page_is_accepted(ws_server: Server, client: gssapi.SecurityContext) -> None:
    own = {"Origin": f"http://localhost:{ws_server.port}"}

    with open_websocket(ws_server, client.step(), own) as socket:
        user = json.loads(socket.recv())

    assert user["principal"] == "alice@TEST.EXAMPLE"


def test_a_client_of_another_library_is_understood(ws_server: Server, client: gssapi.SecurityContext) -> None:
    async def talk(token: bytes | None) -> list[wsproto.events.Event]:
        reader, writer = await asyncio.open_connection("127.0.0.1", ws_server.port)
        socket = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        headers = [(name.encode(), value.encode()) for name, value in authorization(token).items()]
        writer.write(socket.send(wsproto.events.Request(host="localhost", target="/echo", extra_headers=headers)))
        seen: list[wsproto.events.Event] = []
        last = (wsproto.events.TextMessage, wsproto.events.RejectData, wsproto.events.CloseConnection)
        while not seen or not isinstance(seen[-1], last):
            socket.receive_data(await reader.read(65536))
            seen += socket.events()
        writer.close()
        await writer.wait_closed()
        return seen

    accepted = asyncio.run(talk(client.step()))
    refused = asyncio.run(talk(None))

    assert isinstance(accepted[0], wsproto.events.AcceptConnection)
    message = accepted[-1]
    assert isinstance(message, wsproto.events.TextMessage)
    assert json.loads(message.data)["principal"] == "alice@TEST.EXAMPLE"
    assert isinstance(refused[0], wsproto.events.RejectConnection)
    assert refused[0].status_code == 401
