"""A page's named blocks, and running them as a reader would who puts their own names in place of the page's.

Law: what a test runs is the page's own text; each thing that it puts in place of another has to be there.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SECONDS = 120.0  # for any one block; a loaded CI machine takes long

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 and os.environ.get("NEGOTIATE_MW_REQUIRE_REALM") != "1",
    reason="laying files over /etc, for one program alone, takes root",
)

_NAMED = re.compile(r"<!-- (?:test|file): (\S+) -->\n```(\w+)\n(.*?)```", re.DOTALL)
_RUN = re.compile(r"^```(?:sh|python)$", re.MULTILINE)


class Page:
    """``docs/NAME.md``, as text and as blocks.

    Args:
        names: what the page says, and what a test has instead, wherever it is said.
    """

    def __init__(self, name: str, names: Mapping[str, str]) -> None:
        self.name = name
        self.text = (ROOT / "docs" / name).read_text()
        self._names = names
        self._blocks = {block: text for block, _, text in _NAMED.findall(self.text)}
        self._runnable = len(_RUN.findall(self.text))

    @property
    def blocks(self) -> frozenset[str]:
        """Every name there is; a fenced block of sh or python without one fails here."""
        named = sum(kind in ("sh", "python") for _, kind, _ in _NAMED.findall(self.text))
        assert named == self._runnable, f"{self.name}: {self._runnable - named} blocks have no name"
        return frozenset(self._blocks)

    def block(self, name: str, instead: Mapping[str, str] | None = None) -> str:
        """One block's text, with this test's names, and more that only this block has."""
        text: str = self._blocks[name]
        for old, new in (instead or {}).items():
            assert old in text, f"{self.name}, {name}: no {old!r}"
            text = text.replace(old, new)
        for old, new in self._names.items():
            text = text.replace(old, new)
        return text

    def write(self, folder: Path, *names: str, instead: Mapping[str, str] | None = None) -> None:
        """Blocks that are files, into their files."""
        for name in names:
            (folder / name).write_text(self.block(name, instead))

    def run(
        self,
        name: str,
        folder: Path,
        env: Mapping[str, str],
        *,
        instead: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> str:
        """Type a block into a shell, and return what it prints; it has to succeed."""
        return shell(self.block(name, instead), folder, env, stdin=stdin)


def shell(text: str, folder: Path, env: Mapping[str, str], *, stdin: str = "") -> str:
    """Type ``text`` into a shell that stops at the first failure; what it prints on standard output."""
    whole = {**env, "PATH": f"{BIN}{os.pathsep}{env['PATH']}", "COLUMNS": "200"}
    done = subprocess.run(
        ["bash", "-euc", text], cwd=folder, env=whole, input=stdin, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def serving(command: str, folder: Path, env: Mapping[str, str], port: int) -> Iterator[None]:
    """A page's server command, for a ``with`` block; it has to listen on ``port`` of 127.0.0.1."""
    whole = {**env, "PATH": f"{BIN}{os.pathsep}{env['PATH']}"}
    log = folder / f"server-{port}.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=folder, env=whole, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + SECONDS
        while f":{port} (Press CTRL+C" not in log.read_text():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield
    finally:
        server.terminate()
        server.wait(10)
