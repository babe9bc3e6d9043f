"""What each node of the cluster serves: who you are, which node says so, and how you were known.

Everything that nodes share lives in Redis: who is logged in, and which tickets were used. See ../../docker-compose.yml.
"""

import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from negotiate_mw import Acceptor, NegotiateMiddleware, Policy, RedisReplayCache, RedisSessions

redis = os.environ["REDIS_URL"]
acceptor = Acceptor(replay=RedisReplayCache(redis, when_down="local"))
sessions = RedisSessions(redis, keys=Path(os.environ["SESSION_KEYS"]).read_text().split(), max_age=3600)


async def whoami(request: Request) -> JSONResponse:
    return JSONResponse({"node": os.environ["NODE"], "user": request.user.username})


async def logout(request: Request) -> PlainTextResponse:
    await sessions.logout(request.scope)
    return PlainTextResponse("good bye\n")


async def ready(request: Request) -> PlainTextResponse:
    return PlainTextResponse("ready\n", 200 if acceptor.ready() else 503)


routes = [Route("/", whoami), Route("/logout", logout, methods=["POST"]), Route("/readyz", ready)]
app = NegotiateMiddleware(
    Starlette(routes=routes),
    acceptor=acceptor,
    sessions=sessions,
    exempt=("/readyz",),
    policy=Policy(realms=[os.environ["REALM"]]),
)
