"""Connection-bound identities behind proxies that share their connections to us: nobody is ever somebody else."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import Answer, Server, Wire, serve
from tests.proxies.running import free_ports, haproxy, nginx

from .test_bound_clients import bound_token

Certificates = tuple[Path, Path]

ROUNDS = 60

NGINX = """
upstream app {{ server 127.0.0.1:{port}; keepalive 4; }}
server {{
  listen 127.0.0.1:{listen};
  location / {{
    proxy_pass https://app;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host localhost;
  }}
}}
"""
HAPROXY = """
listen re-encrypting
  bind 127.0.0.1:{listen} ssl crt {pem}
  http-reuse always
  server app 127.0.0.1:{port} ssl verify none
listen passing-on
  mode tcp
  bind 127.0.0.1:{tunnel}
  server app 127.0.0.1:{port}
"""


@pytest.fixture(scope="module")
def server(service_env: dict[str, str], certificates: Certificates) -> Iterator[Server]:
    files = ("--ssl-certfile", str(certificates[0]), "--ssl-keyfile", str(certificates[0].with_suffix(".key")))
    adapter = ("--http", "negotiate_mw.servers.uvicorn:Auto", "--timeout-keep-alive", "60")
    with serve("tests.parity.apps:connection_bound", *files, *adapter, env=service_env) as server:
        yield server


@pytest.fixture(scope="module")
def proxies(
    server: Server, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[int, ssl.SSLContext | None]]]:
    """The port of each, and how its clients do TLS."""
    plain, encrypting, tunnel = free_ports(3)
    of_nginx, of_haproxy = tmp_path_factory.mktemp("nginx"), tmp_path_factory.mktemp("haproxy")
    pem = of_haproxy / "other.pem"
    pem.write_text(certificates[1].read_text() + certificates[1].with_suffix(".key").read_text())
    lines = HAPROXY.format(listen=encrypting, tunnel=tunnel, pem=pem, port=server.port)
    with (
        nginx(of_nginx, [plain], http=NGINX.format(port=server.port, listen=plain)),
        haproxy(of_haproxy, [encrypting, tunnel], lines),
    ):
        yield {
            "nginx": (plain, None),
            "HAProxy": (encrypting, ssl.create_default_context(cafile=str(certificates[1]))),
            "HAProxy in tcp mode": (tunnel, ssl.create_default_context(cafile=str(certificates[0]))),
        }


@pytest.fixture(scope="module")
def users(kerberos_realm: KerberosRealm) -> dict[str, Path]:
    return {name: kerberos_realm.kinit(name) for name in ("alice", "bob")}


def whose(answer: Answer) -> str | None:
    return answer.json["principal"].partition("@")[0] if answer.status == 200 else None


@pytest.mark.parametrize("proxy", ["nginx", "HAProxy"])
def test_two_users_of_a_proxy_that_shares_its_connections_are_never_each_other(
    server: Server,
    proxies: dict[str, tuple[int, ssl.SSLContext | None]],
    kerberos_realm: KerberosRealm,
    users: dict[str, Path],
    proxy: str,
) -> None:
    port, tls = proxies[proxy]
    dice = Random(proxy)

    with Wire(port, tls=tls) as of_alice, Wire(port, tls=tls) as of_bob:
        wires = {"alice": of_alice, "bob": of_bob}
        for _ in range(ROUNDS):
            name = dice.choice(list(wires))
            token = kerberos_realm.token("HTTP/localhost", users[name]) if dice.random() < 0.5 else None
            answer = wires[name].get(token=token)

            assert whose(answer) == (name if token else None)
            assert answer.headers["persistent-auth"] == ("false" if token else None)


def test_who_is_bound_to_the_proxys_own_channel_stays_out(
    proxies: dict[str, tuple[int, ssl.SSLContext | None]],
    kerberos_realm: KerberosRealm,
    users: dict[str, Path],
    certificates: Certificates,
) -> None:
    port, tls = proxies["HAProxy"]

    with Wire(port, tls=tls) as wire:
        answer = wire.get(token=bound_token(kerberos_realm, users["alice"], certificates[1]))

    assert answer.status == 401


def test_where_the_proxy_hands_the_channel_on_each_connection_is_its_own_users(
    proxies: dict[str, tuple[int, ssl.SSLContext | None]],
    kerberos_realm: KerberosRealm,
    users: dict[str, Path],
    certificates: Certificates,
) -> None:
    port, tls = proxies["HAProxy in tcp mode"]
    dice = Random(0)

    with Wire(port, tls=tls) as of_alice, Wire(port, tls=tls) as of_bob, Wire(port, tls=tls) as of_nobody:
        wires = {"alice": of_alice, "bob": of_bob}
        for name, wire in wires.items():
            wire.get(token=bound_token(kerberos_realm, users[name], certificates[0]))
        for _ in range(ROUNDS):
            name = dice.choice(list(wires))
            assert whose(wires[name].get()) == name
            assert whose(of_nobody.get()) is None
