"""What people see, in a real Chromium: who they are, or what to do; legible, without scripts, by itself."""

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm, user
from tests.integration.samba_ad import SambaAD
from tests.integration.serving import ROOT, Server, get

from . import screenshots
from .chromium import Browser, chromium, window

HTTP = screenshots.HTTP
HOSTILE = '<img src=x onerror="document.title=1">&\'"'
# each text's colour against what is behind it (WCAG 2.2, 1.4.3)
CONTRASTS = """(() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number)
  const light = text => {
    const [r, g, b] = rgb(text).map(c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const behind = e => {
    const colour = getComputedStyle(e).backgroundColor
    return rgb(colour)[3] === 0 ? behind(e.parentElement) : colour
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  const found = []
  while (walker.nextNode()) if (walker.currentNode.data.trim()) {
    const e = walker.currentNode.parentElement
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x)
    found.push((a + 0.05) / (b + 0.05))
  }
  return found
})()"""


@pytest.fixture(scope="module")
def site(kerberos_realm: KerberosRealm) -> Iterator[Server]:
    with screenshots.whoami(kerberos_realm) as server:
        yield server


@pytest.fixture(scope="module")
def ticketed_chromium(kerberos_realm: KerberosRealm, alice: Path) -> Iterator[str]:
    with chromium(kerberos_realm.environ(alice)) as url:
        yield url


@pytest.fixture
def alices(ticketed_chromium: str) -> Iterator[Browser]:
    with window(ticketed_chromium, private=False) as browser:
        yield browser


@pytest.fixture
def strangers(ticketless_chromium: str) -> Iterator[Browser]:
    with window(ticketless_chromium) as browser:
        yield browser


def assert_good(browser: Browser) -> None:
    """Landmarks, language, one heading, names for what can be pressed, contrast, small screens, nothing else loaded."""
    assert browser.run("document.documentElement.lang") == "en"
    assert browser.run("document.title.length") > 5
    assert browser.run("document.querySelectorAll('main').length") == 1
    assert browser.run("document.querySelectorAll('h1').length") == 1
    assert browser.run("[...document.querySelectorAll('a, button')].every(e => e.innerText.trim())")
    assert browser.run("[...document.querySelectorAll('section')].every(e => e.getAttribute('aria-labelledby'))")
    assert browser.run("document.scripts.length + performance.getEntriesByType('resource').length") == 0
    backgrounds = set()
    for dark in (False, True):
        browser.look(dark=dark, width=320, height=640)  # WCAG 2.2, 1.4.10
        backgrounds.add(browser.run("getComputedStyle(document.body).backgroundColor"))
        contrasts = browser.run(CONTRASTS)
        assert len(contrasts) >= 3
        assert min(contrasts) >= 4.5
        assert browser.run("document.documentElement.scrollWidth") <= 320
    assert len(backgrounds) == 2  # its own style sheet is let in by its policy, and both modes are


def test_with_a_ticket_one_sees_who_one_is_and_how_that_is_known(site: Server, alices: Browser) -> None:
    seen = re.sub("\n+", "\n", alices.visit(site.url))

    assert alices.prompts == 0
    assert seen.startswith("A\nalice\nalice@TEST.EXAMPLE\n")
    assert "Proof\nKerberos ticket\n" in seen
    assert "Vouched for by\nTEST.EXAMPLE\n" in seen
    assert re.search(r"Proof ends\nin \d+ h \d+ min\n\d\d \w+ 20\d\d, \d\d:\d\d UTC\n", seen)
    assert "TLS channel\nnot bound to it\n" in seen
    assert_good(alices)


def test_a_session_is_shown_and_ended_by_its_button(site: Server, alices: Browser) -> None:
    alices.visit(site.url)
    remembered = alices.visit(site.url)
    signed_out = alices.submit("document.querySelector('button').click()")
    assert_good(alices)
    again = alices.submit("document.querySelector('a').click()")

    assert "Known by\nthe session that your log-in began\n" in remembered
    assert signed_out.startswith("Signed out\n")
    assert "Known by\nwhat this request brought\n" in again


def test_without_a_ticket_one_sees_what_to_do_and_a_reference_that_finds_the_line(
    site: Server, strangers: Browser
) -> None:
    seen = strangers.visit(site.url)

    assert (strangers.statuses, strangers.prompts) == ([401], 0)
    assert seen.startswith("We couldn't sign you in\n")
    assert "Connect to the VPN first." in seen
    assert re.search(r"Reference: [0-9a-f]{12}$", seen.strip())
    assert_good(strangers)


def test_the_reference_on_the_page_of_a_refusal_is_the_lines(site: Server) -> None:
    mark = site.mark()

    page = get(site, token=b"garbage", headers=[("Accept", "text/html")]).body.decode()

    reference = re.search(r"<code>([0-9a-f]{12})</code>", page)
    assert reference
    line = site.until_logged(r"refused with 401: .*reference=(\w+)", mark=mark)
    assert line[1] == reference[1]
    assert "malformed" not in page


def test_who_tries_again_asks_for_the_same_page(site: Server, strangers: Browser) -> None:
    strangers.visit(f"{site.url}?week=3")

    seen = strangers.submit("document.querySelector('a').click()")

    assert seen.startswith("We couldn't sign you in\n")
    assert strangers.run("location.search") == "?week=3"


def test_curl_gets_json(site: Server, kerberos_realm: KerberosRealm, alice: Path) -> None:
    answer = get(site, token=kerberos_realm.token(HTTP, alice))

    assert answer.json["principal"] == "alice@TEST.EXAMPLE"


def test_the_groups_of_an_active_directorys_ticket_are_shown() -> None:
    with SambaAD() as ad, screenshots.whoami(ad, GROUPS="pac") as site:
        token = ad.token(HTTP, ad.kinit("alice"))
        page = get(site, token=token, headers=[("Accept", "text/html")]).body.decode()

    groups = re.findall(r"<li>(.*?)</li>", page)
    sid = re.search(r"<dt>Account</dt><dd>(S-1-5-21-[0-9-]+)</dd>", page)
    assert sid
    assert sid[1] in groups
    assert f"{sid[1].rpartition('-')[0]}-513" in groups  # Domain Users


def test_whatever_a_ticket_says_is_shown_as_text(strangers: Browser) -> None:
    page = runpy.run_path(str(ROOT / "examples" / "whoami" / "page.py"))
    everywhere = dict.fromkeys(("username", "realm", "mechanism", "account_id"), HOSTILE)
    hostile = user(f"{HOSTILE}@{HOSTILE}", **everywhere, groups=frozenset({HOSTILE}))

    strangers.run(f"document.write({page['of'](hostile, has_session=True, by_session=True)!r}), document.close()")

    assert strangers.run("document.images.length") == 0
    assert strangers.run("document.querySelector('h1').innerText") == HOSTILE
    assert strangers.run("document.querySelector('.tags li').innerText") == HOSTILE


def test_the_pictures_can_be_taken(kerberos_realm: KerberosRealm, tmp_path: Path) -> None:
    taken = screenshots.take(kerberos_realm, tmp_path)

    kept = {path.name for path in screenshots.IMAGES.glob("*.png")}
    assert {path.name for path in taken} <= kept
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in taken)
