"""Bytes that no client sends: nothing gives a 500, gets past ``exempt``, or brings the server down."""

import http.client
import random
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire.spnego import KRB5, NTLM

from .serving import Answer, Server, Wire, get, serve
from .tokens import NTLM_NEGOTIATE, neg_token_init, neg_token_resp

HTTP = "HTTP/localhost"


@pytest.fixture(scope="module", params=["h11", "httptools"])
def exempting(request: pytest.FixtureRequest, service_env: dict[str, str]) -> Iterator[Server]:
    """``exempt=("/public/*", "/stream")``."""
    with serve("exempting", "--http", request.param, env=service_env) as server:
        yield server


@pytest.fixture(scope="module", params=["h11", "httptools"])
def below_a_root(request: pytest.FixtureRequest, service_env: dict[str, str]) -> Iterator[Server]:
    with serve("exempting", "--http", request.param, "--root-path", "/pre", env=service_env) as server:
        yield server


# Exempt paths


@pytest.mark.parametrize(
    "target", ["/public/a", "/public/a/b", "/public/", "/public/a?next=/private/%2e%2e", "/public/%61"]
)
def test_an_exempt_path_needs_no_ticket(exempting: Server, target: str) -> None:
    answer = get(exempting, target)

    assert answer.status == 200
    assert answer.json["is_authenticated"] is False
    assert answer.challenges == []


@pytest.mark.parametrize(
    "target",
    [
        "/private/a",
        "/public",
        "/publicly",
        "/Public/a",
        "/public/../private/a",
        "/public/..",
        "/public/x/../../private/a",
        "/public//a",
        "//public/a",
        "/public/./a",
        "/public/\\..\\private",
        "/public\\a",
        "/public/%2e%2e/private/a",
        "/public/%2E%2E/private/a",
        "/public/.%2e/private/a",
        "/public/..%2fprivate",
        "/public/a%2fb",
        "/public%2fa",
        "/%70ublic%2Fa",
        "/public/%5c..%5cprivate",
        "/public/a%00b",
        "/public/%252e%252e/private/a",
        "/public/a%25b",
        "/stream/",
        "/stream%2f",
        "/str%65am%00",
        "http://localhost/private/a",
    ],
)
def test_a_path_that_some_layer_may_read_otherwise_is_not_exempt(exempting: Server, target: str) -> None:
    answer = get(exempting, target)

    assert answer.status in (400, 401)  # 400: the server itself won't have it


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/public/a", 200),
        ("/pre/public/a", 401),
        ("/private/a", 401),
        ("/public/../private/a", 401),
        ("/pre/public/%2e%2e/private/a", 401),
    ],
)
def test_a_root_path_is_taken_off_first(below_a_root: Server, target: str, status: int) -> None:
    """uvicorn puts the root path in front of what it got, so it is the path without it that counts."""
    assert get(below_a_root, target).status == status


def test_an_exempt_path_ignores_what_is_in_the_header(exempting: Server) -> None:
    answer = get(exempting, "/public/a", b"garbage")

    assert answer.status == 200
    assert answer.json["is_authenticated"] is False


# Headers


