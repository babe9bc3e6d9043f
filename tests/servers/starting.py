"""A real server of any kind as a child process.

Law: it is started by the command that the documentation tells; only the address is added. What it starts itself ends
with it.
"""

import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.integration.serving import ROOT, SECONDS, Server, Wire

from .clients import Line
from .table import Row

_LISTENS = re.compile(
    r"([Rr]unning on|Listening at:|Listening on TCP address) "
    r"(unix socket|(https?://)?127\.0\.0\.1:(?P<port>\d+))"
)
_ADDRESS = {
    "uvicorn": "--port 0 --no-access-log",
    "hypercorn": "--bind 127.0.0.1:0",
    "gunicorn": "--bind 127.0.0.1:0",
    "granian": "--port {free}",
    "daphne": "-b 127.0.0.1 -p 0",
}


class _UnixWire(Wire):
    """One connection over a unix socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(SECONDS)
        self._socket.connect(str(path))


class AnyServer(Server):
    """A server that listens, until ``stop``."""

    def __init__(self, row: Row, env: Mapping[str, str], certificate: Path, directory: Path) -> None:
        self.row = row
        self._path = directory / "app.sock" if row.over == "unix" else None
        self._tls = ssl.create_default_context(cafile=str(certificate)) if row.over == "tls" else None
        places = {
            "app:app": row.app,
            "site.pem": str(certificate),
            "site.key": str(certificate.with_suffix(".key")),
            "app.sock": str(self._path),
        }
        program, *options = (places.get(word, word) for word in shlex.split(row.start))
        address = "--no-access-log" if self._path else _ADDRESS[program].format(free=_free_port())
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open until `stop`
        self.process = subprocess.Popen(
            [sys.executable, "-m", program, *shlex.split(address), *options],
            cwd=ROOT,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # its workers are in its group, and in no other's
        )
        try:
            self.port = int(self.until_logged(_LISTENS)["port"] or 0)
            self._until_it_answers()
        except BaseException:
            self.stop()
            raise

    def wire(self) -> Wire:
        """A new connection."""
        return _UnixWire(self._path) if self._path else Wire(self.port, tls=self._tls)

    def plain_socket(self) -> socket.socket:
        """A new connection for other people's clients."""
        return self.wire()._socket

    async def line(self) -> Line:
        """A new connection, for asyncio."""
        return await Line.open(self.port, self._path, self._tls)

    def stop(self) -> None:
        super().stop()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _until_it_answers(self) -> None:
        """Some say that they listen before they, or their workers, do."""
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                with self.wire() as wire:
                    assert wire.get().status == 401
                    return
            except OSError:
                assert self.alive, self.log
                assert time.monotonic() < deadline, self.log
                time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def start(row: Row, env: Mapping[str, str], certificate: Path, directory: Path) -> Iterator[AnyServer]:
    """The row's server for a ``with`` block."""
    server = AnyServer(row, env, certificate, directory)
    try:
        yield server
    finally:
        server.stop()
