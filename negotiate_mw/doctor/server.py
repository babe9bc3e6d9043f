"""The server's command line: adapter, workers, head limit, forwarded headers, TLS.

Law: uvicorn's options are read by uvicorn itself, its environment variables with them; of other servers only the name
is known here, and nothing is guessed.
"""

import importlib.util
import os
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from negotiate_mw.doctor.deployed import Deployed
from negotiate_mw.doctor.report import Line, ok, problem, skipped, told, warning
from negotiate_mw.errors import ConfigurationError

HEAD_BYTES = 65536  # Windows' MaxTokenSize is 48,000, which base64 makes 64,000 of
_H11_BYTES = 16384  # what h11 allows where it isn't told
_ADAPTERS = "negotiate_mw.servers.uvicorn:"
_ONE_LEG = ("granian", "daphne")


class Command(NamedTuple):
    """A server's command line, read."""

    server: str
    options: Mapping[str, Any]

    @property
    def app(self) -> str | None:
        return self.options.get("app")

    @property
    def certfile(self) -> str | None:
        return self.options.get("ssl_certfile")

    @property
    def workers(self) -> int:
        return int(self.options.get("workers") or os.environ.get("WEB_CONCURRENCY") or 1)


def read(command: str) -> Command:
    """Read ``"uvicorn main:app --workers 4"``.

    Raises:
        ConfigurationError: it is no command line of a server.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigurationError(f"--server {command!r}: {error}") from error
    if words[1:3] == ["-m", "uvicorn"]:
        words = words[2:]
    if not words:
        raise ConfigurationError('--server: give the command, such as "uvicorn main:app --workers 4"')
    server = os.path.basename(words[0])
    return Command(server, _of_uvicorn(words[1:]) if server == "uvicorn" else {})


def _of_uvicorn(words: list[str]) -> dict[str, Any]:
    try:
        from uvicorn.main import main
    except ImportError as error:
        raise ConfigurationError(
            "--server: uvicorn isn't installed here: pip install 'negotiate-mw[server]'"
        ) from error
    try:
        context = main.make_context("uvicorn", list(words), auto_envvar_prefix="UVICORN")
    except Exception as error:  # click's own, of which uvicorn shows nothing else
        raise ConfigurationError(f"--server: uvicorn wouldn't start: {getattr(error, 'message', error)}") from error
    return dict(context.params)


def examine(deployed: Deployed, command: Command | None) -> Iterator[Line]:
    """Hold it against the options."""
    if deployed.is_dev:
        yield problem("dev-acceptor")
    if deployed.limits.token_bytes < _MAX_TOKEN:
        yield warning("token-bytes-low", limit=str(deployed.limits.token_bytes))
    if command is None:
        cure = "give it: --server 'uvicorn main:app …'"
        yield skipped("the server's command line isn't known, so adapter, workers and limits weren't examined", cure)
        return
    if command.server in _ONE_LEG and "ntlm" in deployed.mechanisms:
        yield problem("no-connection")
        return
    if not command.options:
        yield skipped(f"the options of {command.server} can't be read here; docs/servers.md says what it needs")
        return
    yield from _uvicorn(deployed, command)
    yield from _workers(deployed, command)


_MAX_TOKEN = 48_000  # Windows' MaxTokenSize


def _uvicorn(deployed: Deployed, command: Command) -> Iterator[Line]:
    options = command.options
    protocol = str(options.get("http") or "auto")
    has_adapter = protocol.startswith(_ADAPTERS)
    name = protocol.removeprefix(_ADAPTERS).lower()
    if deployed.connection_bound and not has_adapter:
        yield problem("no-adapter")
    elif has_adapter:
        yield ok(f"uvicorn with {protocol}: each connection has an identity")
    else:
        yield ok("uvicorn without an adapter: enough for Kerberos, and for NTLM over HTTP/1.1")
    is_h11 = name == "h11" or (name == "auto" and importlib.util.find_spec("httptools") is None)
    limit = int(options.get("h11_max_incomplete_event_size") or _H11_BYTES)
    if is_h11 and limit < HEAD_BYTES:
        yield warning("head-too-large", limit=str(limit))
    forwarded = str(options.get("forwarded_allow_ips") or os.environ.get("FORWARDED_ALLOW_IPS") or "127.0.0.1")
    if options.get("proxy_headers") and "*" in forwarded.replace(" ", "").split(","):
        yield warning("forwarded-from-anybody")
    policy = deployed.policy
    if policy is None or policy.tls_terminated_by_proxy or command.certfile:
        return
    if policy.require_tls:
        yield problem("tls-required")
    elif deployed.basic:
        yield told("password-without-tls", "passwords are taken over TLS alone, which this server doesn't speak")


def _workers(deployed: Deployed, command: Command) -> Iterator[Line]:
    if command.workers == 1:
        return
    if getattr(deployed.sessions, "_is_generated", False):
        yield problem("generated-key", workers=str(command.workers))
    else:
        yield ok(f"{command.workers} worker processes: they share the replay cache, and nothing else has to be shared")
