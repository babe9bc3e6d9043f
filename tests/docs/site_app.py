"""The site that pages log in to: it keeps sessions in Redis, so that there are some to list and to end."""

import os

from fastapi import FastAPI, Request

from negotiate_mw import NegotiateMiddleware, RedisSessions

app = FastAPI()
sessions = RedisSessions(os.environ["REDIS_URL"], keys=[os.environ["SESSION_KEY"]])
app.add_middleware(NegotiateMiddleware, sessions=sessions)


@app.get("/{path:path}")
def hello(request: Request) -> str:
    return f"Hello {request.user.username}"
