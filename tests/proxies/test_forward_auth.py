"""``negotiate-mw forward-auth`` behind the very configuration of nginx that the documentation gives."""

import http.server
import json
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from negotiate_mw.wire.spnego import SPNEGO
from tests.integration.serving import ROOT, SECONDS, Answer, Wire
from tests.servers.clients import User

from .running import free_ports, nginx

PAGE = ROOT / "docs" / "forward-auth.md"
_RUNNING = re.compile(rb"running on http://127\.0\.0\.1:(\d+)")


class Behind(http.server.BaseHTTPRequestHandler):
    """What the proxy protects: no ASGI app, and it says what it was told."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps([[name.lower(), value] for name, value in self.headers.items()]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *of_the_request: object) -> None: ...


@contextmanager
def service(*options: str, env: dict[str, str]) -> Iterator[int]:
    """The command, on a free port."""
    command = [sys.executable, "-m", "negotiate_mw.cli", "forward-auth", "--port", "0", *options]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + SECONDS
            while True:
                log.seek(0)
                said = log.read()
                if found := _RUNNING.search(said):
                    break
                assert process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.02)
            yield int(found[1])
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture(scope="module")
def port(service_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """nginx's."""
    folder = tmp_path_factory.mktemp("forward-auth")
    keys = folder / "session.keys"
    keys.write_text(secrets.token_urlsafe(32))
    (listen,) = free_ports(1)
    behind = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Behind)
    behind.daemon_threads = True
    serving = threading.Thread(target=behind.serve_forever)
    serving.start()
    found = re.search(r"<!-- test: nginx -->\n```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    options = ["--proxy", "nginx", "--plain-http", "--session-keys", str(keys)]
    try:
        with service(*options, env=service_env) as asked:
            lines = found[1].replace("127.0.0.1:9000", f"127.0.0.1:{asked}")
            lines = lines.replace("127.0.0.1:8080", f"127.0.0.1:{behind.server_port}")
            with nginx(folder, [listen], http=f"server {{ listen 127.0.0.1:{listen};\n{lines} }}"):
                yield listen
    finally:
        behind.shutdown()
        serving.join()
        behind.server_close()


def ask(port: int, token: bytes | None = None, **options: object) -> Answer:
    with Wire(port) as wire:
        return wire.get("/page", token, **options)  # type: ignore[arg-type]


def told(answer: Answer) -> dict[str, list[str]]:
    """What the application behind was told, by header."""
    assert answer.status == 200
    said: dict[str, list[str]] = {}
    for name, value in answer.json:
        said.setdefault(name, []).append(value)
    return said


def ticket(user: User) -> bytes:
    first: bytes = user.begin(SPNEGO).step()
    return first


def test_a_stranger_gets_a_challenge_and_not_the_page(port: int) -> None:
    answer = ask(port)

    assert (answer.status, answer.challenges) == (401, ["Negotiate"])


def test_the_application_is_told_who_it_is(port: int, alice: User) -> None:
    said = told(ask(port, ticket(alice)))

    assert said["remote-user"] == ["alice"]
    assert said["remote-account"] == ["alice@TEST.EXAMPLE"]
    assert "authorization" not in said


def test_nobody_says_themselves_who_they_are(port: int, alice: User) -> None:
    forged = [("Remote-User", "boss"), ("Remote-Account", "S-1"), ("Remote-Groups", "Admins"), ("Remote_User", "boss")]

    refused = ask(port, headers=forged)
    said = told(ask(port, ticket(alice), headers=forged))

    assert refused.status == 401
    assert said["remote-user"] == ["alice"]
    assert said["remote-account"] == ["alice@TEST.EXAMPLE"]
    assert "remote-groups" not in said
    assert "remote_user" not in said


def test_a_session_needs_no_second_ticket_and_is_its_users(port: int, alice: User, bob: User) -> None:
    first = ask(port, ticket(alice))
    cookie = first.headers["set-cookie"].partition(";")[0]

    again = told(ask(port, headers=[("Cookie", cookie)]))
    other = told(ask(port, ticket(bob), headers=[("Cookie", cookie)]))

    assert again["remote-user"] == ["alice"]
    assert other["remote-user"] == ["bob"]


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_page_of_another_site_only_gets_to_open_pages(port: int, alice: User, method: str) -> None:
    headers = [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example"), ("X-Original-Method", "GET")]

    answer = ask(port, ticket(alice), method=method, headers=[*headers, ("Content-Length", "0")])

    assert answer.status == (403 if method == "POST" else 200)


def test_two_legs_are_refused_and_nothing_is_kept_for_the_next(port: int) -> None:
    opening = bytes.fromhex(
        "601c06062b0601050502a0123010a00e300c060a2b06010401823702020a"
    )  # NTLM alone, without a token

    answers = [ask(port, opening) for _ in range(3)]

    assert {answer.status for answer in answers} == {401}


@pytest.mark.parametrize("header", ["Negotiate !!!", "Negotiate", "Negotiate " + "A" * 6000])
def test_a_broken_header_is_no_error_of_the_server(port: int, header: str) -> None:
    answer = ask(port, headers=[("Authorization", header)])

    assert answer.status in (401, 403)


@pytest.mark.parametrize("target", ["//[", "//[::1", "//a?b=//["])
def test_an_odd_target_is_no_error_of_the_server(port: int, target: str) -> None:
    with Wire(port) as wire:
        answer = wire.get(target)

    assert (answer.status, answer.challenges) == (401, ["Negotiate"])


def test_session_keys_that_are_not_there_stop_the_start_with_one_sentence(
    service_env: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "negotiate_mw.cli", "forward-auth", "--proxy", "nginx"]

    for options in (["--session-keys", str(tmp_path / "none")], ["--redis", "redis://localhost"]):
        done = subprocess.run([*command, *options], cwd=ROOT, env=service_env, capture_output=True, text=True)

        assert done.returncode == 1
        assert "--session-keys" in done.stderr
        assert "Traceback" not in done.stderr
