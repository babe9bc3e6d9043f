"""What goes out: refusals to the letter, the app's own answers with our headers, and the operator's page."""

import copy
import logging
import re
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from negotiate_mw import Limits, NegotiateMiddleware, Policy, Refusal, respond
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.identity import Anonymous
from negotiate_mw.status import SecStatus
from negotiate_mw.testing.scripted import LATER, ScriptedAcceptor, user

from .driving import App, Client, Headers, Site, negotiate, on_a_loop

ALICE = user("alice@EXAMPLE.COM")
SCRIPT: dict[bytes, Any] = {
    b"OneLeg": (ALICE, b"ServerLast"),
    b"ClientBlob1": b"ServerBlob1",
    LATER + b"ClientBlob2": (ALICE, b"ServerBlob2"),
    b"Mallory": (user("mallory@EVIL.EXAMPLE"), None),
    b"Busy": AcceptError(SecStatus.BUSY, "busy"),
    b"Boss": AcceptError(SecStatus.LOGON_DENIED, "name-mismatch"),
}
TYPE = ("content-type", "text/plain; charset=utf-8")


def protected(app: App, **options: Any) -> NegotiateMiddleware:
    limits = Limits(token_bytes=100)
    return NegotiateMiddleware(app, acceptor=ScriptedAcceptor(SCRIPT, limits=limits), **options)


def shown(headers: Headers) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode()) for name, value in headers if name != b"content-length"]


def nameless(text: str) -> str:
    return re.sub(r"Reference: [0-9a-f]{12}\n", "Reference: …\n", text)


BARE = [TYPE, ("cache-control", "no-store"), ("www-authenticate", "Negotiate")]
PLAIN = [TYPE, ("cache-control", "no-store")]
BROKEN = [(b"authorization", b"Negotiate !")]
TWICE = [negotiate(b"OneLeg"), negotiate(b"OneLeg")]
EVIL = [(b"sec-fetch-site", b"cross-site")]
REFUSALS: list[tuple[dict[str, Any], int, list[tuple[str, str]], str]] = [
    ({}, 401, BARE, "Sign-in is needed."),
    ({"token": b"Forged"}, 401, BARE, "Sign-in is needed."),
    ({"token": LATER}, 401, BARE, "Sign-in is needed."),
    ({"token": b"Mallory"}, 403, PLAIN, "This is not allowed."),
    ({"token": b"Boss"}, 403, PLAIN, "This is not allowed."),
    ({"method": "POST", "headers": EVIL}, 403, PLAIN, "This is not allowed."),
    ({"headers": BROKEN}, 400, PLAIN, "The request's Authorization header is broken."),
    ({"headers": TWICE}, 400, PLAIN, "The request's Authorization header is broken."),
    ({"token": bytes(101)}, 431, PLAIN, "The request's Authorization header is too large."),
    ({"token": b"Busy"}, 503, [*PLAIN, ("retry-after", "5")], "Sign-in is out of order for the moment."),
]


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(("request_", "status", "headers", "sentence"), REFUSALS[1:])
@on_a_loop
async def test_a_refusal_is_exactly_this(
    request_: dict[str, Any], status: int, headers: list[tuple[str, str]], sentence: str, required: bool
) -> None:
    site = Site()

    answer = await Client(protected(site, required=required)).get(**request_)

    assert (answer.status, shown(answer.headers)) == (status, headers)
    assert nameless(answer.text) == f"{sentence} Reference: …\n"
    assert answer.all("content-length") == [str(len(answer.body))]
    assert site.asked == 0


@on_a_loop
async def test_a_challenge_with_a_token_differs_by_the_token_alone() -> None:
    app = protected(Site())

    bare, more = await Client(app).get(), await Client(app).get(b"ClientBlob1")

    assert (more.status, more.token) == (401, b"ServerBlob1")
    assert nameless(more.text) == nameless(bare.text)
    assert [pair for pair in more.headers if pair[0] != b"www-authenticate"] == [
        pair for pair in bare.headers if pair[0] != b"www-authenticate"
    ]


