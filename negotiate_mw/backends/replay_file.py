"""The file in which the C library remembers authenticators, so that none is accepted twice on this node.

Law: the library fails every log-in if the file is not ours or can't be written, and says so only then; so we look
first. The rules are those of MIT krb5 1.18 and later (``k5_rcache_resolve``, rc_file2.c, rc_dfl.c).
"""

import contextlib
import os
import stat
import tempfile
from pathlib import Path


class ReplayFile:
    """Where this process's replay cache is.

    Args:
        rcache: a directory of ours; ``"none"`` to accept replays; None: ``KRB5RCACHENAME`` or ``KRB5RCACHEDIR`` where
            set, else systemd's ``RUNTIME_DIRECTORY``, else ``TMPDIR``, else ``/var/tmp``, as the library's own.
    """

    def __init__(self, rcache: str | os.PathLike[str] | None) -> None:
        self.store_value: str
        self.store_value, self._file = _resolve(rcache)

    @property
    def is_known(self) -> bool:
        """False if replays aren't looked for, or in some way that this can't check."""
        return self._file is not None

    def create(self) -> None:
        """Make the file if there is none, before anybody else does: a directory for all is not for us alone.

        Raises:
            OSError: it can't be made; ``problem()`` says why.
        """
        if self._file is not None:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    def locked(self) -> str | None:
        """The file, if a process holds its lock at this moment (on Linux): each log-in takes it for an instant."""
        if self._file is None:
            return None
        try:
            # opening the file to ask would, when closed, let go of our own locks (POSIX, fcntl)
            held = f":{self._file.stat().st_ino} "
            return str(self._file) if held in Path("/proc/locks").read_text() else None
        except OSError:
            return None

    def problem(self) -> str | None:
        """What would make every log-in fail and what to type, as one sentence; None if nothing would."""
        if self._file is None:
            return None
        directory = self._file.parent
        try:
            found = os.lstat(self._file)
        except FileNotFoundError:
            return _unwritable(directory)
        except OSError as error:
            return f"the replay cache {str(self._file)!r} can't be looked at ({error.strerror}); {_CURE}"
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            return f"the replay cache {str(self._file)!r} is not ours (it belongs to uid {found.st_uid}); {_CURE}"
        if found.st_mode & 0o022:
            return f"the replay cache {str(self._file)!r} may be written by others; chmod 600 {self._file}"
        if not os.access(self._file, os.R_OK | os.W_OK):
            return f"the replay cache {str(self._file)!r} can't be written; {_CURE}"
        return None


_CURE = "name a directory of this user: Acceptor(rcache=…), KRB5RCACHEDIR=… or, under systemd, RuntimeDirectory=…"


def _resolve(rcache: str | os.PathLike[str] | None) -> tuple[str, Path | None]:
    """What to tell the library, and the file that it will use (None: none that we know of)."""
    if rcache is not None:
        return ("none:", None) if os.fspath(rcache) == "none" else _ours_in(rcache)
    if name := os.environ.get("KRB5RCACHENAME"):
        return name, Path(name.removeprefix("file2:")) if name.startswith("file2:") else None
    directory = (
        os.environ.get("KRB5RCACHEDIR")
        or os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
        or os.environ.get("TMPDIR")
        or "/var/tmp"  # noqa: S108 - the library's own choice; we look whose it is
    )
    # said outright, so that no krb5.conf and no other variable can turn it off
    return _ours_in(directory)


def _ours_in(directory: str | os.PathLike[str]) -> tuple[str, Path]:
    file = Path(directory) / f"krb5_{os.geteuid()}.rcache2"
    return f"file2:{file}", file


def _unwritable(directory: Path) -> str | None:
    try:
        with tempfile.TemporaryFile(dir=directory):
            return None
    except OSError as error:
        return f"the replay cache's directory {str(directory)!r} can't be written ({error.strerror}); {_CURE}"
