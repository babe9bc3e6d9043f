"""Log-ins per second on one core, a fresh ticket for each request: the middleware beside Apache's mod_auth_gssapi.

    .venv/bin/python -m benchmarks.throughput [--rounds N] [--seconds S]

Law: server and load have a core each; the rows take turns, round after round, so that what else the machine does
hits all of them; an answer other than 200 ends the run. Whatever it starts it ends, and its files are temporary.
"""

import argparse
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from benchmarks.apps import BODY
from benchmarks.kerberos import accept_all, make_tokens
from benchmarks.report import Figure, machine, table
from negotiate_mw.testing import KerberosRealm, RealmError

HERE = Path(__file__).resolve().parent
SPN = "HTTP/localhost"
PATH = "/index.html"  # a file of Apache's
APACHE_ROOT = Path("/usr/lib/apache2")
APACHE_USER = "www-data"
CONNECTIONS = 16
APACHE_THREADS = 25  # one for each connection, and some to spare
START_SECONDS = 20.0
CALIBRATION_TOKENS = 3000
SPARE_TOKENS = 1.1  # a server on one core can't log in faster than the bare accept call; times this, none runs dry
BUSY = 0.93  # a server that got less of its core shared it, or waited for the load: such a round is left out
FEWEST = 3  # quiet rounds that a median can be taken of

ROWS = {
    "bare": "bare app, no authentication",
    "ours": "ours, Kerberos for each request",
    "apache": "Apache mod_auth_gssapi",
    "raw": "accept call alone, in a loop",
}


class BenchmarkError(Exception):
    """The run means nothing; the message says why."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one row did in one round."""

    rate: float  # a second
    cost: float  # microseconds of CPU time each
    busy: float  # share of the core


@dataclass(frozen=True, slots=True)
class Server:
    """One server on its port; ``group`` is its process group."""

    port: int
    group: int

    def cpu_seconds(self) -> float:
        """CPU time that all its processes have used."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.group:
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def get(self, token: str | None) -> tuple[int, str | None, bytes]:
        """Status, WWW-Authenticate and body of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", PATH, headers={"Authorization": f"Negotiate {token}"} if token else {})
            answer = connection.getresponse()
            return answer.status, answer.getheader("WWW-Authenticate"), answer.read()
        finally:
            connection.close()


def pin(core: int) -> None:
    os.sched_setaffinity(0, {core})


