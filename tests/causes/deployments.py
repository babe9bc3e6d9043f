"""Ways to break a deployment, and healthy ones: what the log and ``negotiate-mw check`` have to say of each.

Law: each fault is one that operators really make, on a real realm. A row is a generator: what it does before its first
``yield`` breaks the deployment, so whoever only examines it stops there; what it yields are requests, and the last of
them is the one that is refused (or, of a healthy one, that logs in).
"""

import os
import re
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from negotiate_mw import Acceptor, ChannelBinding, ContextFlag, Limits, NegotiateMiddleware, Policy
from negotiate_mw.basic import ACCOUNT_TRIES
from negotiate_mw.testing import KerberosRealm, tickets
from negotiate_mw.wire import spnego
from negotiate_mw.wire.keytab import read_keytab
from tests.core.building import negotiate
from tests.wire import vectors

REALM = "TEST.EXAMPLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request of a client; ``connection`` tells its TCP connections apart."""

    token: bytes | None = None
    host: str | None = None
    method: str = "GET"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    connection: int = 0
    has_identity: bool = True  # the server gives connections one
    scheme: str = "http"


@dataclass(kw_only=True)
class Deployment:
    """One service of a realm, in order until somebody breaks it.

    Attributes:
        realm: its KDC.
        directory: a place of its own.
        host: the name that users type.
        keytab: with the keys of HTTP/host.
        acceptor: options of ``Acceptor``.
        policy: options of ``Policy``.
        middleware_options: of ``NegotiateMiddleware``, besides these two.
        env: what the server's environment has besides.
        wrap: what stands around the middleware.
        certificate: that the server presents.
        held: what has to be let go of at the end.
    """

    realm: KerberosRealm
    directory: Path
    host: str
    keytab: Path
    acceptor: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    middleware_options: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    wrap: Callable[[Any], Any] | None = None
    certificate: Path | None = None
    held: ExitStack = field(default_factory=ExitStack)
    _ccache: Path | None = None

    @classmethod
    def healthy(cls, realm: KerberosRealm, directory: Path, host: str) -> "Deployment":
        """A service with a key and a keytab, as the README says."""
        realm.add_service(f"HTTP/{host}")
        keytab = realm.keytab(f"HTTP/{host}", path=directory / "http.keytab")
        (directory / "rcache").mkdir(mode=0o700)
        acceptor = {"keytab": keytab, "rcache": directory / "rcache"}
        return cls(realm=realm, directory=directory, host=host, keytab=keytab, acceptor=acceptor)

    @property
    def spn(self) -> str:
        return f"HTTP/{self.host}"

    @property
    def alice(self) -> Path:
        """Her credential cache, the same every time: with the tickets that she had."""
        if self._ccache is None:
            self._ccache = self.realm.kinit("alice")
        return self._ccache

    def middleware(self, app: Any) -> Any:
        """The app behind the middleware, as the operator wrote it; made after it was broken."""
        acceptor, policy = Acceptor(**self.acceptor), Policy(**self.policy)
        middleware = NegotiateMiddleware(app, acceptor=acceptor, policy=policy, **self.middleware_options)
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.certificate.with_suffix(".key"))
            middleware._end_point.start(context)  # as a server's lifespan would
        return middleware if self.wrap is None else self.wrap(middleware)

    def token(self, service: str | None = None, ccache: Path | None = None, **options: Any) -> bytes:
        """A client's first token; alice's, for this service, unless said otherwise."""
        return self.realm.token(service or self.spn, ccache or self.alice, **options)

    def export(self) -> None:
        """Write the keytab anew, with the keys as the KDC has them now."""
        self.realm.keytab(self.spn, path=self.keytab)

    def kadmin(self, *command: str) -> None:
        tickets.run(self.realm.environ(), "kadmin.local", "-r", self.realm.name, *command)

    def alter_keytab(self, keep: Callable[[int, bytes], bytes | None]) -> None:
        """Rewrite the keytab record by record; ``keep`` gets its enctype and bytes, None leaves it out."""
        data, at, records = self.keytab.read_bytes(), 2, []
        while at < len(data):
            size = int.from_bytes(data[at : at + 4])
            record = data[at + 4 : at + 4 + size]
            (entry,) = read_keytab(data[:2] + data[at : at + 4 + size])
            if (kept := keep(entry.enctype, record)) is not None:
                records.append(len(kept).to_bytes(4) + kept)
            at += 4 + size
        self.keytab.write_bytes(data[:2] + b"".join(records))

    def make_certificate(self, name: str) -> Path:
        """A self-signed certificate; its key is beside it."""
        path = self.directory / f"{name}.pem"
        command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += [
            "-days",
            "90",
            "-subj",
            f"/CN={self.host}",
            "-addext",
            f"subjectAltName=DNS:{self.host}",
            "-keyout",
            str(path.with_suffix(".key")),
            "-out",
            str(path),
        ]
        subprocess.run(command, check=True, capture_output=True)
        return path

    def apply(self) -> AbstractContextManager[object]:
        """Lead this process into the deployment's realm."""
        return patch.dict(os.environ, self.realm.environ(), clear=True)


