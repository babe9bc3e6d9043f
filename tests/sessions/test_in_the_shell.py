"""Sessions and the middleware's policy: a session says who somebody was, and each middleware decides for itself."""

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from negotiate_mw import AcceptError, ChannelBinding, CookieSessions, NegotiateMiddleware, Policy, SecStatus, handshake
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.handshake import Remembered
from negotiate_mw.sessions.cookie import CookieSession
from negotiate_mw.sessions.sealing import make_key
from negotiate_mw.status import ContextFlag
from negotiate_mw.testing.scripted import ScriptedAcceptor, user
from tests.shell.driving import Client, Site, on_a_loop
from tests.shell.test_groups import Answering

from .browsing import Browser, Clock

KEY = make_key()
PORTAL = "https://portal.example.com"


def scripted(**fields: Any) -> ScriptedAcceptor:
    return ScriptedAcceptor({b"Alice": (user("alice@EXAMPLE.COM", **fields), None)})


def mounts(weak: dict[str, Any], strict: dict[str, Any], **fields: Any) -> Any:
    """Two middlewares side by side, with the same sessions: /weak and /strict."""
    sessions = CookieSessions(keys=[KEY])
    apps = {
        f"/{name}": NegotiateMiddleware(
            Site(), sessions=sessions, **dict[str, Any]({"acceptor": scripted(**fields), "required": False} | options)
        )
        for name, options in (("weak", weak), ("strict", strict))
    }

    async def either(scope: Any, receive: Any, send: Any) -> None:
        await apps[scope["path"]](scope, receive, send)

    return either


# where a session was made doesn't matter, who it says it is does


@pytest.mark.parametrize(
    ("strict", "fields"),
    [
        ({"policy": Policy(realms=["OTHER.EXAMPLE"])}, {}),
        ({"policy": Policy(pac="required")}, {}),
        ({"policy": Policy(required_flags=ContextFlag.MUTUAL_AUTH)}, {"attributes": ContextFlag.INTEGRITY}),
        ({"policy": Policy(required_indicators=["pkinit"])}, {"named_attributes": (("auth-indicators", ("otp",)),)}),
        ({"policy": Policy(channel_binding=ChannelBinding.required())}, {}),
        ({"policy": Policy()}, {"is_service": True}),
        ({"policy": Policy()}, {"mechanism": "ntlm", "realm": "CORP"}),  # an acceptor that takes no NTLM (any more)
        ({"policy": Policy(realms="*")}, {"mechanism": "ntlm", "realm": "CORP"}),
    ],
    ids=["realm", "pac", "flags", "indicators", "binding", "service", "mechanism", "mechanism, any realm"],
)
@on_a_loop
async def test_a_session_made_under_a_weak_policy_does_not_open_a_strict_one(
    strict: dict[str, Any], fields: dict[str, Any]
) -> None:
    allowing = scripted(**fields)
    allowing.ntlm_domains = frozenset({"CORP"})
    weak = {"acceptor": allowing, "policy": Policy(services=True)}
    browser = Browser(mounts(weak, strict, **fields))

    made = await browser.get(b"Alice", path="/weak")
    weakly = await browser.get(path="/weak")
    strictly = await browser.get(path="/strict")

    assert made.text == weakly.text != "nobody"
    assert strictly.text == "nobody"


@pytest.mark.parametrize("is_open", [True, False], ids=["in the cache", "sealed"])
@pytest.mark.parametrize(("takes_passwords", "status"), [(True, 200), (False, 401)])
@on_a_loop
async def test_a_session_by_a_password_is_none_where_no_passwords_are_taken(
    is_open: bool, takes_passwords: bool, status: int
) -> None:
    sessions = CookieSessions(keys=[KEY])
    view = sessions.session({"headers": []}, is_tls=True)
    await view.begin(user("alice@EXAMPLE.COM", mechanism="basic"))
    pair = (view.set_cookie() or b"").partition(b";")[0]
    if not is_open:
        await sessions.stop()
    app = NegotiateMiddleware(Site(), acceptor=scripted(), sessions=sessions)
    if takes_passwords:
        app._passwords = object()  # type: ignore[assignment]

    answer = await Client(app, scheme="https").get(headers=[(b"cookie", pair)])

    assert answer.status == status


