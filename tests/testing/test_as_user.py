"""``as_user``: an app's own middleware takes a test's word for who asks, and nothing else's."""

import asyncio
import os
import secrets
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from negotiate_mw import (
    Acceptor,
    ChannelBinding,
    ConfigurationError,
    CookieSessions,
    Identity,
    NegotiateMiddleware,
    Policy,
)
from negotiate_mw.testing import as_user, user
from tests.shell.driving import Lifespan

ALICE = "alice@EXAMPLE.COM"


async def whoami(request: Request) -> JSONResponse:
    who = request.user
    return JSONResponse(
        {
            "principal": getattr(who, "principal", None),
            "username": who.display_name,
            "groups": sorted(getattr(who, "groups", ())),
            "scopes": sorted(request.auth.scopes),
        }
    )


def site(**options: Any) -> NegotiateMiddleware:
    """An app as in production: with a keytab that this machine doesn't have."""
    app = Starlette(routes=[Route("/", whoami, methods=["GET", "POST"]), Route("/healthz", whoami)])
    return NegotiateMiddleware(app, acceptor=Acceptor(keytab="/nonexistent/http.keytab"), **options)


def client(app: Any, who: str | Identity | None, **options: Any) -> TestClient:
    return TestClient(as_user(app, who, **options))


def test_the_app_sees_the_user_with_the_groups_named() -> None:
    answer = client(site(), ALICE, groups=["HR"]).get("/")

    assert answer.json() == {
        "principal": ALICE,
        "username": "alice",
        "groups": ["HR"],
        "scopes": ["authenticated", "group:HR", "kerberos"],
    }
    assert "private" in answer.headers["cache-control"]


def test_the_rest_of_the_identity_can_be_said_too() -> None:
    seen: list[Identity] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["user"])
        await PlainTextResponse("")(scope, receive, send)

    protected = NegotiateMiddleware(app, acceptor=Acceptor(keytab="/nonexistent"))
    client(protected, ALICE, sid="S-1-5-21-1-2-3-1106", account_id="S-1-5-21-1-2-3-1106").get("/")
    client(protected, "CORP\\bob").get("/")
    client(protected, user("eve@EXAMPLE.COM", upn="eve@example.com")).get("/")

    assert [(one.principal, one.identity, one.mechanism) for one in seen] == [
        (ALICE, "S-1-5-21-1-2-3-1106", "kerberos"),
        ("CORP\\bob", "CORP\\bob", "ntlm"),
        ("eve@EXAMPLE.COM", "eve@EXAMPLE.COM", "kerberos"),
    ]
    assert seen[2].upn == "eve@example.com"


def test_nobody_is_challenged_or_passes_where_nobody_may() -> None:
    refused = client(site(), None).get("/")
    passed = client(site(required=False), None).get("/")

    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Negotiate")
    assert (passed.status_code, passed.json()["principal"]) == (200, None)


def test_the_apps_own_policy_decides() -> None:
    corp = Policy(realms=["CORP.EXAMPLE"])
    bound = Policy(channel_binding=ChannelBinding.required())

    statuses = {
        "another realm": client(site(policy=corp), ALICE).get("/").status_code,
        "its realm": client(site(policy=corp), "alice@CORP.EXAMPLE").get("/").status_code,
        "a computer": client(site(), "pc1$@EXAMPLE.COM").get("/").status_code,
        "a service": client(site(), "host/pc1@EXAMPLE.COM").get("/").status_code,
        "services allowed": client(site(policy=Policy(services=True)), "host/pc1@EXAMPLE.COM").get("/").status_code,
        "not bound": client(site(policy=bound), ALICE).get("/").status_code,
        "bound": client(site(policy=bound), ALICE, channel_bound=True).get("https://testserver/").status_code,
        "plain http": client(site(policy=Policy(require_tls=True)), ALICE).get("/").status_code,
        "https": client(site(policy=Policy(require_tls=True)), ALICE).get("https://testserver/").status_code,
        "another site's page": client(site(), ALICE).post("/", headers={"sec-fetch-site": "same-site"}).status_code,
    }

    assert statuses == {
        "another realm": 403,
        "its realm": 200,
        "a computer": 403,
        "a service": 403,
        "services allowed": 200,
        "not bound": 401,
        "bound": 200,
        "plain http": 403,
        "https": 200,
        "another site's page": 403,
    }


@pytest.mark.parametrize("certfile", [None, "/nonexistent/proxy.pem"])
def test_an_app_that_requires_channel_binding_starts_without_a_certificate(certfile: str | None) -> None:
    app = as_user(site(policy=Policy(channel_binding=ChannelBinding.required(certfile))), ALICE, channel_bound=True)

    # not by TestClient, which waits for ever where a start fails
    async def start() -> object:
        lifespan = Lifespan(app)
        message = await lifespan.start()
        if message["type"] == "lifespan.startup.complete":
            await lifespan.stop()
        return message["type"]

    assert asyncio.run(start()) == "lifespan.startup.complete"
    assert TestClient(app).get("https://testserver/").status_code == 200


def test_an_exempt_page_has_no_user() -> None:
    assert client(site(exempt=("/healthz",)), ALICE).get("/healthz").json()["principal"] is None


def test_the_groups_named_stand_and_the_apps_source_is_not_asked() -> None:
    asked: list[Identity] = []

    async def source(identity: Identity) -> Iterable[str]:
        asked.append(identity)
        return ["all"]

    answers = [client(site(groups=groups), ALICE, groups=["HR"]).get("/").json() for groups in (source, "pac")]

    assert [answer["groups"] for answer in answers] == [["HR"], ["HR"]]
    assert asked == []


