"""A real browser keeps the cookie, over plain http and over TLS, and no script of a page gets to see it."""

import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import Server, serve
from tests.parity.chromium import chromium, window

APP = "tests.sessions.session_app:app"


@pytest.fixture(params=["http", "https"])
def server(request: pytest.FixtureRequest, kerberos_realm: KerberosRealm, tmp_path: Path) -> Iterator[Server]:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    names = ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*make, *names, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    tls = ["--ssl-certfile", str(certificate), "--ssl-keyfile", str(key)] if request.param == "https" else []
    env = {
        **kerberos_realm.environ(),
        "KRB5_KTNAME": str(kerberos_realm.keytab("HTTP/localhost")),
        "SESSION_KEY": secrets.token_urlsafe(32),
    }
    with serve(APP, *tls, env=env) as server:
        yield server


def test_chromium_is_asked_for_a_ticket_once_and_shows_no_cookie_to_scripts(
    server: Server, kerberos_realm: KerberosRealm
) -> None:
    alice = kerberos_realm.environ(kerberos_realm.kinit("alice"))

    pages, asked, seen_by_script = [], [], []
    with chromium(alice) as url, window(url, private=False) as browser:
        for path in ("", "", "logout"):
            mark = server.mark()
            pages.append(browser.visit(server.url + path))
            seen_by_script.append(browser.run("document.cookie"))
            asked.append(re.search(r"challenged .* path=/\]", server.since(mark)) is not None)

    assert pages == ["alice@TEST.EXAMPLE", "alice@TEST.EXAMPLE", "bye"]
    assert asked == [True, False, False]
    assert seen_by_script == ["", "", ""]
