"""``CookieSessions``: one log-in is remembered, for as long as it holds, and for nobody else."""

import asyncio
import logging
import multiprocessing
import random
import re
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

import pytest

from negotiate_mw import CookieSessions, NegotiateMiddleware
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.sessions import cookie as cookie_module
from negotiate_mw.sessions.cookies import LARGEST, Cookie
from negotiate_mw.sessions.sealing import MAKE_A_KEY, make_key
from negotiate_mw.testing.scripted import LATER, ScriptedAcceptor, user
from tests.shell.driving import Client, Site, on_a_loop

from .browsing import NOW, Browser, Clock

KEY = make_key()
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def scripted(**fields: Any) -> ScriptedAcceptor:
    return ScriptedAcceptor(
        {
            b"Alice": (user("alice@EXAMPLE.COM", **fields), b"Last"),
            b"Bob": (user("bob@EXAMPLE.COM"), None),
            b"ClientBlob1": b"ServerBlob1",
            LATER + b"ClientBlob2": (user("carol@EXAMPLE.COM"), None),
        }
    )


def site_of(sessions: CookieSessions | None = None, acceptor: Any = None, **options: Any) -> NegotiateMiddleware:
    sessions = sessions or CookieSessions(keys=[KEY])
    return NegotiateMiddleware(Site(), acceptor=acceptor or scripted(), sessions=sessions, **options)


@pytest.mark.parametrize(("https", "name"), [(True, "__Host-negotiate-mw"), (False, "negotiate-mw")])
@on_a_loop
async def test_who_has_logged_in_needs_no_second_token(https: bool, name: str) -> None:
    app = site_of()
    browser = Browser(app, https=https)

    first = await browser.get(b"Alice")
    second = await browser.get()
    websocket = await browser.websocket()

    assert (first.status, first.text) == (200, "alice")
    assert (second.status, second.text, second.challenge) == (200, "alice", None)
    assert websocket.all("x-user") == ["alice"]
    assert list(browser.jar) == [name]
    assert second.all("set-cookie") == []
    assert second.all("vary") == ["Authorization, Cookie"]
    assert second.all("cache-control") == ["private"]


@on_a_loop
async def test_without_the_cookie_nobody_is_known() -> None:
    app = site_of()
    await Browser(app).get(b"Alice")

    answer = await Browser(app).get()

    assert answer.status == 401
    assert answer.all("set-cookie") == []


@on_a_loop
async def test_two_cookies_are_nobodys_session_however_they_come() -> None:
    app = site_of()
    alice, bob = Browser(app), Browser(app)
    await alice.get(b"Alice")
    await bob.get(b"Bob")
    (first,), (second,) = alice.headers, bob.headers

    for lines in ([first, second], [second, first], [first, first], [(b"cookie", first[1] + b"; " + second[1])]):
        answer = await Client(app, scheme="https").get(headers=lines)
        assert answer.status == 401
        assert "Max-Age=0" in answer.all("set-cookie")[0]

    assert (await alice.get(headers=[(b"accept", b"text/html"), (b"accept", b"*/*")])).text == "alice"


@on_a_loop
async def test_a_second_process_with_the_key_opens_it_and_one_without_clears_it() -> None:
    browser = Browser(site_of(CookieSessions(keys=[KEY])))
    await browser.get(b"Alice")

    browser.app = site_of(CookieSessions(keys=[make_key(), KEY]))
    rotated = await browser.get()
    browser.app = site_of(CookieSessions(keys=[make_key()]))
    stranger = await browser.get()

    assert rotated.text == "alice"
    assert stranger.status == 401
    assert browser.jar == {}


@on_a_loop
async def test_the_app_finds_the_whole_identity_again() -> None:
    fields: dict[str, Any] = {"groups": frozenset({"HR"}), "sid": "S-1-5-21-1-2-3-1106", "upn": "a@example.com"}
    app = site_of(acceptor=scripted(**fields))
    browser = Browser(app)
    await browser.get(b"Alice")

    browser.app = site_of(acceptor=scripted())
    await browser.get()

    first, second = app.app.scopes[0], browser.app.app.scopes[0]  # type: ignore[attr-defined]
    assert first["user"] == second["user"]
    assert first["auth"].scopes == second["auth"].scopes == ["authenticated", "kerberos", "group:HR"]


