"""The keytab as the operator sees it: is it there, can it be read, which keys of our service does it hold?

Law: the library reads the keys, this module never does; it looks at the file at most twice a second, and keeps what
it saw as long as the file is the same.
"""

import errno
import os
import time
from pathlib import Path

from negotiate_mw.wire.errors import WireError
from negotiate_mw.wire.keytab import KeytabEntry, read_keytab

_LOOK_SECONDS = 0.5
_MAX_BYTES = 16 * 1024 * 1024  # about 200,000 keys; a log-in searches all of them


class Keytab:
    """A keytab file on disk.

    Args:
        path: the file; None: ``KRB5_KTNAME``, else ``/etc/krb5.keytab``.
        service: the first component of our principals, such as ``"HTTP"``.

    Attributes:
        entries: labels of the keys that it holds.
        realms: those of our service's keys; what they last were, where it can't be read.
    """

    def __init__(self, path: str | os.PathLike[str] | None, service: str) -> None:
        name = os.fspath(path) if path is not None else os.environ.get("KRB5_KTNAME", "/etc/krb5.keytab")
        self.path: Path = Path(name.removeprefix("FILE:").removeprefix("WRFILE:"))
        self._service = service
        self._look_at = 0.0
        self._seen: tuple[int, ...] = ()
        self._problem: str | None = None
        self.entries: tuple[KeytabEntry, ...] = ()
        self.realms: frozenset[str] = frozenset()

    def problem(self) -> str | None:
        """What is wrong with the file and what to type, as one sentence; None if nothing is."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._look()
        return self._problem

    def look_again(self) -> str | None:
        """``problem()`` as of now, for a log-in that just failed for want of a key: can the file be opened at all?"""
        self._look_at = 0.0
        problem = self.problem()
        if problem is None:
            try:
                self.path.open("rb").close()
            except OSError as error:
                return self._unreadable(error)
        return problem

    def _look(self) -> None:
        try:
            stat = os.stat(self.path)
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_dev)
            if seen == self._seen:
                return
            if stat.st_size > _MAX_BYTES:
                raise WireError("too-large", f"{stat.st_size} bytes")
            entries = read_keytab(self.path.read_bytes())
        except OSError as error:
            self._fail(self._unreadable(error))
            return
        except WireError as error:
            self._fail(f"{str(self.path)!r} is no usable keytab ({error}); export it again")
            return
        realms = frozenset(entry.realm for entry in entries if entry.components[0] == self._service)
        if not realms:
            held = ", ".join(sorted({entry.principal for entry in entries})[:5]) or "nothing"
            self._fail(
                f"the keytab {str(self.path)!r} holds no key of {self._service}/… (it holds {held}); "
                f"export one, as in: kadmin -q 'ktadd -k {self.path} {self._service}/www.corp.example'"
            )
            return
        self._seen, self._problem, self.entries = seen, None, entries
        if realms != self.realms:
            self.realms = realms

    def _fail(self, problem: str) -> None:
        self._seen, self._problem, self.entries = (), problem, ()

    def _unreadable(self, error: OSError) -> str:
        if isinstance(error, PermissionError):
            cure = f"let uid {os.geteuid()} read it: setfacl -m u:{os.geteuid()}:r {self.path}"
        elif error.errno in (errno.EMFILE, errno.ENFILE):
            cure = "raise the limit of open files: ulimit -n, or LimitNOFILE= in the systemd unit"
        else:
            cure = "name the right file: Acceptor(keytab=…) or KRB5_KTNAME=…"
        return f"the keytab {str(self.path)!r} can't be read ({error.strerror}); {cure}"
