"""How many instructions one successful log-in takes, by callgrind: what do log and metrics add to it?

    .venv/bin/python -m benchmarks.instructions [--against GIT_REF] [--check]
    .venv/bin/python -m benchmarks.instructions --update-baseline

The second counts the three requests of ``tests/performance``, and writes down what they take now.

Counts, unlike times, hardly depend on the machine's other work. Law: each figure is the difference of a long run and a
short one, so that neither the start nor the end is in it; every run is a process of its own, with one hash seed and
without garbage collections, and has to let everybody in.
"""

import argparse
import gc
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from benchmarks.apps import bare
from benchmarks.in_process import OPENING, finish, receive, remembered, request
from benchmarks.kerberos import make_tokens
from benchmarks.report import machine, table
from negotiate_mw import Acceptor, NegotiateMiddleware
from negotiate_mw.connection import Message, Receive, Scope
from negotiate_mw.testing import KerberosRealm, ScriptedAcceptor, user

ROOT = Path(__file__).resolve().parent.parent
SPN = "HTTP/localhost"
SHORT, LONG = 20, 220  # log-ins
# kinds of requests, and how many to count: the cheaper, the more, so that what happens once can't count for much
HOT = {"log-in": 500, "session": 500, "exempt": 5000}
BASELINE = ROOT / "tests" / "performance" / "baseline.json"
MOST_PERCENT = 1.0  # that a log-in may pay for what is told of it
# what a log-in runs through of log and metrics, each a line of its own
TELLING = re.compile(r"^( +)telemetry\.(?:logged_in|accepted|stepped)\(.*\)$", re.MULTILINE)
COLLECTED = re.compile(r"Collected : (\d+)")


def requests_of(counts: Sequence[int]) -> None:
    """So many requests of each kind of ``HOT``, in the process that is measured."""
    kinds = [make() for make in (scripted, remembered, exempt)]
    gc.collect()
    gc.disable()
    for (app, scope, receiving), count in zip(kinds, counts, strict=True):
        for _ in range(count):
            finish(app(scope, receiving, discard))


async def discard(message: Message) -> None:
    if message.get("status", 200) != 200:
        raise RuntimeError(f"the answer is {message['status']}")


def scripted() -> tuple[NegotiateMiddleware, Scope, Receive]:
    acceptor = ScriptedAcceptor({OPENING: (user("alice@EXAMPLE.COM"), b"ServerBlob1")})
    finish(acceptor.acquire())
    return NegotiateMiddleware(bare, acceptor=acceptor), request("/"), receive


def exempt() -> tuple[NegotiateMiddleware, Scope, Receive]:
    return NegotiateMiddleware(bare, acceptor=ScriptedAcceptor({}), exempt=("/healthz",)), request("/healthz"), receive


def interpreter() -> str:
    """What instruction counts depend on: another build of Python takes others for the same."""
    optimised = "optimised" if "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS")) else "plain"
    build = f"{platform.python_compiler()}, {optimised}"
    return f"{platform.python_implementation()} {platform.python_version()} {platform.machine()} ({build})"


def hot_path() -> dict[str, int]:
    """Instructions of one request of each kind of ``HOT``; takes a quarter of a minute on two cores."""
    short = [SHORT] * len(HOT)
    runs = [short, *([*short[:kind], SHORT + more, *short[kind + 1 :]] for kind, more in enumerate(HOT.values()))]

    def total(counts: Sequence[int]) -> int:
        return run(ROOT, "hot", ",".join(map(str, counts)), Path(), metrics=False)

    with ThreadPoolExecutor(2) as pool:
        base, *longer = pool.map(total, runs)
    return {case: round((each - base) / more) for (case, more), each in zip(HOT.items(), longer, strict=True)}


def update_baseline() -> None:
    """Write down what the hot path takes now, under this interpreter."""
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    BASELINE.write_text(json.dumps({**known, interpreter(): hot_path()}, indent=2, sort_keys=True) + "\n")


def log_in(case: str, count: int, folder: Path, *, metrics: bool) -> None:
    """So many log-ins, in the process that is measured."""
    if metrics:
        from opentelemetry.metrics import set_meter_provider
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        set_meter_provider(MeterProvider([InMemoryMetricReader()]))
    acceptor: Acceptor | ScriptedAcceptor
    if case == "scripted":
        acceptor = ScriptedAcceptor({OPENING: (user("alice@EXAMPLE.COM"), b"ServerBlob1")})
        tokens = [OPENING] * count
    else:
        rcache = tempfile.mkdtemp(dir=folder)
        acceptor = Acceptor(keytab=folder / "keytab", rcache=rcache, offload="never")
        tokens = [b64decode(line) for line in (folder / "tokens").read_text().split()[:count]]
    app = NegotiateMiddleware(bare, acceptor=acceptor)
    scopes = []
    for token in tokens:
        scope = request("/")
        scope["headers"][-1] = (b"authorization", b"Negotiate " + b64encode(token))
        scopes.append(scope)
    statuses = []

    async def send(message: Message) -> None:
        if "status" in message:
            statuses.append(message["status"])

    finish(acceptor.acquire())
    gc.collect()
    gc.disable()
    for scope in scopes:
        finish(app(scope, receive, send))
    if statuses != [200] * count:
        raise RuntimeError(f"somebody wasn't let in: {statuses}")