@on_a_loop
async def test_each_policy_names_the_user_its_own_way() -> None:
    strict = Policy(username=lambda identity: f"<{identity.principal}>")
    browser = Browser(mounts({}, {"policy": strict}))
    await browser.get(b"Alice", path="/weak")

    answers = await browser.get(path="/weak"), await browser.get(path="/strict")

    assert [answer.text for answer in answers] == ["alice", "<alice@EXAMPLE.COM>"]


@on_a_loop
async def test_what_one_policy_said_of_a_session_is_not_what_the_other_says() -> None:
    named = {"policy": Policy(realms=["EXAMPLE.COM", "OTHER.EXAMPLE"])}
    browser = Browser(mounts({}, named))
    await browser.get(b"Alice", path="/weak")

    answers = [(await browser.get(path=path)).text for path in ("/weak", "/strict") * 3]

    assert answers == ["alice", "alice@EXAMPLE.COM"] * 3


@on_a_loop
async def test_an_apps_own_naming_is_asked_at_every_use() -> None:
    names = iter(["at log-in", "first", "second"])
    site = Site()
    policy = Policy(username=lambda _: next(names))
    app = NegotiateMiddleware(site, acceptor=scripted(), policy=policy, sessions=CookieSessions(keys=[KEY]))
    browser = Browser(app)

    await browser.get(b"Alice")
    await browser.get()
    await browser.get()

    assert [scope["user"].username for scope in site.scopes] == ["at log-in", "first", "second"]


@on_a_loop
async def test_who_many_others_came_after_is_still_who_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "_MOST_KNOWN", 3)
    principals = [f"user{number}@EXAMPLE.COM" for number in range(10)]
    site = Site()
    acceptor = ScriptedAcceptor({name.encode(): (user(name), None) for name in principals})
    app = NegotiateMiddleware(site, acceptor=acceptor, sessions=CookieSessions(keys=[KEY]))
    browsers = [Browser(app) for _ in principals]

    for tokens in (principals, principals, [None] * 10):
        site.scopes.clear()
        for browser, token in zip(browsers, tokens, strict=True):
            await browser.get(None if token is None else token.encode())
        assert [scope["user"].principal for scope in site.scopes] == principals

    assert app._rules is not None
    assert len(app._rules.known) == 3


@on_a_loop
async def test_a_realm_that_the_keytab_lost_ends_its_sessions() -> None:
    acceptor = scripted()
    browser = Browser(NegotiateMiddleware(Site(), acceptor=acceptor, sessions=CookieSessions(keys=[KEY])))
    await browser.get(b"Alice")
    assert (await browser.get()).status == 200

    acceptor.realms = frozenset({"OTHER.EXAMPLE"})
    answer = await browser.get()

    assert answer.status == 401


@on_a_loop
async def test_a_realm_that_is_lost_while_a_request_waits_for_its_session_is_lost_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go_on = asyncio.Event()
    go_on.set()

    async def slow(session: CookieSession) -> Remembered | None:
        await go_on.wait()
        return await at_once(session)

    at_once = CookieSession.open
    monkeypatch.setattr(CookieSession, "peek", lambda *_: None)
    monkeypatch.setattr(CookieSession, "open", slow)
    acceptor = scripted()
    acceptor.realms = frozenset({"EXAMPLE.COM", "OTHER.EXAMPLE"})
    browser = Browser(NegotiateMiddleware(Site(), acceptor=acceptor, sessions=CookieSessions(keys=[KEY])))
    await browser.get(b"Alice")

    go_on.clear()
    waiting = asyncio.create_task(browser.get())
    await asyncio.sleep(0)
    acceptor.realms = frozenset({"OTHER.EXAMPLE"})
    other = asyncio.create_task(browser.get())
    await asyncio.sleep(0)
    go_on.set()
    await waiting
    await other

    assert [(await browser.get()).status for _ in range(3)] == [401, 401, 401]


