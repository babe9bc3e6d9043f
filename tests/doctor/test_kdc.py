"""The KDC: its clock, and what it says of the keytab's names."""

import os
import re
import shutil
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from negotiate_mw.doctor import kdc, tickets
from negotiate_mw.testing import KerberosRealm
from negotiate_mw.testing.tickets import run

from .examining import alarms, deployed

HOST = "kdc.test.example"


@pytest.fixture
def realm() -> Iterator[KerberosRealm]:
    """One to break."""
    with KerberosRealm() as realm:
        realm.add_user("alice")
        realm.add_service(f"HTTP/{HOST}")
        yield realm


@pytest.fixture
def broken_keytab(realm: KerberosRealm) -> Path:
    return realm.keytab(f"HTTP/{HOST}")


@pytest.mark.skipif(
    shutil.which("faketime") is None and "NEGOTIATE_MW_REQUIRE_REALM" not in os.environ, reason="needs faketime"
)
@pytest.mark.parametrize(
    ("minutes", "level"),
    [(0, None), (-2, "warning"), (10, "problem"), (-10, "problem")],
)
def test_a_clock_that_is_off_is_told_by_how_much(
    realm: KerberosRealm, broken_keytab: Path, minutes: int, level: str | None
) -> None:
    realm.stop_kdc()
    realm.start_kdc(clock=timedelta(minutes=minutes, seconds=1 if minutes else 0))

    with realm.apply():
        (line,) = kdc.examine(deployed(broken_keytab))

    assert alarms([line]) == ([(level, "clock-off")] if level else [])
    if level is not None:
        found = re.search(r"clock is ([0-9]+) min ([0-9]+) s (ahead of|behind)", line.sentence)
        assert found is not None
        seconds = (int(found[1]) * 60 + int(found[2])) * (1 if found[3] == "behind" else -1)
        assert abs(seconds - minutes * 60) < 30  # however long this machine takes


def test_a_kdc_that_is_down_is_a_warning(realm: KerberosRealm, broken_keytab: Path) -> None:
    ccache = realm.kinit("alice")
    realm.stop_kdc()

    with realm.apply(ccache):
        clock = alarms(kdc.examine(deployed(broken_keytab)))
        ticket = alarms(tickets.examine(deployed(broken_keytab)))

    assert clock == [("warning", "kdc-unreachable")]
    assert ticket == [("warning", "kdc-unreachable")]


def test_what_answers_and_is_no_kdc_is_a_warning(realm: KerberosRealm, broken_keytab: Path) -> None:
    realm.stop_kdc()
    with socket.create_server(("127.0.0.1", realm._port)) as nobody, realm.apply():
        nobody.settimeout(30)
        import threading

        def answer() -> None:
            connection, _ = nobody.accept()
            with connection:
                connection.sendall(b"\0\0\0\x04junk")
                connection.recv(1000)

        answering = threading.Thread(target=answer)
        answering.start()
        lines = alarms(kdc.examine(deployed(broken_keytab)))
        answering.join()

    assert lines == [("warning", "kdc-unreachable")]


def test_an_spn_that_the_kdc_does_not_know_is_a_problem(realm: KerberosRealm, broken_keytab: Path) -> None:
    run(realm.environ(), "kadmin.local", "-r", realm.name, "delprinc", "-force", f"HTTP/{HOST}")

    with realm.apply(realm.kinit("alice")):
        found = alarms(tickets.examine(deployed(broken_keytab)))

    assert found == [("problem", "spn-missing")]


@pytest.mark.parametrize("preauth", ["-requires_preauth", "+requires_preauth"])
def test_without_anybodys_ticket_the_keytab_logs_in_by_itself(
    realm: KerberosRealm, broken_keytab: Path, preauth: str
) -> None:
    run(realm.environ(), "kadmin.local", "-r", realm.name, "modprinc", preauth, f"HTTP/{HOST}")

    with realm.apply():
        (good,) = tickets.examine(deployed(broken_keytab))
        realm.rotate(f"HTTP/{HOST}")
        bad = alarms(tickets.examine(deployed(broken_keytab)))

    assert good.sentence.endswith(f"logged in as HTTP/{HOST}@TEST.EXAMPLE")
    assert bad == [("problem", "keytab-key-refused")]


def test_an_account_that_is_disabled_is_a_problem(realm: KerberosRealm, broken_keytab: Path) -> None:
    run(realm.environ(), "kadmin.local", "-r", realm.name, "modprinc", "-expire", "yesterday", f"HTTP/{HOST}")

    with realm.apply():
        found = tickets.examine(deployed(broken_keytab))

        assert [line.level.value for line in found] != ["ok"]


def test_a_stale_ticket_of_the_operator_raises_no_alarm_and_stays_theirs(
    realm: KerberosRealm, broken_keytab: Path
) -> None:
    ccache = realm.kinit("alice")
    realm.token(f"HTTP/{HOST}", ccache)  # kvno 1 is in there now
    realm.rotate(f"HTTP/{HOST}")
    realm.keytab(f"HTTP/{HOST}", path=broken_keytab)
    before = ccache.read_bytes()

    with realm.apply(ccache):
        (line,) = tickets.examine(deployed(broken_keytab))

    assert line.sentence.startswith(f"a ticket for HTTP/{HOST} opens: kvno 2")
    assert ccache.read_bytes() == before
