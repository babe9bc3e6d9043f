"""Everything that docs/performance.md says, measured in one go and written there.

    scripts/bench                      # about 15 minutes, on a machine that does nothing else
    scripts/bench --quick              # two minutes, to see that it works; writes nothing
    scripts/bench --profile            # only where a log-in's time goes
    scripts/bench --growth             # only what grows with what

Law: what isn't measured isn't written, and noise isn't published: with fewer than half of the rounds quiet, the page
stays as it was.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import breakdown, document, growth, latency, memory, sessions, throughput
from benchmarks.in_process import bars_in_process
from benchmarks.report import Outcome
from benchmarks.servers import HERE, BenchmarkError
from negotiate_mw.testing import RealmError

DOCS = HERE.parent / "docs"
# rounds and seconds: of everything, and of a quick look
FULL = {"logins": (2, 1), "sessions": (2, 1), "latency": (7, 3), "profile": (7, 1), "growth": (5, growth.MOST)}
# of the servers, with so many rounds each: how a process comes to lie in memory is worth more than what a round adds
LIVES = {"logins": 9, "sessions": 6}
QUICK = {"logins": (1, 1), "sessions": (1, 1), "latency": (1, 1), "profile": (1, 1), "growth": (2, 100)}
NAMES = ("logins", "sessions", "inprocess", "latency", "memory", "profile", "growth")


def measured(names: Sequence[str], *, quick: bool, peers: Path | None) -> list[Outcome]:
    """What was asked for, one after the other."""
    size = QUICK if quick else FULL
    found: dict[str, Outcome] = {}

    def grown() -> Outcome:
        rounds, most = size["growth"]
        workers = found["latency"].values if "latency" in found else None
        return growth.outcome(growth.measure(most, rounds), workers)

    counts = (1000, 10_000, 2000) if quick else (memory.HALF_OPEN, memory.SCRIPTED, memory.REAL)
    ways: dict[str, Callable[[], Outcome]] = {
        "logins": lambda: throughput.outcome(
            throughput.measure(*size["logins"], peers, lives=1 if quick else LIVES["logins"], warm_up=not quick)
        ),
        "sessions": lambda: sessions.outcome(
            sessions.measure(*size["sessions"], lives=1 if quick else LIVES["sessions"], warm_up=not quick)
        ),
        "inprocess": lambda: bars_in_process(3 if quick else 15),
        "latency": lambda: latency.outcome(latency.measure(*size["latency"], 2000 if quick else latency.STALL_TOKENS)),
        "memory": lambda: memory.measure(*counts),
        "profile": lambda: breakdown.outcome(*breakdown.measure(*size["profile"])),
        "growth": grown,
    }
    for name in names:
        began = time.monotonic()
        found[name] = ways[name]()
        print(f"{found[name].text}\n", flush=True)
        print(f"bench: {name} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return list(found.values())


def made_by(names: Sequence[str]) -> str:
    """The command, the day and the commit."""
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    said = subprocess.run(asked, cwd=HERE, capture_output=True, text=True).stdout.strip()
    option = "" if names == NAMES else "".join(f" --{name}" for name in names)
    return f"`scripts/bench{option}`, {time.strftime('%Y-%m-%d', time.gmtime())}, commit {said or 'unknown'}."


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two minutes, to see that it works; too short to publish")
    parser.add_argument("--profile", action="store_true", help="only where the microseconds of a log-in go")
    parser.add_argument("--growth", action="store_true", help="only what a request costs as things grow")
    parser.add_argument("--write-anyway", action="store_true", help="write the page, however noisy the machine was")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where performance.md is (default: docs)")
    parser.add_argument("--peers", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    throughput.ready()
    some = [name for name in ("profile", "growth") if getattr(arguments, name)]
    names = some or NAMES
    try:
        outcomes = measured(names, quick=arguments.quick, peers=arguments.peers)
        print(document.aims_table([aim for each in outcomes for aim in each.aims]))
        why = "it was a quick look" if arguments.quick else document.refusal(outcomes)
        if why is not None and not arguments.write_anyway:
            sys.exit(0 if arguments.quick else f"bench: nothing was written, since {why}. Or else: --write-anyway")
        for path in document.write(arguments.docs, outcomes, made_by(names), throughput.versions(arguments.peers)):
            print(f"bench: wrote {path}", file=sys.stderr)
    except (BenchmarkError, RealmError) as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