@pytest.mark.parametrize(("request_", "status", "headers", "sentence"), REFUSALS)
@on_a_loop
async def test_two_refusals_differ_by_their_reference_which_is_in_the_log(
    caplog: pytest.LogCaptureFixture, request_: dict[str, Any], status: int, headers: object, sentence: str
) -> None:
    caplog.set_level(logging.DEBUG, "negotiate_mw")
    app = protected(Site())

    answers = [await Client(app).get(**{**request_, "headers": list(request_.get("headers", []))}) for _ in range(2)]

    references = [answer.text.split("Reference: ")[1].strip() for answer in answers]
    assert references[0] != references[1]
    assert nameless(answers[0].text) == nameless(answers[1].text)
    for reference in references:
        assert [reference in record.getMessage() for record in caplog.records].count(True) == 1


@on_a_loop
async def test_a_refused_ntlm_token_is_answered_without_a_challenge() -> None:
    acceptor = ScriptedAcceptor({b"Ntlm": AcceptError(SecStatus.LOGON_DENIED, "refused", mechanism="ntlm")})
    app = NegotiateMiddleware(Site(), acceptor=acceptor)

    for answer in (await Client(app).get(b"Ntlm"), await Client(app).websocket(b"Ntlm")):
        assert (answer.status, answer.challenge) == (401, None)


@on_a_loop
async def test_an_ntlm_that_cannot_be_offered_is_said_to_the_operator_once(caplog: pytest.LogCaptureFixture) -> None:
    acceptor = ScriptedAcceptor({})
    acceptor.mechanisms = frozenset({"kerberos", "ntlm"})  # type: ignore[misc]
    app = NegotiateMiddleware(Site(), acceptor=acceptor)

    offered = await Client(app).get()
    await Client(app).websocket()  # which is no connection for two legs anywhere
    assert not [record for record in caplog.records if record.levelname != "DEBUG"]
    withheld = [await Client(app, http_version="2").get() for _ in range(2)]

    assert offered.all("www-authenticate") == ["Negotiate", "NTLM"]
    assert [answer.all("www-authenticate") for answer in withheld] == [["Negotiate"]] * 2
    said = [record for record in caplog.records if record.levelname != "DEBUG"]
    assert [record.negotiate_event for record in said] == ["ntlm-withheld"]  # type: ignore[attr-defined]


@on_a_loop
async def test_what_an_app_adds_to_a_requests_scopes_is_that_requests_alone() -> None:
    site = Site()
    client = Client(protected(site))

    for _ in range(2):
        await client.get(b"OneLeg")
        site.scopes[-1]["auth"].scopes.append("admin")

    first, second = (scope["auth"].scopes for scope in site.scopes)
    assert first == second == ["authenticated", "kerberos", "admin"]
    assert not hasattr(site.scopes[0]["auth"], "roles")


# the last token


@pytest.mark.parametrize("status", [200, 204, 302, 403, 404, 500, 503])
@on_a_loop
async def test_the_last_token_is_on_the_apps_answer_exactly_once(status: int) -> None:
    answer = await Client(protected(Site(status))).get(b"OneLeg")

    assert (answer.status, answer.token) == (status, b"ServerLast")
    assert len(answer.all("www-authenticate")) == 1


@on_a_loop
async def test_the_last_token_is_not_on_the_apps_own_401() -> None:
    site = Site(401, [(b"www-authenticate", b"Bearer")])

    answer = await Client(protected(site)).get(b"OneLeg")

    assert (answer.status, answer.challenge) == (401, "Bearer")
    assert answer.all("vary") == ["Authorization, Cookie"]


@on_a_loop
async def test_the_last_token_is_on_a_streaming_answer_once_and_the_stream_is_whole() -> None:
    async def parts() -> Any:
        for part in ("a", "b", "c"):
            yield part

    async def page(_: Request) -> StreamingResponse:
        return StreamingResponse(parts())

    answer = await Client(protected(Starlette(routes=[Route("/", page)]))).get(b"OneLeg")

    assert (answer.status, answer.text, answer.token) == (200, "abc", b"ServerLast")


async def failing_page(_: Request) -> PlainTextResponse:
    raise KeyError("a bug of the app")


@on_a_loop
async def test_the_last_token_is_on_the_500_of_a_wrapped_app_and_its_error_reaches_the_server() -> None:
    answer = await Client(protected(Starlette(routes=[Route("/", failing_page)]))).get(b"OneLeg")

    assert (answer.status, answer.token) == (500, b"ServerLast")
    assert isinstance(answer.error, KeyError)


