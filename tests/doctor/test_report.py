"""The report: every check ends in time, and what was found is told by levels, words and an exit status."""

import json
import threading
import time
from collections.abc import Iterator

import pytest

from negotiate_mw.doctor.report import Level, Line, as_json, as_table, ok, problem, run, skipped, status, told, warning


def test_a_check_that_hangs_is_a_warning_and_the_others_are_told() -> None:
    forever = threading.Event()

    def hangs() -> Iterator[Line]:
        yield ok("found before")
        forever.wait(60)

    begun = time.monotonic()
    lines = run([("clock", hangs), ("dns", lambda: [ok("quick")])], seconds=0.3)
    forever.set()

    assert time.monotonic() - begun < 20
    assert [(line.theme, line.level, line.cause) for line in lines] == [
        ("clock", Level.OK, ""),
        ("clock", Level.WARNING, "no-answer"),
        ("dns", Level.OK, ""),
    ]
    assert "clock had no answer within 0.3 s" in lines[1].sentence


def test_a_check_that_fails_is_a_warning_and_the_others_are_told() -> None:
    def fails() -> Iterator[Line]:
        raise LookupError("x")

    lines = run([("tls", fails), ("dns", lambda: [ok("quick")])], seconds=30)

    assert [line.cause for line in lines] == ["check-failed", ""]
    assert "LookupError('x')" in lines[0].sentence


def test_what_two_middlewares_have_in_common_is_told_once() -> None:
    lines = run([("replay", lambda: [ok("same")]), ("replay", lambda: [ok("same"), ok("other")])], seconds=30)

    assert [line.sentence for line in lines] == ["same", "other"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], 0),
        ([ok("x"), skipped("x")], 0),
        ([ok("x"), warning("dev-acceptor")], 1),
        ([warning("dev-acceptor"), problem("dev-acceptor"), ok("x")], 2),
    ],
)
def test_the_exit_status_is_that_of_the_worst(lines: list[Line], expected: int) -> None:
    assert status(lines) == expected
    assert json.loads(as_json(lines))["status"] == expected


def test_the_acceptors_own_words_are_parted_into_what_is_wrong_and_what_to_type() -> None:
    line = told("keytab", "the keytab '/x' can't be read (Permission denied); let uid 7 read it: setfacl -m u:7:r /x")

    assert line.sentence == "the keytab '/x' can't be read (Permission denied)"
    assert line.cure == "let uid 7 read it: setfacl -m u:7:r /x"


def test_what_others_chose_cannot_break_the_table() -> None:
    (line,) = run([("url", lambda: [ok("a\nPROBLEM keytab  \x1b[2J forged")])], seconds=30)

    assert "\n" not in line.sentence
    assert "\x1b" not in as_table([line], 100)


def test_the_table_has_a_row_for_each_and_keeps_to_the_width() -> None:
    lines = run([("server", lambda: [problem("dev-acceptor"), ok("a word " * 40), ok("x")])], seconds=30)

    rows = as_table(lines, 80).splitlines()

    assert rows[0].startswith("PROBLEM server    the app uses the acceptor for laptops")
    assert max(map(len, rows)) <= 80
    assert rows[-1] == "2 ok, 0 skipped, 0 warning, 1 problem"
