"""krb5.conf: which files there are, and what they say that matters to a server.

Law: read as the library does (MIT's profile format), and never more than that; no file is needed to accept log-ins.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from negotiate_mw.doctor.deployed import Deployed
from negotiate_mw.doctor.report import Line, ok, problem, skipped, warning

DEFAULT = "/etc/krb5.conf"
CLOCKSKEW = 300  # seconds, the library's own
_MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 10
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.conf)?")  # of files in an includedir, as the library has it
_TRUE = frozenset({"y", "yes", "true", "t", "1", "on"})
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Unreadable(Exception):
    """A file that the library would stumble over."""


class Profile:
    """What the files say: values by section and path, the first one counts."""

    def __init__(self) -> None:
        self.files: list[Path] = []
        self._values: dict[tuple[str, ...], list[str]] = {}

    def all(self, *path: str) -> list[str]:
        """Every value of a name: ``all("realms", "CORP.EXAMPLE", "kdc")``."""
        return self._values.get(path, [])

    def get(self, *path: str, default: str = "") -> str:
        """The value that counts."""
        return next(iter(self.all(*path)), default)

    def is_on(self, *path: str, default: bool) -> bool:
        """A yes or no."""
        value = self.get(*path)
        return value.lower() in _TRUE if value else default

    def seconds(self, *path: str, default: int) -> int:
        """A span of time."""
        found = re.fullmatch(r"([0-9]+)\s*([smhd]?)", self.get(*path))
        return int(found[1]) * _UNITS[found[2] or "s"] if found else default

    def read(self, path: Path, depth: int = 0) -> None:
        """Add a file.

        Raises:
            Unreadable: the library couldn't use it.
        """
        if depth > _MAX_DEPTH:
            raise Unreadable(f"{path} includes itself")
        try:
            with path.open("rb") as file:
                text = file.read(_MAX_BYTES).decode("utf-8", "replace")
        except OSError as error:
            raise Unreadable(f"{path} can't be read ({error.strerror})") from error
        self.files.append(path)
        place: list[str] = []
        for number, line in enumerate(map(str.strip, text.splitlines()), 1):
            if not line or line[0] in "#;":
                continue
            word, _, rest = line.partition(" ")
            if word in ("include", "includedir"):
                self._include(word, Path(rest.strip()), depth)
            elif line.startswith("["):
                if not line.rstrip("*").endswith("]"):
                    raise Unreadable(f"{path}, line {number}: a section without its ]")
                place = [line.rstrip("*")[1:-1]]
            elif line.rstrip("*") == "}":
                if len(place) < 2:
                    raise Unreadable(f"{path}, line {number}: a }} without its {{")
                place.pop()
            elif "=" in line and place:
                name, _, value = (part.strip() for part in line.partition("="))
                if value == "{":
                    place.append(name)
                else:
                    self._values.setdefault((*place, name.rstrip("*")), []).append(value.strip('"'))
            elif not (line == "{" or word == "module"):
                raise Unreadable(f"{path}, line {number} is neither a section nor a setting")

    def _include(self, word: str, path: Path, depth: int) -> None:
        if word == "include":
            return self.read(path, depth + 1)
        try:
            names = sorted(path.iterdir())
        except OSError as error:
            raise Unreadable(f"{path} can't be read ({error.strerror})") from error
        for each in names:
            if _NAME.fullmatch(each.name):
                self.read(each, depth + 1)


def profile() -> Profile:
    """What this process's library reads.

    Raises:
        Unreadable: it couldn't.
    """
    found = Profile()
    named = os.environ.get("KRB5_CONFIG")
    for path in map(Path, (named or DEFAULT).split(":")):
        if path.exists() or (named and len(named.split(":")) == 1):
            found.read(path)
    return found


def examine(deployed: Deployed) -> Iterator[Line]:
    """Whether the library can read it, and whether the options agree with it."""
    try:
        found = profile()
    except Unreadable as error:
        yield problem("krb5conf", what=str(error))
        return
    if not found.files or not found.get("libdefaults", "default_realm"):
        names = ", ".join(map(str, found.files)) or "no krb5.conf"
        yield ok(f"{names}, without a default realm; accepting log-ins needs none")
    else:
        yield ok(f"{', '.join(map(str, found.files))}: default realm {found.get('libdefaults', 'default_realm')}")
    skew = found.seconds("libdefaults", "clockskew", default=CLOCKSKEW)
    remembered = getattr(deployed.replay, "_seconds", None)
    if remembered is not None and remembered < 2 * skew:
        yield problem("clockskew-differs", skew=str(skew))
    if os.environ.get("GSS_USE_PROXY", "").lower() in _TRUE:
        if Path("/etc/gss/mech.d/proxymech.conf").exists():
            yield warning("gssproxy", keytab=str(deployed.keytab.path))
        else:
            yield skipped("GSS_USE_PROXY is set, and no gssproxy is installed that it could mean")
