"""One line for each refusal, its cause found off the loop and not too often; repeats are summed up."""

import asyncio
import logging
import threading
import time
from typing import Any

import pytest

from negotiate_mw import AcceptError, NegotiateMiddleware, SecStatus, refusal_log, telemetry
from negotiate_mw.causes import finding
from negotiate_mw.diagnosis import Evidence
from negotiate_mw.refusal import Refusal
from negotiate_mw.refusal_log import FINDINGS_PER_SECOND, MAX_COUNTED, MOST_LINES, WHOLE_LINES, WINDOW_SECONDS, Tally
from negotiate_mw.testing import ScriptedAcceptor, user
from tests.shell.driving import Client, Site, on_a_loop

REPLAY = {b"Replayed": AcceptError(SecStatus.LOGON_DENIED, "replay", detail="seen before")}
LETS_IN = {b"Good": (user("alice@EXAMPLE.COM"), None)}


class Summing:
    def __init__(self) -> None:
        self.said: list[tuple[str, str, int]] = []
        self.tally = Tally(lambda *said: self.said.append(said))


@pytest.fixture
def summing() -> Summing:
    return Summing()


def middleware(script: Any = REPLAY) -> NegotiateMiddleware:
    return NegotiateMiddleware(Site(), acceptor=ScriptedAcceptor(script))


# Counting


def test_the_first_ones_get_lines_and_the_others_one_together(summing: Summing) -> None:
    whole = [summing.tally.is_whole("10.0.0.7", "replay", now / 10) for now in range(WHOLE_LINES + 37)]

    summing.tally.expire(WINDOW_SECONDS)

    assert whole == [True] * WHOLE_LINES + [False] * 37
    assert summing.said == [("10.0.0.7", "replay", 37)]


def test_the_next_window_begins_with_whole_lines(summing: Summing) -> None:
    for _ in range(WHOLE_LINES + 1):
        summing.tally.is_whole("10.0.0.7", "replay", 0.0)

    assert not summing.tally.is_whole("10.0.0.7", "replay", WINDOW_SECONDS - 0.1)
    assert summing.tally.is_whole("10.0.0.7", "replay", WINDOW_SECONDS)
    assert summing.said == [("10.0.0.7", "replay", 2)]


def test_another_peer_and_another_reason_are_counted_apart(summing: Summing) -> None:
    for _ in range(WHOLE_LINES):
        summing.tally.is_whole("10.0.0.7", "replay", 0.0)

    assert not summing.tally.is_whole("10.0.0.7", "replay", 0.0)
    assert summing.tally.is_whole("10.0.0.8", "replay", 0.0)
    assert summing.tally.is_whole("10.0.0.7", "no-key", 0.0)


def test_who_was_refused_seldom_is_not_summed_up(summing: Summing) -> None:
    for _ in range(WHOLE_LINES):
        summing.tally.is_whole("10.0.0.7", "replay", 0.0)

    assert summing.tally.expire(WINDOW_SECONDS) is None
    assert summing.said == []


def test_a_crowd_of_peers_is_bounded_and_whom_it_pushes_out_is_summed_up(summing: Summing) -> None:
    for _ in range(WHOLE_LINES + 3):
        summing.tally.is_whole("first", "replay", 0.0)

    for number in range(10 * MAX_COUNTED):
        summing.tally.is_whole(str(number), "replay", 1.0)

    assert len(summing.tally) == MAX_COUNTED
    assert summing.said == [("first", "replay", 3)]


def test_any_number_of_peers_gets_so_many_lines_in_a_window_and_no_more(summing: Summing) -> None:
    whole = [summing.tally.is_whole(f"2001:db8::{number:x}", "malformed", 1.0) for number in range(MOST_LINES + 70)]
    others = summing.tally.is_whole("192.0.2.1", "replay", 2.0)

    summing.tally.expire(1.0 + WINDOW_SECONDS)
    afterwards = summing.tally.is_whole("192.0.2.1", "replay", 1.5 + WINDOW_SECONDS)

    assert (sum(whole), others, afterwards) == (MOST_LINES, False, True)
    assert summing.said == [("all peers", "all", 71)]


def test_peers_that_are_refused_now_and_then_never_run_out_of_lines(summing: Summing) -> None:
    every = 2 * WINDOW_SECONDS / MOST_LINES  # half as many as there may be

    whole = [summing.tally.is_whole(str(number), "replay", number * every) for number in range(2 * MOST_LINES)]
    summing.tally.close()

    assert all(whole)
    assert summing.said == []


def test_it_says_when_to_look_again(summing: Summing) -> None:
    summing.tally.is_whole("10.0.0.7", "replay", 5.0)
    summing.tally.is_whole("10.0.0.8", "replay", 7.0)

    assert summing.tally.expire(10.0) == WINDOW_SECONDS - 5.0
    assert summing.tally.expire(5.0 + WINDOW_SECONDS) == 2.0
    assert summing.tally.expire(7.0 + WINDOW_SECONDS) is None


# In the middleware


@on_a_loop
async def test_the_line_has_cause_cure_and_reference(caplog: pytest.LogCaptureFixture) -> None:
    answer = await Client(middleware()).get(b"Replayed")

    (record,) = caplog.records
    found: Any = record
    assert found.negotiate_cause == "replayed"
    assert found.negotiate_cure == finding("replayed").cure
    assert found.negotiate_detail == "seen before"
    assert found.negotiate_reference in answer.text
    assert "seen before. Cause: this very token was accepted before" in record.getMessage()


