"""Real nginx and HAProxy in front of real servers.

Law: as little configuration as a proxy starts with, and then the lines that a test gives; free ports of 127.0.0.1; all
files in a directory of the test's; what was started is stopped by its pid. It runs as whoever runs the tests.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.serving import SECONDS

_STREAM_MODULES = ("/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/lib64/nginx/modules/ngx_stream_module.so")

# no directory of the system is written to, and nothing is said in its logs
NGINX = """\
{modules}
daemon off;
{user}
worker_processes 1;
pid {directory}/pid;
error_log {directory}/log warn;
events {{ worker_connections 512; }}
{blocks}
"""
NGINX_HTTP = """\
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
{lines}
}}
"""
HAPROXY = """\
global
  maxconn 200
  nbthread 1
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
{lines}
"""


def free_ports(many: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody has: proxies don't choose their own."""
    sockets = [socket.socket() for _ in range(many)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def nginx(directory: Path, ports: Sequence[int], *, http: str = "", stream: str = "") -> Iterator[None]:
    """nginx with these blocks, listening on all of ``ports``, for a ``with`` block."""
    program = _program("nginx")
    if stream:
        stream = f"stream {{\n{stream}\n}}\n"
    modules = [f"load_module {path};" for path in _STREAM_MODULES if stream and Path(path).exists()]
    config = directory / "nginx.conf"
    config.write_text(
        NGINX.format(
            directory=directory,
            modules="\n".join(modules),
            user="user root root;" if os.geteuid() == 0 else "",
            blocks=NGINX_HTTP.format(directory=directory, lines=http) + stream,
        )
    )
    # -e: else it would open the system's log before it has read the configuration
    command = [program, "-p", str(directory), "-e", str(directory / "log"), "-c", str(config)]
    with _running(command, ports, directory):
        yield


@contextmanager
def haproxy(directory: Path, ports: Sequence[int], lines: str) -> Iterator[None]:
    """HAProxy with these sections, listening on all of ``ports``, for a ``with`` block."""
    config = directory / "haproxy.cfg"
    config.write_text(HAPROXY.format(lines=lines))
    with _running([_program("haproxy"), "-q", "-db", "-f", str(config)], ports, directory):
        yield


def _program(name: str) -> str:
    if (found := shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")) is not None:
        return found
    if os.environ.get("NEGOTIATE_MW_REQUIRE_REALM") == "1":
        pytest.fail(f"{name} isn't installed: run scripts/setup test")
    pytest.skip(f"{name} isn't installed")


@contextmanager
def _running(command: Sequence[str], ports: Sequence[int], directory: Path) -> Iterator[None]:
    log = directory / "output"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        _until_it_listens(process, ports, directory)
        yield
        assert process.poll() is None, _said(directory)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_it_listens(process: "subprocess.Popen[bytes]", ports: Sequence[int], directory: Path) -> None:
    deadline = time.monotonic() + SECONDS
    for port in ports:
        while True:
            assert process.poll() is None, _said(directory)
            assert time.monotonic() < deadline, _said(directory)
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.01)


def _said(directory: Path) -> str:
    files = [directory / "output", directory / "log"]
    return "".join(file.read_text(errors="replace") for file in files if file.exists())
