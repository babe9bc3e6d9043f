"""What a user gets: the wheel and the source distribution, and an environment with nothing but the wheel in it.

Law: nothing is downloaded. A fresh environment's packages are links to this environment's own, and of those only the
ones that the wheel's metadata asks for; negotiate-mw itself is installed by pip, from the wheel.
"""

import os
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
OURS = "negotiate-mw"

Done = subprocess.CompletedProcess[str]


def build(source: Path, target: Path, kind: str) -> Path:
    """The wheel or sdist of a source tree, by the build backend that ``pip`` would use."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)],
        cwd=source,
        env=clean_environ(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = target.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return built


def unpack(sdist: Path, target: Path) -> Path:
    """The tree in a source distribution."""
    with tarfile.open(sdist) as archive:
        archive.extractall(target, filter="data")
    (tree,) = target.iterdir()
    return tree


def clean_environ(**more: str) -> dict[str, str]:
    """This process's environment without what would lead Python to this environment's packages."""
    misleading = ("PYTHON", "PYTEST", "COVERAGE", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(misleading)} | more


class Environment:
    """A new virtual environment with the wheel, and what that requires."""

    def __init__(self, path: Path, wheel: Path) -> None:
        venv.create(path, symlinks=True)
        self._links = path / "links"
        self.programs = path / "bin"
        (self.site,) = (path / "lib").glob("python*/site-packages")
        install = ["install", "-q", "--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check"]
        pip = [sys.executable, "-m", "pip", "--python", str(path), *install, str(wheel)]
        done = subprocess.run(pip, env=clean_environ(), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        (self.distribution,) = metadata.distributions(path=[str(self.site)])
        _link(_required(self.distribution, frozenset()), self.site)

    @contextmanager
    def having(self, *extras: str) -> Iterator[None]:
        """As if it had been installed with these extras, for a ``with`` block."""
        folder = self._links / "-".join(extras)
        if not folder.exists():
            _link(_required(self.distribution, frozenset(extras)), folder)
        leads_there = self.site / "extras.pth"
        leads_there.write_text(f"{folder}\n")
        try:
            yield
        finally:
            leads_there.unlink()

    def run(self, program: str, *arguments: str, cwd: Path, text: str = "", **more: str) -> Done:
        """One of its programs, ended; ``more`` are environment variables."""
        env = clean_environ(PATH=f"{self.programs}:{os.environ['PATH']}", **more)
        command = [str(self.programs / program), *arguments]
        return subprocess.run(command, cwd=cwd, env=env, input=text, capture_output=True, text=True)


def _required(ours: metadata.Distribution, extras: frozenset[str]) -> Iterator[metadata.Distribution]:
    """All that pip would install for ``negotiate-mw[extras]``, and would find in this environment."""
    seen = set()
    waiting = [(ours, extras)]
    while waiting:
        package, wanted = waiting.pop()
        for line in package.requires or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": extra}) for extra in wanted or {""}):
                continue
            name, more = canonicalize_name(requirement.name), frozenset(requirement.extras)
            if (name, more) in seen:
                continue
            seen.add((name, more))
            found = ours if name == OURS else metadata.distribution(name)
            assert requirement.specifier.contains(found.version, prereleases=True), f"{found.version} for {line}"
            if found is not ours:
                yield found
            waiting.append((found, more))


def _link(packages: Iterable[metadata.Distribution], folder: Path) -> None:
    for package in packages:
        for file in package.files or ():
            if ".." not in file.parts and not (target := folder / file).exists():  # ".." is a program, of this Python
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(Path(str(package.locate_file(file))).resolve())