@on_a_loop
async def test_each_log_in_is_a_new_session_and_ends_somebody_elses_before() -> None:
    browser = Browser(site_of())
    await browser.get(b"Alice")
    former = browser.cookie

    await browser.get(b"Bob")
    latter = browser.cookie
    browser.cookie = former
    answer = await browser.get()

    assert former != latter
    assert answer.status == 401


@on_a_loop
async def test_a_token_beats_the_cookie_and_a_failed_one_is_401_whatever_the_cookie() -> None:
    browser = Browser(site_of())
    await browser.get(b"Alice")

    failed = await browser.get(b"Nonsense")
    halfway = await browser.get(b"ClientBlob1")
    after = await browser.get()
    bob = await browser.get(b"Bob")
    later = await browser.get()

    assert failed.status == 401
    assert (halfway.status, halfway.token) == (401, b"ServerBlob1")
    assert after.text == "alice"
    assert (bob.text, later.text) == ("bob", "bob")


@on_a_loop
async def test_the_last_leg_of_several_begins_a_session() -> None:
    app = site_of()
    browser = Browser(app)
    client = Client(app, scheme="https")

    await client.get(b"ClientBlob1")
    browser.keep(await client.get(LATER + b"ClientBlob2"))
    answer = await browser.get()

    assert answer.text == "carol"


# what ends a session


@pytest.mark.parametrize(
    ("options", "lasts", "max_age"),
    [
        ({"max_age": 600}, 600, 600),
        ({"max_age": 7200}, 3600, 3600),  # the ticket's end
        ({"max_age": 3600, "idle": 300}, 300, 300),
    ],
)
@on_a_loop
async def test_it_ends_with_ticket_age_or_idleness(
    clock: Clock, options: dict[str, Any], lasts: int, max_age: int
) -> None:
    ticket_end = datetime.fromtimestamp(NOW + 3600, UTC)
    browser = Browser(site_of(CookieSessions(keys=[KEY], **options), scripted(expires_at=ticket_end)))
    cookie = (await browser.get(b"Alice")).all("set-cookie")[0]

    clock.now = NOW + 1
    opened = await browser.get()
    clock.now = NOW + lasts
    ended = await browser.get()
    browser.app = site_of(CookieSessions(keys=[KEY], **options))  # without a cache
    afresh = await Browser.get(browser)

    assert f"Max-Age={max_age};" in cookie
    assert opened.text == "alice"
    assert (ended.status, afresh.status) == (401, 401)
    assert ended.all("set-cookie") == ["__Host-negotiate-mw=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure"]


@on_a_loop
async def test_a_process_that_sees_it_for_the_first_time_keeps_to_the_same_end(clock: Clock) -> None:
    browser = Browser(site_of(CookieSessions(keys=[KEY], max_age=600)))
    await browser.get(b"Alice")

    browser.app = site_of(CookieSessions(keys=[KEY], max_age=600))
    clock.now = NOW + 599
    before = await browser.get()
    browser.app = site_of(CookieSessions(keys=[KEY], max_age=600))
    clock.now = NOW + 600
    after = await browser.get()

    assert (before.status, after.status) == (200, 401)


@on_a_loop
async def test_a_ticket_that_has_ended_begins_no_session(clock: Clock) -> None:
    over = datetime.fromtimestamp(NOW - 1, UTC)
    browser = Browser(site_of(acceptor=scripted(expires_at=over)))

    await browser.get(b"Alice")

    assert browser.jar == {}


@on_a_loop
async def test_use_is_noted_at_most_once_a_minute_and_keeps_it_from_idling(clock: Clock) -> None:
    browser = Browser(site_of(CookieSessions(keys=[KEY], max_age=1000, idle=200)))
    await browser.get(b"Alice")
    resealed = []

    for second in range(10, 1000, 10):
        clock.now = NOW + second
        answer = await browser.get()
        assert answer.text == "alice"
        if answer.all("set-cookie"):
            resealed.append(second)
    clock.now = NOW + 1000
    ended = await browser.get()

    assert resealed == list(range(60, 1000, 60))
    assert ended.status == 401


