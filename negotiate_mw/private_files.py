"""A directory of this process's own, for files that other programs have to find by name; gone when it is closed, and
removed at the next start if the process was killed.

Law: a process holds the lock (``flock``) of its directory for as long as it lives, and the kernel lets go of it however
the process ends. So whoever gets the lock may remove what is there. Process numbers are never asked for: they are used
again, and mean nothing in another container. No link is followed, and nothing of another user's is touched.
"""

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from negotiate_mw.errors import ConfigurationError, DelegationError

_PREFIX = "negotiate-mw-ccaches-"
_TRIES = 3  # another process's start may take a directory for left over between its making and its locking


class PrivateFiles:
    """Names for files in a directory, mode 700, of systemd's ``RUNTIME_DIRECTORY``, else of ``TMPDIR`` or ``/tmp``."""

    def __init__(self) -> None:
        self._directory: Path | None = None
        self._lock = -1
        self._pid = 0

    def open(self) -> None:
        """Make the directory, and remove those that dead processes left. Idempotent.

        Raises:
            ConfigurationError: it can't be made.
        """
        if self._directory is not None:
            return
        parent = Path(os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or tempfile.gettempdir())
        try:
            remove_left_over(parent)
            for _ in range(_TRIES):
                directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
                if (lock := _locked(directory)) is not None:
                    self._directory, self._lock, self._pid = directory, lock, os.getpid()
                    return
            problem = "it can't be locked"
        except OSError as error:
            problem = str(error.strerror)
        raise ConfigurationError(
            f"no directory for credential caches can be made in {str(parent)!r} ({problem}); name another by TMPDIR=…"
        )

    def close(self) -> None:
        """Remove the directory and all that is in it. Idempotent."""
        if self._directory is not None:
            if self._pid == os.getpid():
                _remove(self._directory, self._lock)
            os.close(self._lock)  # after a fork it is the parent's, too, who still has it
            self._directory = None

    def path(self) -> Path:
        """A random name for a new file.

        Raises:
            DelegationError: there is no directory.
        """
        if self._directory is None:
            raise DelegationError("closed", "the acceptor is closed, or was never acquired")
        return self._directory / secrets.token_hex(16)


def remove_left_over(parent: Path) -> None:
    """Remove the directories of processes that ended without doing so; those of living ones stay.

    Raises:
        OSError: ``parent`` can't be read.
    """
    for name in os.listdir(parent):
        if name.startswith(_PREFIX) and (lock := _locked(parent / name)) is not None:
            _remove(parent / name, lock)
            os.close(lock)


def _locked(directory: Path) -> int | None:
    """The directory's descriptor and with it its lock, if it is ours and nobody else has that."""
    import fcntl  # not on Windows, where there are no credential caches

    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        found = os.fstat(descriptor)
        if found.st_uid == os.geteuid() and not found.st_mode & 0o077:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(found, os.stat(directory, follow_symlinks=False)):  # it may be gone by now
                return descriptor
    os.close(descriptor)
    return None


def _remove(directory: Path, descriptor: int) -> None:
    for name in os.listdir(descriptor):
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=descriptor)
    with contextlib.suppress(OSError):
        directory.rmdir()
