"""Clients of every mechanism, quick enough for thousands of log-ins, and what they talk over.

Law: a client is a user's half of one handshake: ``step`` takes the server's token, None at first, and returns the next.
"""

import asyncio
import ssl
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Protocol

import gssapi
import spnego

from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire import der
from negotiate_mw.wire.spnego import KRB5, SPNEGO
from tests.integration.tokens import neg_token_init, neg_token_resp

SERVICE = "HTTP/localhost"
NTLM_DOMAIN, NTLM_PASSWORD = "CORP", "secret"


class Client(Protocol):
    """A user's half of one handshake."""

    def step(self, token: bytes | None = None) -> bytes | None: ...


class User:
    """Somebody with a ticket for the service.

    Attributes:
        principal: who the app has to take them for.
    """

    def __init__(self, realm: KerberosRealm, ccache: Path, name: str) -> None:
        self.name = name
        self.principal = f"{name}@{realm.name}"
        realm.initiator(SERVICE, ccache)  # puts the service's ticket into the cache
        krb5 = _oid(KRB5)
        self._name = gssapi.Name(f"{SERVICE}@{realm.name}", gssapi.NameType.kerberos_principal)
        self._credential = gssapi.Credentials(
            usage="initiate", mechs=[krb5, _oid(SPNEGO)], store={"ccache": f"FILE:{ccache}"}
        )
        gssapi.raw.set_neg_mechs(self._credential, [krb5])

    def begin(self, mechanism: str) -> Client:
        """A fresh context of the C library."""
        flag = gssapi.RequirementFlag
        return gssapi.SecurityContext(
            name=self._name,
            creds=self._credential,
            usage="initiate",
            mech=_oid(mechanism),
            flags=flag.mutual_authentication | flag.integrity,
        )


class ListFirst:
    """A client that says what it can, and waits for the choice before it sends a ticket (RFC 4178 4.2.1)."""

    def __init__(self, user: User) -> None:
        self._kerberos = user.begin(KRB5)

    def step(self, token: bytes | None = None) -> bytes | None:
        return neg_token_init([KRB5]) if token is None else neg_token_resp(self._kerberos.step())


class Ntlm:
    """pyspnego's NTLM, bare, with the password that everybody has here."""

    def __init__(self, user: User) -> None:
        self._context = spnego.client(
            f"{NTLM_DOMAIN}\\{user.name}", NTLM_PASSWORD, protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm
        )

    def step(self, token: bytes | None = None) -> bytes | None:
        return self._context.step(token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """A way to log in.

    Attributes:
        title: what the documentation calls it.
        legs: how many requests it takes, on one connection.
        begin: a new handshake of a user.
        target: the page that takes it.
        principal: who the app has to take a user for.
    """

    title: str
    legs: int
    begin: Callable[[User], Client]
    target: str = "/"
    principal: Callable[[User], str] = attrgetter("principal")


MECHANISMS = (
    Mechanism(title="Kerberos, one leg", legs=1, begin=lambda user: user.begin(SPNEGO)),
    Mechanism(title="SPNEGO, two legs", legs=2, begin=ListFirst),
    Mechanism(
        title="NTLM, two legs",
        legs=2,
        begin=Ntlm,
        target="/ntlm",
        principal=lambda user: f"{NTLM_DOMAIN}\\{user.name}",
    ),
)
ONE_LEG, TWO_LEGS, NTLM = MECHANISMS


def _oid(dotted: str) -> gssapi.OID:
    return gssapi.raw.OID(elements=der.encode_oid(dotted))


@dataclass(frozen=True, slots=True)
class Reply:
    """What of an answer a client needs."""

    status: int
    challenges: list[str] = field(default_factory=list)
    body: bytes = b""

    @property
    def token(self) -> bytes | None:
        """The token that it carries, if any."""
        tokens = [value.partition(" ")[2] for value in self.challenges]
        return b64decode(tokens[0], validate=True) if tokens and tokens[0] else None


class Line:
    """One connection, for asyncio; a fraction of what an HTTP library costs."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int, path: Path | None, tls: ssl.SSLContext | None) -> "Line":
        if path is not None:
            return cls(*await asyncio.open_unix_connection(path))
        name = "localhost" if tls else None
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name))

    async def get(self, token: bytes, target: str = "/") -> Reply:
        """One request, and its answer."""
        ticket = b"Authorization: Negotiate " + b64encode(token)
        self._writer.write(b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n\r\n" % (target.encode(), ticket))
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        body = await self._reader.readexactly(int(dict(headers)["content-length"]))
        return Reply(int(first.split()[1]), [v for n, v in headers if n == "www-authenticate"], body)

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def log_in(client: Client, line: Line, target: str = "/") -> Reply:
    """Go through a whole handshake; the last answer."""
    reply = await line.get(client.step() or b"", target)
    while reply.status == 401 and reply.token is not None:
        reply = await line.get(client.step(reply.token) or b"", target)
    return reply


async def all_at_once(
    jobs: Iterable[tuple[User, Client]], lines: list[Line], target: str = "/"
) -> list[tuple[User, Reply]]:
    """Every handshake, as the lines get free; who it was for, and the last answer."""
    waiting = iter(jobs)
    done: list[tuple[User, Reply]] = []

    async def work(line: Line) -> None:
        for user, client in waiting:
            done.append((user, await log_in(client, line, target)))

    await asyncio.gather(*map(work, lines))
    return done
