"""Who is each response for, with real tickets on real connections?

Law: a response is right if it has the one name that is due *and* its last token completes the very context that the
request's token came from: no name can be in the right place by chance. What is due says ``identity.Model``.
"""

import itertools
import json
import random
import socket
import ssl
import struct
from base64 import b64decode, b64encode
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import gssapi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from negotiate_mw.testing import KerberosRealm
from negotiate_mw.testing.tickets import OIDS
from negotiate_mw.wire.spnego import KRB5, read
from tests.integration.serving import SECONDS, serve
from tests.integration.tokens import neg_token_init, neg_token_resp

from .identity import EXEMPT, Model, Who
from .report import Report

SERVICE = "HTTP/localhost"
USERS = ("alice", "bob", "carol", "dave", "erin", "frank")
SERVERS = (  # and whether over TLS
    (("--http", "httptools"), False),
    (("--loop", "uvloop"), True),
    (("--http", "negotiate_mw.servers.uvicorn:H11"), True),
    (("--http", "negotiate_mw.servers.uvicorn:HttpTools"), True),
)
WIRES = 12
KINDS = ("one", "one", "raw", "first", "first", "later one", "later one", "plain", "bad", "exempt")
KINDS_OVER_TLS = (*KINDS, "bound", "bound", "plain", "plain", "plain")


class Client:
    """A user's tickets."""

    def __init__(self, realm: KerberosRealm, name: str) -> None:
        self.name = name
        realm.add_user(name)
        ccache = realm.kinit(name)
        self._env = realm.env
        realm.token(SERVICE, ccache)  # from now on the service's ticket is in the cache
        krb5, spnego = (gssapi.OID.from_int_seq(OIDS[kind]) for kind in ("kerberos", "spnego"))
        credentials = gssapi.Credentials(usage="initiate", mechs=[krb5, spnego], store={"ccache": f"FILE:{ccache}"})
        gssapi.raw.set_neg_mechs(credentials, [krb5])
        self._credentials = credentials
        self._mechs = {"spnego": spnego, "raw": krb5}
        self._service = gssapi.Name(f"{SERVICE}@{realm.name}", gssapi.NameType.kerberos_principal)

    def begin(self, wrapping: str, bindings: bytes | None = None) -> gssapi.SecurityContext:
        flag = gssapi.RequirementFlag
        return gssapi.SecurityContext(
            name=self._service,
            creds=self._credentials,
            usage="initiate",
            mech=self._mechs[wrapping],
            flags=flag.mutual_authentication | flag.integrity,
            channel_bindings=None if bindings is None else gssapi.raw.ChannelBindings(application_data=bindings),
        )


class Certificate:
    """A self-signed certificate for localhost, for uvicorn and for its clients."""

    def __init__(self, directory: Path) -> None:
        key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        path = directory / "localhost.pem"
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
        path.write_bytes(private + made.public_bytes(pem))
        self.options = ("--ssl-certfile", str(path), "--ssl-keyfile", str(path))
        self.trusting = ssl.create_default_context(cafile=str(path))
        # RFC 5929 4.1
        self.bindings = b"tls-server-end-point:" + sha256(made.public_bytes(serialization.Encoding.DER)).digest()


class Sent(NamedTuple):
    """A request on its way: what is due, and the client's half of the handshake."""

    kind: str
    token: bytes | None
    due: Who
    context: gssapi.SecurityContext | None


class Line:
    """One connection after the other from one source port; requests may be sent before answers are read."""

    def __init__(self, port: int, number: int, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._server = ("127.0.0.1", port)
        self._source = (f"127.0.0.{number % 250 + 2}", 0)
        self.number = number
        self.waiting: list[Sent] = []
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.socket()
        self._socket.settimeout(SECONDS)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # an end without TIME_WAIT, so that the port can be used again at once
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.bind(self._source)
        self._socket.connect(self._server)
        self._source = self._socket.getsockname()
        if self._tls is not None:
            self._socket = self._tls.wrap_socket(self._socket, server_hostname="localhost")
        self._file = self._socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def reconnect(self, number: int) -> None:
        self.close()
        self.waiting.clear()
        self.number = number
        self._connect()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self._file.readline().split()[1])
        headers: dict[str, str] = {}
        while line := self._file.readline().strip().decode():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return status, headers, self._file.read(int(headers["content-length"]))


