"""Sessions with real servers, a real KDC, curl's cookie jar, and websockets that are closed at their end."""

import re
import secrets
import subprocess
import time
from pathlib import Path

import pytest
import websockets.exceptions
import websockets.sync.client

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import Server, ServerEnded, serve

APP = "tests.sessions.session_app:app"
LIBRARIES = ["websockets", "websockets-sansio", "wsproto"]


@pytest.fixture(scope="module")
def env(kerberos_realm: KerberosRealm) -> dict[str, str]:
    keytab = kerberos_realm.keytab("HTTP/localhost")
    return {
        **kerberos_realm.environ(kerberos_realm.kinit("alice")),
        "KRB5_KTNAME": str(keytab),
        "SESSION_KEY": secrets.token_urlsafe(32),
    }


def curl(env: dict[str, str], jar: Path, url: str, *options: str) -> tuple[int, str]:
    command = ["curl", "-sS", "-b", str(jar), "-c", str(jar), "-w", "\n%{http_code}", *options, url]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def test_curl_logs_in_once_and_its_cookie_jar_does_the_rest(env: dict[str, str], tmp_path: Path) -> None:
    jar = tmp_path / "jar"

    with serve(APP, env=env) as server:
        first = curl(env, jar, server.url, "--negotiate", "-u", ":")
        second = curl(env, jar, server.url)
        out = curl(env, jar, server.url + "logout")
        third = curl(env, jar, server.url)

    assert first == second == (200, "alice@TEST.EXAMPLE")
    assert out == (200, "bye")
    assert third[0] == 401


def test_a_cookie_is_good_after_a_restart_and_on_another_node(env: dict[str, str], tmp_path: Path) -> None:
    jar = tmp_path / "jar"
    with serve(APP, env=env) as server:
        curl(env, jar, server.url, "--negotiate", "-u", ":")

    with serve(APP, env=env) as other:
        answer = curl(env, jar, other.url)
    with serve(APP, env=env | {"SESSION_KEY": secrets.token_urlsafe(32)}) as stranger:
        refused = curl(env, jar, stranger.url)

    assert answer == (200, "alice@TEST.EXAMPLE")
    assert refused[0] == 401
    assert "negotiate-mw" not in jar.read_text()


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("path", ["echo", "push"])
def test_a_websocket_comes_in_by_cookie_and_is_closed_when_the_session_ends(
    env: dict[str, str], tmp_path: Path, library: str, path: str
) -> None:
    jar = tmp_path / "jar"

    with serve(APP, "--ws", library, env=env | {"MAX_AGE": "2"}) as server:
        curl(env, jar, server.url, "--negotiate", "-u", ":")
        with open_websocket(server, jar, path) as socket:
            if path == "echo":
                socket.send("hello")
                said = socket.recv(10)
            else:
                said = socket.recv(10)
            with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
                read_on(socket)
        time.sleep(0.3)  # for a line about an error of the app, if there is one
        log = server.log

    assert said == ("alice@TEST.EXAMPLE: hello" if path == "echo" else "tick")
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "sign-in ended")
    assert "Exception" not in log
    assert "Traceback" not in log


def test_a_websocket_is_closed_by_a_log_out(env: dict[str, str], tmp_path: Path) -> None:
    jar = tmp_path / "jar"

    with serve(APP, env=env) as server:
        curl(env, jar, server.url, "--negotiate", "-u", ":")
        with open_websocket(server, jar, "echo") as socket:
            curl(env, jar, server.url + "logout")
            with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
                socket.recv(20)

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def read_on(socket: websockets.sync.client.ClientConnection) -> None:
    while True:
        socket.recv(20)


def open_websocket(server: Server, jar: Path, path: str) -> websockets.sync.client.ClientConnection:
    found = re.search(r"(negotiate-mw)\t(\S+)$", jar.read_text(), re.M)
    assert found is not None
    return websockets.sync.client.connect(
        f"ws://localhost:{server.port}/{path}", additional_headers={"Cookie": f"{found[1]}={found[2]}"}, proxy=None
    )


def test_a_generated_key_serves_one_process_and_stops_several(env: dict[str, str], tmp_path: Path) -> None:
    keyless = {name: value for name, value in env.items() if name != "SESSION_KEY"}
    jar = tmp_path / "jar"

    with serve(APP, env=keyless) as server:
        curl(env, jar, server.url, "--negotiate", "-u", ":")
        answer = curl(env, jar, server.url)
    with serve(APP, "--workers", "2", env=keyless) as several:
        several.until_logged(r"each would make a key of its own.*\n?.*secrets\.token_urlsafe")

    assert answer == (200, "alice@TEST.EXAMPLE")


def test_a_weak_key_stops_the_start(env: dict[str, str]) -> None:
    with pytest.raises(ServerEnded) as ended:
        with serve(APP, env=env | {"SESSION_KEY": "changeme"}):
            pass

    assert "secrets.token_urlsafe(32)" in ended.value.log
    assert "changeme" not in ended.value.log.replace('"changeme"', "")