@on_a_loop
async def test_an_app_that_raises_before_its_answer_is_the_servers_to_answer() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("a bug of the app")

    answer = await Client(protected(broken)).get(b"OneLeg")

    assert isinstance(answer.error, KeyError)


@on_a_loop
async def test_nobody_gets_no_headers_of_ours() -> None:
    for options, path in (({"required": False}, "/"), ({"exempt": ("/open",)}, "/open")):
        answer = await Client(protected(Site(), **options)).get(path=path)

        assert (answer.status, answer.headers) == (200, [])


@pytest.mark.parametrize(
    ("theirs", "cache_control"),
    [
        ([], "private"),
        ([(b"cache-control", b"no-store")], "no-store"),
        ([(b"cache-control", b"public, max-age=60, immutable")], "private, max-age=60, immutable"),
        ([(b"Cache-Control", b"PUBLIC"), (b"cache-control", b"Max-Age=60,s-maxage=900")], "private, max-age=60"),
        ([(b"cache-control", b'private="set-cookie, x", no-cache="y", max-age=1')], "private, max-age=1"),
        ([(b"cache-control", b"public, max-age=60, No-Store")], "no-store"),
        ([(b"cache-control", b"must-revalidate, public, proxy-revalidate")], "private, must-revalidate"),
        ([(b"cache-control", b"max-age=60; public, x-public, =, max-age=, max-age=1d")], "private"),
        ([(b"X-Accel-Expires", b"60"), (b"surrogate-control", b"max-age=60")], "private"),
        ([(b"cdn-cache-control", b"max-age=60"), (b"netlify-cdn-cache-control", b"public")], "private"),
    ],
)
@on_a_loop
async def test_an_answer_to_someone_varies_and_is_private_whatever_the_app_says(
    theirs: Headers, cache_control: str
) -> None:
    site = Site(200, [(b"vary", b"Accept"), *theirs])

    answer = await Client(protected(site)).get(b"OneLeg")

    for_caches = [value for name, value in answer.headers if name.lower().endswith((b"-control", b"-expires"))]
    assert for_caches == [cache_control.encode()]
    assert answer.all("cache-control") == [cache_control]
    assert ", ".join(answer.all("vary")) == "Accept, Authorization, Cookie"


@pytest.mark.parametrize("start", ["http.response.start", "websocket.http.response.start"])
@on_a_loop
async def test_what_an_app_sends_again_and_again_stays_as_the_app_made_it(start: str) -> None:
    message = {"type": start, "status": 404, "headers": [(b"vary", b"Accept"), (b"cache-control", b"public")]}
    before = copy.deepcopy(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(message)
        await send({"type": start.replace("start", "body"), "body": b"no"})

    client = Client(protected(app))
    for _ in range(2):
        answer = await (client.websocket(b"OneLeg") if start.startswith("websocket") else client.get(b"OneLeg"))
        assert ", ".join(answer.all("vary")) == "Accept, Authorization, Cookie"

    assert message == before


@on_a_loop
async def test_headers_may_be_anything_that_can_be_gone_through_once() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        pairs = ((name, b"x") for name in (b"x-one", b"x-two"))
        await send({"type": "http.response.start", "status": 200, "headers": pairs})
        await send({"type": "http.response.body", "body": b""})

    answer = await Client(protected(app)).get(b"OneLeg")

    assert (answer.all("x-one"), answer.all("x-two"), answer.all("cache-control")) == (["x"], ["x"], ["private"])


@on_a_loop
async def test_an_app_with_ever_new_names_of_headers_takes_up_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(respond, "_not_for_caches", names := set())
    monkeypatch.setattr(respond, "_MOST_NAMES", 10)
    numbers = iter(range(50))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"x-%d" % next(numbers), b"x"), (b"cache-control", b"public")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    client = Client(protected(app))
    for number in range(50):
        answer = await client.get(b"OneLeg")
        assert (answer.all(f"x-{number}"), answer.all("cache-control")) == (["x"], ["private"])

        assert len(names) <= 10


# on_refused


def page_of(status: int = 200, headers: Headers | None = None, parts: tuple[bytes, ...] = (b"Go away",)) -> App:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers or []})
        for number, part in enumerate(parts):
            await send({"type": "http.response.body", "body": part, "more_body": number + 1 < len(parts)})

    return page


