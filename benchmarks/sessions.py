"""What a session costs: requests a second on one core behind a sealed cookie, beside the app without anything.

    .venv/bin/python -m benchmarks.sessions [--rounds N] [--seconds S]

Law: as in ``throughput``: server and load have a core each, the rows take turns in another order each round, all get
the same requests, and an answer other than 200 ends the run. Before that, a row with sessions has to refuse a request
without the cookie, and one with another last letter.
"""

import argparse
import http.client
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import timeit
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import session_apps
from benchmarks.in_process import finish
from benchmarks.report import Figure, machine, table
from benchmarks.throughput import BUSY, CONNECTIONS, FEWEST, BenchmarkError, Run, Server, free_port, pin, serving
from negotiate_mw import CookieSessions

ROWS = {
    "bare": "bare app, six bytes",
    "bare_cached": "… with a session in the cache",
    "bare_anew": "… with a session opened anew",
    "starlette": "Starlette app, one route",
    "starlette_cached": "… with a session in the cache",
    "starlette_anew": "… with a session opened anew",
}
LEAST = {"cached": 0.85, "anew": 0.60}


def answer(server: Server, headers: Mapping[str, str]) -> tuple[int, str]:
    """Status and Set-Cookie of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", "/", headers=dict(headers))
        response = connection.getresponse()
        response.read()
        return response.status, response.getheader("Set-Cookie") or ""
    finally:
        connection.close()


def check(row: str, server: Server, cookie: str) -> None:
    """The row is what it says: it lets the cookie in, and nothing else where it has sessions."""
    other = cookie[:-1] + ("A" if cookie[-1] != "A" else "B")
    seen = [answer(server, headers)[0] for headers in ({"Cookie": cookie}, {"Cookie": other}, {})]
    if seen != ([200, 401, 401] if "_" in row else [200, 200, 200]):
        raise BenchmarkError(f"{row} answers {seen} to a cookie, a forged one and none")


def load(row: str, server: Server, cookie: str, seconds: int, core: int) -> Run:
    """One turn of wrk."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", f"Cookie: {cookie}"]
    before = server.cpu_seconds()
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}/"],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        preexec_fn=partial(pin, core),
    )
    cpu = server.cpu_seconds() - before
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m),", done.stdout)
    if found is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise BenchmarkError(f"{row}: {done.stdout}{done.stderr}")
    requests, spent = int(found[1]), float(found[2]) * {"ms": 0.001, "s": 1, "m": 60}[found[3]]
    return Run(rate=requests / spent, cost=cpu * 1e6 / requests, busy=cpu / spent)


def measure(rounds: int, seconds: int) -> dict[str, list[Run]]:
    """All rows, all rounds, after one that doesn't count."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchmarkError("two cores are needed: one for the server, one for the load")
    runs: dict[str, list[Run]] = {row: [] for row in ROWS}
    env = {**os.environ, "SESSION_KEY": secrets.token_urlsafe(32)}
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="negotiate-mw-bench-")))
        servers: dict[str, Server] = {}
        for row in ROWS:
            port = free_port()
            command = [sys.executable, "-m", "uvicorn", f"benchmarks.session_apps:{row}", "--port", str(port)]
            command += ["--loop", "uvloop", "--http", "httptools", "--log-level", "warning", "--no-access-log"]
            servers[row] = stack.enter_context(serving(command, port, env, cores[0], work / f"{row}.log"))
        token = f"Negotiate {b64encode(session_apps.TOKEN).decode()}"
        cookie = answer(servers["bare_cached"], {"Authorization": token})[1].partition(";")[0]
        for row, server in servers.items():
            check(row, server, cookie)
        for turn in range(rounds + 1):
            rows = list(ROWS)
            first = turn % len(rows)
            for row in rows[first:] + rows[:first]:
                run = load(row, servers[row], cookie, seconds, cores[-1])
                if turn:
                    runs[row].append(run)
            print(f"round {turn} of {rounds}" + ("" if turn else " (warming up)"), file=sys.stderr, flush=True)
    return runs


def show(runs: Mapping[str, Sequence[Run]]) -> str:
    """The table, and which rounds are in it."""
    rounds = len(runs["bare"])
    calm = [i for i in range(rounds) if all(runs[row][i].busy >= BUSY for row in ROWS)]
    if len(calm) >= FEWEST:
        runs = {row: [each[i] for i in calm] for row, each in runs.items()}
    lines = []
    for row, text in ROWS.items():
        app, _, kind = row.partition("_")
        ratio = Figure.of([run.rate / without.rate for run, without in zip(runs[row], runs[app], strict=True)])
        rate, cost = (Figure.of([getattr(run, name) for run in runs[row]]) for name in ("rate", "cost"))
        least = f"{LEAST[kind]:.2f}" if kind else ""
        lines.append([text, f"{rate:,.0f}", f"{cost.median:.1f}", f"{ratio:.2f}", least])
    head = ["one core", "a second (quartiles)", "CPU µs each", "ratio to its app (quartiles)", "at least"]
    quiet = f"{len(calm)} of {rounds} rounds were quiet (every server got at least {BUSY:.0%} of its core)"
    quiet += " and are what is shown." if len(calm) >= FEWEST else "; TOO FEW, so all are shown, and mean little."
    return f"{table(head, lines)}\n\n{quiet}"


def in_process(repeats: int) -> str:
    """What finding out whose cookie a request has takes, with nothing around it."""
    sessions = CookieSessions(keys=[secrets.token_urlsafe(32)], idle=3600)
    view = sessions.session({"headers": []}, is_tls=True)
    finish(view.begin(session_apps.ALICE))
    cookie = (view.set_cookie() or b"").partition(b";")[0]
    scope = {"headers": [(b"host", b"www.test.example"), (b"accept", b"*/*"), (b"cookie", cookie)]}

    def use() -> None:
        view = sessions.session(scope, is_tls=True)
        finish(view.open())
        if view.set_cookie() is not None:
            raise BenchmarkError("it wasn't opened")

    def each() -> Figure:
        return Figure.of([seconds * 1e6 / 10_000 for seconds in timeit.repeat(use, number=10_000, repeat=repeats)])

    cached = each()
    sessions._cache = session_apps.Forgetful()
    anew = each()
    rows = [["in the cache, expiry checked", f"{cached:.2f}", "5"], ["opened anew", f"{anew:.2f}", ""]]
    return table(["a session's cookie, in process", "µs (quartiles)", "at most"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.sessions", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="rounds that count (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=2, help="of load, each row and round (default: %(default)s)")
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("benchmarks.sessions: wrk is missing; scripts/bench installs it")
    print(in_process(15), end="\n\n", flush=True)
    try:
        print(show(measure(arguments.rounds, arguments.seconds)))
    except BenchmarkError as error:
        sys.exit(f"benchmarks.sessions: {error}")
    print(machine("uvicorn", "uvloop", "httptools", "starlette", "cryptography"))


if __name__ == "__main__":
    main()
