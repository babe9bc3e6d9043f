"""What the operator sees: a start that fails says what to type, and a server without lifespan recovers by itself."""

import re
import time
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm

from .serving import SECONDS, ServerEnded, Wire, get, serve
from .tokens import neg_token_init

HTTP = "HTTP/localhost"
PLAIN = ("examples.plain_asgi_app:app", "examples.starlette_app:app")  # an app without lifespan, and one with


@pytest.mark.parametrize("app", PLAIN)
@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (
            "missing",
            "can't be read (No such file or directory); name the right file: Acceptor(keytab=…) or KRB5_KTNAME=…",
        ),
        ("empty", "is no usable keytab"),
        ("another service's", "holds no key of HTTP/… (it holds host/localhost)"),
    ],
)
def test_a_broken_keytab_stops_the_start_with_one_sentence(
    service_env: dict[str, str], kerberos_realm: KerberosRealm, tmp_path: Path, app: str, harm: str, sentence: str
) -> None:
    keytab = tmp_path / "http.keytab"
    if harm == "empty":
        keytab.touch()
    elif harm != "missing":
        kerberos_realm.keytab("host/localhost", path=keytab)

    with pytest.raises(ServerEnded) as ended, serve(app, env=service_env | {"KRB5_KTNAME": str(keytab)}):
        pass

    assert ended.value.code != 0
    (line,) = re.findall(r"^ERROR: +negotiate-mw: (.*)$", ended.value.log, re.M)
    assert f"'{keytab}' {sentence}" in line
    assert "Traceback" not in ended.value.log


def test_an_unusable_replay_cache_stops_the_start_with_one_sentence(
    service_env: dict[str, str], tmp_path: Path
) -> None:
    env = service_env | {"KRB5RCACHEDIR": str(tmp_path / "nowhere")}

    with pytest.raises(ServerEnded) as ended, serve(PLAIN[0], env=env):
        pass

    assert ended.value.code != 0
    assert f"negotiate-mw: the replay cache's directory '{tmp_path / 'nowhere'}' can't be written" in ended.value.log
    assert "KRB5RCACHEDIR=…" in ended.value.log
    assert "Traceback" not in ended.value.log


@pytest.mark.parametrize("app", PLAIN)
def test_without_lifespan_log_ins_are_503_until_the_keytab_is_there(
    service_env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path, tmp_path: Path, app: str
) -> None:
    keytab = tmp_path / "http.keytab"
    env = service_env | {"KRB5_KTNAME": str(keytab)}
    with serve(app, "--lifespan", "off", env=env) as server:
        mark = server.mark()
        out_of_order = get(server, token=kerberos_realm.token(HTTP, alice))
        said = server.since(mark)
        stranger = get(server)
        kerberos_realm.keytab(HTTP, path=keytab)
        answers = [get(server, token=kerberos_realm.token(HTTP, alice))]
        deadline = time.monotonic() + SECONDS
        while answers[-1].status == 503 and time.monotonic() < deadline:
            answers.append(get(server, token=kerberos_realm.token(HTTP, alice)))

    assert out_of_order.status == 503
    assert out_of_order.headers["retry-after"] == "5"
    assert out_of_order.challenges == []
    assert f"the keytab '{keytab}' can't be read" in said
    assert said.count("\n") == 1
    assert stranger.status == 503
    assert answers[-1].status == 200


def test_a_server_that_stops_in_mid_handshake_stops_in_order(service_env: dict[str, str]) -> None:
    with serve("app", env=service_env) as server, Wire(server.port) as wire:
        assert wire.get(token=neg_token_init(["1.2.840.113554.1.2.2"])).token
        wire.close()
        server.process.terminate()
        server.process.wait(10)
        log = server.log

    assert "Application shutdown complete." in log
    assert "Traceback" not in log
    assert "ERROR" not in log