@pytest.mark.parametrize(("request_", "status", "headers", "sentence"), REFUSALS)
@on_a_loop
async def test_a_page_brings_the_body_and_its_content_headers_and_nothing_else(
    request_: dict[str, Any], status: int, headers: list[tuple[str, str]], sentence: str
) -> None:
    theirs = [
        (b"content-type", b"text/html"),
        (b"content-language", b"en"),
        (b"set-cookie", b"session=1"),
        (b"www-authenticate", b"Basic"),
        (b"cache-control", b"public"),
        (b"location", b"/login"),
    ]
    seen: list[Refusal] = []

    def branded(scope: Any, refusal: Refusal) -> App:
        assert scope["user"] == Anonymous()
        assert list(scope["auth"].scopes) == []
        seen.append(refusal)
        return page_of(200, theirs, (b"Go", b" away"))

    answer = await Client(protected(Site(), on_refused=branded)).get(
        **{**request_, "headers": list(request_.get("headers", []))}
    )

    assert (answer.status, answer.text) == (status, "Go away")
    assert shown(answer.headers) == [("content-type", "text/html"), ("content-language", "en"), *headers[1:]]
    assert [refusal.status for refusal in seen] == [status]


@on_a_loop
async def test_a_starlette_response_is_a_page(caplog: pytest.LogCaptureFixture) -> None:
    app = protected(Site(), on_refused=lambda _, refusal: PlainTextResponse(f"Ask with {refusal.reference}"))
    caplog.set_level(logging.DEBUG, "negotiate_mw")

    answer = await Client(app).get()

    assert (answer.status, answer.challenge) == (401, "Negotiate")
    assert answer.text.removeprefix("Ask with ") in caplog.text


@pytest.mark.parametrize("kind", ["http.response.pathsend", "http.response.zerocopysend", "http.response.body"])
@on_a_loop
async def test_a_page_that_is_a_file_is_ended_once(kind: str) -> None:
    sent: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": kind})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "http_version": "1.1", "path": "/", "headers": []}
    await protected(Site(), on_refused=lambda _, refusal: page)(scope, receive, send)

    assert sent == ["http.response.start", kind]


@pytest.mark.parametrize("where", ["function", "page", "nothing"])
@on_a_loop
async def test_a_page_that_fails_before_its_start_is_replaced_by_our_own(
    caplog: pytest.LogCaptureFixture, where: str
) -> None:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        if where == "page":
            raise KeyError("template")

    def branded(scope: Any, refusal: Refusal) -> App:
        if where == "function":
            raise KeyError("template")
        return page

    answer = await Client(protected(Site(), on_refused=branded)).get()

    assert (answer.status, answer.error, shown(answer.headers)) == (401, None, BARE)
    assert nameless(answer.text) == "Sign-in is needed. Reference: …\n"
    assert ("on_refused=…) raised KeyError('template')" in caplog.text) is (where != "nothing")


@on_a_loop
async def test_a_page_that_fails_after_its_start_is_brought_to_an_end() -> None:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"Go", "more_body": True})
        raise KeyError("template")

    answer = await Client(protected(Site(), on_refused=lambda *_: page)).get()

    assert (answer.status, answer.error, answer.text, answer.challenge) == (401, None, "Go", "Negotiate")


# the body of a challenged request


@pytest.mark.parametrize("token", [None, b"ClientBlob1", b"Forged"])
@on_a_loop
async def test_what_a_challenged_client_still_sends_is_read_away(token: bytes | None) -> None:
    answer = await Client(protected(Site())).get(token, method="POST", body=[bytes(1000)] * 20)

    assert (answer.status, answer.read, answer.all("connection")) == (401, 20, [])


@on_a_loop
async def test_a_body_that_is_too_large_to_read_away_closes_the_connection() -> None:
    answer = await Client(protected(Site())).get(method="POST", body=[bytes(100_000)] * 100)

    assert (answer.status, answer.all("connection")) == (401, ["close"])
    assert answer.read < 15


