"""A real uvicorn as a child process, and a client that puts on the wire exactly what a test says.

Law: a free port of 127.0.0.1 each, which the server itself chooses; its log is kept; what was started is stopped by its
pid, whatever the test did.
"""

import http.client
import os
import re
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 30.0  # for anything to happen; a loaded CI machine takes long
APPS = "tests.integration.apps"

_RUNNING = re.compile(r"Uvicorn running on (https?)://127\.0\.0\.1:(\d+)")


class ServerEnded(Exception):
    """The server ended before it listened: its exit code and its log."""

    def __init__(self, code: int, log: str) -> None:
        super().__init__(code, log)
        self.code = code
        self.log = log


class Server:
    """A uvicorn that listens, until ``stop``."""

    def __init__(self, app: str, options: Sequence[str], env: Mapping[str, str], under: Sequence[str] = ()) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open until `stop`
        command = [*under, sys.executable, "-m", "uvicorn", app, "--port", "0", "--no-access-log", *options]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=dict(env), stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        try:
            self.scheme, port = self.until_logged(_RUNNING).groups()
        except BaseException:
            self.stop()
            raise
        self.port = int(port)
        self.url = f"{self.scheme}://localhost:{self.port}/"

    @property
    def log(self) -> str:
        """All that it has said so far."""
        file = self._log.fileno()
        return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")

    def mark(self) -> int:
        """Where the log ends now; for ``since``."""
        return len(self.log)

    def since(self, mark: int) -> str:
        """What it has said since."""
        return self.log[mark:]

    def until_logged(self, pattern: "str | re.Pattern[str]", *, mark: int = 0) -> re.Match[str]:
        """Wait for a line."""
        deadline = time.monotonic() + SECONDS
        while (found := re.search(pattern, self.since(mark))) is None:
            if (code := self.process.poll()) is not None:
                raise ServerEnded(code, self.log)
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.since(mark)!r}"
            time.sleep(0.01)
        return found

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """Stop it, as an operator would. Idempotent."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._log.close()


@contextmanager
def serve(app: str, *options: str, env: Mapping[str, str], under: Sequence[str] = ()) -> Iterator[Server]:
    """``uvicorn app *options`` for a ``with`` block; a bare name is one of the apps in ``apps.py``.

    Args:
        under: a program that changes its own surroundings and then becomes uvicorn, such as ``setpriv``.

    Raises:
        ServerEnded: it didn't start.
    """
    server = Server(app if ":" in app else f"{APPS}:{app}", options, env, under)
    try:
        yield server
    finally:
        server.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One response, as it came."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def challenges(self) -> list[str]:
        """Every WWW-Authenticate header."""
        return self.headers.get_all("www-authenticate") or []

    @property
    def token(self) -> bytes:
        """The one token that it carries."""
        (challenge,) = self.challenges
        scheme, _, token = challenge.partition(" ")
        assert scheme == "Negotiate"
        assert token
        return b64decode(token, validate=True)

    @property
    def json(self) -> Any:
        import json

        return json.loads(self.body)

    @property
    def shape(self) -> tuple[int, list[tuple[str, str]], bytes]:
        """Everything about it but the date and a refusal's reference."""
        headers = sorted((name.lower(), value) for name, value in self.headers.items() if name.lower() != "date")
        return self.status, headers, re.sub(rb"Reference: [0-9a-f]{12}\n$", b"Reference: -\n", self.body)


class Wire:
    """One connection to a server."""

    def __init__(self, port: int, *, source: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS, source_address=(source, 0))
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname="localhost")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def get(
        self,
        target: str = "/",
        token: bytes | None = None,
        *,
        method: str = "GET",
        host: str = "localhost",
        version: str = "1.1",
        headers: Sequence[tuple[str, str]] = (),
    ) -> Answer:
        """Send one request, with ``token`` in its Authorization header, and read the answer."""
        lines = [f"{method} {target} HTTP/{version}", f"Host: {host}"]
        if token is not None:
            lines.append(f"Authorization: Negotiate {b64encode(token).decode()}")
        lines += [f"{name}: {value}" for name, value in headers]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
        return self.answer(method)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self, method: str = "GET") -> Answer:
        """Read one answer; ``http.client.HTTPException`` or ``OSError`` if the server closed instead."""
        response = http.client.HTTPResponse(self._socket, method=method)
        try:
            response.begin()
            return Answer(status=response.status, headers=response.headers, body=response.read())
        finally:
            response.close()


def get(server: Server, target: str = "/", token: bytes | None = None, **options: Any) -> Answer:
    """One request over a connection of its own."""
    with Wire(server.port) as wire:
        return wire.get(target, token, **options)


NOISE = (
    0.001  # seconds by which a busy machine moves the slowest log-in of a hundred; being held up costs many times that
)


def slowest_of_a_hundred(server: Server, tokens: list[bytes]) -> float:
    """The 99th percentile of log-ins by ticket over one connection, in seconds."""
    seconds = []
    with Wire(server.port) as wire:
        for token in tokens:
            begun = time.perf_counter()
            assert wire.get(token=token).status == 200
            seconds.append(time.perf_counter() - begun)
    return statistics.quantiles(seconds, n=100)[98]