@on_a_loop
async def test_mounts_of_different_audiences_have_a_session_each() -> None:
    wiki, hr = (CookieSessions(keys=[KEY], audience=name) for name in ("wiki", "hr"))
    first = NegotiateMiddleware(Site(), acceptor=scripted(), sessions=wiki)
    second = NegotiateMiddleware(Site(), acceptor=scripted(), sessions=hr)
    browser = Browser(first)

    await browser.get(b"Alice")
    browser.app = second
    stranger = await browser.get()
    await browser.get(b"Alice")
    known = await browser.get()
    browser.app = first
    still = await browser.get()

    assert stranger.status == 401
    assert (known.text, still.text) == ("alice", "alice")
    assert len(browser.jar) == 2


@on_a_loop
async def test_nested_middlewares_share_the_outer_ones_session_by_the_inner_ones_policy() -> None:
    outer_sessions, inner_sessions = CookieSessions(keys=[KEY]), CookieSessions(keys=[KEY], audience="inner")
    site = Site()
    inner = NegotiateMiddleware(
        site, acceptor=scripted(), sessions=inner_sessions, policy=Policy(username=lambda identity: "inner name")
    )
    browser = Browser(NegotiateMiddleware(inner, acceptor=scripted(), sessions=outer_sessions))

    await browser.get(b"Alice")
    answer = await browser.get()

    assert answer.text == "inner name"
    assert list(browser.jar) == ["__Host-negotiate-mw"]
    assert answer.all("vary") == ["Authorization, Cookie"]


@on_a_loop
async def test_the_inner_of_nested_middlewares_has_its_own_session_where_the_outer_one_is_exempt() -> None:
    outer_sessions, inner_sessions = CookieSessions(keys=[KEY]), CookieSessions(keys=[KEY], audience="inner")
    inner = NegotiateMiddleware(Site(), acceptor=scripted(), sessions=inner_sessions)
    outer = NegotiateMiddleware(inner, acceptor=scripted(), sessions=outer_sessions, exempt=("/own",))
    browser = Browser(outer)

    await browser.get(b"Alice", path="/own")
    answer = await browser.get(path="/own")
    elsewhere = await browser.get(path="/elsewhere")

    assert answer.text == "alice"
    assert elsewhere.status == 401


@pytest.mark.parametrize("order", [0, 1])
@on_a_loop
async def test_an_apps_own_sessions_work_beside_it(order: int) -> None:
    async def count(request: Request) -> Response:
        request.session["visits"] = request.session.get("visits", 0) + 1
        return PlainTextResponse(f"{request.user.display_name} {request.session['visits']}")

    layers = [
        Middleware(SessionMiddleware, secret_key="of the app"),
        Middleware(NegotiateMiddleware, acceptor=scripted(), sessions=CookieSessions(keys=[KEY])),
    ]
    browser = Browser(Starlette(routes=[Route("/", count)], middleware=layers[:: 1 if order else -1]))

    answers = [await browser.get(b"Alice"), await browser.get(), await browser.get()]

    assert [answer.text for answer in answers] == ["alice 1", "alice 2", "alice 3"]
    assert set(browser.jar) == {"session", "__Host-negotiate-mw"}


@on_a_loop
async def test_a_mounted_app_logs_out_by_its_own_requests_scope() -> None:
    sessions = CookieSessions(keys=[KEY])

    async def logout(request: Request) -> Response:
        await sessions.logout(request.scope)
        return PlainTextResponse("bye")

    app = Starlette(
        routes=[Mount("/sub", routes=[Mount("/deeper", routes=[Route("/logout", logout)])])],
        middleware=[Middleware(NegotiateMiddleware, acceptor=scripted(), sessions=sessions)],
    )
    browser = Browser(app)
    await browser.get(b"Alice", path="/sub/deeper/logout")

    assert browser.jar == {}


# a session is an ambient credential, as a ticket is


@pytest.mark.parametrize("headers", [[(b"sec-fetch-site", b"same-site")], [(b"origin", b"https://evil.example")]])
@on_a_loop
async def test_another_origins_page_does_not_get_to_use_a_session(headers: list[tuple[bytes, bytes]]) -> None:
    browser = Browser(NegotiateMiddleware(Site(), acceptor=scripted(), sessions=CookieSessions(keys=[KEY])))
    await browser.get(b"Alice")

    posted = await browser.get(method="POST", headers=list(headers))
    upgraded = await browser.websocket(headers=list(headers))

    assert (posted.status, upgraded.status) == (403, 403)
    assert len(browser.jar) == 1