@on_a_loop
async def test_a_body_that_takes_too_long_to_read_away_closes_the_connection() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("negotiate_mw.respond._READ_AWAY_SECONDS", 0.02)
        answer = await Client(protected(Site())).get(method="POST", body=[b"a", None])

    assert (answer.status, answer.challenge, answer.all("connection")) == (401, "Negotiate", ["close"])


@pytest.mark.parametrize(("request_", "status", "headers", "sentence"), REFUSALS[3:])
@on_a_loop
async def test_the_body_of_a_request_that_nobody_asks_to_come_again_is_not_read(
    request_: dict[str, Any], status: int, headers: object, sentence: str
) -> None:
    fields = {"method": "POST"} | request_ | {"headers": list(request_.get("headers", []))}

    answer = await Client(protected(Site())).get(**fields, body=[None])

    assert (answer.status, answer.read) == (status, 0)


@on_a_loop
async def test_the_body_of_a_stream_is_its_servers_to_read_away() -> None:
    answer = await Client(protected(Site()), http_version="2").get(method="POST", body=[None])

    assert (answer.status, answer.read, answer.all("connection")) == (401, 0, [])


@on_a_loop
async def test_the_body_of_a_request_that_passes_is_left_to_the_app() -> None:
    assert (await Client(protected(Site())).get(b"OneLeg", method="POST", body=[b"a", b"b"])).read == 0


# websockets


@pytest.mark.parametrize(("request_", "status", "headers", "sentence"), REFUSALS)
@on_a_loop
async def test_a_websocket_is_refused_before_it_is_accepted(
    request_: dict[str, Any], status: int, headers: list[tuple[str, str]], sentence: str
) -> None:
    fields = {key: value for key, value in request_.items() if key != "method"} | {
        "headers": list(request_.get("headers", []))
    }
    site = Site()
    app = protected(site)

    answer = await Client(app).websocket(**fields)
    assert (answer.status, shown(answer.headers), answer.accepted) == (status, headers, False)
    assert nameless(answer.text) == f"{sentence} Reference: …\n"

    closed = await Client(app).websocket(**fields, extensions={})
    assert (closed.accepted, closed.close_code, closed.status) == (False, 1008, 403)
    assert site.asked == 0


@on_a_loop
async def test_a_websocket_is_accepted_with_the_last_token() -> None:
    site = Site()

    answer = await Client(protected(site)).websocket(b"OneLeg")

    assert (answer.accepted, answer.token, answer.all("x-user")) == (True, b"ServerLast", ["alice"])


@on_a_loop
async def test_a_websocket_has_one_leg_and_leaves_nothing() -> None:
    app = protected(Site())
    client = Client(app)

    answer = await client.websocket(b"ClientBlob1")

    assert (answer.status, answer.challenge, len(app._store)) == (401, "Negotiate", 0)
    assert (await client.websocket(LATER + b"ClientBlob2")).status == 401


@on_a_loop
async def test_no_refusal_of_a_websocket_has_two_headers_of_one_name() -> None:
    for request_, *_ in REFUSALS:
        fields = {key: value for key, value in request_.items() if key != "method"}
        answer = await Client(protected(Site())).websocket(**fields | {"headers": list(fields.get("headers", []))})
        names = [name for name, _ in answer.headers]
        assert len(names) == len(set(names))


