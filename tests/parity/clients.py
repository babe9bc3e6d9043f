"""Clients of NTLM, and the way they go over HTTP.

Law: a client is a user's half of one handshake: ``step`` takes the server's token, None at first, and returns the next.
"""

import subprocess
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Protocol

import spnego
from spnego.channel_bindings import GssChannelBindings

from tests.integration.serving import Answer, Wire

USERS = "CORP:bob:secret\nCORP:carol:another\n"
BOB, PASSWORD = "CORP\\bob", "secret"
OFFERS = ["Negotiate", "NTLM"]


class Client(Protocol):
    """A user's half of one handshake."""

    def step(self, token: bytes | None = None) -> bytes | None: ...


def ntlm(
    user: str = BOB, password: str = PASSWORD, *, wrapped: bool = False, bindings: bytes | None = None
) -> spnego.ContextProxy:
    """pyspnego's NTLM, bare or in SPNEGO."""
    options = spnego.NegotiateOptions.use_ntlm
    if wrapped:
        options |= spnego.NegotiateOptions.use_negotiate
    return spnego.client(
        user,
        password,
        hostname="localhost",
        service="HTTP",
        protocol="negotiate" if wrapped else "ntlm",
        options=options,
        channel_bindings=None if bindings is None else GssChannelBindings(application_data=bindings),
    )


def ask(wire: Wire, token: bytes | None, target: str = "/", *, scheme: str = "Negotiate", **options: object) -> Answer:
    """One request with a token under a scheme."""
    if token is None:
        return wire.get(target, **options)  # type: ignore[arg-type]
    return wire.get(target, headers=[("Authorization", f"{scheme} {b64encode(token).decode()}")], **options)  # type: ignore[arg-type]


def token_of(answer: Answer, scheme: str = "Negotiate") -> bytes:
    """The one token that an answer carries."""
    (challenge,) = answer.challenges
    named, _, token = challenge.partition(" ")
    assert named == scheme
    return b64decode(token, validate=True)


def log_in(wire: Wire, client: Client, target: str = "/", *, scheme: str = "Negotiate") -> Answer:
    """A whole handshake on one connection; its last answer."""
    answer = ask(wire, client.step(), target, scheme=scheme)
    while answer.status == 401 and answer.challenges and " " in answer.challenges[0]:
        answer = ask(wire, client.step(token_of(answer, scheme)), target, scheme=scheme)
    return answer


def third_message(wire: Wire, client: Client, target: str = "/", *, scheme: str = "Negotiate") -> bytes:
    """Begin a handshake, and keep its last message back."""
    return client.step(token_of(ask(wire, client.step(), target, scheme=scheme), scheme)) or b""


def curl(url: str, *options: str, env: Mapping[str, str]) -> str:
    """All that curl saw: each answer with its headers, and the last body."""
    done = subprocess.run(
        ["curl", "-sS", "-i", "--noproxy", "localhost", *options, url], env=dict(env), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
