"""``scripts/docs`` builds a site from pages that are written for a git host, and nothing that is wrong gets through."""

import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.proxies.running import free_ports

from .pages import ROOT

PROGRAM = "print('an example')\n"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with one page, and the real site's settings but for its navigation."""
    for folder in ("docs/images", "scripts", "examples", ".venv/bin", "negotiate_mw"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("scripts/docs", "scripts/docs_hook.py", "docs/site.css"):
        shutil.copy(ROOT / name, tmp_path / name)
    settings, _, _ = (ROOT / "mkdocs.yml").read_text().partition("nav:\n")
    (tmp_path / "mkdocs.yml").write_text(f"{settings}nav: [index.md]\n")
    (tmp_path / "scripts" / "setup").write_text("#!/bin/sh\n")
    (tmp_path / "scripts" / "setup").chmod(0o755)
    (tmp_path / ".venv" / "bin" / "mkdocs").symlink_to(Path(sys.executable).with_name("mkdocs"))
    (tmp_path / "README.md").write_text("# README\n")
    (tmp_path / "examples" / "app.py").write_text(PROGRAM)
    return tmp_path


def build(clone: Path, page: str) -> subprocess.CompletedProcess[str]:
    (clone / "docs" / "index.md").write_text(f"# Page\n\n{page}\n")
    return subprocess.run(["scripts/docs", "build", "out"], cwd=clone, capture_output=True, text=True, timeout=120)


def test_a_link_out_of_the_pages_opens_a_page_that_shows_the_file(clone: Path) -> None:
    done = build(clone, "[one](../examples/app.py), [all](../examples), [start](../README.md#page)")

    page = (clone / "out" / "index.html").read_text()
    shown = (clone / "out" / "repository" / "examples" / "app.py.html").read_text()
    listed = (clone / "out" / "repository" / "examples.html").read_text()
    assert done.returncode == 0, done.stderr
    assert 'href="repository/examples/app.py.html"' in page
    assert 'href="repository/examples.html"' in page
    assert 'href="#page"' in page
    assert "an example" in shown
    assert 'href="examples/app.py.html"' in listed


@pytest.mark.parametrize(
    "page",
    [
        "[nowhere](../examples/other.py)",
        "[nowhere](#other)",
        '<script src="https://cdn.example/x.js"></script>',
        "![picture](https://cdn.example/x.png)",
    ],
)
def test_a_page_with_something_wrong_ends_the_build(clone: Path, page: str) -> None:
    done = build(clone, page)

    assert done.returncode == 1, done.stderr


def test_it_is_served_while_it_is_written(clone: Path, tmp_path: Path) -> None:
    (clone / "docs" / "index.md").write_text("# Page\n")
    (port,) = free_ports(1)
    env = os.environ | {"TMPDIR": str(tmp_path)}  # the site is made there, and stays
    with subprocess.Popen(
        ["scripts/docs", "serve", str(port)], cwd=clone, env=env, stderr=subprocess.PIPE, text=True
    ) as serving:
        try:
            assert serving.stderr is not None
            said = next(line for line in serving.stderr if "Serving on" in line or "rror" in line)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/index.html", timeout=30) as answer:
                page = answer.read().decode()
        finally:
            serving.terminate()

    assert "Serving on" in said
    assert "<h1 id=" in page


def test_a_page_that_is_in_no_navigation_ends_the_build(clone: Path) -> None:
    (clone / "docs" / "other.md").write_text("# Other\n")

    done = build(clone, "nothing")

    assert done.returncode == 1
    assert "other.md" in done.stderr
