"""The law of the readers: nothing of this package but each other, and nothing that does I/O."""

import ast
import sys
from pathlib import Path

import pytest

import negotiate_mw.wire

MODULES = sorted(Path(negotiate_mw.wire.__file__).parent.glob("*.py"))
ALLOWED = {"binascii", "collections", "dataclasses", "enum", "functools", "re", "struct", "typing", "unicodedata"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_reader_imports_only_its_siblings_and_pure_parts_of_the_standard_library(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))

    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    levels = {node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert {name.partition(".")[0] for name in imported} <= ALLOWED <= sys.stdlib_module_names
    assert levels <= {0, 1}