def raw(server: Server, *lines: bytes, target: bytes = b"/") -> Answer:
    with Wire(server.port) as wire:
        wire.send(b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: localhost", *lines, b"", b""]))
        return wire.answer()


@pytest.mark.parametrize(
    "lines",
    [
        [b"Authorization: Negotiate"],
        [b"Authorization: Negotiate "],
        [b"Authorization: Negotiate !!!"],
        [b"Authorization: Negotiate YII"],
        [b"Authorization: Negotiate YIIC===="],
        [b"Authorization: Negotiate YI IC"],
        [b"Authorization: Negotiate YIIC,"],
        [b"Authorization: Negotiate realm=x"],
        [b"Authorization: Negotiate\tYIIC"],
        [b"Authorization: Negotiate \xff\xfe"],
        [b"Authorization: NEGOTIATE -_-_"],
        [b"Authorization: Negotiate YIIC", b"Authorization: Negotiate YIIC"],
        [b"Authorization: Basic YWxpY2U6eA==", b"Authorization: Negotiate YIIC"],
        [b"authorization: Negotiate YIIC", b"AUTHORIZATION: Basic x"],
    ],
)
def test_a_broken_authorization_header_is_400(exempting: Server, lines: list[bytes]) -> None:
    answer = raw(exempting, *lines)

    assert answer.status == 400
    assert answer.challenges == []
    assert re.fullmatch(rb"The request's Authorization header is broken\. Reference: [0-9a-f]{12}\n", answer.body)


@pytest.mark.parametrize(
    "lines",
    [
        [b"Authorization: Basic YWxpY2U6eA=="],
        [b"Authorization: Bearer x.y.z"],
        [b"Authorization:"],
        [b"Authorization: Negotiated x"],
        [b"Proxy-Authorization: Negotiate YIIC"],
        [b"X-Remote-User: alice", b"Remote-User: alice", b"X-Forwarded-User: alice"],
        [b"Cookie: session=alice"],
        [b"Authorization: NTLM " + b64encode(NTLM_NEGOTIATE)],
    ],
)
def test_what_is_no_token_of_ours_is_a_stranger(exempting: Server, lines: list[bytes]) -> None:
    answer = raw(exempting, *lines)

    assert answer.status == 401
    assert answer.challenges == ["Negotiate"]


def test_the_scheme_is_read_in_any_case(server: Server, kerberos_realm: KerberosRealm, alice: Path) -> None:
    token = b64encode(kerberos_realm.token(HTTP, alice))

    assert raw(server, b"aUTHORIZATION:   nEGOTIATE   " + token + b"  ").status == 200


@pytest.mark.parametrize(
    "lines",
    [
        [b"Authorization: Negotiate YIIC\r\n continued"],
        [b"Authorization : Negotiate YIIC"],
        [b"Authorization: Negotiate YI\0IC"],
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Content-Length: 5", b"Content-Length: 6"],
        [b"Content-Length: -1"],
        [b"Transfer-Encoding: chunked, identity"],
        [b"Transfer-Encoding: xchunked"],
        [b"X: " + b"\x01\x02"],
        [b" Authorization: Negotiate YIIC"],
    ],
)
def test_a_smugglers_request_never_reaches_the_app(exempting: Server, lines: list[bytes]) -> None:
    with Wire(exempting.port) as wire:
        smuggled = b"0\r\n\r\nGET /public/a HTTP/1.1\r\nHost: localhost\r\n\r\n"
        wire.send(b"\r\n".join([b"POST / HTTP/1.1", b"Host: localhost", *lines, b"", smuggled]))
        try:
            answer = wire.answer("POST")
        except (http.client.HTTPException, OSError):
            answer = None

    assert answer is None or answer.status in (400, 401)
    assert exempting.alive


def test_a_refused_posts_body_is_no_request(exempting: Server) -> None:
    """What stands in a refused request's body is not taken for the next request."""
    inner = b"GET /public/inner HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with Wire(exempting.port) as wire:
        wire.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(inner), inner))
        refused = wire.answer()
        following = wire.get("/public/outer")

    assert refused.status == 401
    assert following.status == 200
    assert get(exempting, "/public/after").status == 200


# Sizes


def test_a_token_over_the_limit_is_431_where_the_server_lets_it_through(service_env: dict[str, str]) -> None:
    with serve("app", "--http", "httptools", env=service_env) as server:
        under, over = (get(server, token=bytes(size)) for size in (65_536, 65_537))

    assert (under.status, over.status) == (401, 431)
    assert re.fullmatch(rb"The request's Authorization header is too large\. Reference: [0-9a-f]{12}\n", over.body)


def test_h11_has_a_limit_of_its_own_that_an_option_lifts(service_env: dict[str, str]) -> None:
    token = bytes(40_000)
    with serve("app", "--http", "h11", env=service_env) as server:
        with Wire(server.port) as wire:
            # not all yet, and hardly over the limit of 16 KiB: what a server leaves unread resets the connection
            wire.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Negotiate " + b64encode(token[:13_000]))
            stock = wire.answer().status
        alive = get(server).status
    with serve("app", "--http", "h11", "--h11-max-incomplete-event-size", "131072", env=service_env) as server:
        lifted = get(server, token=token).status
        over = get(server, token=bytes(65_537)).status

    assert (stock, alive, lifted, over) == (400, 401, 401, 431)


# Anything at all


EXTRA = [
    *(b"", b"", b"", b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"Sec-Fetch-Site: \xff\r\n"),
    *(b"Origin: null\r\n", b"Expect: 100-continue\r\n", b"Host: again\r\n", b"X-Forwarded-For: \xff,,\r\n"),
]


