"""Nobody is ever somebody else, and no secret comes out: the short forms. ``scripts/soak`` has the long ones."""

import pytest

from .identity import BURST, COOKIES, EVENTS
from .test_campaigns import run


def test_whatever_overlaps_each_response_is_for_whom_it_is_due() -> None:
    report = run("identity")

    assert report.failures == ()
    assert report.held == report.done == 50_000
    assert report.counts["requests"] > report.done * BURST / 3  # the rest are ends, resumptions and cancellations
    if not COOKIES:
        pytest.skip("all held, but without the event `cookie`: there is no negotiate_mw.sessions.cookie")
    assert report.counts["by cookie"] > 5_000


def test_whatever_comes_after_what_each_response_is_for_whom_it_is_due() -> None:
    report = run("sequences")

    assert report.failures == ()
    assert report.held == report.done == len(EVENTS) ** 5 == 59_049


def test_on_real_connections_with_real_tickets_everybody_is_only_themselves() -> None:
    report = run("real-users")

    assert report.failures == ()
    assert report.held == report.done == 5_000
    assert report.counts["reconnects"] > 100
    assert report.counts["remembered"] > 50


def test_no_secret_is_in_any_log_response_exception_repr_scope_or_file() -> None:
    report = run("secrets")

    assert report.failures == ()
    assert report.held == report.done
    assert report.counts["canaries"] >= 40