@on_a_loop
async def test_parallel_requests_with_one_cookie_note_it_once(clock: Clock) -> None:
    browser = Browser(site_of(CookieSessions(keys=[KEY], idle=200)))
    await browser.get(b"Alice")
    clock.now += 60

    answers = [await Client(browser.app, scheme="https").get(headers=browser.headers) for _ in range(3)]

    assert [len(answer.all("set-cookie")) for answer in answers] == [1, 0, 0]
    assert [answer.text for answer in answers] == ["alice"] * 3


@on_a_loop
async def test_a_session_never_outlives_its_age_by_being_used(clock: Clock) -> None:
    browser = Browser(site_of(CookieSessions(keys=[KEY], max_age=300, idle=120)))
    await browser.get(b"Alice")

    clock.now = NOW + 100
    noted = await browser.get()
    clock.now = NOW + 219
    again = await browser.get()

    assert "Max-Age=120;" in noted.all("set-cookie")[0]
    assert "Max-Age=81;" in again.all("set-cookie")[0]


@on_a_loop
async def test_a_session_from_the_future_is_none_but_a_clock_may_be_a_little_ahead(clock: Clock) -> None:
    clock.now = NOW + 59
    soon = Browser(site_of())
    await soon.get(b"Alice")
    clock.now = NOW + 120
    later = Browser(site_of())
    await later.get(b"Alice")

    clock.now = NOW
    soon.app = later.app = site_of()
    answers = await soon.get(), await later.get()

    assert [answer.status for answer in answers] == [200, 401]


# what is no session


@on_a_loop
async def test_every_single_bit_flip_of_a_cookie_is_ignored_and_cleared() -> None:
    browser = Browser(site_of())
    await browser.get(b"Alice")
    good = browser.cookie.encode()
    accepted, uncleared = [], []

    for bit in range(8 * len(good)):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        headers = [(b"cookie", b"__Host-negotiate-mw=" + bytes(flipped))]
        answer = await Client(browser.app, scheme="https").get(headers=headers)
        assert answer.error is None
        if answer.status != 401:
            accepted.append(bit)
        # a semicolon or white space at its end splits the cookie, and what is left is garbage all the same
        if not answer.all("set-cookie")[0].startswith("__Host-negotiate-mw=; Max-Age=0"):
            uncleared.append(bit)

    assert (accepted, uncleared) == ([], [])


@on_a_loop
async def test_every_other_last_letter_is_refused_though_base64_would_read_it_alike() -> None:
    browser = Browser(site_of())
    for name in ("a", "ab", "abc"):  # sealed lengths with 0, 1 and 2 bytes over
        browser.app = site_of(acceptor=scripted(upn=name))
        await browser.get(b"Alice")
        good = browser.cookie
        answers = [await with_value(browser.app, good[:-1] + letter) for letter in ALPHABET if letter != good[-1]]

        assert {answer.status for answer in answers} == {401}


async def with_value(app: Any, value: str) -> Any:
    return await Client(app, scheme="https").get(headers=[(b"cookie", b"__Host-negotiate-mw=" + value.encode())])


@pytest.mark.parametrize(
    "change",
    [
        lambda good: good + "=",
        lambda good: good + "==",
        lambda good: good + "A",
        lambda good: good[:-1],
        lambda good: good[1:],
        lambda good: f'"{good}"',
        lambda good: good[:20] + "\xff" + good[20:],
        lambda good: good[:20] + "%2d" + good[20:],
        lambda good: good[:20] + " " + good[20:],
        lambda good: good.replace("-", "+").replace("_", "/") + "+",
        lambda good: "",
        lambda good: "A" * 4096,
        lambda good: "A" * 5000,
        lambda good: good + "; __Host-negotiate-mw=" + good,
    ],
)
@on_a_loop
async def test_what_isnt_the_cookie_to_the_letter_is_ignored_and_cleared(change: Any) -> None:
    browser = Browser(site_of())
    await browser.get(b"Alice")
    browser.cookie = change(browser.cookie)

    refused = await browser.get()
    optional = Browser(site_of(required=False))
    optional.jar = {"__Host-negotiate-mw": change("A" * 300)}
    anonymous = await optional.get()

    assert (refused.status, refused.error, browser.jar) == (401, None, {})
    assert (anonymous.status, anonymous.text, optional.jar) == (200, "nobody", {})