def mutations(dice: random.Random, token: bytes) -> Iterator[bytes]:
    """Request heads, each broken in a way of its own; ``token`` is a good one."""

    def insert(data: bytes) -> bytes:
        at = dice.randrange(len(data) + 1)
        return data[:at] + dice.randbytes(dice.choice((1, 2, 8))) + data[at:]

    def delete(data: bytes) -> bytes:
        at = dice.randrange(len(data))
        return data[:at] + data[at + dice.choice((1, 2, 8)) :]

    def replace(data: bytes) -> bytes:
        at = dice.randrange(len(data))
        return data[:at] + dice.choice((b"\0", b"\xff", b"\x80", b"\x84", b"\x30", dice.randbytes(1))) + data[at + 1 :]

    def truncate(data: bytes) -> bytes:
        return data[: dice.randrange(len(data))]

    def repeat(data: bytes) -> bytes:
        return data + data

    changes: list[Callable[[bytes], bytes]] = [insert, delete, replace, truncate, repeat]
    seeds = [
        token,
        neg_token_init([KRB5]),
        neg_token_init([NTLM, KRB5], NTLM_NEGOTIATE),
        neg_token_init([KRB5, NTLM] * 16, token),
        neg_token_resp(token),
        neg_token_resp(),
        NTLM_NEGOTIATE,
        b"NTLMSSP\0\x03\0\0\0" + bytes(80),
        dice.randbytes(64),
    ]
    while True:
        changed = dice.choice(seeds)
        for _ in range(dice.choice((1, 1, 1, 2, 5))):
            changed = dice.choice(changes)(changed) or b"\xa1"
        authorization = b"Authorization: Negotiate " + b64encode(changed)
        where = dice.random()
        target, method, version = b"/", b"GET", b"HTTP/1.1"
        if where < 0.1:
            authorization = dice.choice(changes)(authorization)
        elif where < 0.15:
            target = b"/" + b"".join(
                dice.choice((b"..", b"/", b"%2e", b"%ff", b"\xe4", b"public", b"?", b";")) for _ in range(4)
            )
        elif where < 0.2:
            method = dice.choice((b"POST", b"OPTIONS", b"HEAD", b"TRACE", b"CONNECT", b"X-YZ"))
        elif where < 0.23:
            version = dice.choice((b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9", b"HTTPS/1.1"))
        extra = dice.choice(EXTRA)
        yield b"%s %s %s\r\nHost: localhost\r\n%s\r\n%s\r\n" % (method, target, version, authorization, extra)


@pytest.mark.parametrize("implementation", ["h11", "httptools"])
def test_nothing_that_a_client_sends_is_an_error_of_the_server(
    service_env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path, implementation: str
) -> None:
    token = kerberos_realm.token(HTTP, alice)
    heads = mutations(random.Random(implementation), token)
    statuses: dict[int, int] = {}

    # with websockets, uvicorn leaves an upgrade that has a control character in it unanswered, whatever the app is
    with serve("app", "--http", implementation, "--ws", "wsproto", env=service_env) as server:
        wire = Wire(server.port)
        for _ in range(1000):
            head = next(heads)
            try:
                wire.send(head)
                answer = wire.answer(head.partition(b" ")[0].decode("latin-1"))
            except (http.client.HTTPException, OSError):
                wire.close()  # the server wouldn't have it, and closed
                wire = Wire(server.port)
                continue
            statuses[answer.status] = statuses.get(answer.status, 0) + 1
            if answer.status == 200:
                assert answer.json["principal"] == "alice@TEST.EXAMPLE"
                heads = mutations(random.Random(head), token := kerberos_realm.token(HTTP, alice))
            if answer.headers.get("connection") == "close" or b"Invalid HTTP request" in answer.body:
                wire.close()
                wire = Wire(server.port)
        wire.close()
        unharmed = get(server, token=kerberos_realm.token(HTTP, alice))
        log = server.log

    assert unharmed.status == 200
    assert set(statuses) <= {200, 400, 401, 403, 404, 405, 426}, statuses
    assert statuses[401] > 500, statuses
    assert "Traceback" not in log
    assert "ERROR" not in log
    assert b64encode(token[:60]).decode() not in log
    assert all(line.isprintable() for line in log.splitlines())
