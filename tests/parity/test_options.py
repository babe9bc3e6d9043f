"""What an operator may say of challenges and of the names that we answer to."""

import asyncio
import re
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from negotiate_mw import AcceptError, Acceptor, ConfigurationError
from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire.http import host
from tests.integration.serving import Answer, Server, ServerEnded, Wire, get, serve

from .clients import BOB, OFFERS, PASSWORD, curl, log_in, ntlm

LOCALHOST, WWW, OTHER = "HTTP/localhost", "HTTP/www.test.example", "HTTP/parity.test.example"


# challenge, negotiate_once


def test_a_user_agent_that_breaks_on_negotiate_is_offered_ntlm_alone(server: Server) -> None:
    old, new = (get(server, "/challenge", headers=[("User-Agent", name)]) for name in ("OldBrowser/1", "Browser/1"))

    assert (old.status, old.challenges) == (401, ["NTLM"])
    assert (new.status, new.challenges) == (401, OFFERS)


def test_a_client_that_would_choose_negotiate_and_fail_logs_in_there(
    server: Server, kerberos_realm: KerberosRealm
) -> None:
    """curl takes the strongest scheme that it knows, and gives up if it has no ticket for it."""

    def statuses(agent: str) -> list[str]:
        said = curl(
            f"{server.url}challenge", "--anyauth", "-u", f"{BOB}:{PASSWORD}", "-A", agent, env=kerberos_realm.environ()
        )
        return re.findall(r"^HTTP/1.1 (\d+)", said, re.M)

    assert statuses("Old") == ["401", "401", "200"]
    assert statuses("New")[-1] == "401"


def test_a_ticket_that_comes_unasked_is_taken_all_the_same(
    server: Server, kerberos_realm: KerberosRealm, alice: Path
) -> None:
    token = kerberos_realm.token(LOCALHOST, alice)

    answer = get(server, "/challenge", token, headers=[("User-Agent", "Old")])

    assert answer.status == 200


@pytest.mark.parametrize(("target", "challenges"), [("/", OFFERS), ("/once", [])])
def test_after_a_failed_token_negotiate_once_asks_for_no_other(
    server: Server, kerberos_realm: KerberosRealm, alice: Path, target: str, challenges: list[str]
) -> None:
    token = kerberos_realm.token(LOCALHOST, alice)

    first = get(server, target)
    assert get(server, target, token).status == 200
    replayed = get(server, target, token)

    assert (first.status, first.challenges) == (401, OFFERS)
    assert (replayed.status, replayed.challenges) == (401, challenges)


def test_negotiate_once_leaves_the_legs_of_one_log_in_alone(server: Server) -> None:
    with Wire(server.port) as wire:
        answer = log_in(wire, ntlm(), "/once")

    assert (answer.status, answer.json["principal"]) == (200, BOB)


# hostname


@pytest.fixture(scope="module", params=["h11", "httptools"])
def names(request: pytest.FixtureRequest, service_env: dict[str, str]) -> Iterator[Server]:
    with serve("tests.parity.apps:names", "--http", request.param, env=service_env) as server:
        yield server


class Asking:
    """Alice, with a ticket for any name, at any host."""

    def __init__(self, server: Server, realm: KerberosRealm, ccache: Path) -> None:
        self.server = server
        self._realm = realm
        self._ccache = ccache

    def __call__(self, target: str, service: str, **options: object) -> Answer:
        return get(self.server, target, self._realm.token(service, self._ccache), **options)


@pytest.fixture
def asking(names: Server, kerberos_realm: KerberosRealm, alice: Path) -> Asking:
    return Asking(names, kerberos_realm, alice)


@pytest.mark.parametrize(
    ("target", "service", "status"),
    [
        ("/", LOCALHOST, 200),
        ("/", OTHER, 200),
        ("/one", LOCALHOST, 200),
        ("/one", WWW, 401),
        ("/listed", LOCALHOST, 200),
        ("/listed", WWW, 200),
        ("/listed", OTHER, 401),
        ("/host", OTHER, 401),
        ("/unlisted", LOCALHOST, 200),
        ("/unlisted", WWW, 401),
    ],
)
def test_a_ticket_is_taken_for_the_names_that_were_listed(
    asking: Asking, target: str, service: str, status: int
) -> None:
    """The keytab has keys for all of them."""
    host = service.removeprefix("HTTP/")
    mark = asking.server.mark()

    answer = asking(target, service, host=host)

    assert answer.status == status
    if status == 401:
        assert answer.challenges == ["Negotiate"]
        asking.server.until_logged("refused with 401: (wrong-principal|wrong-key|refused|no-key): ", mark=mark)


def test_the_machines_configuration_does_not_widen_the_names(
    service_env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path, tmp_path: Path
) -> None:
    """``ignore_acceptor_hostname`` has the C library take a ticket for any key of the keytab."""
    (tmp_path / "krb5.conf").write_text("[libdefaults]\nignore_acceptor_hostname = true\n")
    env = service_env | {"KRB5_CONFIG": f"{tmp_path / 'krb5.conf'}:{service_env['KRB5_CONFIG']}"}

    with serve("tests.parity.apps:names", env=env) as server:
        ours = get(server, "/one", kerberos_realm.token(LOCALHOST, alice))
        other = get(server, "/one", kerberos_realm.token(WWW, alice))
        server.until_logged(f"refused with 401: wrong-principal: the ticket is for '{WWW}'")

    assert (ours.status, other.status) == (200, 401)