def test_sessions_begin_and_end() -> None:
    sessions = CookieSessions(keys=[secrets.token_urlsafe(32)])

    async def logout(request: Request) -> PlainTextResponse:
        await sessions.logout(request.scope)
        return PlainTextResponse("bye")

    app = NegotiateMiddleware(
        Starlette(routes=[Route("/", whoami), Route("/logout", logout)]),
        acceptor=Acceptor(keytab="/nonexistent"),
        sessions=sessions,
    )
    browser = client(app, ALICE)

    begun, ended = browser.get("/"), browser.get("/logout")

    assert begun.headers["set-cookie"].startswith("negotiate-mw=")
    assert "max-age=0" in ended.headers["set-cookie"].lower()


def test_the_apps_lifespan_runs_without_a_keytab() -> None:
    told: list[str] = []

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        told.append("started")
        yield
        told.append("stopped")

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(NegotiateMiddleware, acceptor=Acceptor(keytab="/nonexistent"))

    @app.get("/")
    def home(request: Request) -> str:
        return str(request.user.username)

    with TestClient(as_user(app, ALICE)) as running:
        answer = running.get("/").json()

    assert (answer, told) == ("alice", ["started", "stopped"])


def test_httpx_sees_the_app_as_the_user() -> None:
    async def ask() -> Any:
        transport = httpx.ASGITransport(as_user(site(), ALICE))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as browser:
            return (await browser.get("/")).json()["principal"]

    assert asyncio.run(ask()) == ALICE


def test_websockets_are_asked_for_by_the_user() -> None:
    async def chat(scope: Any, receive: Any, send: Any) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        await socket.send_text(scope["user"].username)
        await socket.close()

    app = NegotiateMiddleware(chat, acceptor=Acceptor(keytab="/nonexistent"))

    with client(app, ALICE).websocket_connect("/") as socket:
        said = socket.receive_text()

    assert said == "alice"
    with pytest.raises(WebSocketDenialResponse) as refused, client(app, None).websocket_connect("/"):
        pass
    assert refused.value.status_code == 401


def test_a_middleware_within_another_decides_by_its_own_policy() -> None:
    inner = site(policy=Policy(realms=["CORP.EXAMPLE"]))
    app = NegotiateMiddleware(
        Starlette(routes=[Mount("/inner", inner), Route("/", whoami)]), acceptor=Acceptor(keytab="/nonexistent")
    )

    statuses = [client(app, who).get("/inner/").status_code for who in (ALICE, "alice@CORP.EXAMPLE")]

    assert statuses == [403, 200]


def test_a_request_with_a_header_of_its_own_is_taken_for_what_it_is() -> None:
    browser = client(site(), ALICE)

    statuses = [
        browser.get("/", headers={"authorization": header}).status_code
        for header in ("Bearer x", "Negotiate " + b64encode(b"forged").decode(), "Negotiate")
    ]

    assert statuses == [401, 401, 400]


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Negotiate " + b64encode(b"as_user").decode()},
        {"negotiate_mw.testing.as_user": ALICE},
        {"x-as-user": ALICE, "cookie": f"negotiate_mw.testing.as_user={ALICE}"},
    ],
)
def test_nothing_in_a_request_does_what_the_test_does(headers: dict[str, str]) -> None:
    app = site(policy=Policy(realms=["EXAMPLE.COM"]))
    as_user(app, ALICE)  # somebody did, in this process, for another client

    answer = TestClient(app).get(f"/?negotiate_mw.testing.as_user={ALICE}", headers=headers)

    assert answer.status_code in (401, 503)


@pytest.mark.parametrize("value", [ALICE, user(ALICE), {"identity": user(ALICE)}, True])
def test_nothing_in_a_scope_does_either_but_the_wrapper_itself(value: object) -> None:
    app = site(required=False)

    async def server(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "negotiate_mw.testing.as_user": value, "user": user(ALICE)}, receive, send)

    answer = TestClient(server).get("/")

    assert answer.status_code == 503 or answer.json()["principal"] is None


def in_production(code: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "NEGOTIATE_MW"))}
    return subprocess.run([sys.executable, "-c", code], env=kept | environ, capture_output=True, text=True)


def test_outside_of_tests_it_refuses() -> None:
    code = f"from negotiate_mw.testing import as_user; as_user(object(), {ALICE!r})"

    in_anger, for_development = in_production(code), in_production(code, NEGOTIATE_MW_DEV="1")

    assert "NEGOTIATE_MW_DEV=1" in in_anger.stderr
    assert in_anger.returncode == 1
    assert for_development.returncode == 0


def test_the_library_by_itself_has_nothing_of_it() -> None:
    code = "import sys, negotiate_mw.middleware as m; print(m.NegotiateMiddleware.__call__.__module__, *sys.modules)"

    module, *loaded = in_production(code).stdout.split()

    assert module == "negotiate_mw.middleware"
    assert not [name for name in loaded if name.startswith("negotiate_mw.testing")]


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: as_user(site(), "alice"), "with its realm"),
        (lambda: as_user(site(), "krbtgt/EXAMPLE.COM@EXAMPLE.COM"), "nobody's name"),
        (lambda: as_user(site(), ALICE, groups="HR"), r'groups=\["HR"\]'),
        (lambda: as_user(site(), None, groups=["HR"]), "with a principal alone"),
        (lambda: as_user(site(), user(ALICE), sid="S-1-5-21-1-2-3-4"), "with a principal alone"),
    ],
)
def test_a_mistake_is_explained(act: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        act()
