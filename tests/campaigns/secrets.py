"""Does a secret ever come out? Canaries in every place that has one, then a search of all that was said and written.

Law: a canary counts only if it was in play, which the same search has to find in what went in. It is looked for as
bytes, base64 at any offset, hex, Python's escapes and UTF-16, in pieces, so that a shortened one is found as well.
"""

import asyncio
import base64
import gc
import logging
import os
import random
import shutil
import struct
import tempfile
import traceback
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import gssapi
from spnego._ntlm_raw.md4 import md4

from negotiate_mw import Acceptor, ConfigurationError, NegotiateMiddleware, Policy
from negotiate_mw.errors import AcceptError
from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire.spnego import KRB5
from tests.integration.serving import Wire, serve
from tests.integration.tokens import neg_token_init, neg_token_resp
from tests.ntlm import answering
from tests.shell.driving import Client

from .report import Report
from .secrets_app import page, sessions

HTTP, HOST, UNKNOWN = "HTTP/localhost", "host/localhost", "HTTP/www.test.example"
PIECE = 18  # octets: long enough never to be there by chance, a multiple of base64's three
SHORT_PIECE = 12
PIECES = 8  # of a long secret
LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING)

Reply = tuple[int, list[tuple[str, str]], bytes]


class Door(Protocol):
    """A way to the server: one connection."""

    async def ask(self, headers: list[tuple[str, str]], path: str = "/") -> Reply: ...


