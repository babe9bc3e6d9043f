"""A private directory is private, goes when its process goes, however that ends, and takes nothing of others along."""

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from negotiate_mw import ConfigurationError
from negotiate_mw.errors import DelegationError
from negotiate_mw.private_files import PrivateFiles

NAME = "negotiate-mw-ccaches-"
CHILD = """
import signal
from negotiate_mw.private_files import PrivateFiles
files = PrivateFiles()
files.open()
files.path().write_bytes(b"secret")
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def files(private: Path) -> Iterator[PrivateFiles]:
    files = PrivateFiles()
    yield files
    files.close()


def child() -> subprocess.Popen[str]:
    """A process with a file in its directory."""
    process = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> None:
    process.send_signal(number)
    process.communicate()


def test_nobody_else_may_look_into_the_directory_and_nobody_can_guess_a_name(files: PrivateFiles) -> None:
    files.open()

    one, other = files.path(), files.path()

    assert stat.S_IMODE(one.parent.stat().st_mode) == 0o700
    assert one.parent == other.parent
    assert one.name != other.name
    assert len(one.name) == 32


def test_it_goes_with_all_that_is_in_it_when_it_is_closed(files: PrivateFiles, private: Path) -> None:
    files.open()
    files.path().write_bytes(b"secret")

    files.close()
    files.close()

    assert not list(private.iterdir())


def test_it_can_be_opened_again(files: PrivateFiles, private: Path) -> None:
    files.open()
    files.open()
    files.close()
    files.open()

    assert len(list(private.iterdir())) == 1


def test_what_a_killed_process_left_goes_at_the_next_start(files: PrivateFiles, private: Path) -> None:
    kill(child())
    before = list(private.rglob("*"))

    files.open()

    assert len(before) == 2
    assert list(private.rglob("*")) == [files.path().parent]


def test_what_a_living_process_has_stays(files: PrivateFiles, private: Path) -> None:
    process = child()
    before = list(private.rglob("*"))

    files.open()

    assert set(before) < set(private.rglob("*"))
    kill(process)


def test_what_a_living_child_of_a_killed_process_may_use_stays(files: PrivateFiles, private: Path) -> None:
    forking = CHILD.replace('print("ready", flush=True)', "import os\nif child := os.fork(): print(child, flush=True)")
    process = subprocess.Popen([sys.executable, "-c", forking], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    grandchild = int(process.stdout.readline())
    process.kill()
    process.wait()

    files.open()

    assert len(list(private.iterdir())) == 2
    os.kill(grandchild, signal.SIGKILL)
    process.communicate()


def test_a_link_is_not_followed(files: PrivateFiles, private: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o700)
    (theirs / "file").write_bytes(b"kept")
    (private / f"{NAME}12345678").symlink_to(theirs)

    files.open()

    assert (theirs / "file").read_bytes() == b"kept"
    assert (private / f"{NAME}12345678").is_symlink()


def test_a_link_within_it_goes_and_what_it_leads_to_stays(files: PrivateFiles, private: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    left = private / f"{NAME}12345678"
    left.mkdir(mode=0o700)
    (left / "link").symlink_to(tmp_path / "file")

    files.open()

    assert not left.exists()
    assert (tmp_path / "file").read_bytes() == b"kept"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_what_is_another_users_stays(files: PrivateFiles, private: Path) -> None:
    theirs = private / f"{NAME}12345678"
    theirs.mkdir(mode=0o700)
    os.chown(theirs, 65534, 65534)

    files.open()

    assert theirs.exists()


def test_what_others_may_look_into_is_none_of_ours_and_stays(files: PrivateFiles, private: Path) -> None:
    theirs = private / f"{NAME}12345678"
    theirs.mkdir()
    theirs.chmod(0o750)

    files.open()

    assert theirs.exists()


def test_what_has_another_name_stays(files: PrivateFiles, private: Path) -> None:
    (private / "negotiate-mw-something").mkdir(mode=0o700)

    files.open()

    assert (private / "negotiate-mw-something").exists()


def test_a_directory_that_another_start_takes_for_left_over_is_made_anew(
    files: PrivateFiles, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = fcntl.flock
    taken: list[Path] = []

    def too_late(descriptor: int, operation: int) -> None:
        if not taken:
            taken.extend(private.iterdir())
            shutil.rmtree(taken[0])
            taken[0].mkdir(mode=0o700)  # somebody else's by now
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", too_late)

    files.open()

    assert taken
    assert files.path().parent not in taken


def test_after_a_fork_the_childs_close_leaves_the_parents_files(files: PrivateFiles, private: Path) -> None:
    files.open()
    path = files.path()
    path.write_bytes(b"secret")

    child = os.fork()
    if not child:
        try:
            files.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert path.exists()


@pytest.mark.parametrize("locks", [True, False])
def test_a_place_that_cannot_be_used_stops_the_start(
    files: PrivateFiles, private: Path, monkeypatch: pytest.MonkeyPatch, locks: bool
) -> None:
    if locks:
        monkeypatch.setenv("RUNTIME_DIRECTORY", str(private / "missing"))
    else:
        monkeypatch.setattr("negotiate_mw.private_files._locked", lambda _: None)

    with pytest.raises(ConfigurationError, match="no directory for credential caches"):
        files.open()


def test_without_a_directory_there_are_no_names(files: PrivateFiles) -> None:
    with pytest.raises(DelegationError, match="closed"):
        files.path()


def test_without_systemd_it_is_in_the_temporary_directory(
    files: PrivateFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    files.open()

    assert files.path().parent.parent == tmp_path