@on_a_loop
async def test_forgeries_are_ignored() -> None:
    browser = Browser(site_of())
    await browser.get(b"Alice")
    good, chance = browser.cookie, random.Random(7)
    sealed = urlsafe_b64decode(good + "=" * (-len(good) % 4))

    for _ in range(2000):
        forged = bytearray(sealed)
        for _ in range(chance.randint(1, 8)):
            forged[chance.randrange(len(forged))] = chance.randrange(256)
        if forged != sealed:
            answer = await with_value(browser.app, urlsafe_b64encode(forged).decode().rstrip("="))
            assert answer.status == 401

    assert (await browser.get()).text == "alice"


@on_a_loop
async def test_a_cookie_from_plain_http_is_none_over_tls_under_any_name() -> None:
    app = site_of()
    plain, tls = Browser(app, https=False), Browser(app)
    await plain.get(b"Alice")

    tls.jar = {"negotiate-mw": plain.cookie}
    as_it_was = await tls.get()
    tls.jar = {"__Host-negotiate-mw": plain.cookie}
    renamed = await tls.get()

    assert (as_it_was.status, renamed.status) == (401, 401)


@on_a_loop
async def test_a_cached_cookie_is_none_under_another_name_either() -> None:
    app = site_of()
    plain = Browser(app, https=False)
    await plain.get(b"Alice")
    assert (await plain.get()).text == "alice"

    answer = await with_value(app, plain.cookie)

    assert answer.status == 401


@pytest.mark.parametrize(("made_for", "used_for"), [("", "wiki"), ("wiki", ""), ("wiki", "hr")])
@on_a_loop
async def test_a_session_of_another_audience_is_none(made_for: str, used_for: str) -> None:
    browser = Browser(site_of(CookieSessions(keys=[KEY], audience=made_for)))
    await browser.get(b"Alice")
    other = Browser(site_of(CookieSessions(keys=[KEY], audience=used_for)))
    await other.get(b"Alice")

    other.cookie = browser.cookie
    answer = await other.get()

    assert answer.status == 401


@on_a_loop
async def test_audiences_whose_cookies_share_a_name_share_no_session() -> None:
    made_for, used_for = "site116442", "site134824"  # their hashes begin alike
    assert Cookie(is_tls=True, audience=made_for).name == Cookie(is_tls=True, audience=used_for).name
    browser = Browser(site_of(CookieSessions(keys=[KEY], audience=made_for)))
    await browser.get(b"Alice")

    other = Browser(site_of(CookieSessions(keys=[KEY], audience=used_for)))
    other.jar.update(browser.jar)
    answer = await other.get()

    assert answer.status == 401


@on_a_loop
async def test_a_shared_domain_is_another_cookie() -> None:
    browser = Browser(site_of(CookieSessions(keys=[KEY], domain="corp.example")))
    await browser.get(b"Alice")

    answer = await browser.get()

    assert list(browser.jar) == ["__Secure-negotiate-mw"]
    assert answer.text == "alice"


# log-out


class Logout:
    """An app whose path /logout ends the session; /slow waits for ``go`` before it answers."""

    def __init__(self, sessions: CookieSessions) -> None:
        self.sessions = sessions
        self.arrived = asyncio.Event()
        self.go = asyncio.Event()
        self.site = Site()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/logout":
            await self.sessions.logout(scope)
        if scope["path"] == "/slow":
            self.arrived.set()
            await self.go.wait()
        await self.site(scope, receive, send)


def site_with_logout(sessions: CookieSessions, **options: Any) -> tuple[Logout, NegotiateMiddleware]:
    inner = Logout(sessions)
    return inner, NegotiateMiddleware(inner, acceptor=scripted(), sessions=sessions, **options)


@pytest.mark.parametrize("exempt", [(), ("/logout",)])
@on_a_loop
async def test_a_log_out_clears_the_cookie_and_ends_every_copy_of_it(exempt: tuple[str, ...]) -> None:
    _, app = site_with_logout(CookieSessions(keys=[KEY]), exempt=exempt)
    browser = Browser(app)
    await browser.get(b"Alice")
    copy = browser.cookie

    out = await browser.get(path="/logout")
    answer = await with_value(app, copy)

    assert out.status == 200
    assert browser.jar == {}
    assert answer.status == 401