@on_a_loop
async def test_a_trusted_origins_page_uses_it_with_credentials() -> None:
    site = Starlette(routes=[Route("/", lambda request: PlainTextResponse(request.user.username), methods=["POST"])])
    app = CORSMiddleware(
        NegotiateMiddleware(
            site, acceptor=scripted(), sessions=CookieSessions(keys=[KEY]), policy=Policy(trusted_origins=[PORTAL])
        ),
        allow_origins=[PORTAL],
        allow_credentials=True,
    )
    browser = Browser(app)
    await browser.get(b"Alice", method="POST")

    headers = [(b"origin", PORTAL.encode()), (b"sec-fetch-site", b"same-site")]
    answer = await browser.get(method="POST", headers=headers)

    assert (answer.status, answer.text) == (200, "alice")
    assert answer.all("access-control-allow-credentials") == ["true"]


@on_a_loop
async def test_a_preflight_uses_no_session() -> None:
    app = NegotiateMiddleware(
        Site(), acceptor=scripted(), sessions=CookieSessions(keys=[KEY]), policy=Policy(trusted_origins=[PORTAL])
    )
    browser = Browser(app)
    await browser.get(b"Alice")

    headers = [(b"origin", PORTAL.encode()), (b"access-control-request-method", b"POST")]
    answer = await browser.get(method="OPTIONS", headers=headers)

    assert answer.text == "nobody"


@on_a_loop
async def test_without_required_a_session_is_used_and_nobody_needs_one() -> None:
    app = NegotiateMiddleware(Site(), acceptor=scripted(), sessions=CookieSessions(keys=[KEY]), required=False)
    browser = Browser(app)

    answers = [await browser.get(), await browser.get(b"Alice"), await browser.get()]

    assert [answer.text for answer in answers] == ["nobody", "alice", "alice"]


@on_a_loop
async def test_an_exempt_path_uses_no_session_and_leaves_it_alone() -> None:
    app = NegotiateMiddleware(Site(), acceptor=scripted(), sessions=CookieSessions(keys=[KEY]), exempt=("/healthz",))
    browser = Browser(app)
    await browser.get(b"Alice")

    exempt = await browser.get(path="/healthz")
    after = await browser.get()

    assert (exempt.text, exempt.all("set-cookie"), after.text) == ("nobody", [], "alice")


@on_a_loop
async def test_a_proxy_that_ends_tls_counts_as_tls_by_policy_alone() -> None:
    forwarded = [(b"x-forwarded-proto", b"https")]
    told = NegotiateMiddleware(
        Site(),
        acceptor=scripted(),
        sessions=CookieSessions(keys=[KEY]),
        policy=Policy(tls_terminated_by_proxy=True),
    )
    untold = NegotiateMiddleware(Site(), acceptor=scripted(), sessions=CookieSessions(keys=[KEY]))
    by_policy, by_header = Browser(told, https=False), Browser(untold)

    await by_policy.get(b"Alice")
    await by_header.get(b"Alice", headers=forwarded)

    assert list(by_policy.jar) == ["__Host-negotiate-mw"]
    assert list(by_header.jar) == ["negotiate-mw"]


# websockets end with what let them in


class Talk:
    """An app that accepts a websocket and tells what it receives, until it is told to go."""

    def __init__(self, sessions: CookieSessions | None = None) -> None:
        self.sessions = sessions
        self.received: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            if scope["path"] == "/logout" and self.sessions is not None:
                await self.sessions.logout(scope)
            return await Site()(scope, receive, send)
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            self.received.append(message)
        self.received.append(message)


async def talk(app: Any, headers: list[tuple[bytes, bytes]], sent: list[Any]) -> None:
    """A websocket whose client never says a word; returns when the app does."""
    inbox: list[Any] = [{"type": "websocket.connect"}]

    async def receive() -> Any:
        if inbox:
            return inbox.pop()
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = Client(app, scheme="wss")._scope("websocket", None, "/", {"scheme": "wss", "headers": list(headers)})
    await asyncio.wait_for(app(scope, receive, send), 20)