def instructions(tree: Path, case: str, folder: Path, *, metrics: bool = False) -> float:
    """Of one log-in, with the package that is in ``tree``."""
    totals = [run(tree, case, count, folder, metrics=metrics) for count in (SHORT, LONG)]
    return (totals[1] - totals[0]) / (LONG - SHORT)


def run(tree: Path, case: str, count: int | str, folder: Path, *, metrics: bool) -> int:
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    child = [sys.executable, "-m", "benchmarks.instructions", "--child", case, str(count), str(folder)]
    done = subprocess.run(
        [*valgrind, *child, *(["--metrics"] if metrics else [])],
        cwd=tree,
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    found = COLLECTED.search(done.stderr)
    if done.returncode != 0 or found is None:
        raise RuntimeError(f"valgrind ended with {done.returncode}:\n{done.stderr}")
    return int(found[1])


def as_it_is(tree: Path) -> None:
    copy(ROOT, tree, "negotiate_mw")


def silent(tree: Path) -> None:
    """The package without the lines that tell of a log-in."""
    copy(ROOT, tree, "negotiate_mw")
    taken = 0
    for name in ("middleware.py", "accept.py"):
        module = tree / "negotiate_mw" / name
        source, count = TELLING.subn(r"\1pass", module.read_text())
        module.write_text(source)
        taken += count
    if taken < 3:
        raise RuntimeError(f"only {taken} lines tell of a log-in; has one become longer than a line?")


def of_ref(tree: Path, ref: str) -> None:
    """The package as git has it under ``ref``."""
    archive = subprocess.run(["git", "archive", ref, "negotiate_mw"], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(tree, filter="data")


def copy(source: Path, tree: Path, package: str) -> None:
    shutil.copytree(source / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))


@contextmanager
def cases() -> Iterator[Path]:
    """A folder with a keytab, tokens and room for replay caches."""
    with KerberosRealm() as realm, tempfile.TemporaryDirectory(prefix="negotiate-mw-instructions-") as name:
        folder = Path(name)
        realm.add_user("alice")
        realm.add_service(SPN)
        realm.keytab(SPN, path=folder / "keytab")
        ccache = realm.kinit("alice")
        realm.token(SPN, ccache)  # so that the ticket is there
        os.environ["KRB5_CONFIG"] = realm.env["KRB5_CONFIG"]
        (folder / "tokens").write_text("\n".join(make_tokens(ccache, f"{SPN}@{realm.name}", LONG)))
        yield folder


def measure(ref: str | None) -> tuple[str, float]:
    """The table, and by how many per cent a Kerberos log-in exceeds a silent one."""
    rows, over = [], dict[str, float]()
    with cases() as folder:
        trees = {name: folder / name for name in ("now", "silent", "ref")}
        for tree in trees.values():
            tree.mkdir()
            copy(ROOT, tree, "benchmarks")
        as_it_is(trees["now"])
        silent(trees["silent"])
        if ref is not None:
            of_ref(trees["ref"], ref)
        for case, text in (("kerberos", "Kerberos"), ("scripted", "scripted acceptor")):
            base = instructions(trees["silent"], case, folder)
            now = instructions(trees["now"], case, folder)
            over[case] = 100 * (now / base - 1)
            figures = [("without the lines that tell of it", base), ("as it is", now)]
            figures.append(("with metrics that are collected", instructions(trees["now"], case, folder, metrics=True)))
            if ref is not None:
                figures.append((f"as of {ref}", instructions(trees["ref"], case, folder)))
            rows += [[f"{text}, {what}", f"{figure:,.0f}", f"{figure / base:.4f}"] for what, figure in figures]
    return table(["one log-in", "instructions", "ratio"], rows), over["kerberos"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.instructions", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--against", metavar="GIT_REF", help="count the package of that commit as well")
    parser.add_argument(
        "--check", action="store_true", help=f"fail if telling costs over {MOST_PERCENT} %% of a log-in"
    )
    parser.add_argument("--update-baseline", action="store_true", help="write down what the hot path takes now")
    parser.add_argument("--child", nargs=3, metavar=("CASE", "COUNT", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--metrics", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        case, count, folder = arguments.child
        if case == "hot":
            return requests_of([int(each) for each in count.split(",")])
        return log_in(case, int(count), Path(folder), metrics=arguments.metrics)
    if shutil.which("valgrind") is None:
        sys.exit("instructions: valgrind is missing: sudo apt-get install --no-install-recommends valgrind")
    if arguments.update_baseline:
        return update_baseline()
    text, over = measure(arguments.against)
    print(text, end="\n\n")
    print(machine())
    if arguments.check and over > MOST_PERCENT:
        sys.exit(f"instructions: telling of a log-in costs {over:.2f} % of it, and {MOST_PERCENT} % is the most")


if __name__ == "__main__":
    main()