Act = Callable[[Deployment], Iterator[Request]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way to break a deployment.

    Attributes:
        name: in the words of whoever did it.
        act: how, and what a client then sends.
        log: the cause that the log names; None: no request can show it there.
        check: the cause that ``negotiate-mw check`` names; None: it is nothing of the deployment's, or not to be seen.
        says: what the line has to hold, ``{spn}`` and ``{host}`` filled in.
        status: the answer's.
        ad: it needs Active Directory.
    """

    name: str
    act: Act
    log: str | None
    check: str | None = None
    says: tuple[str, ...] = ()
    status: int = 401
    ad: bool = False


# Mechanism


def ntlm(d: Deployment) -> Iterator[Request]:
    yield Request(token=vectors.SPNEGO_NTLM_NEGOTIATE)


def ntlm_by_address(d: Deployment) -> Iterator[Request]:
    yield Request(token=vectors.NTLM_NEGOTIATE, host="192.0.2.1:8000")


def negoex(d: Deployment) -> Iterator[Request]:
    yield Request(token=negotiate(spnego.NEGOEX))


# Names and keys


def password_changed_keytab_old(d: Deployment) -> Iterator[Request]:
    d.realm.rotate(d.spn)
    yield Request(token=d.token())


def keytab_new_ticket_old(d: Deployment) -> Iterator[Request]:
    old = d.token(), d.token()
    d.realm.rotate(d.spn)
    d.export()
    yield Request(token=old[0])


def account_made_anew(d: Deployment) -> Iterator[Request]:
    d.kadmin("delprinc", "-force", d.spn)
    d.realm.add_service(d.spn)
    yield Request(token=d.token())


def keytab_without_aes256(d: Deployment) -> Iterator[Request]:
    d.alter_keytab(lambda enctype, record: None if enctype == 18 else record)
    yield Request(token=d.token())


def account_of_rc4(d: Deployment) -> Iterator[Request]:
    d.kadmin("delprinc", "-force", d.spn)
    d.kadmin("addprinc", "-randkey", "-e", "arcfour-hmac:normal", d.spn)
    yield Request(token=d.token())


def alias(d: Deployment) -> Iterator[Request]:
    d.realm.add_service(f"HTTP/alias.{d.host}")
    yield Request(token=d.token(f"HTTP/alias.{d.host}"), host=f"alias.{d.host}")


def capitals(d: Deployment) -> Iterator[Request]:
    d.realm.add_service(f"HTTP/{d.host.upper()}")
    yield Request(token=d.token(f"HTTP/{d.host.upper()}"))


def ticket_for_host(d: Deployment) -> Iterator[Request]:
    d.realm.add_service(f"host/{d.host}")
    d.realm.keytab(d.spn, f"host/{d.host}", path=d.keytab)
    yield Request(token=d.token(f"host/{d.host}"))


def hostname_left_out(d: Deployment) -> Iterator[Request]:
    other = f"HTTP/other.{d.host}"
    d.realm.add_service(other)
    d.realm.keytab(d.spn, other, path=d.keytab)
    d.acceptor["hostname"] = f"other.{d.host}"
    yield Request(token=d.token())


def keytab_of_another_realm(d: Deployment) -> Iterator[Request]:
    other = d.held.enter_context(KerberosRealm("OTHER.EXAMPLE"))
    other.add_service(d.spn)
    other.keytab(d.spn, path=d.keytab)
    d.policy["realms"] = [REALM]
    yield Request(token=d.token())


# Time and replays


def client_fast(d: Deployment) -> Iterator[Request]:
    d.token()  # its ticket is there by then
    yield Request(token=d.token(clock=timedelta(minutes=6, seconds=10)))


def client_slow(d: Deployment) -> Iterator[Request]:
    password = d.realm.add_user(f"slow.{d.host}")
    ago = timedelta(minutes=-20)  # when the ticket was made, for a client doesn't send one of its future
    d.realm.stop_kdc()
    d.realm.start_kdc(clock=ago)
    ccache, env = d.directory / "ccache", tickets.at(ago, d.realm.environ())
    tickets.kinit(env, ccache, f"slow.{d.host}", password)
    tickets.run(env, "kvno", "-q", "-c", f"FILE:{ccache}", d.spn)
    d.realm.stop_kdc()
    d.realm.start_kdc()
    yield Request(token=d.token(ccache=ccache, clock=timedelta(minutes=-6, seconds=-10)))


def ticket_over(d: Deployment) -> Iterator[Request]:
    yield Request(token=d.token(ccache=d.realm.expired("alice", d.spn)))


def sent_twice(d: Deployment) -> Iterator[Request]:
    token = d.token()
    yield Request(token=token)
    yield Request(token=token)


def sent_twice_by_a_proxy(d: Deployment) -> Iterator[Request]:
    token = d.token()
    yield Request(token=token)
    yield Request(token=token, headers=((b"x-forwarded-for", b"192.0.2.9"),))


def nested(d: Deployment) -> Iterator[Request]:
    def gateway(inner: Any) -> Any:
        async def hand_on(scope: Any, receive: Any, send: Any) -> None:
            # as a gateway does that makes a request of its own, the client's headers in it
            known = ("type", "http_version", "method", "path", "headers", "client")
            await inner({name: scope[name] for name in known}, receive, send)

        return NegotiateMiddleware(hand_on, acceptor=Acceptor(**d.acceptor), policy=Policy(**d.policy))

    d.wrap = gateway
    yield Request(token=d.token())


# Replay cache, gssproxy, threads


def replay_cache_gone(d: Deployment) -> Iterator[Request]:
    yield Request(token=d.token())
    for file in (d.directory / "rcache").iterdir():
        file.unlink()
    (d.directory / "rcache").rmdir()
    yield Request(token=d.token())


def replay_cache_of_another(d: Deployment) -> Iterator[Request]:
    (d.directory / "rcache" / f"krb5_{os.geteuid()}.rcache2").mkdir()
    yield Request(token=d.token())


def replay_cache_locked(d: Deployment) -> Iterator[Request]:
    d.acceptor |= {"offload": "always", "limits": Limits(step_seconds=1.0)}
    yield Request(token=d.token())
    file = d.directory / "rcache" / f"krb5_{os.geteuid()}.rcache2"
    holding = (
        "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", holding, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    d.held.push(holder)
    assert holder.stdin is not None
    assert holder.stdout is not None
    d.held.callback(holder.wait, 10)
    d.held.callback(holder.stdin.close)
    assert holder.stdout.readline()
    yield Request(token=d.token())


# The way in


def proxy_encrypts_anew(d: Deployment) -> Iterator[Request]:
    d.certificate = d.make_certificate("server")
    proxys = d.make_certificate("proxy")
    yield Request(token=_bound(d, proxys), scheme="https")


def proxy_certificate_renewed(d: Deployment) -> Iterator[Request]:
    d.policy["channel_binding"] = ChannelBinding.when_present(certfile=str(d.make_certificate("copied")))
    yield Request(token=_bound(d, d.make_certificate("renewed")))


def client_binds_nothing(d: Deployment) -> Iterator[Request]:
    d.policy["channel_binding"] = ChannelBinding.required(certfile=str(d.make_certificate("proxy")))
    yield Request(token=d.token())


def second_leg_elsewhere(d: Deployment) -> Iterator[Request]:
    yield Request(token=negotiate(spnego.KRB5))
    later = spnego.response(state=1, token=d.token(wrapping="kerberos"))
    yield Request(token=later, connection=1)


def server_without_connections(d: Deployment) -> Iterator[Request]:
    yield Request(token=negotiate(spnego.KRB5), has_identity=False)


def host_rewritten(d: Deployment) -> Iterator[Request]:
    other = f"backend.{d.host}"
    d.realm.add_service(f"HTTP/{other}")
    d.realm.keytab(d.spn, f"HTTP/{other}", path=d.keytab)
    d.acceptor["hostname"] = ["{host}", d.host, other]
    yield Request(token=d.token(), host=other)


def proxy_adds_a_header(d: Deployment) -> Iterator[Request]:
    yield Request(token=d.token(), headers=((b"authorization", b"Basic eDp5"),))


def header_cut(d: Deployment) -> Iterator[Request]:
    yield Request(token=d.token()[:-40])


def header_cut_in_base64(d: Deployment) -> Iterator[Request]:
    yield Request(headers=((b"authorization", b"Negotiate " + b64encode(d.token())[:201]),))


def many_groups(d: Deployment) -> Iterator[Request]:
    d.acceptor["limits"] = Limits(token_bytes=512)
    yield Request(token=d.token())


def plain_http(d: Deployment) -> Iterator[Request]:
    d.policy["require_tls"] = True
    yield Request(token=d.token())


def tls_ends_at_a_proxy(d: Deployment) -> Iterator[Request]:
    d.policy["require_tls"] = True
    yield Request(token=d.token(), headers=((b"x-forwarded-proto", b"https"),))


def preflight(d: Deployment) -> Iterator[Request]:
    asks = (b"origin", b"https://portal.test.example"), (b"access-control-request-method", b"POST")
    yield Request(method="OPTIONS", headers=asks)


def form_of_another_site(d: Deployment) -> Iterator[Request]:
    yield Request(
        token=d.token(),
        method="POST",
        headers=((b"origin", b"https://portal.test.example"), (b"sec-fetch-site", b"same-site")),
    )


# Who may in


def realm_left_out(d: Deployment) -> Iterator[Request]:
    d.policy["realms"] = ["CORP.EXAMPLE"]
    yield Request(token=d.token())


def computer(d: Deployment) -> Iterator[Request]:
    d.realm.add_user("pc77$")
    yield Request(token=d.token(ccache=d.realm.kinit("pc77$")))


def kadmin_logs_in(d: Deployment) -> Iterator[Request]:
    d.realm.add_user("kadmin/causes")
    yield Request(token=d.token(ccache=d.realm.kinit("kadmin/causes")))


def no_pac(d: Deployment) -> Iterator[Request]:
    d.policy["pac"] = "required"
    yield Request(token=d.token())


def another_name(d: Deployment) -> Iterator[Request]:
    yield Request(token=d.token(ccache=d.realm.kinit("boss", d.realm.password("boss$"))))  # type: ignore[attr-defined]


def no_delegation(d: Deployment) -> Iterator[Request]:
    d.policy["required_flags"] = ContextFlag.DELEGATE
    yield Request(token=d.token())


def username_raises(d: Deployment) -> Iterator[Request]:
    d.policy["username"] = lambda identity: {}[identity.principal]
    yield Request(token=d.token())


# Passwords


def by_password(d: Deployment, user: str, password: str, *, scheme: str = "https") -> Request:
    d.middleware_options["basic"] = True
    credentials = b64encode(f"{user}:{password}".encode())
    return Request(headers=((b"authorization", b"Basic " + credentials),), scheme=scheme)


def wrong_password(d: Deployment) -> Iterator[Request]:
    yield by_password(d, "alice", "not hers")


def old_password_again_and_again(d: Deployment) -> Iterator[Request]:
    d.realm.add_user(f"old.{d.host}", "the new one")
    for _ in range(ACCOUNT_TRIES):
        yield by_password(d, f"old.{d.host}", "the old one")
    yield by_password(d, f"old.{d.host}", "the new one")


def password_in_the_clear(d: Deployment) -> Iterator[Request]:
    yield by_password(d, "alice", "hers", scheme="http")


def no_kdc_for_passwords(d: Deployment) -> Iterator[Request]:
    assert d.alice.exists()  # who checks has tickets, though not of this service
    d.realm.stop_kdc()
    d.held.callback(d.realm.start_kdc)
    yield by_password(d, "alice", "hers")


# Keytab


def keytab_removed(d: Deployment) -> Iterator[Request]:
    d.keytab.unlink()
    d.policy["realms"] = [REALM]
    yield Request(token=d.token())


def keytab_removed_later(d: Deployment) -> Iterator[Request]:
    yield Request(token=d.token())
    d.keytab.unlink()
    yield Request(token=d.token())


def keytab_empty(d: Deployment) -> Iterator[Request]:
    d.keytab.write_bytes(b"\x05\x02")
    yield Request(token=d.token())


def keytab_of_host(d: Deployment) -> Iterator[Request]:
    d.realm.add_service(f"host/{d.host}")
    d.keytab.unlink()
    d.realm.keytab(f"host/{d.host}", path=d.keytab)
    yield Request(token=d.token())


ROWS = (
    Row(name="no SPN", act=ntlm, log="ntlm-not-kerberos", check=None, says=("setspn -S {spn}",)),
    Row(name="by IP address", act=ntlm_by_address, log="ntlm-by-address", says=("192.0.2.1", "{spn}")),
    Row(name="NegoEx alone", act=negoex, log="other-mechanism", says=("NegoEx",)),
    Row(
        name="password changed, keytab old",
        act=password_changed_keytab_old,
        log="kvno-old",
        check="kvno-old",
        says=("kvno 2, the keytab holds 1", "export it again", "{spn}"),
    ),
    Row(
        name="keytab new, ticket old",
        act=keytab_new_ticket_old,
        log="kvno-new",
        says=("klist purge", "kvno 1", "holds 2"),
    ),
    Row(
        name="account made anew", act=account_made_anew, log="wrong-key", check="wrong-key", says=("setspn -X", "{spn}")
    ),
    Row(
        name="keytab without AES-256",
        act=keytab_without_aes256,
        log="enctype-missing",
        check="enctype-missing",
        says=("aes256-cts-hmac-sha1-96, the keytab holds aes128-cts-hmac-sha1-96",),
    ),
    Row(name="account of RC4", act=account_of_rc4, log="rc4-ticket", check="rc4-ticket", says=("RC4", "AES128,AES256")),
    Row(
        name="alias", act=alias, log="alias", says=("HTTP/alias.{host}, the keytab holds {spn}", "setspn -S HTTP/alias")
    ),
    Row(name="capitals", act=capitals, log="name-spelling", says=("{spn}",)),
    Row(name="ticket for host/", act=ticket_for_host, log="other-service", says=("host/{host}",)),
    Row(name="hostname= leaves it out", act=hostname_left_out, log="hostname-option", says=("{spn}", "hostname=")),
    Row(
        name="keytab of another realm",
        act=keytab_of_another_realm,
        log="other-realm",
        check="other-realm",
        says=("OTHER.EXAMPLE", "from realm TEST.EXAMPLE"),
    ),
    Row(name="client's clock is fast", act=client_fast, log="clock-skew", says=("5 minutes", "w32tm /resync")),
    Row(name="client's clock is slow", act=client_slow, log="clock-skew", says=("5 minutes", "w32tm /resync")),
    Row(name="ticket over", act=ticket_over, log="ticket-expired", says=("kinit",)),
    Row(name="sent twice", act=sent_twice, log="replayed", says=("accepted before",)),
    Row(
        name="sent twice by a proxy",
        act=sent_twice_by_a_proxy,
        log="replayed-by-proxy",
        says=("proxy_next_upstream off",),
    ),
    Row(name="nested", act=nested, log="replayed", says=("nested middleware", "outermost")),
    Row(
        name="replay cache gone",
        act=replay_cache_gone,
        log="replay-cache",
        check="replay-cache",
        says=("rcache",),
        status=503,
    ),
    Row(
        name="replay cache of another",
        act=replay_cache_of_another,
        log="not-acquired",
        check="replay-cache",
        says=("is not ours", "Acceptor(rcache="),
        status=503,
    ),
    Row(
        name="replay cache locked",
        act=replay_cache_locked,
        log="replay-cache-locked",
        check="replay-cache-locked",
        says=("fuser", ".rcache2"),
        status=503,
    ),
    Row(name="proxy encrypts anew", act=proxy_encrypts_anew, log="bad-bindings", says=("certfile=", "proxy")),
    Row(
        name="proxy's certificate renewed",
        act=proxy_certificate_renewed,
        log="bad-bindings-certfile",
        says=("certfile=", "openssl s_client -connect {host}"),
    ),
    Row(name="client binds nothing", act=client_binds_nothing, log="not-bound", says=("channel_binding=",)),
    Row(
        name="second leg elsewhere",
        act=second_leg_elsewhere,
        log="second-leg",
        says=("option http-server-close", "`stream` module"),
    ),
    Row(
        name="server without connections",
        act=server_without_connections,
        log="no-connection",
        says=("--http negotiate_mw.servers.uvicorn:Auto",),
    ),
    Row(name="Host rewritten", act=host_rewritten, log="host-rewritten", says=("proxy_set_header Host $host", "{spn}")),
    Row(
        name="two Authorization headers",
        act=proxy_adds_a_header,
        log="two-authorizations",
        says=("set-header",),
        status=400,
    ),
    Row(name="header cut", act=header_cut, log="token-damaged", says=("large_client_header_buffers",)),
    Row(name="header cut in base64", act=header_cut_in_base64, log="token-damaged", says=("tune.bufsize",), status=400),
    Row(name="many groups", act=many_groups, log="token-too-large", says=("512 are allowed",), status=431),
    Row(name="plain http", act=plain_http, log="tls-required", says=("--ssl-certfile",), status=403),
    Row(
        name="TLS ends at a proxy",
        act=tls_ends_at_a_proxy,
        log="tls-ends-at-proxy",
        says=("tls_terminated_by_proxy=True",),
        status=403,
    ),
    Row(
        name="preflight", act=preflight, log="preflight-refused", says=("trusted_origins=['https://portal",), status=403
    ),
    Row(
        name="form of another site",
        act=form_of_another_site,
        log="cross-origin",
        says=("trusted_origins=",),
        status=403,
    ),
    Row(
        name="realm left out",
        act=realm_left_out,
        log="realm-not-allowed",
        says=("Policy(realms=['CORP.EXAMPLE', 'TEST.EXAMPLE'])",),
        status=403,
    ),
    Row(name="computer", act=computer, log="computer-account", says=("pc77$", "Policy(services=True)"), status=403),
    Row(name="kadmin logs in", act=kadmin_logs_in, log="name-forbidden", says=("kadmin/causes",), status=403),
    Row(
        name="no PAC",
        act=no_pac,
        log="pac-stripped",
        check="pac-stripped",
        says=("NO_AUTH_DATA_REQUIRED",),
        status=403,
    ),
    Row(name="another's name", act=another_name, log="name-mismatch", says=("'boss'", "'boss$'"), status=403, ad=True),
    Row(name="no delegation", act=no_delegation, log="flags-missing", says=("DELEGATE",), status=403),
    Row(name="wrong password", act=wrong_password, log="password-refused", says=("'alice@TEST.EXAMPLE'", "kinit")),
    Row(
        name="old password again and again",
        act=old_password_again_and_again,
        log="too-many-tries",
        says=("3 tries of an account", "1800 s", "keeps sending"),
    ),
    Row(
        name="password in the clear",
        act=password_in_the_clear,
        log="password-without-tls",
        says=("should change it", "tls_terminated_by_proxy=True"),
        status=403,
    ),
    Row(
        name="no KDC for passwords",
        act=no_kdc_for_passwords,
        log="password-kdc",
        check="password-kdc",
        says=("KRB5_TRACE",),
        status=503,
    ),
    Row(name="username raises", act=username_raises, log="username-failed", says=("KeyError",), status=503),
    Row(
        name="keytab removed",
        act=keytab_removed,
        log="not-acquired",
        check="keytab",
        says=("can't be read",),
        status=503,
    ),
    Row(
        name="keytab removed later",
        act=keytab_removed_later,
        log="keytab",
        check="keytab",
        says=("can't be read",),
        status=503,
    ),
    Row(
        name="keytab empty",
        act=keytab_empty,
        log="not-acquired",
        check="keytab",
        says=("holds no key of HTTP/",),
        status=503,
    ),
    Row(
        name="keytab of host/",
        act=keytab_of_host,
        log="not-acquired",
        check="keytab",
        says=("it holds host/",),
        status=503,
    ),
)


# Healthy ones


def plain_one(d: Deployment) -> Iterator[Request]:
    yield Request(token=d.token())


def active_directory(d: Deployment) -> Iterator[Request]:
    d.policy["pac"] = "required"
    yield Request(token=d.token())


def right_password(d: Deployment) -> Iterator[Request]:
    d.realm.add_user(f"typing.{d.host}", "by hand")
    d.policy["channel_binding"] = ChannelBinding.off()  # there is no socket here, and so no certificate
    yield by_password(d, f"typing.{d.host}", "by hand")


def several_names(d: Deployment) -> Iterator[Request]:
    names = [f"HTTP/{name}.{d.host}" for name in ("a", "b", "c")]
    d.realm.add_service(*names)
    d.realm.keytab(d.spn, *names, path=d.keytab)
    yield from (Request(token=d.token(name)) for name in names)


def rotated_with_care(d: Deployment) -> Iterator[Request]:
    old = d.token(), d.token()
    d.realm.rotate(d.spn, keep_old=True)
    d.export()
    yield Request(token=old[0])
    yield Request(token=d.token(ccache=d.realm.kinit("alice")))


def container(d: Deployment) -> Iterator[Request]:
    """No krb5.conf, a secret mounted 0440, a place to write in that the platform names."""
    d.keytab.chmod(0o440)
    d.acceptor = {}
    d.env = {
        "KRB5_CONFIG": "/dev/null",
        "KRB5_KTNAME": f"FILE:{d.keytab}",
        "RUNTIME_DIRECTORY": str(d.directory / "rcache"),
        "KRB5RCACHEDIR": "",
    }
    yield Request(token=d.token())


def any_kvno(d: Deployment) -> Iterator[Request]:
    """``ktpass /kvno 0``: a keytab's 0 stands for any."""
    d.alter_keytab(lambda _, record: _with_kvno(record, 0))
    yield Request(token=d.token())


def eight_bits(d: Deployment) -> Iterator[Request]:
    """A keytab of a tool that writes 8 bits of the version, and a version above that."""
    d.kadmin("modprinc", "-kvno", "300", d.spn)
    d.export()
    d.alter_keytab(lambda _, record: record[:-4])
    yield Request(token=d.token())


def another_realms_user(d: Deployment) -> Iterator[Request]:
    """A user of a realm that this one trusts, and that the policy lists."""
    name = d.host.partition(".")[0].upper()  # one trust for each deployment that is made of this
    other = d.held.enter_context(KerberosRealm(f"{name}.EXAMPLE"))
    other.add_user("zoe", "a password")
    for realm in (d.realm, other):
        tickets.run(
            realm.environ(),
            *("kadmin.local", "-r", realm.name, "addprinc", "-pw", "between the two"),
            f"krbtgt/{d.realm.name}@{other.name}",
        )
    conf = Path(other.env["KRB5_CONFIG"])
    kdc = re.findall(r"kdc = 127\S+", Path(d.realm.env["KRB5_CONFIG"]).read_text())[0]
    trusted = f"[realms]\n  {d.realm.name} = {{\n    {kdc}\n  }}\n"
    conf.write_text(conf.read_text().replace("[realms]\n", trusted))
    d.policy["realms"] = [d.realm.name, other.name]
    yield Request(token=other.token(f"{d.spn}@{d.realm.name}", other.kinit("zoe")))


HEALTHY: dict[str, Act] = {
    "MIT": plain_one,
    "Active Directory": active_directory,
    "passwords": right_password,
    "several SPNs": several_names,
    "cross-realm": another_realms_user,
    "container-like": container,
    "rotated with care": rotated_with_care,
    "kvno 0": any_kvno,
    "kvno in 8 bits": eight_bits,
}


def _bound(d: Deployment, certificate: Path) -> bytes:
    """A token of a client that sees this certificate."""
    from negotiate_mw.bindings import of_file

    return d.realm.initiator(d.spn, d.alice, bindings=of_file(certificate)).step() or b""


def _with_kvno(record: bytes, kvno: int) -> bytes:
    """A keytab record with another version, in 8 bits and in 32."""
    at = 2
    for _ in range(int.from_bytes(record[:2]) + 1):
        at += 2 + int.from_bytes(record[at : at + 2])
    at += 8
    return record[:at] + bytes([kvno]) + record[at + 1 : -4] + kvno.to_bytes(4)