@on_a_loop
async def test_a_log_out_without_a_session_clears_the_cookie_all_the_same() -> None:
    _, app = site_with_logout(CookieSessions(keys=[KEY]), exempt=("/logout",))

    answer = await Browser(app).get(path="/logout")

    assert answer.all("set-cookie")[0].startswith("__Host-negotiate-mw=; Max-Age=0;")


@on_a_loop
async def test_a_log_out_in_the_request_that_logged_in_leaves_no_session() -> None:
    _, app = site_with_logout(CookieSessions(keys=[KEY]))
    browser = Browser(app)

    answer = await browser.get(b"Alice", path="/logout")

    assert answer.text == "alice"
    assert browser.jar == {}


@on_a_loop
async def test_a_response_on_its_way_does_not_bring_a_session_back_that_was_logged_out(clock: Clock) -> None:
    inner, app = site_with_logout(CookieSessions(keys=[KEY], idle=200))
    browser = Browser(app)
    await browser.get(b"Alice")
    clock.now += 100  # the next response notes the use

    slow = asyncio.create_task(browser.get(path="/slow"))
    await inner.arrived.wait()
    await browser.get(path="/logout")
    inner.go.set()
    answer = await slow

    assert answer.text == "alice"
    assert answer.all("set-cookie") == []
    assert browser.jar == {}
    assert (await browser.get()).status == 401


@on_a_loop
async def test_a_response_on_its_way_does_not_take_the_next_session_away(clock: Clock) -> None:
    inner, app = site_with_logout(CookieSessions(keys=[KEY], idle=200))
    browser = Browser(app)
    await browser.get(b"Alice")
    clock.now += 100

    slow = asyncio.create_task(browser.get(path="/slow"))
    await inner.arrived.wait()
    await browser.get(b"Bob")
    inner.go.set()
    await slow

    assert (await browser.get()).text == "bob"


@on_a_loop
async def test_a_log_out_where_these_sessions_are_not_in_use_says_so() -> None:
    with pytest.raises(ConfigurationError, match=r"sessions=…"):
        await CookieSessions(keys=[KEY]).logout({"type": "http", "headers": []})


@on_a_loop
async def test_ended_sessions_are_remembered_until_they_would_have_ended_and_no_longer(clock: Clock) -> None:
    sessions = CookieSessions(keys=[KEY], max_age=600)
    _, app = site_with_logout(sessions)

    for _ in range(5):
        await log_in_and_out(app)
    before = len(sessions._ended)
    clock.now += 600 + 61  # by as much another node's clock may be ahead, and a later log-in's cookie last longer
    await log_in_and_out(app)

    assert (before, len(sessions._ended)) == (5, 1)


@on_a_loop
async def test_of_more_log_outs_than_are_remembered_the_latest_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cookie_module, "_ENDED", 3)
    sessions = CookieSessions(keys=[KEY])
    _, app = site_with_logout(sessions)
    copies = [Browser(app) for _ in range(5)]

    for copy in copies:
        browser = Browser(app)
        await browser.get(b"Alice")
        copy.jar.update(browser.jar)
        await browser.get(path="/logout")

    assert [(await copy.get()).status for copy in copies[2:]] == [401, 401, 401]
    assert len(sessions._ended) == 3


@on_a_loop
async def test_who_logs_in_again_and_again_pushes_nobodys_log_out_out() -> None:
    sessions = CookieSessions(keys=[KEY])
    _, app = site_with_logout(sessions)
    browser = Browser(app)
    await browser.get(b"Alice")
    cookies = {browser.cookie}

    for _ in range(5):
        await browser.get(b"Alice")
        cookies.add(browser.cookie)
    answer = await browser.get()

    assert (len(cookies), answer.text) == (6, "alice")
    assert len(sessions._ended) == 0


async def log_in_and_out(app: Any) -> None:
    browser = Browser(app)
    await browser.get(b"Alice")
    await browser.get(path="/logout")


# bounds


