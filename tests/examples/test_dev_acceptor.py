"""An app on a laptop without a realm: everyone on this machine is alice, and nobody else is."""

import os
from collections.abc import Iterator

import pytest

from tests.integration.serving import Server, ServerEnded, Wire, get, serve

APP = "tests.examples.dev_app:app"


def environ(**dev: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "NEGOTIATE_MW_DEV"} | dev


@pytest.fixture(scope="module")
def dev_server() -> Iterator[Server]:
    with serve(APP, env=environ(NEGOTIATE_MW_DEV="1")) as server:
        yield server


def test_it_says_loudly_what_it_is(dev_server: Server) -> None:
    assert "WARNING negotiate_mw: DEVELOPMENT ONLY: everyone on this machine is logged in as" in dev_server.log


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000"])
def test_everyone_on_this_machine_is_alice(dev_server: Server, source: str, host: str) -> None:
    with Wire(dev_server.port, source=source) as wire:
        answer = wire.get(host=host)

    assert answer.status == 200
    assert answer.json["principal"] == "alice@DEV"
    assert answer.json["scopes"] == ["authenticated", "dev", "group:HR"]


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"])
@pytest.mark.parametrize("host", ["www.corp.example", "192.0.2.1:8000", "localhost.corp.example", ""])
def test_who_asks_for_another_host_is_nobody(dev_server: Server, source: str, host: str) -> None:
    with Wire(dev_server.port, source=source) as wire:
        answer = wire.get(host=host)

    assert answer.status == 401


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Via", "X-Forwarded-Host"])
def test_who_comes_through_a_proxy_is_nobody(dev_server: Server, header: str) -> None:
    answer = get(dev_server, headers=[(header, "127.0.0.1")])

    assert answer.status == 401


def test_a_token_is_refused_since_nothing_can_check_it(dev_server: Server) -> None:
    assert get(dev_server, token=b"anything").status == 401


@pytest.mark.parametrize("value", [None, "", "0", "yes"])
def test_without_its_switch_the_app_does_not_start_and_says_what_to_type(value: str | None) -> None:
    env = environ() if value is None else environ(NEGOTIATE_MW_DEV=value)

    with pytest.raises(ServerEnded) as ended, serve(APP, env=env):
        pass

    assert ended.value.code != 0
    last = ended.value.log.strip().splitlines()[-1]
    assert "ConfigurationError: DevAcceptor logs everyone in as 'alice@DEV' without any proof" in last
    assert "set NEGOTIATE_MW_DEV=1" in last
