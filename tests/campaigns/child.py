"""A campaign in a process of its own, inside a throwaway realm: a crash is a result, and memory is its own.

Law: the parent owns the realm, so nothing is left of it whatever becomes of the child; whatever the child says on its
error stream is a broken promise. Run as a program, this file is the child's side.
"""

import dataclasses
import importlib
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from negotiate_mw.testing import KerberosRealm, tickets

from .report import Report

ROOT = Path(__file__).resolve().parents[2]
SERVICE = "HTTP/localhost"
ANOTHER_SERVICE = "host/localhost"
USER = "alice@TEST.EXAMPLE"
HOURS = 2.0  # after that it hangs


@contextmanager
def realm() -> Iterator[dict[str, str]]:
    """The environment of alice, who has tickets, and of the service, whose keytab has another service's keys too."""
    with KerberosRealm() as kdc:
        kdc.add_user("alice")
        kdc.add_service(SERVICE, ANOTHER_SERVICE)
        env = kdc.environ(kdc.kinit("alice")) | {"KRB5_KTNAME": str(kdc.keytab(SERVICE, ANOTHER_SERVICE))}
        tickets.run(env, "kvno", "-q", SERVICE, ANOTHER_SERVICE)
        yield env


def in_child(module: str) -> Callable[[int, int], Report]:
    """``run(count, seed)`` of a module beside this one, in a child."""

    def run(count: int, seed: int) -> Report:
        command = [
            sys.executable,
            "-X",
            "faulthandler",
            "-m",
            __name__,
            f"{__package__}.{module}",
            str(count),
            str(seed),
        ]
        with realm() as env:
            done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=HOURS * 3600)
        if done.returncode != 0:
            failure = f"the process ended with {done.returncode}: {done.stderr[-2000:]}"
            return Report(done=count, held=0, counts={}, failures=(failure,))
        said = (f"it said {done.stderr[-2000:]!r}",) if done.stderr else ()
        report = json.loads(done.stdout.splitlines()[-1])
        return Report(**report | {"failures": (*report["failures"], *said)})

    return run


class Listener(logging.Handler):
    """Puts every log line into words, as an operator's handler would; keeps those that tell of a mistake of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = 0
        self.mistakes: list[str] = []
        logger = logging.getLogger()
        logger.setLevel(logging.DEBUG)
        logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        self.lines += 1
        if (record.levelno >= logging.ERROR or record.exc_info) and len(self.mistakes) < 5:
            self.mistakes.append(line)


def resident_mib() -> float:
    """What this process holds of the machine's memory, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


if __name__ == "__main__":
    name, how_many, number = sys.argv[1:]
    found: Report = importlib.import_module(name).run(int(how_many), int(number))
    print(json.dumps(dataclasses.asdict(found)))
