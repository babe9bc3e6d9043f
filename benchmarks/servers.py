"""Servers under measurement, each on cores of its own, and the load that wrk puts on them.

Law: whatever it starts it ends; an answer other than 200 with the right user ends the run. What a server used is
counted by the processor time of its whole process group, so that a disturbed turn shows.
"""

import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPMessage
from pathlib import Path

from benchmarks.bare import BODY, PATH, USER
from negotiate_mw.testing import KerberosRealm

HERE = Path(__file__).resolve().parent
SPN = "HTTP/localhost"
START_SECONDS = 30.0
CONNECTIONS = 16
THREADS = 25  # of Apache's and gunicorn's: one for each connection, and some to spare
MODULES = Path("/usr/lib/apache2")
WEB_USER = "www-data"
ENOUGH_FILES = 12_000


class BenchmarkError(Exception):
    """The run means nothing; the message says why."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core is whose; with two, the second of two workers shares the load's."""

    server: int
    second: int
    load: int

    @classmethod
    def of_this_machine(cls) -> "Cores":
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise BenchmarkError("two cores are needed: one for the server, one for the load")
        return cls(cores[0], cores[1], cores[-1])


@dataclass(frozen=True, slots=True)
class Run:
    """What one row did in one turn."""

    rate: float  # a second
    cost: float  # microseconds of the server's processor time each
    busy: float  # share of one core


@dataclass(frozen=True, slots=True)
class Server:
    """One server on its port; ``group`` is its process group."""

    port: int
    group: int
    tls: bool = False

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def processes(self) -> Iterator[tuple[int, list[str]]]:
        """Each process's number and the fields of its ``stat``, from the third on."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                fields = stat.read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.group:
                    yield int(stat.parent.name), fields

    def cpu_seconds(self) -> float:
        """Processor time that all its processes have used."""
        ticks = sum(int(fields[11]) + int(fields[12]) for _, fields in self.processes())
        return ticks / os.sysconf("SC_CLK_TCK")

    def get(self, headers: Mapping[str, str], path: str = PATH) -> tuple[int, HTTPMessage, bytes]:
        """Status, headers and body of one request on a connection of its own."""
        connection: http.client.HTTPConnection
        if self.tls:
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers=dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()


def negotiate(token: str) -> dict[str, str]:
    return {"Authorization": f"Negotiate {token}"}


def pin(*cores: int) -> None:
    os.sched_setaffinity(0, cores)


def work_quietly(*cores: int) -> None:
    """A worker process: on these cores, and Ctrl-C is for the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pin(*cores)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    command: Sequence[str], port: int, env: Mapping[str, str], log: Path, *cores: int, tls: bool = False
) -> Iterator[Server]:
    """A server in a process group of its own, on these cores, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=dict(env),
            cwd=HERE.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=partial(pin, *cores),
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkError(f"{command[0]} doesn't answer on 127.0.0.1:{port}: {log.read_text()}")
            time.sleep(0.05)
        yield Server(port, process.pid, tls)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # whoever is left of its group
        process.wait()


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one row's server is started: its command, and what its environment has besides the realm's."""

    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    tls: bool = False


def uvicorn(app: str, port: int, *options: str, python: str = sys.executable, loop: str = "uvloop") -> list[str]:
    """uvicorn's command; ``app`` in parentheses is a function that makes one."""
    name = app.removesuffix("()")
    how = [*(["--factory"] if name != app else []), "--loop", loop, *options]
    if "--http" not in options:
        how += ["--http", "httptools"]
    # nobody's forwarded headers are of interest; every row does without, as Apache does
    quiet = ["--log-level", "warning", "--no-access-log", "--backlog", "8192"]
    return [python, "-m", "uvicorn", f"benchmarks.{name}", "--port", str(port), *how, *quiet]


def gunicorn(app: str, port: int, python: str) -> list[str]:
    """gunicorn with one process of threads, which keeps connections, as one of its plain workers doesn't."""
    how = ["--worker-class", "gthread", "--threads", str(THREADS), "--workers", "1", "--log-level", "warning"]
    return [python, "-m", "gunicorn", f"benchmarks.{app}", "--bind", f"127.0.0.1:{port}", *how]


def web_server(
    name: str, conf: str, directory: Path, port: int, realm: KerberosRealm, keytab: Path, **more: object
) -> Recipe:
    """Apache or lighttpd by ``conf``; what it reads is put into ``directory``, for the user that it runs as."""
    (directory / "www").mkdir(parents=True)
    (directory / "www" / PATH.lstrip("/")).write_bytes(BODY)
    (directory / "rcache").mkdir(exist_ok=True)
    shutil.copy(keytab, directory / "http.keytab")
    shutil.copy(realm.env["KRB5_CONFIG"], directory / "krb5.conf")
    values = {"modules": MODULES, "directory": directory, "port": port, "user": WEB_USER, "threads": THREADS}
    values |= {"realm": realm.name, "login": USER} | more
    (directory / conf).write_text((HERE / conf).read_text().format_map(values))
    if os.geteuid() == 0:
        for path in (directory, *directory.rglob("*")):
            shutil.chown(path, WEB_USER, WEB_USER)
    foreground = {"apache2": ["-D", "FOREGROUND"], "lighttpd": ["-D"]}[name]
    env = {"KRB5_CONFIG": str(directory / "krb5.conf"), "KRB5RCACHEDIR": str(directory / "rcache")}
    return Recipe([name, *foreground, "-f", str(directory / conf)], env)


def certificate(directory: Path) -> tuple[Path, Path]:
    """A key and a certificate of localhost, made now."""
    key, cert = directory / "tls.key", directory / "tls.pem"
    made = ["-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(cert), "-days", "2"]
    subprocess.run(["openssl", "req", "-x509", *made, "-subj", "/CN=localhost"], check=True, capture_output=True)
    return key, cert


def load(
    name: str,
    server: Server,
    seconds: int,
    core: int,
    *,
    lines: Path | None = None,
    how: str = "never",
    header: str = "Authorization",
    path: str = PATH,
    connections: int = CONNECTIONS,
    threads: int = 1,
    headers: Sequence[str] = (),
) -> Run:
    """One turn of wrk; see ``tokens.lua`` for ``how`` the ``lines`` are sent."""
    options = [f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s"]
    options += [part for line in headers for part in ("-H", line)]
    arguments = [path, BODY.decode().strip(), header, how, *([str(lines)] if lines else [])]
    before = server.cpu_seconds()
    done = subprocess.run(
        ["wrk", *options, "-s", str(HERE / "tokens.lua"), server.url, "--", *arguments],
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        preexec_fn=partial(pin, core),
    )
    cpu = server.cpu_seconds() - before
    found = re.search(r"good=(\d+) other=(\d+) broken=(\d+) spent=(\d+) microseconds=(\d+)", done.stdout)
    if found is None:
        raise BenchmarkError(f"wrk failed: {done.stdout}{done.stderr}")
    good, other, broken, spent, microseconds = map(int, found.groups())
    if other or broken or not good:
        raise BenchmarkError(f"{name}: {good} right answers, {other} others, {broken} broken")
    if spent:
        raise BenchmarkError(f"{name} used up its tokens before the time was over; give it less: --seconds")
    return Run(rate=good * 1e6 / microseconds, cost=cpu * 1e6 / good, busy=cpu * 1e6 / microseconds)