class Talk:
    """Several lines to one server, and the model of what is due on each."""

    def __init__(
        self, port: int, certificate: Certificate | None, native: bool, clients: list[Client], dice: random.Random
    ) -> None:
        self._dice = dice
        self._clients = clients
        self._numbers = itertools.count()
        self._model = Model()
        self._own = native and certificate is not None
        self._bindings = None if certificate is None else certificate.bindings
        self._kinds = KINDS if certificate is None else KINDS_OVER_TLS
        self._used: list[bytes] = []
        tls = None if certificate is None else certificate.trusting
        self.lines = [Line(port, next(self._numbers), tls) for _ in range(WIRES)]
        self.failures: list[str] = []
        self.held = 0
        self.reconnects = 0
        self.unanswered = 0
        self.remembered = 0

    def request(self, line: Line) -> bytes:
        """The next request of this line, of whatever kind; what is due for it is noted."""
        dice = self._dice
        client, kind = dice.choice(self._clients), dice.choice(self._kinds)
        context = None
        token: bytes | None = None
        if kind in ("one", "exempt"):
            context = client.begin("spnego")
            token = context.step()
        elif kind == "raw":
            context, kind = client.begin("raw"), "one"
            token = context.step()
        elif kind == "bound":
            context = client.begin("spnego", self._bindings)
            token = context.step()
        elif kind == "first":
            token = neg_token_init([KRB5])
        elif kind == "later one":
            context = client.begin("raw")
            token = neg_token_resp(context.step())
        elif kind == "bad":  # somebody's token, for the second time
            token = dice.choice(self._used) if self._used else b"\x60\x00"
        if kind == "exempt":
            self._model.passes_by(line.number)
        finds = None if kind == "exempt" else self._model.arrives(line.number, kind, client.name)
        if kind == "later one" and finds is not None:
            finds = client.name  # real tickets say themselves who it is
        due = EXEMPT
        if kind != "exempt":
            due = self._model.answers(line.number, kind, finds, is_open=True, own=self._own)
        line.waiting.append(Sent(kind, token, due, context))
        target = "/public/x" if kind == "exempt" else "/"
        field = b"" if token is None else b"Authorization: Negotiate " + b64encode(token) + b"\r\n"
        return f"GET {target} HTTP/1.1\r\nHost: localhost\r\n".encode() + field + b"\r\n"

    def answer(self, line: Line) -> None:
        """Read one and hold it against what is due."""
        sent = line.waiting.pop(0)
        status, headers, body = line.answer()
        token = b64decode(headers.get("www-authenticate", "").partition(" ")[2])
        name = (json.loads(body)["principal"] or "").removesuffix("@TEST.EXAMPLE") if status == 200 else ""
        persistent = headers["persistent-auth"].encode() if "persistent-auth" in headers else None
        due = sent.due
        is_final = due.token is not None and status != 401
        right = _completes(sent.context, token) if is_final else bool(token) is bool(due.token)
        self.remembered += sent.kind == "plain" and status == 200
        if sent.kind == "one" and sent.token is not None:
            self._used.append(sent.token)
        if (status, name, persistent) == (due.status, due.name, due.persistent) and right:
            self.held += 1
        else:
            came = f"{status} {name!r}, {persistent!r}, the token {'right' if right else 'wrong'}"
            self.failures.append(f"{sent.kind}: {came}; should be {due}")

    def reconnect(self, line: Line) -> None:
        self.unanswered += len(line.waiting)
        self._model.ends(line.number)
        line.reconnect(next(self._numbers))
        self.reconnects += 1


def _completes(context: gssapi.SecurityContext | None, token: bytes) -> bool:
    """True if the server's last token belongs to this context and no other."""
    if context is None:
        return not token
    sent_raw = context.mech == gssapi.OID.from_int_seq(OIDS["kerberos"])
    with suppress(gssapi.raw.GSSError):
        if sent_raw and token[:1] == b"\xa1":
            token = getattr(read(token), "mech_token", None) or b""
        context.step(token)
        return bool(context.complete)
    return False


def run(count: int, seed: int) -> Report:
    """``count`` requests of six users over real uvicorns: kept alive, pipelined, interleaved, on reused ports."""
    dice = random.Random(seed)
    done = held = 0
    counts = {"reconnects": 0, "unanswered": 0, "remembered": 0}
    failures: list[str] = []
    with KerberosRealm() as realm:
        realm.add_service(SERVICE)
        clients = [Client(realm, name) for name in USERS]
        env = {**realm.environ(), "KRB5_KTNAME": str(realm.keytab(SERVICE))}
        certificate = Certificate(realm.directory)
        for number, (options, over_tls) in enumerate(SERVERS):
            share = count * (number + 1) // len(SERVERS) - done
            files = certificate.options if over_tls else ()
            with serve("tests.campaigns.identity_app:app", *options, *files, env=env) as server:
                native = "negotiate_mw" in " ".join(options)
                talk = Talk(server.port, certificate if over_tls else None, native, clients, dice)
                try:
                    _converse(talk, share, dice)
                finally:
                    for line in talk.lines:
                        line.close()
                done += share
                held += talk.held
                for what in counts:
                    counts[what] += getattr(talk, what)
                failures += talk.failures
                if "ERROR" in server.log:
                    failures.append(f"{options}: errors in the server's log: {server.log[-500:]}")
    return Report(done=done, held=held, counts=counts, failures=tuple(failures[:10]))


def _converse(talk: Talk, count: int, dice: random.Random) -> None:
    left = count
    while left:
        lines = dice.sample(talk.lines, min(left, dice.randint(1, 6)))
        if dice.random() < 0.1:  # a client that goes away before it has its answers
            line = dice.choice(talk.lines)
            line.send(talk.request(line) + talk.request(line))
            talk.reconnect(line)
        for line in lines:
            many = min(left, dice.choice((1, 1, 2, 4)))
            line.send(b"".join(talk.request(line) for _ in range(many)))  # more than one: pipelined
            left -= many
        for line in lines:
            while line.waiting:
                talk.answer(line)
        if dice.random() < 0.5:
            talk.reconnect(dice.choice(lines))