def test_a_listed_name_without_a_key_stops_the_start_with_one_sentence(service_env: dict[str, str]) -> None:
    with pytest.raises(ServerEnded) as ended, serve("tests.parity.apps:missing_key", env=service_env):
        pass

    assert ended.value.code != 0
    (line,) = [line for line in ended.value.log.splitlines() if line.startswith("ERROR:    negotiate-mw: ")]
    assert f"'{service_env['KRB5_KTNAME']}' holds no key of HTTP/wiki.test.example; export one" in line


# hostname with "{host}": the ticket is for the very host that the request asks for


@pytest.mark.parametrize(
    ("service", "host"),
    [
        (LOCALHOST, "localhost"),
        (LOCALHOST, "localhost:8443"),
        (LOCALHOST, "LocalHost:80"),
        (LOCALHOST, "localhost:"),
        (WWW, "www.test.example"),
        (WWW, "WWW.Test.Example:8000"),
    ],
)
def test_a_ticket_for_the_requests_own_host_is_taken(asking: Asking, service: str, host: str) -> None:
    assert asking("/host", service, host=host).status == 200


@pytest.mark.parametrize(
    ("service", "host"),
    [
        (LOCALHOST, "www.test.example"),
        (WWW, "localhost"),
        (WWW, "test.example"),
        (WWW, "www.test.example.evil.example"),
        (WWW, "www.test.example."),
        (WWW, "www.test.example:80:80"),
        (WWW, "www.test.example:x"),
        (WWW, "localhost, www.test.example"),
        (WWW, "user@www.test.example"),
        (LOCALHOST, "127.0.0.1"),
        (LOCALHOST, "[::1]:80"),
        (LOCALHOST, ""),
    ],
)
def test_a_ticket_for_another_host_than_the_requests_is_refused(asking: Asking, service: str, host: str) -> None:
    mark = asking.server.mark()

    answer = asking("/host", service, host=host)

    if answer.status == 400:  # a server that takes no such header itself
        assert b"Reference" not in answer.body
        return
    assert (answer.status, answer.challenges) == (401, ["Negotiate"])
    asking.server.until_logged(f"refused with 401: wrong-host: the ticket is for '{service}', the request", mark=mark)


def test_a_host_that_is_not_listed_is_refused_though_ticket_and_host_agree(asking: Asking) -> None:
    answer = asking("/unlisted", WWW, host="www.test.example")

    assert answer.status == 401


def test_several_hosts_or_none_are_refused(names: Server, kerberos_realm: KerberosRealm, alice: Path) -> None:
    for hosts in ([], ["localhost", "localhost"], ["localhost", "www.test.example"]):
        for version in ("1.0", "1.1"):
            token = b64encode(kerberos_realm.token(LOCALHOST, alice)).decode()
            lines = [f"GET /host HTTP/{version}", *(f"Host: {host}" for host in hosts)]
            with Wire(names.port) as wire:
                wire.send("\r\n".join([*lines, f"Authorization: Negotiate {token}", "", ""]).encode())
                answer = wire.answer()

            # 400: what a server says that takes no such request itself
            assert answer.status == 401 or (answer.status == 400 and b"Reference" not in answer.body), (hosts, version)


def test_a_host_that_a_proxy_says_it_was_asked_for_does_not_count(asking: Asking) -> None:
    headers = [("X-Forwarded-Host", "www.test.example"), ("Forwarded", "host=www.test.example")]

    answer = asking("/host", WWW, host="localhost", headers=headers)

    assert answer.status == 401


@pytest.mark.parametrize(
    "hostname", ["{host}", ("{host}",), [], ("{host}", "www.corp.example:80"), ("HTTP/{host}", "www.corp.example")]
)
def test_the_form_needs_a_list_of_names(hostname: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Acceptor(hostname=hostname)  # type: ignore[arg-type]

    assert 'give names such as "www.corp.example", with "{host}" in their list or without' in str(caught.value)


def test_windows_knows_our_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that would be passed over is refused."""
    monkeypatch.setattr(sys, "platform", "win32")

    with pytest.raises(ConfigurationError, match="on Windows the SPNs of the account say who we are; leave it out"):
        Acceptor(hostname="www.corp.example")


def test_outside_http_the_caller_says_which_host_was_asked_for(
    kerberos_realm: KerberosRealm, service_env: dict[str, str], alice: Path
) -> None:
    acceptor = Acceptor(
        hostname=("{host}", "localhost"), keytab=service_env["KRB5_KTNAME"], rcache=service_env["KRB5RCACHEDIR"]
    )

    async def statuses() -> list[str]:
        done = []
        async with acceptor:
            for host in ("localhost", "www.test.example", None):
                try:
                    result = await acceptor.accept(None, kerberos_realm.token(LOCALHOST, alice), host=host)
                    done.append(result.status.name)
                except AcceptError as error:
                    done.append(error.reason)
        return done

    assert asyncio.run(statuses()) == ["OK", "wrong-host", "wrong-host"]


@given(st.lists(st.tuples(st.just(b"host"), st.binary(max_size=40))))
@settings(derandomize=True, deadline=None, database=None)
def test_any_host_header_is_a_name_in_small_letters_or_none(headers: list[tuple[bytes, bytes]]) -> None:
    name = host(headers)

    assert name is None or (name and name == name.lower() and (name.startswith("[") or ":" not in name))