def work_quietly(*cores: int) -> None:
    """A worker process: on these cores, and Ctrl-C is for the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.sched_setaffinity(0, cores)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: Sequence[str], port: int, env: Mapping[str, str], core: int, log: Path) -> Iterator[Server]:
    """A server in a process group of its own, on one core, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=dict(env),
            cwd=HERE.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=partial(pin, core),
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkError(f"{command[0]} doesn't answer on 127.0.0.1:{port}: {log.read_text()}")
            time.sleep(0.05)
        yield Server(port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def uvicorn(app: str, port: int) -> list[str]:
    quiet = ["--log-level", "warning", "--no-access-log"]
    fast = ["--loop", "uvloop", "--http", "httptools"]
    return [sys.executable, "-m", "uvicorn", f"benchmarks.apps:{app}", "--port", str(port), *fast, *quiet]


def apache(directory: Path, port: int, realm: KerberosRealm, keytab: Path) -> tuple[list[str], dict[str, str]]:
    """Apache's command and environment; what it reads is put into ``directory``, for the user that it runs as."""
    (directory / "www").mkdir()
    (directory / "www" / "index.html").write_bytes(BODY)
    shutil.copy(keytab, directory / "http.keytab")
    shutil.copy(realm.env["KRB5_CONFIG"], directory / "krb5.conf")
    template = (HERE / "apache.conf").read_text()
    values = {"root": APACHE_ROOT, "directory": directory, "port": port, "user": APACHE_USER, "threads": APACHE_THREADS}
    (directory / "apache.conf").write_text(template.format_map(values))
    if os.geteuid() == 0:
        for path in (directory, *directory.rglob("*")):
            shutil.chown(path, APACHE_USER, APACHE_USER)
    env = realm.environ() | {"KRB5_CONFIG": str(directory / "krb5.conf"), "KRB5RCACHEDIR": str(directory / "rcache")}
    command = ["apache2", "-D", "FOREGROUND", "-f", str(directory / "apache.conf")]
    return command, env


def check(name: str, server: Server, token: str, *, authenticates: bool) -> None:
    """The row is what it says: it wants a ticket, proves itself in return, and takes no ticket twice."""
    status, proof, body = server.get(token)
    if status != 200 or body != BODY:
        raise BenchmarkError(f"{name} answers {status} to a ticket")
    if not authenticates:
        return
    if not proof or not proof.startswith("Negotiate ") or not b64decode(proof.partition(" ")[2]):
        raise BenchmarkError(f"{name} sends no last token")
    for case, sent in (("no ticket", None), ("a ticket for the second time", token)):
        status = server.get(sent)[0]
        if status != 401:
            raise BenchmarkError(f"{name} answers {status} to {case}")


def load(name: str, server: Server, tokens: Path, seconds: int, core: int) -> Run:
    """One turn of wrk."""
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(HERE / "tokens.lua")]
    arguments = [str(tokens), PATH, "again" if name == "bare" else "once"]
    before = server.cpu_seconds()
    done = subprocess.run(
        ["wrk", *options, f"http://127.0.0.1:{server.port}", "--", *arguments],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        preexec_fn=partial(pin, core),
    )
    cpu = server.cpu_seconds() - before
    found = re.search(r"good=(\d+) other=(\d+) broken=(\d+) spent=(\d+) microseconds=(\d+)", done.stdout)
    if found is None:
        raise BenchmarkError(f"wrk failed: {done.stdout}{done.stderr}")
    good, other, broken, spent, microseconds = map(int, found.groups())
    if other or broken or not good:
        raise BenchmarkError(f"{name}: {good} answers of 200, {other} others, {broken} broken")
    if spent:
        raise BenchmarkError(f"{name} used up its tokens before the time was over; give it less: --seconds")
    return Run(rate=good * 1e6 / microseconds, cost=cpu * 1e6 / good, busy=cpu * 1e6 / microseconds)


def accept_loop(pool: ProcessPoolExecutor, keytab: Path, directory: Path, tokens: list[str]) -> Run:
    wall, cpu = pool.submit(accept_all, keytab, directory, tokens).result()
    return Run(rate=len(tokens) / wall, cost=cpu * 1e6 / len(tokens), busy=cpu / wall)


