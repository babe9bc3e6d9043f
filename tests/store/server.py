"""A real redis-server as a child process, with whatever an operator's would do: stop, hang, restart empty.

Law: a free port of 127.0.0.1 and a directory of its own each, nothing on disk that outlives it; stopped by its pid.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

SECONDS = 30.0  # for anything to happen; a loaded CI machine takes long


class RedisServer:
    """A redis-server for a ``with`` block; ``options`` go on its command line."""

    def __init__(self, *options: str) -> None:
        self._options = options
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix="negotiate-mw-redis-"))
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.directory)

    def start(self) -> None:
        """Start it, empty, and return once it listens."""
        log = self.directory / "log"
        port = [] if "--tls-port" in self._options else ["--port", str(self.port)]
        quiet = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self.directory)]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                ["redis-server", *port, *quiet, *self._options], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + SECONDS
        while "Ready to accept connections" not in log.read_text():
            assert self._process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop it; what it knew is gone. Idempotent."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def hang(self) -> None:
        """Let it answer nothing from now on, with its connections open."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again, first what it was asked meanwhile."""
        self._signal(signal.SIGCONT)

    def cli(self, *words: str) -> str:
        """What ``redis-cli`` prints."""
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port), *words],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
        )
        return done.stdout

    def calls(self) -> dict[str, int]:
        """How often each command was called since the server began, or since ``CONFIG RESETSTAT``."""
        lines = [line for line in self.cli("info", "commandstats").splitlines() if line.startswith("cmdstat_")]
        return {
            name.removeprefix("cmdstat_"): int(fields.partition("calls=")[2].partition(",")[0])
            for name, _, fields in (line.partition(":") for line in lines)
        }

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)
