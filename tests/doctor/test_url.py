"""``check --url`` and ``whoami``: a log-in to a running server, each hop explained."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import Server, serve
from tests.proxies.running import free_ports, haproxy, nginx

from .conftest import Run


@pytest.fixture
def env(kerberos_realm: KerberosRealm, keytab: Path) -> dict[str, str]:
    return {**kerberos_realm.environ(), "KRB5_KTNAME": str(keytab)}


@pytest.fixture
def server(env: dict[str, str]) -> Iterator[Server]:
    with serve("app", env=env) as running:
        yield running


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate(tmp_path, "server")


def make_certificate(directory: Path, name: str) -> Path:
    """A self-signed one for localhost; its key is beside it."""
    path = directory / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-days", "90", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [*command, "-keyout", str(path.with_suffix(".key")), "-out", str(path)], check=True, capture_output=True
    )
    return path


def causes(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """Of theme ``url``, what isn't as it should be."""
    lines = json.loads(done.stdout)["lines"]
    return [line["cause"] for line in lines if line["theme"] == "url" and line["level"] in ("warning", "problem")]


def sentences(done: "subprocess.CompletedProcess[str]") -> str:
    return "\n".join(line["sentence"] for line in json.loads(done.stdout)["lines"] if line["theme"] == "url")


def test_a_log_in_is_explained_hop_by_hop(
    run: Run, server: Server, env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path
) -> None:
    done = run("check", "--json", "--url", server.url, env={**env, **kerberos_realm.environ(alice)})

    assert causes(done) == []
    said = sentences(done)
    assert "without a ticket: 401 with WWW-Authenticate: Negotiate" in said
    assert "the library made of localhost: HTTP/localhost@TEST.EXAMPLE, kvno 1, aes256" in said
    assert "with the ticket: 200 OK, after 1 leg" in said
    assert "the server proved itself too" in said


def test_over_tls_the_ticket_is_bound(
    run: Run, env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path, certificate: Path
) -> None:
    options = ("--ssl-certfile", str(certificate), "--ssl-keyfile", str(certificate.with_suffix(".key")))
    with serve("app", *options, env=env) as server:
        client = {**env, **kerberos_realm.environ(alice), "SSL_CERT_FILE": str(certificate)}

        done = run("check", "--json", "--url", server.url, env=client)

    assert causes(done) == []
    assert "bound to the certificate that we saw" in sentences(done)


def test_a_certificate_that_is_not_believed_gets_no_ticket(
    run: Run, env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path, certificate: Path
) -> None:
    options = ("--ssl-certfile", str(certificate), "--ssl-keyfile", str(certificate.with_suffix(".key")))
    with serve("app", *options, env=env) as server:
        done = run("check", "--json", "--url", server.url, env={**env, **kerberos_realm.environ(alice)})

        assert causes(done) == ["url-certificate"]
        assert "logged in" not in server.log


def test_a_proxy_that_ends_tls_and_encrypts_anew_is_told_by_the_binding(
    run: Run, env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path, certificate: Path, tmp_path: Path
) -> None:
    proxys = make_certificate(tmp_path, "proxy")
    both = tmp_path / "both.pem"
    both.write_text(proxys.read_text() + proxys.with_suffix(".key").read_text())
    options = ("--ssl-certfile", str(certificate), "--ssl-keyfile", str(certificate.with_suffix(".key")))
    (port,) = free_ports(1)
    with serve("app", *options, env=env) as server:
        lines = f"""
frontend f
  mode http
  bind 127.0.0.1:{port} ssl crt {both}
  default_backend b
backend b
  mode http
  server s 127.0.0.1:{server.port} ssl verify none
"""
        (tmp_path / "haproxy").mkdir()
        with haproxy(tmp_path / "haproxy", [port], lines):
            client = {**env, **kerberos_realm.environ(alice), "SSL_CERT_FILE": str(proxys)}

            done = run("check", "--json", "--url", f"https://localhost:{port}/", env=client)

    assert causes(done) == ["bad-bindings"]