@on_a_loop
async def test_a_websocket_is_closed_when_its_session_ends() -> None:
    site = Talk()
    browser = Browser(NegotiateMiddleware(site, acceptor=scripted(), sessions=CookieSessions(keys=[KEY], max_age=1)))
    await browser.get(b"Alice")
    sent: list[Any] = []

    await talk(browser.app, browser.headers, sent)

    assert [(message["type"], message.get("code")) for message in sent] == [
        ("websocket.accept", None),
        ("websocket.close", 1008),
    ]
    assert [(message["type"], message["code"]) for message in site.received] == [("websocket.disconnect", 1008)]


@on_a_loop
async def test_a_websocket_is_closed_by_a_log_out() -> None:
    sessions = CookieSessions(keys=[KEY])
    browser = Browser(NegotiateMiddleware(Talk(sessions), acceptor=scripted(), sessions=sessions))
    await browser.get(b"Alice")
    sent: list[Any] = []
    open_one = asyncio.create_task(talk(browser.app, browser.headers, sent))
    await asyncio.sleep(0.01)
    before = len(sent)

    await browser.get(path="/logout")
    await asyncio.wait_for(open_one, 10)

    assert before == 1
    assert sent[-1] == {"type": "websocket.close", "code": 1008, "reason": "sign-in ended"}


@on_a_loop
async def test_a_websocket_is_closed_at_its_tickets_end_without_sessions_too() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    app = NegotiateMiddleware(Talk(), acceptor=scripted(expires_at=soon))
    sent: list[Any] = []

    await talk(app, [(b"authorization", b"Negotiate QWxpY2U=")], sent)

    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]
    assert datetime.now(UTC) >= soon


@on_a_loop
async def test_an_identity_is_not_changed_by_being_remembered() -> None:
    site = Site()
    identity = user("alice@EXAMPLE.COM", groups=frozenset({"HR"}), expires_at=datetime.now(UTC) + timedelta(hours=1))
    browser = Browser(
        NegotiateMiddleware(
            site,
            acceptor=ScriptedAcceptor({b"Alice": (identity, None)}),
            sessions=CookieSessions(keys=[KEY]),
        )
    )

    await browser.get(b"Alice")
    await browser.get()

    assert site.scopes[1]["user"] == dataclasses.replace(identity, username="alice")


# what a log-in is, and what it isn't


@on_a_loop
async def test_a_log_in_is_logged_once_and_the_use_of_its_session_is_none(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "negotiate_mw")
    browser = Browser(NegotiateMiddleware(Site(), acceptor=scripted(), sessions=CookieSessions(keys=[KEY])))

    await browser.get(b"Alice")
    for _ in range(3):
        assert (await browser.get()).text == "alice"

    assert caplog.text.count("logged in alice@EXAMPLE.COM") == 1


@on_a_loop
async def test_who_is_let_in_without_groups_that_cannot_be_had_now_gets_them_with_the_next_request() -> None:
    down = AcceptError(SecStatus.NO_AUTHENTICATING_AUTHORITY, "directory-down", detail="ldap://dc is down")
    groups = Answering(down)
    site = Site()
    app = NegotiateMiddleware(
        site,
        acceptor=scripted(),
        groups=groups,
        sessions=CookieSessions(keys=[KEY]),
        policy=Policy(groups_optional=True),
    )
    browser = Browser(app)

    first = await browser.get(b"Alice")
    groups.answer = ["HR"]
    second = await browser.get(b"Alice")
    third = await browser.get()

    assert (first.status, first.all("set-cookie")) == (200, [])
    assert (second.status, third.status) == (200, 200)
    assert [scope["user"].groups for scope in site.scopes] == [frozenset(), {"HR"}, {"HR"}]


@pytest.mark.parametrize("former", ["alice's own", "bob's", "no session"])
@on_a_loop
async def test_who_gets_no_session_for_want_of_groups_is_nobody_and_not_whoever_was_here_before(former: str) -> None:
    groups = Answering(["boss"])
    tokens = {name.encode(): (user(f"{name}@EXAMPLE.COM"), None) for name in ("alice", "bob")}
    sessions = CookieSessions(keys=[KEY])
    policy = Policy(groups_optional=True)
    app = NegotiateMiddleware(
        Site(), acceptor=ScriptedAcceptor(tokens), groups=groups, sessions=sessions, policy=policy
    )
    browser = Browser(app)
    await browser.get(b"bob" if former == "bob's" else b"alice")
    if former == "no session":
        browser.cookie = "garbage"
    copy = dict(browser.jar)

    groups.answer = AcceptError(SecStatus.NO_AUTHENTICATING_AUTHORITY, "directory-down", detail="ldap://dc is down")
    login = await browser.get(b"alice")
    cleared = browser.jar
    browser.jar = copy
    later = await browser.get()

    assert (login.text, cleared) == ("alice", {})
    assert later.status == 401


