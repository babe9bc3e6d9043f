"""Packages, krb5.conf, DNS, replay cache, server, certificate, Redis."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from negotiate_mw import Acceptor, ChannelBinding, CookieSessions, Limits, NegotiateMiddleware, Policy, RedisReplayCache
from negotiate_mw.backends import wbclient
from negotiate_mw.doctor import directory, dns, krb5conf, ntlm, packages, replay, server, store, tls
from negotiate_mw.doctor.deployed import of_app
from negotiate_mw.doctor.report import Level
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.sessions.redis import RedisSessions
from negotiate_mw.testing import DevAcceptor
from tests.store.conftest import _one_server, redis_server
from tests.store.server import RedisServer

from .examining import alarms, deployed

__all__ = ["_one_server", "redis_server"]

KEY = "uC2-mQ7vT0xYfB4nLr9sKd6hWgP1eZaJ3iVoN8"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Nothing."""


# Packages


def test_an_old_library_with_a_mechanism_by_negoex_is_a_warning() -> None:
    old, new = (1, 20, 1), (1, 22, 3)

    assert alarms(packages.about(old, has_negoex=True, has_stray_ntlmssp=True)) == [("warning", "negoex-old-krb5")]
    assert alarms(packages.about(None, has_negoex=True, has_stray_ntlmssp=False)) == [("warning", "negoex-old-krb5")]
    assert alarms(packages.about(new, has_negoex=True, has_stray_ntlmssp=False)) == []
    assert alarms(packages.about(old, has_negoex=False, has_stray_ntlmssp=True)) == []


def test_the_librarys_version_is_that_of_its_own_tools() -> None:
    said = subprocess.run(["klist", "-V"], capture_output=True, text=True, check=True).stdout
    list(packages.examine(deployed()))  # which loads it

    assert packages.library_version() == tuple(map(int, said.split()[-1].split(".")))


# krb5.conf


def test_krb5_conf_is_read_as_the_library_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "more").write_text("[libdefaults]\n clockskew = 10m\n")
    (tmp_path / "conf.d" / "not~").write_text("rubbish")
    main = tmp_path / "krb5.conf"
    main.write_text(
        f"includedir {tmp_path}/conf.d\n# a remark\n[libdefaults]\n default_realm = CORP.EXAMPLE\n clockskew = 7\n"
        "[realms]\n CORP.EXAMPLE = {\n  kdc = dc1:88\n  kdc = dc2\n }\n[logging]\n kdc = FILE:/x\n"
    )
    monkeypatch.setenv("KRB5_CONFIG", str(main))

    found = krb5conf.profile()

    assert found.get("libdefaults", "default_realm") == "CORP.EXAMPLE"
    assert found.seconds("libdefaults", "clockskew", default=300) == 600
    assert found.all("realms", "CORP.EXAMPLE", "kdc") == ["dc1:88", "dc2"]


@pytest.mark.parametrize("text", [None, "[libdefaults\n", "[a]\n}\n", "[a]\nno setting\n", "include /nowhere\n"])
def test_a_krb5_conf_that_the_library_cannot_use_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    path = tmp_path / "krb5.conf"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("KRB5_CONFIG", str(path))

    assert alarms(krb5conf.examine(deployed())) == [("problem", "krb5conf")]


def test_a_clockskew_that_the_shared_replay_cache_does_not_cover_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "krb5.conf"
    path.write_text("[libdefaults]\n clockskew = 900\n")
    monkeypatch.setenv("KRB5_CONFIG", str(path))
    url = "redis://127.0.0.1:1/0"
    less, enough = (RedisReplayCache(url, when_down="refuse", clockskew=skew) for skew in (300, 900))

    assert alarms(krb5conf.examine(deployed(replay=less))) == [("problem", "clockskew-differs")]
    assert alarms(krb5conf.examine(deployed(replay=enough))) == []


# DNS


