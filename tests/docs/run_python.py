"""Runs a page's Python blocks, in one namespace; each ``app`` they make is served over TLS and asked for ``/``.

Two names are taken for granted: ``app``, the reader's own, and ``URL``, of a site that wants a log-in. In a process of
its own: ``run_python.py PAGE``, with ``[[line, text], …]`` on standard input. Errors have the page's lines.
"""

import asyncio
import json
import os
import ssl
import sys

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from negotiate_mw import LdapGroups


def main(page: str) -> None:
    app = Starlette(routes=[Route("/", PlainTextResponse("the reader's own app"))])
    names = {"__name__": "page", "app": app, "URL": os.environ["DOCS_URL"]}
    served: list[object] = [app]
    LdapGroups.start = start_without_its_directory  # type: ignore[method-assign]
    for line, text in json.load(sys.stdin):
        exec(compile("\n" * line + text, page, "exec"), names)
        if not any(names["app"] is other for other in served):
            served.append(names["app"])
            status = asyncio.run(ask(names["app"]))  # type: ignore[arg-type]
            assert status < 500, f"the app of the block at line {line} answers {status}"


async def start_without_its_directory(self: LdapGroups) -> None:
    """A page's directory isn't here; ``tests/ldap`` has real ones."""


async def ask(app: ASGIApp) -> int:
    tls = {"ssl_certfile": "cert.pem", "ssl_keyfile": "key.pem"}
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="on", log_level="warning", **tls))  # type: ignore[arg-type]
    serving = asyncio.create_task(server.serve())
    while not server.started:
        assert not serving.done(), "the app doesn't start"
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    trusted = ssl.create_default_context(cafile="cert.pem")
    async with httpx.AsyncClient(verify=trusted, trust_env=False) as client:
        status = (await client.get(f"https://localhost:{port}/")).status_code
    server.should_exit = True
    await serving
    return status


if __name__ == "__main__":
    main(sys.argv[1])
