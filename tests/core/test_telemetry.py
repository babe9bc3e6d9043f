import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw import telemetry
from negotiate_mw.refusal import Refusal

from .building import PROPERTY, user

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/page", "client": ("192.0.2.7", 50000)}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("alice@EXAMPLE.COM", "alice@EXAMPLE.COM"),
        ("Zoë", "Zoë"),
        ("a\r\nb", r"a\r\nb"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\u2028b", r"a\u2028b"),
        ("a\u202eb", r"a\u202eb"),
        ("a\0b", r"a\x00b"),
        ("\udc80", r"\udc80"),
        (5, "5"),
    ],
)
def test_plain_escapes_what_does_not_print(text: object, line: str) -> None:
    assert telemetry.plain(text) == line


@pytest.mark.parametrize("letter", ["a", "\n", "é", "\U0010ffff"])
def test_plain_cuts_what_is_long(letter: str) -> None:
    line = telemetry.plain(letter * 10_000)

    assert len(line) == 256
    assert line.endswith("…")
    assert len(telemetry.plain("a" * 256)) == 256
    assert not telemetry.plain("a" * 256).endswith("…")


@PROPERTY
@given(st.text() | st.binary())
def test_plain_gives_one_printable_line_of_anything(text: object) -> None:
    line = telemetry.plain(text)

    assert line.isprintable()
    assert len(line) <= 256


@pytest.mark.parametrize(
    ("status", "level"), [(400, "WARNING"), (401, "WARNING"), (403, "WARNING"), (431, "WARNING"), (503, "ERROR")]
)
def test_a_refusal_is_one_line_with_its_reference(caplog: pytest.LogCaptureFixture, status: int, level: str) -> None:
    refusal = Refusal(status=status)

    telemetry.refused(SCOPE, refusal, "replay", "seen\nbefore")

    (record,) = caplog.records
    assert (record.levelname, record.name) == (level, "negotiate_mw")
    assert record.getMessage() == (
        rf"refused with {status}: replay: seen\nbefore "
        f"[reference={refusal.reference} peer=192.0.2.7 method=GET path=/page]"
    )
    assert record.negotiate_reason == "replay"  # type: ignore[attr-defined]


def test_a_log_in_is_one_line_at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "negotiate_mw")

    telemetry.logged_in(SCOPE, user())

    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert record.getMessage() == "logged in alice@EXAMPLE.COM by kerberos [peer=192.0.2.7 method=GET path=/page]"


def test_a_challenge_is_one_line_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "negotiate_mw")

    telemetry.challenged(SCOPE | {"client": None}, Refusal(status=401))

    (record,) = caplog.records
    assert record.levelname == "DEBUG"
    assert "peer=local" in record.getMessage()


def test_a_successful_log_in_and_a_challenge_say_nothing_at_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "negotiate_mw")

    telemetry.logged_in(SCOPE, user())
    telemetry.challenged(SCOPE, Refusal(status=401))

    assert not caplog.records


def test_what_a_client_chose_stays_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "negotiate_mw")
    hostile = "x\r\nERROR forged \x1b[2J" + "y" * 100_000
    scope = {"type": "http", "method": hostile, "path": hostile, "client": (hostile, 1)}

    telemetry.refused(scope, Refusal(status=401), "malformed", hostile)
    telemetry.challenged(scope, Refusal(status=401))
    telemetry.logged_in(scope, user(hostile))
    telemetry.out_of_order(hostile)

    for record in caplog.records:
        assert record.getMessage().isprintable()
        assert len(record.getMessage()) < 3000