def test_a_proxy_that_shows_is_told_and_one_that_takes_the_proof_off_is_found(
    run: Run, server: Server, env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    # the last answer's proof is what it takes off, not the challenge of the first
    conf = f"""
  map $status $proof {{ 401 $upstream_http_www_authenticate; default ""; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{server.port};
      proxy_set_header Host $host;
      proxy_hide_header WWW-Authenticate;
      add_header WWW-Authenticate $proof always;
    }}
  }}
"""
    (tmp_path / "nginx").mkdir()
    with nginx(tmp_path / "nginx", [port], http=conf):
        client = {**env, **kerberos_realm.environ(alice)}

        done = run("check", "--json", "--url", f"http://localhost:{port}/", env=client)

    assert causes(done) == ["url-no-proof"]
    assert "a proxy shows: server: nginx" in sentences(done)


def test_a_name_that_dns_does_not_know_is_told(
    run: Run, server: Server, env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path
) -> None:
    url = server.url.replace("localhost", "nowhere.test.example")

    done = run("check", "--json", "--url", url, env={**env, **kerberos_realm.environ(alice)})

    assert causes(done) == ["url-unreachable"]


def test_a_name_that_the_kdc_does_not_know_is_told(
    run: Run, server: Server, env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path
) -> None:
    url = server.url.replace("localhost", "127.0.0.1")

    done = run("check", "--json", "--url", url, env={**env, **kerberos_realm.environ(alice)})

    assert causes(done) == ["spn-missing"]


def test_a_refusal_is_explained_by_the_keytab_that_is_here(
    run: Run, kerberos_realm: KerberosRealm, alice: Path, tmp_path: Path
) -> None:
    # the server runs with the keys of another name
    keytab = kerberos_realm.keytab("HTTP/www.test.example", path=tmp_path / "other.keytab")
    env = {**kerberos_realm.environ(alice), "KRB5_KTNAME": str(keytab)}
    with serve("app", env=env) as server:
        done = run("check", "--json", "--url", server.url, env=env)

        (refused,) = (line for line in json.loads(done.stdout)["lines"] if line["cause"] == "url-refused")
        assert causes(done) == ["alias", "url-refused"]
        reference = refused["cure"].partition("grep ")[2][:12]
        assert f"reference={reference}" in server.log


@pytest.mark.parametrize(
    ("app", "path", "cause"),
    [("optional", "", "url-open"), ("bare_of_all", "", "url-no-negotiate"), ("optional", "nowhere", "url-error")],
)
def test_a_page_that_asks_for_no_ticket_is_told(run: Run, env: dict[str, str], app: str, path: str, cause: str) -> None:
    with serve(f"tests.doctor.pages:{app}", env=env) as server:
        done = run("check", "--json", "--url", server.url + path, env=env)

    assert causes(done) == [cause]


def test_without_a_ticket_the_first_hop_is_looked_at_alone(run: Run, server: Server, env: dict[str, str]) -> None:
    done = run("check", "--json", "--url", server.url, env=env)

    assert causes(done) == []
    assert "nobody has a ticket here" in sentences(done)


def test_a_server_that_does_not_run_is_told(run: Run, env: dict[str, str]) -> None:
    (port,) = free_ports(1)

    done = run("check", "--json", "--url", f"http://localhost:{port}/", env=env)

    assert causes(done) == ["url-unreachable"]


def test_whoami_tells_each_leg(run: Run, server: Server, kerberos_realm: KerberosRealm, alice: Path) -> None:
    done = run("whoami", server.url, env=kerberos_realm.environ(alice))

    assert done.returncode == 0, done.stderr
    first, second, *rest = done.stdout.splitlines()
    assert first == "leg 1: sent no token; came back 401 Unauthorized, Negotiate"
    assert second.startswith("leg 2: sent a token of ")
    assert "came back 200 OK, Negotiate, with a token of " in second
    assert "you are: alice@TEST.EXAMPLE" in rest
    assert "mutual authentication: yes, the server proved itself" in rest
    assert "bound to the TLS channel: no" in rest


def test_whoami_without_a_ticket_says_so(run: Run, server: Server, kerberos_realm: KerberosRealm) -> None:
    done = run("whoami", server.url, env=kerberos_realm.environ())

    assert done.returncode == 1
    assert "no ticket: " in done.stdout


@pytest.mark.parametrize("url", ["ftp://localhost/", "localhost", "http://alice:secret@localhost/", "http://x:port/"])
def test_whoami_takes_urls_of_http_without_a_password(run: Run, kerberos_realm: KerberosRealm, url: str) -> None:
    done = run("whoami", url, env=kerberos_realm.environ())

    assert done.returncode == 1
    assert done.stderr.startswith("negotiate-mw: ")
    assert "secret" not in done.stderr


def test_nothing_secret_is_shown(run: Run, server: Server, kerberos_realm: KerberosRealm, alice: Path) -> None:
    done = run("whoami", server.url, env=kerberos_realm.environ(alice))

    assert not any(len(word) > 60 for word in done.stdout.split())