@on_a_loop
async def test_a_session_over_what_browsers_keep_is_not_set_and_says_what_to_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    groups = frozenset(f"A rather long name of a group, number {number} of many" for number in range(100))
    browser = Browser(site_of(acceptor=scripted(groups=groups)))

    with caplog.at_level(logging.WARNING, "negotiate_mw"):
        answers = [await browser.get(b"Alice") for _ in range(3)]

    assert [(answer.status, answer.all("set-cookie")) for answer in answers] == [(200, [])] * 3
    lines = [record.getMessage() for record in caplog.records if record.negotiate_event == "session-too-large"]  # type: ignore[attr-defined]
    (line,) = lines  # once a minute
    assert re.search(rf"alice@EXAMPLE.COM .* over {LARGEST} bytes.* 100 groups .*PacGroups.*RedisSessions", line)


@on_a_loop
async def test_who_is_too_large_for_a_session_keeps_none_of_before() -> None:
    browser = Browser(site_of())
    await browser.get(b"Alice")

    browser.app = site_of(acceptor=scripted(groups=frozenset(f"{'long ' * 20}{number}" for number in range(100))))
    await browser.get(b"Alice")

    assert browser.jar == {}


@on_a_loop
async def test_the_cache_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cookie_module, "_CACHED", 3)
    sessions = CookieSessions(keys=[KEY])
    app = site_of(sessions)
    browsers = [Browser(app) for _ in range(5)]
    unsealed: list[bytes] = []
    unseal = sessions._unseal

    def counting(cookie: Cookie, value: bytes, now: float) -> Any:
        unsealed.append(value)
        return unseal(cookie, value, now)

    monkeypatch.setattr(sessions, "_unseal", counting)

    for browser in browsers[:3]:
        await browser.get(b"Alice")
    await browsers[3].get(b"Alice")
    await browsers[1].get()
    await browsers[2].get()
    await browsers[0].get()

    assert unsealed == [browsers[0].cookie.encode()]
    assert len(sessions._cache) == 3


@on_a_loop
async def test_garbage_takes_no_place_in_the_cache() -> None:
    sessions = CookieSessions(keys=[KEY])
    app = site_of(sessions)

    for number in range(50):
        await with_value(app, f"garbage{number}")

    assert len(sessions._cache) == 0


# options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keys": ["short"]}, "secrets.token_urlsafe"),
        ({"keys": "a" * 40}, "list"),
        ({"max_age": 0}, "max_age=0"),
        ({"max_age": -1}, "max_age"),
        ({"max_age": True}, "max_age"),
        ({"max_age": float("nan")}, "max_age"),
        ({"max_age": float("inf")}, "max_age"),
        ({"max_age": "3600"}, "max_age"),
        ({"idle": 119}, "idle=119"),
        ({"idle": 3601}, "max_age=3600"),
        ({"idle": 0}, "idle"),
        ({"audience": None}, "audience"),
        ({"domain": ".example"}, "domain"),
    ],
)
def test_a_wrong_option_stops_the_start(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        CookieSessions(**{"keys": [KEY]} | options)


@pytest.mark.parametrize("sign", ["child", "gunicorn"])
def test_a_generated_key_in_one_of_several_processes_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, sign: str
) -> None:
    if sign == "child":
        monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
    else:
        monkeypatch.setenv("SERVER_SOFTWARE", "gunicorn/23.0.0")

    with pytest.raises(ConfigurationError) as error:
        CookieSessions()

    assert MAKE_A_KEY in str(error.value)


def test_a_generated_key_is_good_for_one_process_that_reloads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
    monkeypatch.setattr(sys, "argv", ["uvicorn", "app:app", "--reload"])

    CookieSessions()


@on_a_loop
async def test_a_generated_key_works_and_the_start_says_what_it_means(caplog: pytest.LogCaptureFixture) -> None:
    sessions = CookieSessions()
    browser = Browser(site_of(sessions))

    with caplog.at_level(logging.WARNING, "negotiate_mw"):
        await sessions.start()
    await browser.get(b"Alice")
    answer = await browser.get()

    assert "make a key with" in caplog.text
    assert answer.text == "alice"


def test_no_key_shows() -> None:
    assert KEY not in repr(CookieSessions(keys=[KEY]))


