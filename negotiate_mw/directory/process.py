"""The server's side of the look-up process: starts it, asks it, ends it at the deadline, and goes to the next server.

Law: one question at a time, in a thread of its own; the wait for that thread counts; whatever goes wrong is an
AcceptError.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from negotiate_mw.errors import AcceptError
from negotiate_mw.pool import PoolFull, StepPool
from negotiate_mw.status import SecStatus

QUEUE = 1000  # questions that may wait; of about 2 ms each
RETRY_SECONDS = 1.0  # after no server answered; until then nobody else waits for one
_SLACK_SECONDS = 1.0  # a question ends by its own deadline, with a better sentence than the pool's
_ANSWER_LIMIT = 16 * 2**20  # octets


class Trouble(Exception):
    """A server couldn't be asked.

    ``is_refusal``: it, or its KDC, doesn't want us, and trying again won't help; ``is_for_all``: whatever the question.
    """

    def __init__(self, sentence: str, *, is_refusal: bool = False, is_for_all: bool = True) -> None:
        super().__init__(sentence)
        self.is_refusal = is_refusal
        self.is_for_all = is_for_all


class LookUps:
    """Asks one directory.

    Args:
        options: what the child has to know of the directory, without ``server``.
        servers: LDAP URLs, asked in this order until one answers; that one is then asked first.
        seconds: for one question, the wait for its turn counted.
    """

    def __init__(self, options: Mapping[str, object], servers: tuple[str, ...], seconds: float) -> None:
        self._options = options
        self._servers = servers
        self._seconds = seconds
        self._pool = StepPool(threads=1, queue=QUEUE)
        self._preferred = 0
        self._child: _Child | None = None
        self._asking = threading.Lock()
        self._closed = False
        self._failed_at = -RETRY_SECONDS
        self._failure = ""
        self.asked: int = 0  # questions that went to a directory

    async def ask(self, question: Mapping[str, object]) -> list[tuple[str, str | None]]:
        """The names and SIDs of groups.

        Raises:
            AcceptError: LOGON_DENIED, ``"groups-missing"``: the directory knows nobody of that name, or several;
                NO_AUTHENTICATING_AUTHORITY, ``"directory-down"``: no server could be asked; BUSY.
        """
        if time.monotonic() < self._failed_at + RETRY_SECONDS:
            raise self._down(self._failure)
        try:
            return await self._run(question)
        except Trouble as error:
            raise self._down(str(error)) from error

    async def probe(self) -> None:
        """Bind, and see that the bases are there.

        Raises:
            Trouble: it can't be done.
        """
        await self._run({"probe": True})

    def close(self) -> None:
        """End the child. Idempotent."""
        self._closed = True  # first: a question under way then starts no other child
        self._pool.close()
        if self._child is not None:
            self._child.kill()
        with self._asking:  # it notices at once
            self._end_child()

    def _down(self, why: str) -> AcceptError:
        return AcceptError(SecStatus.NO_AUTHENTICATING_AUTHORITY, "directory-down", detail=why)

    async def _run(self, question: Mapping[str, object]) -> list[tuple[str, str | None]]:
        self._closed = False
        until = time.monotonic() + self._seconds
        call = partial(self._try_servers, question, until)
        try:
            found = await self._pool.run(call, seconds=self._seconds + _SLACK_SECONDS, abandoned=_nothing)
        except PoolFull:
            raise self._busy(f"{QUEUE} look-ups wait already") from None
        except TimeoutError:
            raise self._noted(
                Trouble(f"no answer from {', '.join(self._servers)} within {self._seconds:g} s")
            ) from None
        self._failed_at = -RETRY_SECONDS
        return found

    def _noted(self, trouble: Trouble) -> Trouble:
        if trouble.is_for_all:  # each try takes a process, and a log-in that may lock our account
            self._failed_at, self._failure = time.monotonic(), str(trouble)
        return trouble

    def _busy(self, why: str) -> AcceptError:
        detail = f"{self._servers[self._preferred]}: {why}"
        return AcceptError(SecStatus.BUSY, "directory-busy", detail=detail)

    def _try_servers(self, question: Mapping[str, object], until: float) -> list[tuple[str, str | None]]:
        """In the thread: ask one server after the other, each for its share of the time that is left."""
        troubles = []
        with self._asking:
            if time.monotonic() >= until:
                raise self._busy(f"this look-up's turn didn't come within {self._seconds:g} s")
            if not question.get("probe") and time.monotonic() < self._failed_at + RETRY_SECONDS:
                raise Trouble(self._failure)  # it waited while another one found out
            for left in range(len(self._servers), 0, -1):
                server = self._servers[self._preferred]
                seconds = (until - time.monotonic()) / left
                try:
                    return self._ask(server, question, seconds)
                except Trouble as error:
                    troubles.append(error)
                    self._end_child()
                    self._preferred = (self._preferred + 1) % len(self._servers)
            together = Trouble(
                "; ".join(map(str, troubles)),
                is_refusal=all(trouble.is_refusal for trouble in troubles),
                is_for_all=all(trouble.is_for_all for trouble in troubles),
            )
            raise self._noted(together)

    def _ask(self, server: str, question: Mapping[str, object], seconds: float) -> list[tuple[str, str | None]]:
        if seconds <= 0 or self._closed:
            raise Trouble(f"{server}: no time left")
        if self._child is not None and self._child.pid_of_owner != os.getpid():
            self._child = None  # a fork of the server: it was our parent's
        self.asked += 1
        try:
            if self._child is None:
                self._child = _Child({**self._options, "server": server})
            if self._closed:
                raise OSError("closed")
            reply = self._child.ask({**question, "seconds": int(seconds) + 2}, time.monotonic() + seconds)
        except TimeoutError:
            raise Trouble(f"{server}: no answer within {seconds:.1f} s") from None
        except (OSError, ValueError) as error:
            raise Trouble(f"{server}: the look-up process ended or can't be started: {error}") from error
        failed, detail = reply.get("failed"), f"{server}: {reply.get('detail')}"
        if failed == "missing":
            raise AcceptError(SecStatus.LOGON_DENIED, "groups-missing", detail=detail)
        if failed:
            raise Trouble(detail, is_refusal=failed != "down", is_for_all=failed != "refused")
        return [(name, sid) for name, sid in reply["groups"]]

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()


class _Child:
    """The process."""

    def __init__(self, options: Mapping[str, object]) -> None:
        self.pid_of_owner = os.getpid()
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "negotiate_mw.directory.child"],
                env=_environment(),
                cwd="/",  # the LDAP library reads `ldaprc` in the working directory
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in the terminal is the server's
            )
        self._unread = b""
        self._send(options, time.monotonic() + _SLACK_SECONDS)

    def ask(self, question: Mapping[str, object], until: float) -> dict[str, Any]:
        self._send(question, until)
        while b"\n" not in self._unread:
            self._channel.settimeout(max(until - time.monotonic(), 0.001))
            octets = self._channel.recv(65536)
            if not octets or len(self._unread) > _ANSWER_LIMIT:
                raise OSError("it said nothing" if not octets else "its answer is too long")
            self._unread += octets
        line, _, self._unread = self._unread.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _send(self, what: Mapping[str, object], until: float) -> None:
        self._channel.settimeout(max(until - time.monotonic(), 0.001))
        self._channel.sendall(json.dumps(what).encode() + b"\n")

    def kill(self) -> None:
        if self.pid_of_owner == os.getpid():
            self._process.kill()

    def end(self) -> None:
        self._channel.close()
        self.kill()
        if self.pid_of_owner == os.getpid():
            self._process.wait()


def _environment() -> dict[str, str]:
    """The child's: ours without what would change whom it believes or whose tickets it uses."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LDAP")}
    for name in ("KRB5CCNAME", "KRB5_KTNAME", "KRB5_CLIENT_KTNAME"):
        kept.pop(name, None)
    places = [str(Path(place or ".").resolve()) for place in sys.path]
    # the server's name is the one that the operator wrote, not what an address resolves to
    return kept | {"PYTHONPATH": os.pathsep.join(places), "LDAPTLS_REQCERT": "demand", "LDAPSASL_NOCANON": "on"}


def _nothing() -> None:
    """A question that nobody waits for any more leaves nothing behind."""
