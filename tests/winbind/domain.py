"""A Samba domain whose controller runs winbindd, which listens where every program of the machine expects it.

Law: there is one such place on a machine, so a winbindd that is there already is left alone, and two of ours never run
at once; what was started is gone at the end, with its socket.
"""

import fcntl
import os
import shutil
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from negotiate_mw.backends.wbclient import Winbind, WinbindError
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.testing.realm import RealmUnavailable
from negotiate_mw.testing.tickets import RealmError
from tests.integration.samba_ad import START_SECONDS, SambaAD

_SOCKETS = Path("/run/samba/winbindd")
_MECHANISMS = Path("/etc/gss/mech.d")


class WinbindDomain(SambaAD):
    """AD.TEST.EXAMPLE (ADTEST), with a winbindd that knows its users.

    Args:
        weak: also take NTLMv1, as domain controllers can be told to.
    """

    def __init__(self, *, weak: bool = False) -> None:
        super().__init__(ldap=True)
        self._services = "rpc ldap kdc winbindd"
        self._weak = weak
        self._lock: IO[bytes] | None = None
        self._was_there = _SOCKETS.exists()

    def _provision(self) -> None:
        self._lock = (Path(tempfile.gettempdir()) / "negotiate-mw-winbind.lock").open("ab")
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(BlockingIOError):
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.1)
        else:
            raise RealmUnavailable("WinbindDomain", "another run's winbindd has the machine's one socket")
        if _is_listening(_SOCKETS / "pipe"):
            raise RealmUnavailable("WinbindDomain", f"a winbindd runs already at {_SOCKETS}, and there can be but one")
        if not any("ntlmssp" in path.read_text() for path in _MECHANISMS.glob("*.conf")):
            raise RealmUnavailable("WinbindDomain", "gss-ntlmssp isn't installed. To install it: scripts/setup test")
        super()._provision()
        if self._weak:
            text = self._smb_conf.read_text()
            self._smb_conf.write_text(text.replace("[global]\n", "[global]\n  ntlm auth = ntlmv1-permitted\n"))

    def _start(self) -> None:
        super()._start()
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if Winbind().domain() == "ADTEST":
                    return
            except (WinbindError, ConfigurationError) as error:
                if time.monotonic() > deadline:
                    raise RealmError("winbindd", f"doesn't answer: {error}") from error
            time.sleep(0.05)

    def close(self) -> None:
        """Stop the domain, winbindd included: it ends with the samba that started it."""
        ours = self.winbindds()
        super().close()
        deadline = time.monotonic() + 10
        while any(_is_running(pid) for pid in ours) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in filter(_is_running, ours):
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        if ours and not self._was_there:
            shutil.rmtree(_SOCKETS, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def winbindds(self) -> list[int]:
        """The pids of this domain's winbindd and its children."""
        if self._directory is None:
            return []
        of_ours = f"--configfile={self._smb_conf}".encode()
        return [
            *(int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if of_ours in _read(path)),
            *self.winbind_children(),
        ]

    def winbind_children(self) -> list[int]:
        """The pids of its winbindd's children, which are who waits for a domain controller."""
        of_ours = f"--configfile={self._smb_conf}".encode()
        return [
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/stat")
            if (fields := _read(path).rpartition(b") ")[2].split())
            and of_ours in _read(Path("/proc") / fields[1].decode() / "cmdline")
        ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


def _is_running(pid: int) -> bool:
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(b") ")[2].split()
    return bool(fields) and fields[0] != b"Z"


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
