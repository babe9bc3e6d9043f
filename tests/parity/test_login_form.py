"""``examples/login_form_app.py``: a ticket is enough, and who has none gets in by the form."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlencode

import pytest

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import ROOT, Answer, Server, Wire, get, serve

from .chromium import Browser, chromium, window

HTTP, PASSWORD = "HTTP/localhost", "a guest's & password"
FILL_IN = """(name, password) => {
    document.getElementById("name").value = name
    document.getElementById("password").value = password
    document.querySelector("button").click()
}"""


@pytest.fixture(scope="module")
def site(service_env: dict[str, str]) -> Iterator[Server]:
    env = service_env | {"GUEST_PASSWORD": PASSWORD}
    with serve("login_form_app:app", "--app-dir", str(ROOT / "examples"), env=env) as server:
        yield server


def post(server: Server, target: str, fields: Mapping[str, str], **headers: str) -> Answer:
    body = urlencode(fields).encode()
    lines = {"Host": "localhost", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    with Wire(server.port) as wire:
        wire.send(f"POST {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
        return wire.answer("POST")


def log_in(server: Server, **fields: str) -> Answer:
    return post(server, "/login", {"name": "guest", "password": PASSWORD, **fields})


def cookie_of(answer: Answer) -> str:
    return answer.headers["set-cookie"].partition(";")[0]


# Over the wire


def test_a_stranger_is_challenged_and_sees_the_form(site: Server) -> None:
    answer = get(site, "/?week=3&day=%22%3E")

    assert (answer.status, answer.challenges) == (401, ["Negotiate"])
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert "form-action 'self'" in answer.headers["content-security-policy"]
    page = answer.body.decode()
    assert 'name="next" value="/?week=3&amp;day=%22%3E"' in page
    assert re.search(r"Reference: [0-9a-f]{12}<", page)


def test_a_ticket_is_enough(site: Server, kerberos_realm: KerberosRealm, alice: Path) -> None:
    answer = get(site, token=kerberos_realm.token(HTTP, alice))

    assert (answer.status, answer.body) == (200, b"Hello alice, known by ticket\n")
    assert "set-cookie" not in answer.headers


def test_a_bad_ticket_is_refused_with_the_form(site: Server) -> None:
    answer = get(site, token=b"garbage")

    assert (answer.status, answer.challenges) == (401, ["Negotiate"])
    assert b"<form" in answer.body


def test_the_right_password_leads_back_and_is_remembered(site: Server) -> None:
    answer = log_in(site, next="/?week=3")
    page = get(site, headers=[("Cookie", cookie_of(answer))])

    assert (answer.status, answer.headers["location"]) == (303, "/?week=3")
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert "samesite=lax" in answer.headers["set-cookie"].lower()
    assert (page.status, page.body) == (200, b"Hello guest, known by password\n")


@pytest.mark.parametrize(
    "wrong", [{"password": "wrong"}, {"name": "alice"}, {"name": ""}, {"password": ""}, {"name": "guest:a guest's"}]
)
def test_a_wrong_password_shows_the_form_again(site: Server, wrong: dict[str, str]) -> None:
    answer = post(site, "/login", {"name": "guest", "password": PASSWORD, "next": "/a?b"} | wrong)

    assert answer.status == 403
    assert "set-cookie" not in answer.headers
    assert b'<p role="alert">Name or password is wrong.</p>' in answer.body
    assert b'value="/a?b"' in answer.body


@pytest.mark.parametrize("next", ["https://evil.example/", "//evil.example/", "/\\evil.example", "evil", "/\r\nX-A: b"])
def test_it_leads_nowhere_but_to_itself(site: Server, next: str) -> None:
    answer = log_in(site, next=next)

    assert answer.status == 303
    assert answer.headers["location"] in ("/", "/%0D%0AX-A:%20b")


def test_a_forged_or_old_session_is_nobodys(site: Server) -> None:
    cookie = cookie_of(log_in(site))
    name, _, value = cookie.partition("=")

    answers = [get(site, headers=[("Cookie", f"{name}={forged}")]) for forged in (value[:-1], "eyJuYW1lIjoiYSJ9", "")]

    assert [answer.status for answer in answers] == [401] * 3


def test_who_logs_out_is_a_stranger_again(site: Server) -> None:
    cookie = cookie_of(log_in(site))

    answer = post(site, "/logout", {}, Cookie=cookie)

    assert answer.status == 303
    assert "session=null" in answer.headers["set-cookie"]


@pytest.mark.parametrize("place", ["cross-site", "same-site"])
@pytest.mark.parametrize("target", ["/login", "/logout"])
def test_a_page_of_another_origin_can_neither_log_in_nor_out(site: Server, target: str, place: str) -> None:
    headers = {"Cookie": cookie_of(log_in(site)), "Sec-Fetch-Site": place, "Origin": "https://evil.example"}

    answer = post(site, target, {"name": "guest", "password": PASSWORD}, **headers)

    assert answer.status == 403
    assert b"Reference: " in answer.body
    assert "set-cookie" not in answer.headers


def test_a_form_of_any_size_is_not_read(site: Server) -> None:
    assert log_in(site, more="x" * 5000).status == 413


@pytest.mark.parametrize("path", ["/login/", "/loginx", "/Login", "//login", "/login%2f..", "/"])
def test_nothing_but_the_form_itself_is_open_to_strangers(site: Server, path: str) -> None:
    assert get(site, path).status == 401


# In a browser


def test_a_browser_without_a_ticket_logs_in_by_the_form(site: Server, ticketless_chromium: str) -> None:
    with window(ticketless_chromium) as browser:
        seen = browser.visit(f"{site.url}?week=3")
        assert "Your computer didn't sign you in by itself." in seen
        assert (browser.prompts, browser.statuses) == (0, [401])
        assert_accessible(browser)

        seen = browser.submit(f"({FILL_IN})('guest', 'wrong')")
        assert "Name or password is wrong." in seen

        seen = browser.submit(f"({FILL_IN})('guest', {PASSWORD!r})")
        assert seen.startswith("Hello guest, known by password")
        assert browser.run("location.pathname + location.search") == "/?week=3"

        assert browser.visit(site.url).startswith("Hello guest, known by password")
        assert browser.prompts == 0


def assert_accessible(browser: Browser) -> None:
    """Each field has a label, the page a language, a title and one heading; the style sheet is let in by the policy."""
    assert browser.run("[...document.querySelectorAll('input:not([type=hidden])')].every(i => i.labels.length == 1)")
    assert browser.run("document.documentElement.lang && document.title") == "Sign in"
    assert browser.run("document.querySelectorAll('h1').length") == 1
    assert browser.run("document.activeElement.id") == "name"
    assert browser.run("getComputedStyle(document.body).display") == "grid"


def test_a_browser_with_a_ticket_never_sees_the_form(site: Server, kerberos_realm: KerberosRealm, alice: Path) -> None:
    with chromium(kerberos_realm.environ(alice)) as url, window(url, private=False) as browser:
        seen = browser.visit(site.url)

    assert seen.startswith("Hello alice, known by ticket")
    assert browser.prompts == 0
