"""What a browser asks its user: nothing, or once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import Server

from .chromium import MOST_PROMPTS, Browser, chromium, window
from .clients import BOB, PASSWORD


@pytest.fixture
def browser(ticketless_chromium: str) -> Iterator[Browser]:
    """A window of somebody without a ticket."""
    with window(ticketless_chromium) as browser:
        yield browser


def test_with_a_ticket_nothing_is_asked(server: Server, kerberos_realm: KerberosRealm, alice: Path) -> None:
    with chromium(kerberos_realm.environ(alice)) as url, window(url, private=False) as browser:
        page = browser.visit(server.url)

    assert '"alice@TEST.EXAMPLE"' in page
    assert browser.prompts == 0


def test_a_wrong_password_is_asked_for_once_and_then_the_refusal_is_seen(server: Server, browser: Browser) -> None:
    page = browser.visit(server.url, BOB, "wrong")

    assert page.startswith("Sign-in is needed. Reference: ")
    assert browser.prompts == 1
    assert browser.statuses[-1] == 401


def test_a_right_password_is_asked_for_once(server: Server, browser: Browser) -> None:
    page = browser.visit(server.url, BOB, PASSWORD)

    assert '"CORP\\\\bob"' in page
    assert browser.prompts == 1


def test_who_has_neither_sees_the_refusal(server: Server, browser: Browser) -> None:
    page = browser.visit(server.url)

    assert page.startswith("Sign-in is needed. Reference: ")
    assert browser.prompts == 1


def test_who_would_be_asked_in_vain_is_not_asked(server: Server, browser: Browser) -> None:
    """No connection is known there, so no password would do."""
    page = browser.visit(f"{server.url}hidden", BOB, PASSWORD)

    assert page.startswith("Sign-in is needed. Reference: ")
    assert browser.prompts == 0


def test_it_binds_ntlm_to_the_tls_channel(tls_server: Server, browser: Browser) -> None:
    page = browser.visit(tls_server.url, BOB, PASSWORD)

    assert '"channel_bound":true' in page
    assert browser.prompts == 1


def test_a_password_that_is_bound_to_another_channel_is_asked_for_once(tls_server: Server, browser: Browser) -> None:
    """Else everybody behind a proxy with another certificate would be asked for ever."""
    page = browser.visit(f"{tls_server.url}other", BOB, PASSWORD)

    assert page.startswith("Sign-in is needed. Reference: ")
    assert browser.prompts == 1


def test_a_server_that_challenges_again_would_have_it_ask_for_ever(server: Server, browser: Browser) -> None:
    """So that the counts above are counts."""
    browser.visit(f"{server.url}again", BOB, "wrong")

    assert browser.prompts == MOST_PROMPTS
