"""The NTLM user file as the operator sees it: is it there, is it safe from others, who is in it?

Law: passwords are hashed when the file is read and not kept, so that a log-in costs the same for everyone; the file
is looked at at most twice a second, and a file that has gone wrong lets nobody in, not even those it held before.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from negotiate_mw.errors import ConfigurationError
from negotiate_mw.ntlm_users import NtlmUsers, read_users

_LOOK_SECONDS = 0.5
# about 10,000 users, read in 30 ms, or 160 if all have passwords; whoever has more has a directory to ask
_MAX_BYTES = 1024 * 1024
_OTHERS = 0o007
_GROUP_WRITE = 0o020


class NtlmUserFile:
    """A user file on disk.

    Args:
        path: the file.
        nt_hash: makes the NT hash of a password.
    """

    def __init__(self, path: str | os.PathLike[str], nt_hash: Callable[[str], bytes]) -> None:
        self.path: Path = Path(path)
        self._nt_hash = nt_hash
        self._looked = -_LOOK_SECONDS
        self._seen: tuple[int, ...] = ()
        self._problem: str | None = None
        self.users: NtlmUsers | None = None
        self.domains: frozenset[str] = frozenset()

    def problem(self) -> str | None:
        """What is wrong with the file and what to type, as one sentence; None if nothing is."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            self._look()
        return self._problem

    def look_again(self) -> str | None:
        """``problem()`` as of now."""
        self._looked = -_LOOK_SECONDS
        return self.problem()

    def _look(self) -> None:
        try:
            with open(self.path, "rb") as file:
                stat = os.fstat(file.fileno())
                seen = (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_dev)
                if seen == self._seen:
                    return
                if os.name == "posix" and stat.st_mode & (_OTHERS | _GROUP_WRITE):
                    raise ConfigurationError(
                        f"its mode is {stat.st_mode & 0o777:o}, and what is in it is as good as passwords; "
                        f"type: chmod 600 {self.path}"
                    )
                if stat.st_size > _MAX_BYTES:
                    raise ConfigurationError(f"it has {stat.st_size} bytes, {_MAX_BYTES} are allowed")
                users = read_users(file.read(), self._nt_hash)
        except OSError as error:
            self._fail(
                f"the NTLM user file {str(self.path)!r} can't be read ({error.strerror}); name one that this user "
                "may read: Acceptor(ntlm_users=…)"
            )
            return
        except ConfigurationError as error:
            self._fail(f"the NTLM user file {str(self.path)!r} can't be used: {error}")
            return
        self._seen, self._problem, self.users = seen, None, users
        if users.domains != self.domains:
            self.domains = users.domains

    def _fail(self, problem: str) -> None:
        self._seen, self._problem, self.users = (), problem, None
