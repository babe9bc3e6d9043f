"""What type checkers say of the package's uses: right ones pass, and each mistake is found.

``wrong.py`` has a ``type: ignore`` at each mistake, and both checkers report one that isn't needed.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mypy import api

HERE = Path(__file__).parent
PROGRAMS = Path(sys.executable).parent
STRICT = {
    "typeCheckingMode": "strict",
    "reportUnnecessaryTypeIgnoreComment": "error",
    "reportUnusedExpression": "none",  # naming an attribute is what the mistakes are made of
    "reportMissingTypeStubs": "none",
    "reportUnknownMemberType": "none",  # FastAPI's own
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The snippets, away from this project's own settings and package."""
    copied = tmp_path_factory.mktemp("typing")
    for name in ("right.py", "wrong.py"):
        shutil.copy(HERE / name, copied)
    (copied / "mypy.ini").write_text("[mypy]\nstrict = true\ncache_dir = /dev/null\n")
    (copied / "pyrightconfig.json").write_text(json.dumps(STRICT))
    return copied


def test_mypy_agrees(folder: Path) -> None:
    files = [str(folder / name) for name in ("right.py", "wrong.py")]

    said, problem, status = api.run(["--config-file", str(folder / "mypy.ini"), *files])

    assert (said, problem, status) == ("Success: no issues found in 2 source files\n", "", 0)


def test_pyright_agrees(folder: Path) -> None:
    env = {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}

    done = subprocess.run([PROGRAMS / "pyright", "--outputjson"], cwd=folder, env=env, capture_output=True, text=True)

    said = json.loads(done.stdout)
    problems = [
        f"{Path(one['file']).name}:{one['range']['start']['line'] + 1}: {one['message']}"
        for one in said["generalDiagnostics"]
    ]
    assert problems == []
    assert said["summary"]["filesAnalyzed"] == 2
