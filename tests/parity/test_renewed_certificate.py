"""A certificate's file is renewed under a running server: clients bind to what it serves, and that is what counts."""

import os
import shutil
import ssl
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import Answer, Server, Wire, serve

from .conftest import CONNECTIONS
from .test_bound_clients import bound_token

Certificates = tuple[Path, Path]


def install(certificate: Path, folder: Path) -> None:
    """Put a certificate and its key where the server's options say, as a renewal does."""
    for source, name in ((certificate, "site.pem"), (certificate.with_suffix(".key"), "site.key")):
        shutil.copy(source, folder / "fresh")
        os.replace(folder / "fresh", folder / name)


def serving(folder: Path, env: Mapping[str, str], parser: str) -> AbstractContextManager[Server]:
    files = ("--ssl-certfile", str(folder / "site.pem"), "--ssl-keyfile", str(folder / "site.key"))
    return serve("tests.parity.apps:over_tls", *files, "--http", parser, env=env)


@pytest.mark.parametrize("parser", CONNECTIONS)
def test_until_the_restart_the_old_one_counts_and_then_the_new_one(
    service_env: dict[str, str],
    kerberos_realm: KerberosRealm,
    alice: Path,
    certificates: Certificates,
    tmp_path: Path,
    parser: str,
) -> None:
    old, new = certificates

    def log_in(server: Server, seen: Path, bound_to: Path) -> Answer:
        with Wire(server.port, tls=ssl.create_default_context(cafile=str(seen))) as wire:
            return wire.get(token=bound_token(kerberos_realm, alice, bound_to))

    install(old, tmp_path)
    with serving(tmp_path, service_env, parser) as server:
        before = log_in(server, old, old)
        install(new, tmp_path)
        renewed = [log_in(server, old, old), log_in(server, old, new), log_in(server, old, old)]
    with serving(tmp_path, service_env, parser) as server:
        restarted = [log_in(server, new, new), log_in(server, new, old)]

    assert before.json["channel_bound"] is True
    assert [answer.status for answer in renewed] == [200, 401, 200]
    assert [answer.status for answer in restarted] == [200, 401]