@on_a_loop
async def test_no_cookie_shows_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    browser = Browser(site_of())

    with caplog.at_level(logging.DEBUG):
        await browser.get(b"Alice")
        value = browser.cookie
        await browser.get()
        await with_value(browser.app, value[:-2] + "AA")

    assert value[:20] not in caplog.text


# the end of a session, for whoever waits for it


@on_a_loop
async def test_who_waits_for_the_end_is_told_of_a_log_out_and_of_the_age() -> None:
    sessions = CookieSessions(keys=[KEY], max_age=3)  # which begins with the second that it is
    _, app = site_with_logout(sessions)
    browsers = [Browser(app), Browser(app)]
    for browser in browsers:
        await browser.get(b"Alice")
    views = [sessions.session({"headers": browser.headers}, is_tls=True) for browser in browsers]
    for view in views:
        await view.open()
    waiting = [asyncio.create_task(view.ended()) for view in views]
    await asyncio.sleep(0)

    await browsers[0].get(path="/logout")
    await asyncio.sleep(0.01)
    after_log_out = [task.done() for task in waiting]
    await asyncio.wait_for(asyncio.gather(*waiting), 10)

    assert after_log_out == [True, False]
    assert sessions._watches == {}


@on_a_loop
async def test_use_elsewhere_moves_the_end_that_somebody_waits_for(clock: Clock) -> None:
    sessions = CookieSessions(keys=[KEY], idle=120)
    browser = Browser(site_of(sessions))
    await browser.get(b"Alice")
    view = sessions.session({"headers": browser.headers}, is_tls=True)
    await view.open()
    waiting = asyncio.create_task(view.ended())
    await asyncio.sleep(0)

    clock.now += 100
    await browser.get()
    ((watch,),) = sessions._watches.values()
    waiting.cancel()
    await asyncio.wait([waiting])

    assert watch.ends == NOW + 220
    assert sessions._watches == {}


@on_a_loop
async def test_without_a_session_there_is_no_end_to_wait_for() -> None:
    view = CookieSessions(keys=[KEY]).session({"headers": []}, is_tls=True)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(view.ended(), 0.01)


@on_a_loop
async def test_a_log_out_ends_what_the_same_account_had_before_it_logged_in_again() -> None:
    sessions = CookieSessions(keys=[KEY])
    _, app = site_with_logout(sessions)
    browser, copy = Browser(app), Browser(app)
    await browser.get(b"Alice")
    copy.jar.update(browser.jar)
    await browser.get(b"Alice")
    assert browser.jar != copy.jar
    assert (await copy.get()).status == 200

    await browser.get(path="/logout")

    assert (await copy.get()).status == 401


@on_a_loop
async def test_a_log_out_by_the_older_cookie_of_an_account_holds_as_long_as_the_newer_would(clock: Clock) -> None:
    sessions = CookieSessions(keys=[KEY], max_age=600)
    _, app = site_with_logout(sessions)
    browser, older, newer = Browser(app), Browser(app), Browser(app)
    await browser.get(b"Alice")
    older.jar.update(browser.jar)
    clock.now += 300
    await browser.get(b"Alice")
    newer.jar.update(browser.jar)

    await older.get(path="/logout")
    clock.now += 400
    await log_in_and_out(app)  # which takes away what is over

    assert (await newer.get()).status == 401


@on_a_loop
async def test_a_log_out_ends_each_session_whose_cookie_is_there() -> None:
    """A second one may have been planted to have the log-out miss the first."""
    sessions = CookieSessions(keys=[KEY])
    _, app = site_with_logout(sessions, exempt=("/logout",))
    browser = Browser(app)
    await browser.get(b"Alice")
    ((name, value),) = browser.jar.items()

    twice = [(b"cookie", f"{name}={value}; {name}=planted".encode())]
    await Client(app, scheme="https").get(path="/logout", headers=twice)

    assert (await browser.get()).status == 401


@on_a_loop
async def test_users_of_many_groups_take_up_no_more_memory_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cookie_module, "_CACHED_GROUPS", 100)
    sessions = CookieSessions(keys=[KEY])
    many = user("many@EXAMPLE.COM", groups=frozenset(map(str, range(40))))
    for _ in range(5):
        await sessions.session({"headers": []}, is_tls=False).begin(many)

    assert len(sessions._cache) == 2
    await sessions.stop()
    assert sessions._cached_groups == 0
