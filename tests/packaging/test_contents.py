"""What is in the wheel and in the source distribution, and what their metadata says."""

import ast
import hashlib
import os
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.version import Version

from .building import ROOT, build, unpack

PACKAGE = ROOT / "negotiate_mw"
LEFT_OUT = {".ci/run"}  # of a clone, in the source distribution


def in_package() -> set[str]:
    files = (file.relative_to(ROOT) for file in PACKAGE.rglob("*") if file.is_file())
    return {str(file) for file in files if "__pycache__" not in file.parts}


def names_in_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def read_metadata(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name)


def test_the_wheel_is_the_package_its_license_and_nothing_else(wheel: Path) -> None:
    names = names_in_wheel(wheel)

    folders = {name for name in names if ".dist-info/" in name}

    assert names - folders == in_package()
    assert "negotiate_mw/py.typed" in names
    assert {name.partition(".dist-info/")[2] for name in folders} == {
        "METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE",
    }  # fmt: skip


def test_a_wheel_built_from_the_sdist_is_the_same_to_the_byte(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    again = build(unpack(sdist, tmp_path / "tree"), tmp_path / "wheel", "wheel")

    assert again.name == wheel.name
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(wheel.read_bytes()).digest()


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no clone")
def test_the_sdist_has_every_file_of_a_clone(sdist: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    tracked = {name for name in listed.splitlines() if (ROOT / name).is_file()}

    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert tracked - names == LEFT_OUT & tracked
    assert not [name for name in names if re.search(r"(^|/)(\.venv|\.git|__pycache__|\.hypothesis)/|\.pyc$", name)]


def test_the_metadata_is_valid_and_says_what_a_package_index_shows(wheel: Path) -> None:
    told = Metadata.from_email(read_metadata(wheel), validate=True)  # raises on what an index would refuse

    assert told.name == "negotiate-mw"
    assert told.license_expression == "MIT"
    assert told.license_files == ["LICENSE"]
    assert told.description_content_type == "text/markdown"
    assert told.description == (ROOT / "README.md").read_text()
    assert told.requires_python is not None
    assert set(told.provides_extra or ()) >= {"kerberos", "server", "client", "redis", "ldap", "otel", "all"}


def test_each_python_that_is_claimed_is_one_that_may_install_it(wheel: Path) -> None:
    told = Metadata.from_email(read_metadata(wheel), validate=True)
    prefix = "Programming Language :: Python :: 3."
    claimed = [name.removeprefix(prefix) for name in told.classifiers or () if name.startswith(prefix)]

    assert claimed
    assert told.requires_python is not None
    assert all(told.requires_python.contains(f"3.{minor}") for minor in claimed)
    assert not told.requires_python.contains(f"3.{min(map(int, claimed)) - 1}.99")


def test_no_package_is_pinned_for_users(wheel: Path) -> None:
    told = Metadata.from_email(read_metadata(wheel), validate=True)

    pinned = [str(one) for one in told.requires_dist or () if "==" in str(one.specifier)]

    assert pinned == []


def test_the_version_is_written_in_one_place_and_the_changelog_begins_with_it(wheel: Path) -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (version,) = (
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == "__version__"
    )
    assert isinstance(version, str)

    told = Metadata.from_email(read_metadata(wheel), validate=True)
    releases = re.findall(r"^## \[(\d[^]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert told.version == Version(version)
    assert releases[0] == version
    assert releases == sorted(releases, key=Version, reverse=True)
    assert not re.search(r"^version\s*=", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_every_link_of_the_top_level_pages_leads_to_a_file(name: str) -> None:
    text = (ROOT / name).read_text()

    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if not link.startswith("http")]
    missing = [link for link in links if not os.path.exists(ROOT / link)]

    assert links
    assert missing == []