@pytest.mark.parametrize("said", [b"public, max-age=600", b"s-maxage=600", None])
@on_a_loop
async def test_a_page_for_everybody_that_clears_a_cookie_is_no_page_for_a_shared_cache(said: bytes | None) -> None:
    site = Site(headers=[] if said is None else [(b"cache-control", said), (b"x-accel-expires", b"600")])
    app = NegotiateMiddleware(site, acceptor=scripted(), sessions=CookieSessions(keys=[KEY]), required=False)

    with_stray = await Client(app).get(headers=[(b"cookie", b"negotiate-mw=junk")])
    without = await Client(app).get()

    assert with_stray.all("set-cookie")
    assert [value.partition(",")[0] for value in with_stray.all("cache-control")] == ["private"]
    assert not with_stray.all("x-accel-expires")
    assert without.all("cache-control") == ([] if said is None else [said.decode()])


@on_a_loop
async def test_an_apps_own_refusal_of_a_websocket_has_one_cookie_at_most() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"set-cookie", b"theirs=1")]
        await send({"type": "websocket.http.response.start", "status": 404, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    sessions = CookieSessions(keys=[KEY])

    answer = await Client(NegotiateMiddleware(app, acceptor=scripted(), sessions=sessions)).websocket(b"Alice")

    assert answer.all("set-cookie") == ["theirs=1"]


@on_a_loop
async def test_a_session_under_rules_that_cannot_be_made_is_503() -> None:
    acceptor = scripted()
    browser = Browser(NegotiateMiddleware(Site(), acceptor=acceptor, sessions=CookieSessions(keys=[KEY])))
    await browser.get(b"Alice")

    acceptor.realms = frozenset()

    assert [(await browser.get()).status for _ in range(2)] == [503, 503]


@on_a_loop
async def test_a_session_is_not_looked_at_before_the_acceptor_is_acquired() -> None:
    class Unready(ScriptedAcceptor):
        async def acquire(self) -> None:
            raise ConfigurationError("no keytab")

    app = NegotiateMiddleware(Site(), acceptor=Unready({}), sessions=CookieSessions(keys=[KEY]))

    answer = await Client(app).get(headers=[(b"cookie", b"negotiate-mw=garbage")])

    assert (answer.status, answer.all("set-cookie")) == (503, [])


@on_a_loop
async def test_a_session_opens_nothing_and_stays_as_it_is_while_nobody_could_log_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    acceptor = scripted()
    site = Site()
    sessions = CookieSessions(keys=[KEY], idle=300)
    browser = Browser(NegotiateMiddleware(site, acceptor=acceptor, sessions=sessions))
    await browser.get(b"Alice")
    clock.now += 100

    async def failing() -> None:
        raise ConfigurationError("no keytab")

    monkeypatch.setattr(acceptor, "acquire", failing)
    acceptor.acquired = False
    answer = await browser.get()

    assert (answer.status, answer.all("set-cookie")) == (503, [])
    assert len(site.scopes) == 1


@on_a_loop
async def test_the_keytab_is_looked_at_twice_a_second_also_where_the_clock_is_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keytab = [frozenset({"EXAMPLE.COM"})]

    class Looking(ScriptedAcceptor):
        looks = 0

        def look(self) -> None:
            self.looks += 1
            self.realms = keytab[-1]

    clock = Clock(monkeypatch)
    acceptor = Looking({b"Alice": (user("alice@EXAMPLE.COM"), None)})
    browser = Browser(NegotiateMiddleware(Site(), acceptor=acceptor, sessions=CookieSessions(keys=[KEY])))
    await browser.get(b"Alice")
    for _ in range(10):
        clock.now += 0.09
        assert (await browser.get()).status == 200
    assert acceptor.looks == 2

    keytab.append(frozenset({"OTHER.EXAMPLE"}))
    clock.now -= 30

    assert (await browser.get()).status == 401