class Watch:
    """The canaries, and the places that they may not be found in."""

    def __init__(self) -> None:
        self.secrets: dict[str, list[bytes]] = {}
        self.places: dict[str, list[bytes]] = {}
        self.inputs: list[bytes] = []
        self.public = b""

    def secret(self, name: str, value: bytes | str) -> None:
        """A canary; another client's of the same kind goes by the same name."""
        values = self.secrets.setdefault(name, [])
        if (octets := value.encode() if isinstance(value, str) else value) not in values:
            values.append(octets)

    def said(self, place: str, what: bytes | str) -> None:
        self.places.setdefault(place, []).append(what.encode(errors="replace") if isinstance(what, str) else what)

    def findings(self) -> Iterator[tuple[str, str]]:
        """Each canary that was found, and where."""
        texts = {place: b"\n".join(parts) for place, parts in self.places.items()}
        for name, values in self.secrets.items():
            needles = [needle for value in values for needle in self._needles(value)]
            for place, text in texts.items():
                if any(needle in text for needle in needles):
                    yield name, place

    def not_in_play(self) -> list[str]:
        went_in = b"\n".join(self.inputs)
        return [
            name
            for name, values in self.secrets.items()
            if not all(any(needle in went_in for needle in self._needles(value)) for value in values)
        ]

    def _needles(self, secret: bytes) -> Iterator[bytes]:
        for piece in self._pieces(secret):
            yield from forms(piece)

    def _pieces(self, secret: bytes) -> list[bytes]:
        size = SHORT_PIECE if len(secret) <= 2 * PIECE else PIECE
        last = len(secret) - size
        found = [secret[at : at + size] for at in range(0, last, max(1, last // (4 * PIECES)))] + [secret[last:]]
        found = [piece for piece in found if piece not in self.public]
        return found[:: max(1, len(found) // PIECES)]


def forms(piece: bytes) -> Iterator[bytes]:
    """All that may be made of it on its way into a line."""
    yield piece
    yield piece.hex().encode()
    yield piece.hex().upper().encode()
    yield piece.decode().encode("utf-16-le") if piece.isascii() else repr(piece)[2:-1].encode()
    for before in range(3):  # the letters at both ends depend on what lies beside
        encoded = b64encode(bytes(before) + piece)[-(-before * 8 // 6) : (before + len(piece)) * 8 // 6]
        yield encoded
        yield encoded.translate(bytes.maketrans(b"+/", b"-_"))


class InMemory:
    """The app itself, on a connection of its own."""

    def __init__(self, app: Any) -> None:
        self._client = Client(app, host="localhost")
        self.client = self._client

    async def ask(self, headers: list[tuple[str, str]], path: str = "/") -> Reply:
        path, _, query = path.partition("?")
        fields: dict[str, Any] = {"headers": [(name.lower().encode(), value.encode()) for name, value in headers]}
        answer = await self._client.get(path=path, query_string=query.encode(), **fields)
        body = answer.body
        if answer.error is not None:
            body += "".join(traceback.format_exception(answer.error)).encode()
        return answer.status, [(name.decode(), value.decode()) for name, value in answer.headers], body


class OverSocket:
    """A connection to a uvicorn."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._wire = Wire(port)

    async def ask(self, headers: list[tuple[str, str]], path: str = "/") -> Reply:
        try:
            answer = self._wire.get(path, headers=headers)
        except (OSError, ValueError):  # it closed, which is an answer too
            self._wire.close()
            self._wire = Wire(self._port)
            return 0, [], b""
        if answer.headers.get("connection") == "close":
            self._wire.close()
            self._wire = Wire(self._port)
        return answer.status, list(answer.headers.items()), answer.body


class Kit:
    """The realm's secrets, and clients that have some of their own."""

    def __init__(self, realm: KerberosRealm, watch: Watch, given: Path, dice: random.Random) -> None:
        self.realm, self.watch, self.given, self.dice = realm, watch, given, dice
        self.number = 0
        realm.add_service(HTTP, HOST, UNKNOWN)
        self.caches: dict[str, Path] = {}
        for name in ("alice", "bob", "carol", "pc1$"):
            password = realm.add_user(name, self.text())
            self.caches[name] = realm.kinit(name)
            self.file_secret(f"password of {name}", password)
        realm.keytab(HTTP, HOST, path=given / "http.keytab")
        keytab = (given / "http.keytab").read_bytes()
        watch.inputs.append(keytab)
        watch.secret("keytab", keytab[20:])
        self._keys(keytab)
        self.passwords = {name: self.text() for name in ("alice", "bob")}
        hashed = md4(self.passwords["bob"].encode("utf-16-le"))
        users = f"CORP:alice:{self.passwords['alice']}\nCORP\\bob:0:{'X' * 32}:{hashed.hex().upper()}:[U]:LCT-0\n"
        (given / "users.txt").touch(mode=0o600)
        (given / "users.txt").write_text(users.replace("LCT-0", "LCT-00000000"))
        watch.inputs.append(users.encode())
        for name, password in self.passwords.items():
            self.file_secret(f"NTLM password of {name}", password)
            self.file_secret(f"NT hash of {name}", md4(password.encode("utf-16-le")))
        watch.public = realm.token(HTTP, self.caches["carol"])[:400]
        for name in ("alice", "bob"):
            realm.token(HTTP, self.caches[name])
            cache = self.caches[name].read_bytes()
            self.file_secret(f"ccache of {name}", cache[len(cache) // 2 :])

        (given / "session.key").write_text(key := self.text() * 2)
        self.file_secret("session key", key)

    def text(self) -> str:
        return "".join(self.dice.choices("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=24))

    def file_secret(self, name: str, value: bytes | str) -> None:
        self.watch.inputs.append(value.encode() if isinstance(value, str) else value)
        self.watch.secret(name, value)

    def _keys(self, keytab: bytes) -> None:
        """Each key stands after its type and length, both in 16 bits."""
        for label, size in ((18, 32), (17, 16)):
            pieces = keytab.split(struct.pack(">HH", label, size))[1:]
            for number, piece in enumerate(pieces):
                self.watch.secret(f"key {number} of type {label}", piece[:size])

    def context(self, user: str, service: str = HTTP, *, wrapping: Any = "spnego") -> gssapi.SecurityContext:
        return self.realm.initiator(service, self.caches[user], wrapping=wrapping)


class Visit:
    """One client's way through all that can go right and wrong; each method is a path, its docstring the answer."""

    def __init__(self, kit: Kit, door: Door, where: str) -> None:
        self._kit, self._door, self._where = kit, door, where
        self.wrong: list[str] = []
        self.cookie = ""  # of the last session that began

    async def run(self) -> int:
        paths = [getattr(self, name) for name in dir(self) if name.startswith("path_")]
        for path in paths:
            await path()
        return len(paths)

    async def _ask(
        self,
        name: str,
        status: int,
        token: bytes | None = None,
        *,
        headers: Iterable[tuple[str, str]] = (),
        path: str = "/",
        answered: bool = False,
    ) -> bytes | None:
        """Send ``token``, a canary; what comes back holds none, but for our proof where it is due."""
        kit, sent = self._kit, list(headers)
        if token is not None:
            kit.watch.secret(f"{name}", token)
            sent.append(("Authorization", f"Negotiate {b64encode(token).decode()}"))
        kit.watch.inputs.append(repr(sent).encode() + path.encode() + (token or b""))
        came, fields, body = await self._door.ask(sent, path)
        if came not in (status, 0) or (came == 0 and status < 400):
            self.wrong.append(f"{self._where}: {name} was answered {came}, not {status}")
        last = None
        for field, value in fields:
            if (answered or came == 403) and field.lower() == "www-authenticate" and value.startswith("Negotiate "):
                last = base64.b64decode(value.partition(" ")[2])
                value = ""
            if field.lower() == "set-cookie" and (cookie := value.partition(";")[0]).partition("=")[2]:
                self.cookie = cookie
                kit.file_secret("session cookie", cookie.partition("=")[2])
                value = ""
            kit.watch.said(f"responses {self._where}", f"{field}: {value}")
        kit.watch.said(f"responses {self._where}", body)
        if last is not None and len(last) > 2 * PIECE:
            kit.watch.inputs.append(last)
            kit.watch.secret(f"answer to {name}", last[60:])  # all begin alike
        return last

    async def path_log_in(self) -> None:
        for wrapping in ("spnego", "kerberos"):
            context = self._kit.context("alice", wrapping=wrapping)
            token = context.step()
            last = await self._ask(f"{wrapping} token of a log-in", 200, token, answered=True)
            if last is None:
                continue  # `wrong` has it
            context.step(last)
            if wrapping == "kerberos":
                keys = gssapi.raw.krb5_export_lucid_sec_context(context, 1).cfx_kd  # type: ignore[attr-defined]
                self._kit.file_secret("session key of a log-in", keys.ctx_key)
                self._kit.file_secret("subkey of a log-in", keys.acceptor_subkey)
            await self._ask(f"{wrapping} token of a log-in", 401, token)  # again

    async def path_session(self) -> None:
        self.cookie = ""
        await self._ask("token of a log-in that begins a session", 200, self._kit.context("bob").step(), answered=True)
        if self.cookie:
            await self._ask("session", 200, headers=[("Cookie", self.cookie)])
            await self._ask("session on a page that fails", 500, headers=[("Cookie", self.cookie)], path="/fails")
            await self._ask("session that was changed", 401, headers=[("Cookie", self.cookie[:-9] + "AAAAAAAAA")])

    async def path_app_fails(self) -> None:
        await self._ask("token of a request whose app fails", 500, self._kit.context("bob").step(), path="/fails")

    async def path_exempt(self) -> None:
        await self._ask("token to an exempt path", 200, self._kit.context("bob").step(), path="/open")

    async def path_service(self) -> None:
        await self._ask("token of a computer", 403, self._kit.context("pc1$").step(), answered=True)

    async def path_no_key(self) -> None:
        await self._ask("token for a key we lack", 401, self._kit.context("bob", UNKNOWN).step())

    async def path_other_service(self) -> None:
        await self._ask("token for another service", 401, self._kit.context("bob", HOST).step())

    async def path_wrong_clock(self) -> None:
        token = self._kit.realm.token(HTTP, self._kit.caches["bob"], clock=timedelta(hours=1))
        await self._ask("token of another clock", 401, token)

    async def path_broken_tokens(self) -> None:
        token = self._kit.context("bob").step()
        assert token
        await self._ask("truncated token", 401, token[: len(token) // 2])
        await self._ask("token with a flipped bit", 401, token[:-40] + bytes([token[-40] ^ 1]) + token[-39:])
        ticket = len(token) // 3
        await self._ask(
            "ticket with a flipped bit", 401, token[:ticket] + bytes([token[ticket] ^ 1]) + token[ticket + 1 :]
        )
        await self._ask("random bytes", 401, self._kit.dice.randbytes(200))
        await self._ask("lengths that lie", 401, token + self._kit.dice.randbytes(40))

    async def path_two_legs(self) -> None:
        context = self._kit.context("alice", wrapping="kerberos")
        first = neg_token_init([KRB5])
        await self._door.ask([("Authorization", f"Negotiate {b64encode(first).decode()}")])
        second = neg_token_resp(context.step())
        await self._ask("second leg", 200, second, answered=True)
        await self._ask("second leg", 401, second)
        await self._door.ask([("Authorization", f"Negotiate {b64encode(first).decode()}")])
        await self._ask("second leg that is no proof", 401, neg_token_resp(self._kit.dice.randbytes(80)))

    async def path_headers(self) -> None:
        kit = self._kit
        for name, status, scheme in [
            ("broken base64", 400, "Negotiate %%%"),
            ("two words", 400, "Negotiate AAAA "),
            ("a bearer's token", 401, "Bearer "),
            ("an unknown scheme", 401, "Secret "),
        ]:
            kit.watch.secret(name, word := kit.text())
            await self._ask(name, status, headers=[("Authorization", scheme + word)])
        kit.watch.secret("Basic password", password := kit.text())
        kit.watch.inputs.append(password.encode())
        basic = b64encode(b"alice:" + password.encode()).decode()
        await self._ask("Basic password", 401, headers=[("Authorization", f"Basic {basic}")])
        token = kit.context("bob").step()
        assert token
        twice = ("Authorization", f"Negotiate {b64encode(token).decode()}")
        kit.watch.secret("token that comes twice", token)
        await self._ask("token that comes twice", 400, headers=[twice, twice])
        kit.watch.secret("query string", word := kit.text())
        await self._ask("query string", 401, path=f"/?key={word}")
        kit.watch.secret("cookie", word := kit.text())
        await self._ask("cookie", 401, headers=[("Cookie", f"session={word}")])
        await self._ask(
            "token beside a cookie", 200, kit.context("bob").step(), headers=[("Cookie", f"s={word}")], answered=True
        )
        await self._ask("oversized token", 431, kit.dice.randbytes(70_000))

    async def path_ntlm(self) -> None:
        kit, dice = self._kit, self._kit.dice
        right = kit.passwords["alice"]
        for name, status, client in [
            ("NTLM log-in", 200, answering.Client(password=right)),
            ("NTLM by a hashed user", 200, answering.Client(user="bob", password=kit.passwords["bob"])),
            ("NTLM with a wrong password", 401, answering.Client(password=(wrong := kit.text()))),
            ("NTLM of nobody", 401, answering.Client(user="nobody", password=right)),
            ("NTLMv1", 401, answering.Client(password=right, nt=dice.randbytes(24))),
            ("NTLM with a wrong MIC", 401, answering.Client(password=right, mic="wrong")),
            ("broken NTLM", 401, answering.Client(password=right, session_key=dice.randbytes(15))),
        ]:
            opening = ("Authorization", f"Negotiate {b64encode(client.negotiate()).decode()}")
            _, fields, _ = await self._door.ask([opening])
            challenge = base64.b64decode(dict(fields).get("www-authenticate", "").partition(" ")[2])
            message = client.authenticate(challenge) if challenge else dice.randbytes(200)
            await self._ask(name, status, message, answered=status == 200)
            if name == "NTLM log-in":
                kit.file_secret("NTLM session key", client.key)
        kit.file_secret("wrong NTLM password", wrong)


@contextmanager
def _listening(watch: Watch, place: str, level: int) -> Iterator[None]:
    """Everything that any logger says at ``level`` and above, with its exceptions and its extra fields."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            watch.said(place, self.format(record))
            watch.said(place, repr(vars(record)))

    root, listener = logging.getLogger(), Listener()
    before, handlers = root.level, root.handlers[:]
    root.handlers[:] = [listener]
    root.setLevel(level)
    try:
        yield
    finally:
        root.setLevel(before)
        root.handlers[:] = handlers


class _Telling(Acceptor):
    """An acceptor whose errors are written down as any program might print them."""

    watch: Watch

    async def accept(self, *given: Any, **options: Any) -> Any:
        try:
            result = await super().accept(*given, **options)
        except AcceptError as error:
            self.watch.said("exceptions", "".join([str(error), repr(error), *traceback.format_exception(error)]))
            if error.token and len(error.token) > 2 * PIECE:
                self.watch.inputs.append(error.token)
                self.watch.secret(f"error token for {error.reason}", error.token)
            raise
        self.watch.said("reprs", repr(result))
        return result


def _reprs(watch: Watch) -> None:
    """Whatever of ours is alive."""
    for thing in gc.get_objects():
        if str(type(thing).__module__).startswith("negotiate_mw"):
            watch.said("reprs", repr(thing))


def _raises(*_: object) -> Any:
    raise RuntimeError("the app's own mistake")


async def _in_memory(kit: Kit, rcache: Path) -> tuple[int, list[str]]:
    """All paths, at every log level; then the app's and the operator's mistakes."""
    watch, paths, wrong = kit.watch, 0, []
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = float("inf")  # a busy machine's slowness isn't what is looked for

    def acceptor(given: Path, **options: Any) -> _Telling:
        made = _Telling(
            mechanisms=("kerberos", "ntlm"),
            keytab=given / "http.keytab",
            ntlm_users=given / "users.txt",
            **{"rcache": rcache} | options,
        )
        made.watch = watch
        return made

    for level in LEVELS:
        with _listening(watch, f"log at {logging.getLevelName(level)}", level):
            app = NegotiateMiddleware(page, acceptor=acceptor(kit.given), exempt=("/open",), **sessions(kit.given))
            door = InMemory(app)
            visit = Visit(kit, door, "in memory")
            paths += await visit.run()
            wrong += visit.wrong
            for opening in (neg_token_init([KRB5]), answering.negotiate()):
                await door.ask([("Authorization", f"Negotiate {b64encode(opening).decode()}")])
                _reprs(watch)
            token = kit.context("bob").step()
            watch.secret("token of a websocket", token)
            socket = await door.client.websocket(token, headers=[(b"origin", b"https://evil.example")])
            watch.said("responses in memory", socket.body)
            await app._stop()
    with _listening(watch, "log of mistakes", logging.DEBUG):
        for options in _MISTAKES:
            app = NegotiateMiddleware(page, acceptor=acceptor(kit.given), **options)
            visit = Visit(kit, InMemory(app), "with an app's mistake")
            paths += await visit.run()
            await app._stop()
        paths += await _operators_mistakes(kit, acceptor)
    return paths, wrong


_MISTAKES: list[dict[str, Any]] = [
    {"challenge": _raises, "on_refused": _raises, "exempt": _raises},
    {"policy": Policy(username=_raises)},
    {"policy": Policy(realms=["OTHER.EXAMPLE"], ntlm_domains=["OTHER"])},
]


async def _operators_mistakes(kit: Kit, acceptor: Callable[..., _Telling]) -> int:
    """Files that break, before the start and after it."""
    watch = kit.watch
    word = kit.text()
    kit.file_secret("password in a broken line", word)
    keytab, users = (kit.given / "http.keytab").read_bytes(), (kit.given / "users.txt").read_bytes()
    broken: list[tuple[str, bytes]] = [
        ("http.keytab", b""),
        ("http.keytab", keytab[:-7]),
        ("http.keytab", keytab[2:]),
        ("users.txt", users + f"CORP:dave{word}\n".encode()),
        ("users.txt", users + f"CORP:dave:0:{word}\n".encode()),
        ("users.txt", users + f"CORP:alice:{word}\n".encode()),
        ("users.txt", users + b"CORP:dave:\xff" + word.encode()),
        ("users.txt", b""),
    ]
    with tempfile.TemporaryDirectory() as directory:
        for number, (name, content) in enumerate(broken):
            for begun in (False, True):
                given = Path(directory) / f"{number}{begun}"
                shutil.copytree(kit.given, given)
                rcache = given / "rcache"
                rcache.mkdir(mode=0o700)
                ours = acceptor(given, rcache=rcache)
                app = NegotiateMiddleware(page, acceptor=ours)
                if begun:
                    await ours.acquire()
                (given / name).write_bytes(content)
                os.utime(given / name, (1, 1))
                await _use(kit, ours, InMemory(app))
                if begun:
                    shutil.rmtree(rcache)
                    rcache.write_text("no directory")
                    await _use(kit, ours, InMemory(app))
                watch.said("reprs", repr(ours))
                await app._stop()
    return 2 * len(broken)


async def _use(kit: Kit, ours: Acceptor, door: InMemory) -> None:
    try:
        await ours.acquire()
    except ConfigurationError as error:
        kit.watch.said("exceptions", "".join([str(error), repr(error), *traceback.format_exception(error)]))
    token = kit.context("alice").step()
    assert token
    kit.file_secret("token to a server that is out of order", token)
    status, fields, body = await door.ask([("Authorization", f"Negotiate {b64encode(token).decode()}")])
    if status != 200:
        kit.watch.said("responses of a server out of order", repr(fields).encode() + body)


def _over_sockets(kit: Kit, rcache: Path, disk: Path) -> tuple[int, list[str]]:
    """The same to a uvicorn that says all that it can, with asyncio's debug mode."""
    env = {
        **kit.realm.environ(),
        "SECRETS": str(kit.given),
        "RCACHE": str(rcache),
        "PYTHONASYNCIODEBUG": "1",
        "TMPDIR": str(disk),
    }
    options = ("--factory", "--log-level", "debug")
    with serve("tests.campaigns.secrets_app:served", *options, env=env) as server:
        visit = Visit(kit, OverSocket(server.port), "over a socket")
        paths = asyncio.run(visit.run())
        server.until_logged("refused with 401")
        kit.watch.said("log of uvicorn", server.log)
    return paths, visit.wrong


def run(count: int, seed: int) -> Report:
    """``count`` canaries at least; each is looked for in every log, response, exception, repr, scope and file."""
    watch = Watch()
    with KerberosRealm() as realm, tempfile.TemporaryDirectory() as directory:
        given, disk = Path(directory) / "given", Path(directory) / "disk"
        given.mkdir()
        (disk / "rcache").mkdir(parents=True, mode=0o700)
        kit = Kit(realm, watch, given, random.Random(seed))
        with realm.apply(), _temporary(disk):
            paths, wrong = asyncio.run(_in_memory(kit, disk / "rcache"))
        more, also = _over_sockets(kit, disk / "rcache", disk)
        for file in disk.rglob("*"):
            if file.is_file():
                watch.said("disk", file.read_bytes())
    found = list(watch.findings())
    failures = [f"{name}: found in {place}" for name, place in found]
    failures += [f"{name} was never in play" for name in watch.not_in_play()]
    failures += wrong + also
    if len(watch.secrets) < count:
        failures.append(f"{len(watch.secrets)} canaries")
    done = len(watch.secrets) * len(watch.places)
    searched = sum(len(part) for parts in watch.places.values() for part in parts)
    counts = {"canaries": len(watch.secrets), "places": len(watch.places), "paths": paths + more, "bytes": searched}
    return Report(done=done, held=done - len(found), counts=counts, failures=tuple(failures[:20]))


@contextmanager
def _temporary(directory: Path) -> Iterator[None]:
    before, tempfile.tempdir = tempfile.tempdir, str(directory)
    try:
        yield
    finally:
        tempfile.tempdir = before