@pytest.mark.parametrize(
    ("names", "conf", "expected"),
    [
        (dns.Names("localhost", "localhost"), "", []),
        (None, "", []),
        (dns.Names("web1.corp.example", "web1.corp.example"), "", [("warning", "canonical-name")]),
        (dns.Names("localhost", "web1.corp.example."), "", [("warning", "canonical-name")]),
        (dns.Names("localhost", "web1.corp.example"), "rdns = false", []),
        (dns.Names("localhost", "web1.corp.example"), "dns_canonicalize_hostname = false", []),
        (dns.Names("localhost", "web1.corp.example"), "dns_canonicalize_hostname = fallback", []),
    ],
)
def test_what_dns_calls_a_host_has_to_have_a_key_where_clients_follow_it(
    keytab: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: dns.Names | None,
    conf: str,
    expected: list[tuple[str, str]],
) -> None:
    path = tmp_path / "krb5.conf"
    path.write_text(f"[libdefaults]\n {conf or 'rdns = true'}\n")
    monkeypatch.setenv("KRB5_CONFIG", str(path))

    assert alarms(dns.examine(deployed(keytab), lambda host: names)) == expected


def test_this_machines_resolver_is_asked() -> None:
    assert dns.resolve("localhost") is not None
    assert dns.resolve("no-such-host.invalid") is None


# The replay cache


def test_a_replay_cache_that_is_off_is_a_warning() -> None:
    (of_none,) = of_app(NegotiateMiddleware(app, acceptor=Acceptor(rcache="none")))

    assert alarms(replay.examine(of_none)) == [("warning", "replay-cache-off")]


# The server


@pytest.mark.parametrize(
    ("command", "options", "expected"),
    [
        ("uvicorn main:app", {}, []),
        ("uvicorn main:app --http negotiate_mw.servers.uvicorn:Auto", {"connection_bound": True}, []),
        ("uvicorn main:app", {"connection_bound": True}, [("problem", "no-adapter")]),
        ("uvicorn main:app --http h11", {}, [("warning", "head-too-large")]),
        ("uvicorn main:app --http negotiate_mw.servers.uvicorn:H11", {}, [("warning", "head-too-large")]),
        ("uvicorn main:app --http h11 --h11-max-incomplete-event-size 131072", {}, []),
        ("uvicorn main:app --forwarded-allow-ips '*'", {}, [("warning", "forwarded-from-anybody")]),
        ("uvicorn main:app --forwarded-allow-ips '*' --no-proxy-headers", {}, []),
        ("python -m uvicorn main:app --http h11", {}, [("warning", "head-too-large")]),
        ("uvicorn main:app", {"policy": Policy(require_tls=True)}, [("problem", "tls-required")]),
        ("uvicorn main:app --ssl-certfile x", {"policy": Policy(require_tls=True)}, []),
        (
            "uvicorn main:app",
            {"policy": Policy(require_tls=True, tls_terminated_by_proxy=True)},
            [],
        ),
        ("uvicorn main:app --workers 2", {"sessions": CookieSessions()}, [("problem", "generated-key")]),
        ("uvicorn main:app --workers 2", {"sessions": CookieSessions(keys=[KEY])}, []),
        ("uvicorn main:app", {"sessions": CookieSessions()}, []),
        ("granian main:app", {"mechanisms": frozenset({"kerberos", "ntlm"})}, [("problem", "no-connection")]),
        ("granian main:app", {}, []),
        ("uvicorn main:app", {"limits": Limits(token_bytes=4096)}, [("warning", "token-bytes-low")]),
        ("uvicorn main:app", {"is_dev": True}, [("problem", "dev-acceptor")]),
        ("uvicorn main:app", {"basic": True, "policy": Policy()}, [("problem", "password-without-tls")]),
        ("uvicorn main:app --ssl-certfile x.pem", {"basic": True, "policy": Policy()}, []),
        ("uvicorn main:app", {"basic": True, "policy": Policy(tls_terminated_by_proxy=True)}, []),
    ],
)
def test_the_servers_command_line_is_held_against_the_options(
    command: str, options: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    lines = server.examine(deployed(**options), server.read(command))

    assert alarms(lines) == expected


def test_uvicorns_environment_counts_as_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    monkeypatch.setenv("UVICORN_HTTP", "h11")

    command = server.read("uvicorn main:app")

    assert command.workers == 3
    assert command.options["http"] == "h11"


@pytest.mark.parametrize("command", ["", "'", "uvicorn main:app --no-such-option", "uvicorn"])
def test_a_command_line_that_no_server_takes_is_refused(command: str) -> None:
    with pytest.raises(ConfigurationError, match="--server"):
        server.read(command)


def test_the_acceptor_for_laptops_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEGOTIATE_MW_DEV", "1")

    (dev,) = of_app(NegotiateMiddleware(app, acceptor=DevAcceptor("alice@DEV")))

    assert dev.is_dev
    assert not dev.accepts


# NTLM


def test_a_user_file_that_cannot_be_used_is_a_problem(tmp_path: Path) -> None:
    users = tmp_path / "users.txt"
    acceptor = Acceptor(mechanisms=("kerberos", "ntlm"), ntlm_users=users)
    (of_ntlm,) = of_app(NegotiateMiddleware(app, acceptor=acceptor))

    missing = alarms(ntlm.examine(of_ntlm))
    users.write_text("CORP:bob:secret\n")
    users.chmod(0o600)

    assert missing == [("problem", "not-acquired")]
    assert alarms(ntlm.examine(of_ntlm)) == []


def test_without_a_user_file_a_winbind_that_does_not_answer_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(self: wbclient.Winbind) -> str:
        raise wbclient.WinbindError("WBC_ERR_WINBIND_NOT_AVAILABLE")

    monkeypatch.setattr(wbclient.Winbind, "domain", gone)
    (of_domain,) = of_app(NegotiateMiddleware(app, acceptor=Acceptor(mechanisms=("kerberos", "ntlm"))))

    (line,) = ntlm.examine(of_domain)

    assert alarms([line]) == [("problem", "not-acquired")]
    assert "net ads join" in line.cure


# Groups


def test_groups_of_the_ticket_need_no_directory() -> None:
    (of_ticket,) = of_app(NegotiateMiddleware(app, groups="pac"))
    (of_nowhere,) = of_app(NegotiateMiddleware(app))

    (line,) = directory.examine(of_ticket)

    assert line.level is Level.OK
    assert list(directory.examine(of_nowhere)) == []


# The certificate


@pytest.fixture
def certificate(tmp_path: Path) -> str:
    path = tmp_path / "server.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-days", "90", "-subj", "/CN=x", "-addext", "subjectAltName=DNS:localhost,DNS:*.test.example"]
    subprocess.run([*command, "-keyout", str(tmp_path / "key"), "-out", str(path)], check=True, capture_output=True)
    return str(path)


