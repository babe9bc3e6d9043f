"""The example's two services, started as its first lines say: the second sees the user whom the first had."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import ROOT, SECONDS, Server, serve

EXAMPLES = str(ROOT / "examples")


@pytest.fixture(scope="module")
def front(service_env: dict[str, str]) -> Iterator[Server]:
    with serve("delegation_app:back", "--app-dir", EXAMPLES, env=service_env) as back:
        with serve("delegation_app:front", "--app-dir", EXAMPLES, env=service_env | {"BACK": back.url}) as front:
            yield front


def curl(front: Server, realm: KerberosRealm, ccache: Path, *options: str, path: str = "") -> str:
    command = ["curl", "-sS", "--negotiate", "-u", ":", *options, front.url + path]
    return subprocess.run(
        command, env=realm.environ(ccache), capture_output=True, text=True, check=True, timeout=SECONDS
    ).stdout


def test_the_second_service_sees_the_user_who_forwarded_a_ticket(
    front: Server, kerberos_realm: KerberosRealm, alice: Path, bob: Path
) -> None:
    answers = [json.loads(curl(front, kerberos_realm, user, "--delegation", "always")) for user in (alice, bob)]

    alices, bobs = "alice@TEST.EXAMPLE", "bob@TEST.EXAMPLE"
    assert answers == [
        {"principal": alices, "back": {"principal": alices, "via": []}},
        {"principal": bobs, "back": {"principal": bobs, "via": []}},
    ]


def test_a_program_sees_the_forwarded_ticket_alone(front: Server, kerberos_realm: KerberosRealm, alice: Path) -> None:
    printed = curl(front, kerberos_realm, alice, "--delegation", "always", path="tickets")

    assert "Default principal: alice@TEST.EXAMPLE" in printed
    assert printed.count("TEST.EXAMPLE@TEST.EXAMPLE") == 1


def test_who_forwards_nothing_is_told_why_the_page_does_not_work(
    front: Server, kerberos_realm: KerberosRealm, alice: Path
) -> None:
    said = curl(front, kerberos_realm, alice)

    assert said.startswith("This page acts for you elsewhere, and can't: not-delegated: alice@TEST.EXAMPLE")
