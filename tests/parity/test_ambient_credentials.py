"""What a page may do with its visitor's ticket, which the browser sends by itself: a real Chromium with one."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import Server, get, serve

from .chromium import Browser, chromium, window

ALICE = "alice@TEST.EXAMPLE"


class BlankPage(BaseHTTPRequestHandler):
    """A site with one empty page, which needs no log-in."""

    def do_GET(self) -> None:
        body = b"<!DOCTYPE html><title>Elsewhere</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[int]:
    """The port of such a site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BlankPage) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        try:
            yield site.server_address[1]
        finally:
            site.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def ambient(service_env: dict[str, str], elsewhere: int) -> Iterator[Server]:
    """A server that trusts, below one path, the pages of localhost's other port."""
    env = service_env | {"TRUSTED_ORIGIN": f"http://localhost:{elsewhere}"}
    with serve("tests.parity.ambient_apps:app", env=env) as server:
        yield server


@pytest.fixture(scope="module")
def alices_chromium(kerberos_realm: KerberosRealm, alice: Path) -> Iterator[str]:
    """Where to reach the browser of somebody with a ticket."""
    with chromium(kerberos_realm.environ(alice)) as url:
        yield url


@pytest.fixture
def browser(alices_chromium: str, ambient: Server) -> Iterator[Browser]:
    with window(alices_chromium, private=False) as browser:
        get(ambient, "/seen")  # forgets what was seen before
        yield browser


def reached(server: Server) -> list[list[str | None]]:
    """What reached the app: method and user of each request."""
    seen: list[list[str | None]] = get(server, "/seen").json
    return seen


OTHER_PORT = "http://localhost:{port}/"  # of the same site, as browsers count: ports don't
OTHER_SITE = "http://127.0.0.1:{port}/"
UNTRUSTED = [(OTHER_PORT, "strict"), (OTHER_SITE, "strict"), (OTHER_SITE, "trusting")]
FORM = """
  const form = document.createElement("form");
  form.method = "post"; form.action = "{url}"; document.documentElement.append(form); form.submit();
"""
SOCKET = """
  new Promise(told => {{
    const socket = new WebSocket("{url}socket");
    socket.onmessage = event => told(event.data);
    socket.onerror = () => told("refused");
  }})
"""
FETCH = """
  fetch("{url}", {{ {options} }}).then(answer => answer.ok ? answer.json() : answer.status).then(
    body => body.principal ?? body, error => "refused")
"""
POST = 'method: "POST", body: "x", credentials: "include"'
UNSEEN_POST = f'{POST}, mode: "no-cors"'
PUT = 'method: "PUT", body: "{}", headers: {"content-type": "application/json"}, credentials: "include"'


def url_of(server: Server, path: str = "strict", scheme: str = "http") -> str:
    return f"{scheme}://localhost:{server.port}/{path}/"


# A plain visit


def test_a_visit_by_the_address_bar_or_by_a_link_of_any_page_is_the_users(
    browser: Browser, ambient: Server, elsewhere: int
) -> None:
    typed = browser.visit(url_of(ambient))
    followed = []
    for page in (OTHER_PORT, OTHER_SITE):
        browser.visit(page.format(port=elsewhere))
        followed.append(browser.submit(f'location = "{url_of(ambient)}"'))

    assert all(f'"{ALICE}"' in seen for seen in (typed, *followed))
    assert reached(ambient) == [["GET", ALICE]] * 3


def test_its_own_pages_may_post_and_open_websockets(browser: Browser, ambient: Server) -> None:
    browser.visit(url_of(ambient))

    posted = browser.run(FETCH.format(url=url_of(ambient), options=POST))
    put = browser.run(FETCH.format(url=url_of(ambient), options=PUT))
    greeted = browser.run(SOCKET.format(url=url_of(ambient, scheme="ws")))
    submitted = browser.submit(FORM.format(url=url_of(ambient)))

    assert [posted, put, greeted] == [ALICE] * 3
    assert f'"{ALICE}"' in submitted


# Pages of other origins


@pytest.mark.parametrize(("page", "path"), UNTRUSTED)
def test_a_form_of_another_origins_page_is_refused(
    browser: Browser, ambient: Server, elsewhere: int, page: str, path: str
) -> None:
    browser.visit(page.format(port=elsewhere))
    mark = ambient.mark()

    seen = browser.submit(FORM.format(url=url_of(ambient, path)))

    assert seen.startswith("This is not allowed. Reference: ")
    assert reached(ambient) == []
    assert_the_log_names_the_page(ambient, mark, page.format(port=elsewhere))


@pytest.mark.parametrize(("page", "path"), UNTRUSTED)
@pytest.mark.parametrize("options", [POST, UNSEEN_POST], ids=["to-be-read", "not-to-be-read"])
def test_a_script_of_another_origins_page_posts_nothing(
    browser: Browser, ambient: Server, elsewhere: int, page: str, path: str, options: str
) -> None:
    browser.visit(page.format(port=elsewhere))
    mark = ambient.mark()

    told = browser.run(FETCH.format(url=url_of(ambient, path), options=options))

    assert told in ("refused", 0)  # 0: a page isn't told the status of what it may not read
    assert reached(ambient) == []
    assert_the_log_names_the_page(ambient, mark, page.format(port=elsewhere))


@pytest.mark.parametrize(("page", "path"), UNTRUSTED)
def test_a_websocket_of_another_origins_page_is_refused(
    browser: Browser, ambient: Server, elsewhere: int, page: str, path: str
) -> None:
    browser.visit(page.format(port=elsewhere))
    mark = ambient.mark()

    told = browser.run(SOCKET.format(url=url_of(ambient, path, "ws")))

    assert told == "refused"
    assert reached(ambient) == []
    assert_the_log_names_the_page(ambient, mark, page.format(port=elsewhere))


@pytest.mark.parametrize(("page", "path"), UNTRUSTED)
def test_a_preflight_of_another_origins_page_is_refused_and_nothing_follows(
    browser: Browser, ambient: Server, elsewhere: int, page: str, path: str
) -> None:
    browser.visit(page.format(port=elsewhere))
    mark = ambient.mark()

    told = browser.run(FETCH.format(url=url_of(ambient, path), options=PUT))

    assert told == "refused"
    assert reached(ambient) == []
    assert_the_log_names_the_page(ambient, mark, page.format(port=elsewhere), "a preflight")


def assert_the_log_names_the_page(server: Server, mark: int, page: str, what: str = "a request") -> None:
    origin = re.escape(page.removesuffix("/"))
    server.until_logged(
        rf"refused with 403: origin-not-trusted: {what}.*Policy\(trusted_origins=\['{origin}'\]\)", mark=mark
    )


# A trusted origin


def test_a_trusted_origins_page_may_do_all_of_it_as_its_visitor(
    browser: Browser, ambient: Server, elsewhere: int
) -> None:
    browser.visit(OTHER_PORT.format(port=elsewhere))
    url = url_of(ambient, "trusting")

    posted = browser.run(FETCH.format(url=url, options=POST))
    put = browser.run(FETCH.format(url=url, options=PUT))
    greeted = browser.run(SOCKET.format(url=url_of(ambient, "trusting", "ws")))
    submitted = browser.submit(FORM.format(url=url))

    assert [posted, put, greeted] == [ALICE] * 3
    assert f'"{ALICE}"' in submitted
    # the preflight alone comes without a user, by the rules of CORS
    assert reached(ambient) == [
        ["POST", ALICE],
        ["OPTIONS", None],
        ["PUT", ALICE],
        ["websocket", ALICE],
        ["POST", ALICE],
    ]
