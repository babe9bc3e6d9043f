"""Every block of the pages that can be run is run, as it stands: Python in order of the page, sh with real servers."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from .pages import PAGES, ROOT, RUN, SHOWN, Block, blocks, name_of, without_blocks

HERE = Path(__file__).parent
SECONDS = 120  # a page's blocks, all together


def run(command: list[str], given: str, folder: Path, env: dict[str, str]) -> None:
    """Run it to its end, and end whatever it left running."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(given, timeout=SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, printed


PYTHON = {page: [block for block in blocks(page) if block.kind == "python"] for page in PAGES}
SHELL = {page: [block for block in blocks(page) if block.kind == "sh" and not block.name] for page in PAGES}
NAMED = [(page, block) for page in PAGES for block in blocks(page) if block.kind == "sh" and block.name]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_fence_says_that_it_is_run_or_why_it_is_not(page: Path) -> None:
    kinds = {f"line {block.line}: {block.kind}" for block in blocks(page) if block.kind not in RUN | SHOWN}
    fences = len(re.findall(r"^ *(?:`{3}|~{3})", page.read_text(), re.MULTILINE))
    indented = re.findall(r"^(?![ ]|[-*] |\d+\. )\S.*\n\n {4,}\S.*", without_blocks(page), re.MULTILINE)

    assert not kinds
    assert fences == 2 * len(blocks(page))
    assert not indented


@pytest.mark.parametrize("page", [page for page in PAGES if PYTHON[page]], ids=name_of)
def test_the_pages_python_runs(page: Path, folder: Path, env: dict[str, str]) -> None:
    python = [(block.line, block.text) for block in PYTHON[page]]

    run([sys.executable, str(HERE / "run_python.py"), name_of(page)], json.dumps(python), folder, env)


@pytest.mark.parametrize("page", [page for page in PAGES if SHELL[page]], ids=name_of)
def test_the_pages_commands_run(page: Path, folder: Path, env: dict[str, str]) -> None:
    script = folder / "page.sh"
    script.write_text("".join(f"line={block.line}\n{block.text}\n" for block in SHELL[page]))

    run(["bash", "-c", f"source {HERE / 'commands.sh'}; source page.sh"], "", folder, env)


@pytest.mark.parametrize(
    ("page", "block"), NAMED, ids=lambda each: name_of(each) if isinstance(each, Path) else each.name
)
def test_a_named_command_has_a_test_of_its_own(page: Path, block: Block) -> None:
    tests = [path.read_text() for path in ROOT.glob("tests/**/test_*.py")]

    assert any(page.name in text and f'"{block.name}"' in text for text in tests)
