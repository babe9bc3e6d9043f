"""CONTRIBUTING.md names only what is there."""

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from negotiate_mw.backends import Backend

from .building import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
WORDS = set(re.findall(r"`([^`\n]+)`", PAGE))
PLACES = [ROOT, ROOT / "negotiate_mw"]
MADE = {"dist/"}  # by a command of the page


def sections() -> dict[str, str]:
    return dict(re.findall(r"^## (Add a [^\n]+)\n(.*?)(?=^## )", PAGE, re.DOTALL | re.MULTILINE))


def test_every_file_and_folder_is_there() -> None:
    paths = {word for word in WORDS if re.fullmatch(r"[\w./-]+(\.\w+|/)", word) and "NAME" not in word} - MADE
    attributes = {
        path for path in paths if "/" not in path and not path.endswith((".py", ".md", ".txt", ".toml", ".yml"))
    }

    missing = {path for path in paths - attributes if not any((place / path).exists() for place in PLACES)}

    assert missing == set()
    assert len(paths) > 25


def test_every_command_is_there() -> None:
    modules = {name for word in WORDS for name in re.findall(r"python -m (\S+)", word)}
    scripts = set(re.findall(r"scripts/\w+", PAGE))

    assert {name for name in modules if find_spec(name) is None} == set()
    assert {name for name in scripts if not (ROOT / name).is_file()} == set()
    assert len(modules) >= 6


def test_every_name_of_the_code_is_in_it() -> None:
    known: set[str] = set()
    for folder in ("negotiate_mw", "tests"):
        for file in (ROOT / folder).rglob("*.py"):
            known |= names_in(file)
    named = {name for word in WORDS if not re.search(r"[/ -]", word) for name in re.findall(r"\b_?[A-Za-z]\w+", word)}
    named -= {part for word in WORDS if re.search(r"\.(py|md|txt|toml|yml)$", word) for part in word.split(".")}

    strange = named - known - {"NAME", "NEGOTIATE_MW_REQUIRE_REALM", "dev", "True"}

    assert strange == set()
    assert {"MECHANISMS", "_open", "_step_in_pool", "_THEMES", "_checks", "STATE_KEY", "ROWS"} <= named


def names_in(file: Path) -> set[str]:
    """What is defined, assigned or passed in a module, and the module's own name."""
    found = {file.stem}
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                found.add(name)
            case ast.keyword(arg=str(name)):
                found.add(name)
    return found


@pytest.mark.parametrize("title", sections())
def test_what_there_is_to_do_has_ten_steps(title: str) -> None:
    steps = re.findall(r"^(\d+)\. ", sections()[title], re.MULTILINE)

    assert steps == [str(number) for number in range(1, 11)]


def test_a_backends_members_are_all_named() -> None:
    members = {name for name in vars(Backend) if not name.startswith("_")}

    assert members <= WORDS