def measure(rounds: int, seconds: int) -> dict[str, list[Run]]:
    """All rows, all rounds, after one that doesn't count."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchmarkError("two cores are needed: one for the server, one for the load")
    server_core, load_core = cores[0], cores[-1]
    runs: dict[str, list[Run]] = {row: [] for row in ROWS}
    with ExitStack() as stack:
        realm = stack.enter_context(KerberosRealm())
        realm.add_user("alice")
        realm.add_service(SPN)
        keytab, ccache = realm.keytab(SPN), realm.kinit("alice")
        realm.token(SPN, ccache)  # puts the service's ticket into the cache
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="negotiate-mw-bench-")))
        work.chmod(0o711)  # Apache's user has to get through
        makers = stack.enter_context(ProcessPoolExecutor(len(cores), initializer=work_quietly, initargs=tuple(cores)))
        looper = stack.enter_context(ProcessPoolExecutor(1, initializer=work_quietly, initargs=(server_core,)))

        def tokens(count: int) -> list[str]:
            share = [makers.submit(make_tokens, ccache, f"{SPN}@{realm.name}", -(-count // len(cores))) for _ in cores]
            return [token for part in share for token in part.result()]

        # the same tokens go to every row, each of which has a replay cache of its own
        for row in ROWS:
            (work / row / "rcache").mkdir(parents=True)
        raw_rcache = work / "raw" / "rcache"
        first = tokens(CALIBRATION_TOKENS)
        supply = int(accept_loop(looper, keytab, raw_rcache, first).rate * seconds * SPARE_TOKENS)
        servers: dict[str, Server] = {}
        for app in ("bare", "ours"):
            env = realm.environ() | {"KRB5_KTNAME": str(keytab), "KRB5RCACHEDIR": str(work / app / "rcache")}
            port = free_port()
            servers[app] = stack.enter_context(serving(uvicorn(app, port), port, env, server_core, work / f"{app}.log"))
        port = free_port()
        command, env = apache(work / "apache", port, realm, keytab)
        servers["apache"] = stack.enter_context(serving(command, port, env, server_core, work / "apache.log"))
        for name, server in servers.items():
            check(ROWS[name], server, first[0], authenticates=name != "bare")
        file = work / "tokens"
        for turn in range(rounds + 1):
            fresh = tokens(supply)
            file.write_text("\n".join(fresh) + "\n")
            for replays in work.glob("*/rcache/*"):
                replays.unlink()  # they grow, and an accept takes longer by up to a fifth: let all rounds be alike
            rows = list(ROWS)
            first_row = turn % len(rows)
            for row in rows[first_row:] + rows[:first_row]:
                if row == "raw":
                    run = accept_loop(looper, keytab, raw_rcache, fresh)
                else:
                    run = load(row, servers[row], file, seconds, load_core)
                if turn:
                    runs[row].append(run)
            print(f"round {turn} of {rounds}" + ("" if turn else " (warming up)"), file=sys.stderr, flush=True)
    return runs


def show(runs: Mapping[str, Sequence[Run]]) -> str:
    """The table, and below it what to make of it."""
    rounds = len(runs["ours"])
    calm = [i for i in range(rounds) if all(runs[row][i].busy >= BUSY for row in ("ours", "apache", "raw"))]
    quiet = len(calm)
    if quiet >= FEWEST:
        runs = {row: [each[i] for i in calm] for row, each in runs.items()}

    def ratios(row: str, to: str) -> Figure:
        return Figure.of([a.rate / b.rate for a, b in zip(runs[row], runs[to], strict=True)])

    lines = []
    for row, text in ROWS.items():
        rate = Figure.of([run.rate for run in runs[row]])
        cost = Figure.of([run.cost for run in runs[row]])
        busy = Figure.of([run.busy for run in runs[row]])
        lines.append([text, f"{rate:,.0f}", f"{cost.median:.1f}", f"{busy.median:.0%}", f"{ratios(row, 'apache'):.2f}"])
    head = ["one core", "a second (quartiles)", "CPU µs each", "of the core", "ratio to Apache (quartiles)"]
    limit = [
        (bare.cost + raw.cost) / ours.cost  # not by rates: the load can be too slow for the bare app
        for ours, bare, raw in zip(runs["ours"], runs["bare"], runs["raw"], strict=True)
    ]
    by_cpu = Figure.of([b.cost / a.cost for a, b in zip(runs["ours"], runs["apache"], strict=True)])
    tail = [
        f"Ours is {ratios('ours', 'apache').median:.2f} times Apache ({by_cpu.median:.2f} by CPU time), and "
        f"{Figure.of(limit).median:.0%} of the limit, which is one bare request and one accept call.",
        f"{quiet} of {rounds} rounds were quiet (every server got at least {BUSY:.0%} of its core)"
        + (" and are what is shown." if quiet >= FEWEST else "; TOO FEW, so all are shown, and mean little."),
        machine("uvicorn", "uvloop", "httptools", "gssapi") + f", {apache_version()}",
    ]
    return table(head, lines) + "\n\n" + "\n".join(tail)


def apache_version() -> str:
    done = subprocess.run(["apache2", "-v"], capture_output=True, text=True)
    found = re.search(r"Apache/\S+", done.stdout)
    return found[0] if found else "Apache"


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="rounds that count (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=2, help="of load, each row and round (default: %(default)s)")
    arguments = parser.parse_args()
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    missing = [name for name in ("wrk", "apache2") if not shutil.which(name)]
    if missing or not (APACHE_ROOT / "modules/mod_auth_gssapi.so").exists():
        sys.exit("bench: wrk, Apache or its mod_auth_gssapi is missing; scripts/bench installs them")
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, end)
    try:
        print(show(measure(arguments.rounds, arguments.seconds)))
    except (BenchmarkError, RealmError) as error:
        sys.exit(f"bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def end(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


if __name__ == "__main__":
    main()
