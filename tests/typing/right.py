"""What users write, and the types that they get: read by type checkers, never run."""

from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, assert_type

import httpx
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.middleware import Middleware

from negotiate_mw import (
    AcceptError,
    Acceptor,
    AcceptResult,
    Anonymous,
    ChannelBinding,
    ContextFlag,
    CookieSessions,
    DelegationError,
    Identity,
    LdapDirectory,
    LdapGroups,
    Limits,
    NegotiateMiddleware,
    PacGroups,
    Policy,
    RedisReplayCache,
    RedisSessions,
    Refusal,
    SecStatus,
    helpful_page,
)
from negotiate_mw.client import NegotiateAuth
from negotiate_mw.delegation import Delegated, ServiceTickets
from negotiate_mw.forward_auth import ForwardAuth
from negotiate_mw.local_names import local_name
from negotiate_mw.testing import DevAcceptor, ScriptedAcceptor

app = FastAPI()
other = Starlette(middleware=[Middleware(NegotiateMiddleware, required=False, groups="pac")])
keys = ["a key of 32 bytes or more, made by secrets"]


# the acceptor, for any transport
async def accept(token: bytes) -> Identity | None:
    acceptor = Acceptor(
        mechanisms=("kerberos", "ntlm"),
        service="HTTP",
        hostname=["www.corp.example", "wiki.corp.example"],
        keytab="http.keytab",
        ntlm_users="users.txt",
        replay=RedisReplayCache("redis://localhost", when_down="refuse"),
        limits=Limits(legs=4, threads=2),
    )
    async with acceptor as entered:
        assert_type(entered, Acceptor)
        try:
            result = await acceptor.accept(None, token, bindings=b"tls-server-end-point:hash")
            assert_type(result, AcceptResult)
            while result.status is SecStatus.CONTINUE_NEEDED:
                result = await acceptor.accept(result.context, token, required=ContextFlag.MUTUAL_AUTH)
        except AcceptError as error:
            assert_type(error.status, SecStatus)
            assert_type(error.reason, str)
            assert_type(error.token, bytes | None)
            raise
        assert_type(result.token, bytes | None)
        assert_type(result.attributes, ContextFlag)
        assert_type(result.expires_at, datetime | None)
        assert_type(acceptor.ready(), bool)
        return result.identity


# who it is
def greet(identity: Identity) -> None:
    assert_type(identity.principal, str)
    assert_type(identity.account_id, str)
    assert_type(identity.groups, frozenset[str])
    assert_type(identity.sid, str | None)
    assert_type(identity.expires_at, datetime | None)
    assert_type(identity.channel_bound, bool)
    assert_type(identity.attributes_of("auth-indicators"), tuple[str, ...])
    assert_type(identity.via, tuple[str, ...])
    assert_type(identity.delegated, Delegated | None)
    assert_type(identity.service_tickets, ServiceTickets | None)
    assert_type(identity.is_authenticated, bool)
    assert_type(identity.display_name, str)


def who(scope: Mapping[str, Any]) -> str:
    user: Identity | Anonymous = scope["user"]
    assert_type(user.is_authenticated, bool)
    if isinstance(user, Anonymous):
        return "nobody"
    assert_type(user, Identity)
    return user.username


@app.get("/")
def hello(request: Request) -> str:
    user = request.user
    assert isinstance(user, Identity)
    return assert_type(user.username, str)


async def forward(identity: Identity) -> None:
    try:
        delegated = identity.need_delegated()
    except DelegationError as error:
        assert_type(error.reason, str)
        raise
    assert_type(delegated.ccache(), AbstractAsyncContextManager[str])


# options of the middleware
async def from_a_database(identity: Identity) -> list[str]:
    return [identity.username]


async def from_two(identity: Identity) -> Iterable[str]:
    return {identity.username}


def healthy(scope: MutableMapping[str, Any]) -> bool:
    return bool(scope["path"] == "/healthz")


def short(identity: Identity) -> str:
    return identity.principal.partition("@")[0]


NegotiateMiddleware(app)
NegotiateMiddleware(app, acceptor=Acceptor(), groups=from_a_database, exempt=("/healthz", "/static/*"))
NegotiateMiddleware(app, groups=from_two, exempt=healthy, challenge=healthy, on_refused=helpful_page)
NegotiateMiddleware(app, groups=PacGroups(names={"S-1-5-21-1-2-3-1106": "HR"}), sessions=CookieSessions(keys=keys))
NegotiateMiddleware(app, groups="pac", sessions=RedisSessions("redis://localhost", keys=keys))
NegotiateMiddleware(app, acceptor=DevAcceptor("alice@DEV", groups={"HR"}))
NegotiateMiddleware(app, acceptor=ScriptedAcceptor({b"one": b"two"}), connection_bound=True, basic=True)
NegotiateMiddleware(
    app,
    policy=Policy(
        realms=["CORP.EXAMPLE"],
        required_flags=ContextFlag.MUTUAL_AUTH | ContextFlag.INTEGRITY,
        channel_binding=ChannelBinding.required(),
        trusted_origins=("https://intranet.corp.example",),
        username=short,
    ),
)
NegotiateMiddleware(app, policy=Policy(realms="*", username=local_name, channel_binding=ChannelBinding.off()))
NegotiateMiddleware(
    app,
    groups=LdapGroups(
        LdapDirectory(
            realm="CORP.EXAMPLE", domain="CORP", servers=["ldap://dc1.corp.example"], base="dc=corp,dc=example",
            principal="web@CORP.EXAMPLE", keytab="http.keytab",
        )
    ),
)  # fmt: skip
app.add_middleware(NegotiateMiddleware, required=False, groups="pac")


def branded(scope: MutableMapping[str, Any], refusal: Refusal) -> Starlette:
    assert_type(refusal.status, int)
    assert_type(refusal.reference, str)
    return other


NegotiateMiddleware(app, on_refused=branded)
ForwardAuth(proxy="nginx")


# the client
def call(identity: Identity) -> None:
    with httpx.Client(auth=NegotiateAuth(preemptive=True, mutual="required")) as client:
        client.get("https://www.corp.example/")
    NegotiateAuth(delegated=identity.delegated)


async def results(acceptor: Acceptor) -> AsyncIterator[Awaitable[AcceptResult]]:
    yield acceptor.accept(None, b"token")