@on_a_loop
async def test_repeats_are_summed_up_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    app = middleware()
    client = Client(app, peer=("10.0.0.7", 50000))

    for _ in range(WHOLE_LINES + 37):
        await client.get(b"Replayed")
    app._refusals.close()

    last: Any = caplog.records[-1]
    assert len(caplog.records) == WHOLE_LINES + 1
    assert last.getMessage() == "refused: replay: … 37 more like this from 10.0.0.7 in 60 s"
    assert (last.negotiate_event, last.negotiate_repeats) == ("refused-more", 37)


def test_repeats_are_summed_up_though_nothing_more_comes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusal_log, "WINDOW_SECONDS", 0.3)

    async def run() -> None:
        client = Client(middleware())
        for _ in range(WHOLE_LINES + 5):
            await client.get(b"Replayed")
        deadline = time.monotonic() + 10
        while "5 more" not in caplog.text and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    asyncio.run(run())

    assert caplog.text.count("… 5 more like this from 192.0.2.7") == 1


@on_a_loop
async def test_causes_are_found_off_the_loop(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    threads = []
    monkeypatch.setattr(refusal_log, "diagnose", lambda evidence: threads.append(threading.current_thread()))

    await Client(middleware()).get(b"Replayed")

    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


@on_a_loop
async def test_causes_are_found_so_many_a_second_and_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Evidence] = []
    monkeypatch.setattr(refusal_log, "diagnose", asked.append)
    monkeypatch.setattr(time, "monotonic", lambda: 1000.5)
    app = middleware()

    for number in range(FINDINGS_PER_SECOND + 50):
        await Client(app, peer=(f"10.0.1.{number}", 1)).get(b"Replayed")

    assert len(asked) == FINDINGS_PER_SECOND
    assert len(caplog.records) == FINDINGS_PER_SECOND + 50, "the line goes out all the same"


@on_a_loop
async def test_no_cause_is_looked_for_where_nobody_reads(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Evidence] = []
    monkeypatch.setattr(refusal_log, "diagnose", asked.append)
    caplog.set_level(logging.ERROR, "negotiate_mw")

    await Client(middleware()).get(b"Replayed")

    assert asked == []


@pytest.mark.parametrize("how", ["raises", "hangs"])
def test_a_refusal_goes_out_whatever_becomes_of_its_cause(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    release = threading.Event()

    def diagnose(evidence: Evidence) -> None:
        if how == "hangs":
            release.wait(30)
        raise ZeroDivisionError

    monkeypatch.setattr(refusal_log, "diagnose", diagnose)
    monkeypatch.setattr(refusal_log, "_FINDING_SECONDS", 0.1)

    async def run() -> None:
        app = middleware()
        answer = await Client(app).get(b"Replayed")
        release.set()
        assert answer.status == 401
        assert answer.error is None

    asyncio.run(run())

    assert "refused with 401: replay: seen before [" in caplog.text
    assert ("no cause was found for replay: ZeroDivisionError" in caplog.text) is (how == "raises")


def test_a_client_that_leaves_meanwhile_leaves_its_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun, release = threading.Event(), threading.Event()

    def diagnose(evidence: Evidence) -> None:
        begun.set()
        release.wait(30)

    monkeypatch.setattr(refusal_log, "diagnose", diagnose)

    async def run() -> None:
        task = asyncio.create_task(Client(middleware()).get(b"Replayed"))
        while not begun.is_set():
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        release.set()

    asyncio.run(run())

    assert "refused with 401: replay: seen before [" in caplog.text


@on_a_loop
async def test_a_log_in_and_a_challenge_pay_nothing_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    app = middleware(LETS_IN)
    monkeypatch.setattr(app, "_refusals", None)  # whoever touched it would be an error

    challenged = await Client(app).get()
    passed = await Client(app).get(b"Good")

    assert (challenged.status, passed.status) == (401, 200)


@on_a_loop
async def test_the_token_is_nowhere_in_the_record(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    await Client(middleware()).get(b"CANARY-CANARY")

    assert caplog.records
    for record in caplog.records:
        assert "CANARY" not in str(vars(record))
        assert "Q0FOQVJZ" not in str(vars(record))


def test_a_told_cause_isnt_told_twice(caplog: pytest.LogCaptureFixture) -> None:
    scope = {"type": "http", "client": None}

    telemetry.refused(scope, Refusal(status=403), "realm-not-allowed", "say realms=[…]", finding("realm-not-allowed"))

    record: Any = caplog.records[0]
    assert record.getMessage().startswith("refused with 403: realm-not-allowed: say realms=[…] [")
    assert record.negotiate_cause == "realm-not-allowed"
    assert "Policy(realms=" in record.negotiate_cure


def test_the_fields_of_a_record_are_those_that_the_module_documents(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "negotiate_mw")
    scope = {"type": "http", "client": None}

    telemetry.refused(scope, Refusal(status=403), "replay", "detail", finding("replayed"))
    telemetry.refused_more("10.0.0.7", "replay", 3)
    telemetry.logged_in(scope, user("alice@EXAMPLE.COM"))
    telemetry.challenged(scope, Refusal(status=401))

    fields = {name for record in caplog.records for name in vars(record) if name.startswith("negotiate_")}
    assert telemetry.__doc__ is not None
    assert {name for name in fields if f"``{name}``" not in telemetry.__doc__} == set()