@on_a_loop
async def test_an_apps_own_refusal_of_a_websocket_has_no_two_headers_of_one_name() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"vary", b"Accept"), (b"content-type", b"text/plain")]
        await send({"type": "websocket.http.response.start", "status": 404, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    answer = await Client(protected(app)).websocket(b"OneLeg")

    names = [name for name, _ in answer.headers]
    assert sorted(names) == sorted(set(names))
    assert answer.all("vary") == ["Accept, Authorization, Cookie"]
    assert (answer.status, answer.token) == (404, b"ServerLast")


# nested middlewares


def nested(outer: dict[str, Any], inner: dict[str, Any]) -> tuple[Client, Site]:
    site = Site()
    # an acceptor of its own, which would take the token for a replay
    inside = NegotiateMiddleware(
        site, acceptor=ScriptedAcceptor({b"ForInner": (user("bob@EXAMPLE.COM"), None)}), **inner
    )
    return Client(protected(inside, **outer)), site


@on_a_loop
async def test_an_inner_middleware_believes_the_outer_one() -> None:
    client, site = nested({}, {})

    answer = await client.get(b"OneLeg")

    assert (answer.status, answer.text, answer.token) == (200, "alice", b"ServerLast")
    assert answer.all("vary") == ["Authorization, Cookie"]
    assert site.asked == 1


@on_a_loop
async def test_an_inner_middleware_applies_its_own_policy() -> None:
    client, site = nested({}, {"policy": Policy(realms=["OTHER.EXAMPLE"])})

    answer = await client.get(b"OneLeg")

    assert (answer.status, site.asked) == (403, 0)
    assert answer.all("cache-control") == ["no-store"]


@on_a_loop
async def test_an_inner_middleware_gives_its_own_username() -> None:
    client, _ = nested({}, {"policy": Policy(username=lambda identity: identity.principal.upper())})

    assert (await client.get(b"OneLeg")).text == "ALICE@EXAMPLE.COM"


@pytest.mark.parametrize(("required", "status"), [(True, 401), (False, 200)])
@on_a_loop
async def test_nobody_of_an_outer_middleware_is_nobody_for_the_inner_one(required: bool, status: int) -> None:
    client, site = nested({"required": False}, {"required": required})

    answer = await client.get()

    assert (answer.status, site.asked) == (status, int(status == 200))


@on_a_loop
async def test_an_outer_exemption_is_no_decision_for_the_inner_one() -> None:
    client, _ = nested({"exempt": ("/page",)}, {})

    assert (await client.get(path="/page")).status == 401
    assert (await client.get(b"ForInner", path="/page")).text == "bob"


@on_a_loop
async def test_an_inner_exemption_leaves_the_outer_identity() -> None:
    client, _ = nested({}, {"exempt": ("/page",)})

    assert (await client.get(b"OneLeg", path="/page")).text == "alice"
    assert (await client.get(path="/page")).status == 401


@on_a_loop
async def test_an_inner_middleware_without_its_rules_is_our_fault() -> None:
    inside = NegotiateMiddleware(Site(), acceptor=ScriptedAcceptor({}, realms=frozenset()))

    answer = await Client(protected(inside)).get(b"OneLeg")

    assert (answer.status, answer.error) == (503, None)


@on_a_loop
async def test_a_page_of_an_inner_refusal_finds_nobody() -> None:
    users = []

    def branded(scope: Any, refusal: Refusal) -> App:
        users.append(scope["user"])
        return page_of()

    client, _ = nested({}, {"policy": Policy(realms=["OTHER.EXAMPLE"]), "on_refused": branded})

    assert (await client.get(b"OneLeg")).status == 403
    assert users == [Anonymous()]


# Starlette


@on_a_loop
async def test_it_is_a_middleware_of_starlette() -> None:
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.user.display_name} {request.auth.scopes}")

    middleware = [Middleware(NegotiateMiddleware, acceptor=ScriptedAcceptor(SCRIPT))]
    app = Starlette(routes=[Route("/", page)], middleware=middleware)

    assert (await Client(app).get()).status == 401
    assert (await Client(app).get(b"OneLeg")).text == "alice ['authenticated', 'kerberos']"


# options


@pytest.mark.parametrize(
    ("options", "to_type"),
    [
        ({"required": 1}, "True or False"),
        ({"required": "no"}, "True or False"),
        ({"policy": {"realms": "*"}}, "Policy("),
        ({"policy": Policy}, "Policy("),
        ({"on_refused": "refused.html"}, "a function"),
        ({"exempt": "/healthz"}, 'exempt=("/healthz",)'),
        ({"acceptor": "http.keytab"}, "Acceptor("),
        ({"acceptor": ScriptedAcceptor}, "Acceptor("),
    ],
)
def test_a_wrong_option_says_its_name_and_what_to_type(options: dict[str, Any], to_type: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        NegotiateMiddleware(Site(), **options)

    assert f"NegotiateMiddleware({next(iter(options))}=" in str(caught.value)
    assert to_type in str(caught.value)


@on_a_loop
async def test_a_page_that_reads_the_body_that_was_read_away_finds_it_empty() -> None:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        body = await Request(scope, receive).body()
        await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)

    answer = await Client(protected(Site(), on_refused=lambda *_: page)).get(method="POST", body=[bytes(1000)])

    assert (answer.status, answer.body) == (401, b"0 bytes")
