"""Mistakes that a type checker finds; where it no longer did, the comment would be one too many."""

from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware

from negotiate_mw import (
    Acceptor,
    Anonymous,
    ChannelBinding,
    CookieSessions,
    Identity,
    Limits,
    NegotiateMiddleware,
    PacGroups,
    Policy,
    RedisReplayCache,
)
from negotiate_mw.client import NegotiateAuth
from negotiate_mw.testing import DevAcceptor

app = FastAPI()


def names(identity: Identity) -> list[str]:
    return [identity.username]


async def numbers(identity: Identity) -> list[int]:
    return [len(identity.username)]


def page(scope: dict[str, Any]) -> FastAPI:
    return app


def touch(identity: Identity, nobody: Anonymous, user: Identity | Anonymous) -> None:
    identity.username = "root"  # type: ignore[misc]
    identity.groups.add("HR")  # type: ignore[attr-defined]
    identity.sid.upper()  # type: ignore[union-attr]
    identity.delegated.ccache()  # type: ignore[union-attr]
    nobody.principal  # type: ignore[attr-defined] # noqa: B018
    user.groups  # type: ignore[union-attr] # noqa: B018


async def accept(acceptor: Acceptor) -> None:
    await acceptor.accept(None, "token")  # type: ignore[arg-type]
    await acceptor.accept(None, b"token", bindings="tls-server-end-point:")  # type: ignore[arg-type]
    await acceptor.accept(None, b"token", required=2)  # type: ignore[arg-type]
    await acceptor.accept(b"token")  # type: ignore[call-arg]
    result = await acceptor.accept(None, b"token")
    result.identity.username  # type: ignore[union-attr] # noqa: B018


NegotiateMiddleware(app, Acceptor())  # type: ignore[call-arg]
NegotiateMiddleware(app, acceptor="http.keytab")  # type: ignore[arg-type]
NegotiateMiddleware(app, groups=names)  # type: ignore[arg-type]
NegotiateMiddleware(app, groups=numbers)  # type: ignore[arg-type]
NegotiateMiddleware(app, required="no")  # type: ignore[arg-type]
NegotiateMiddleware(app, policy={"realms": ["CORP.EXAMPLE"]})  # type: ignore[arg-type]
NegotiateMiddleware(app, sessions="cookie")  # type: ignore[arg-type]
NegotiateMiddleware(app, on_refused=page)  # type: ignore[arg-type]
NegotiateMiddleware(app, anonymous=True)  # type: ignore[call-arg]
Middleware(NegotiateMiddleware, required="no")  # type: ignore[arg-type]
app.add_middleware(NegotiateMiddleware, group="pac")  # type: ignore[call-arg]

Acceptor(keytab=b"http.keytab")  # type: ignore[arg-type]
Acceptor("http.keytab")  # type: ignore[call-arg]
Acceptor(offload="sometimes")  # type: ignore[arg-type]
Acceptor(limits={"legs": 2})  # type: ignore[arg-type]
Limits(legs="two")  # type: ignore[arg-type]
RedisReplayCache("redis://localhost", when_down="ignore")  # type: ignore[arg-type]

Policy(required_flags=2)  # type: ignore[arg-type]
Policy(channel_binding="required")  # type: ignore[arg-type]
Policy(username=len)  # type: ignore[arg-type]
ChannelBinding.required("cert.pem", "key.pem")  # type: ignore[call-arg]
PacGroups(names=["HR"])  # type: ignore[arg-type]
CookieSessions(keys=[1])  # type: ignore[list-item]
NegotiateAuth(mutual="sometimes")  # type: ignore[arg-type]
DevAcceptor("alice@DEV", groups=[1])  # type: ignore[list-item]