@pytest.mark.parametrize(
    ("days", "host", "expected"),
    [
        (0, "localhost", []),
        (0, "www.test.example", []),
        (0, "www.corp.example", [("warning", "certificate-name")]),
        (80, "localhost", [("warning", "certificate-ends-soon")]),
        (100, "localhost", [("problem", "certificate-expired")]),
    ],
)
def test_a_certificate_has_to_be_in_time_and_of_the_host(
    certificate: str, days: int, host: str, expected: list[tuple[str, str]]
) -> None:
    now = datetime.now(UTC) + timedelta(days=days)

    assert alarms(tls.examine(deployed(hosts=(host,)), certificate, now)) == expected


def test_a_proxys_certificate_that_is_not_there_is_a_problem() -> None:
    policy = Policy(channel_binding=ChannelBinding.when_present(certfile="/nowhere.pem"))

    assert alarms(tls.examine(deployed(policy=policy), None)) == [("problem", "certificate")]


def test_a_required_binding_without_a_certificate_is_a_warning(certificate: str) -> None:
    required = deployed(policy=Policy(channel_binding=ChannelBinding.required()))

    assert alarms(tls.examine(required, None)) == [("warning", "binding-unprovable")]
    assert alarms(tls.examine(required, certificate)) == []


# Redis


def shared(url: str) -> Any:
    return deployed(
        sessions=RedisSessions(url, keys=[KEY]),
        replay=RedisReplayCache(url, when_down="refuse"),
    )


def test_a_redis_that_answers_and_forgets_nothing_is_fine(redis_server: RedisServer) -> None:
    assert alarms(store.examine(shared(redis_server.url))) == []


def test_a_redis_that_throws_keys_away_is_a_warning() -> None:
    with RedisServer("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as full:
        found = alarms(store.examine(shared(full.url)))

    assert found == [("warning", "redis-evicts")] * 2


def test_a_redis_that_is_down_or_hangs_is_told_within_a_moment() -> None:
    with RedisServer() as one:
        one.hang()
        hangs = alarms(store.examine(shared(one.url)))
    down = alarms(store.examine(shared(one.url)))

    assert hangs == down == [("warning", "session-store"), ("problem", "replay-store")]


def test_a_password_in_the_url_is_never_shown() -> None:
    lines = store.examine(shared("redis://user:s3cret@127.0.0.1:1/0"))

    assert "s3cret" not in str(list(lines))
