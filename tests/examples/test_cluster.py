"""The cluster of ``docker-compose.yml``: the file is right, and its scripts do what they say without containers."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.integration.serving import ROOT, SECONDS
from tests.proxies.running import free_ports

CLUSTER = ROOT / "examples" / "cluster"
REALM = {"REALM": "CLUSTER.EXAMPLE", "SITE_HOST": "localhost", "PASSWORD": "correct-horse"}


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None and os.environ.get("NEGOTIATE_MW_REQUIRE_REALM") == "1":
        pytest.fail(f"{name} isn't installed: run scripts/setup test")
    return found or pytest.skip(f"{name} isn't installed")


@contextmanager
def running(log: Path, *command: str, env: Mapping[str, str]) -> Iterator[None]:
    """A program in the background, in a session of its own, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=dict(env), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield
        assert process.poll() is None, log.read_text(errors="replace")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_the_compose_file_is_right() -> None:
    done = subprocess.run(
        [program("docker-compose"), "config", "-q"], cwd=ROOT, capture_output=True, text=True, env=dict(os.environ)
    )

    assert done.returncode == 0, done.stderr


def test_the_compose_file_calls_what_there_is() -> None:
    text = (ROOT / "docker-compose.yml").read_text() + (CLUSTER / "Dockerfile").read_text()

    for name in re.findall(r"(?:/srv/|examples/cluster/)([\w.]+)", text):
        assert (CLUSTER / name).exists(), name


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Everything but the user, on loopback; the environment of one."""
    folder = tmp_path_factory.mktemp("cluster")
    (shared := folder / "shared").mkdir()
    kdc, redis, one, two, haproxy = free_ports(5)
    env = {**os.environ, **REALM, "KDC": f"127.0.0.1:{kdc}", "SHARED": str(shared), "PYTHON": sys.executable}
    # what a developer's own realm would say
    env = {name: value for name, value in env.items() if not name.startswith("KRB5") and name != "PYTHONPATH"}
    env["PYTHONPATH"] = str(ROOT)
    nodes = {"REDIS_URL": f"redis://127.0.0.1:{redis}/0", "LISTEN": "127.0.0.1"}
    with ExitStack() as stack:

        def start(name: str, *command: str, **more: str) -> None:
            own = {"STATE": str(folder / name), **more}
            stack.enter_context(running(folder / f"{name}.log", *command, env={**env, **own}))

        start("kdc", "sh", str(CLUSTER / "kdc.sh"), KDC_LISTEN=f"127.0.0.1:{kdc}")
        start("redis", program("redis-server"), "--port", str(redis), "--bind", "127.0.0.1", "--save", "")
        for name, port in {"one": one, "two": two}.items():
            start(name, "sh", str(CLUSTER / "app.sh"), NODE=name, PORT=str(port), **nodes)
        proxy = {"NODE_ONE": f"127.0.0.1:{one}", "NODE_TWO": f"127.0.0.1:{two}"}
        command = [program("haproxy"), "-q", "-db", "-f", str(CLUSTER / "haproxy.cfg")]
        start("site", *command, LISTEN="127.0.0.1", PORT=str(haproxy), **proxy)
        yield {**env, "SITE": f"http://localhost:{haproxy}", "STATE": str(folder / "client")}


def test_a_user_logs_in_is_known_on_both_nodes_and_logs_out(site: dict[str, str]) -> None:
    begun = time.monotonic()

    done = subprocess.run(
        ["sh", str(CLUSTER / "client.sh")], env=site, capture_output=True, text=True, timeout=SECONDS * 2
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "OK"
    assert time.monotonic() - begun < SECONDS * 2


def test_a_wrong_password_is_no_log_in(site: dict[str, str]) -> None:
    done = subprocess.run(
        ["sh", str(CLUSTER / "client.sh")], env={**site, "PASSWORD": "wrong"}, capture_output=True, text=True
    )

    assert done.returncode != 0
    assert "OK" not in done.stdout
