"""A client that logs in to a URL by Kerberos and tells of each leg: for ``check --url`` and ``whoami``.

Law: tickets are sent to the host that was named and to nobody else: no redirect is followed, no certificate is believed
that doesn't check. What was sent is told by its labels, never by its bytes.
"""

import http.client
import ssl
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import gssapi
from gssapi.raw import GSSError

from negotiate_mw.bindings import of_certificate
from negotiate_mw.doctor.ccache import Failed
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.wire import spnego
from negotiate_mw.wire.errors import WireError
from negotiate_mw.wire.kerberos import enctype_name, read_ap_req

_KRB5 = gssapi.MechType.kerberos
_SPNEGO = gssapi.OID.from_int_seq(spnego.SPNEGO)
_MAX_LEGS = 5
_MAX_BODY = 1024 * 1024
_PROXY_HEADERS = (
    "via",
    "x-cache",
    "x-varnish",
    "x-served-by",
    "x-envoy-upstream-service-time",
    "cf-ray",
)
_PROXIES = ("nginx", "openresty", "haproxy", "envoy", "traefik", "varnish", "squid", "caddy", "awselb", "cloudflare")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One request and its answer.

    Attributes:
        sent: the client's token; None: the request had none.
        status, reason: the answer's first line.
        challenges: its ``WWW-Authenticate`` headers; tokens in them cut off.
        token: the server's token.
        version: ``"1.1"``.
        closes: the server ends the connection after it.
        location: where it would send the client.
        reference: what finds a refusal of ours in the log.
    """

    sent: bytes | None = field(repr=False)
    status: int
    reason: str
    challenges: tuple[str, ...]
    token: bytes | None = field(repr=False)
    version: str
    closes: bool
    location: str | None = None
    reference: str | None = None


@dataclass(kw_only=True)
class Exchange:
    """A whole log-in, as far as it came.

    Attributes:
        legs: in order.
        principal: who the client is; None: nobody, for there is no ticket.
        asked: the name that a ticket was got for, by which the library calls the host.
        ticket: kvno and type of that ticket.
        is_mutual: the server proved itself too.
        is_bound: the token was bound to the server's certificate.
        proxies: signs of a proxy in between.
        failed: why there was no token to send.
        server_failed: why the server's last token can't be believed.
    """

    url: str
    host: str
    legs: list[Leg] = field(default_factory=list)
    principal: str | None = None
    asked: str | None = None
    ticket: str | None = None
    is_mutual: bool = False
    is_bound: bool = False
    proxies: list[str] = field(default_factory=list)
    failed: Failed | None = None
    server_failed: str | None = None

    @property
    def last(self) -> Leg:
        return self.legs[-1]

    @property
    def logged_in(self) -> bool:
        last = self.last
        return last.sent is not None and last.status < 500 and last.status not in (400, 401, 403, 407, 431)


def log_in(url: str, *, bind: bool = True, seconds: float = 10) -> Exchange:
    """Ask without a ticket, as browsers do, then with one, over the same connection where the server keeps it.

    Args:
        url: http or https.
        bind: bind the ticket to the TLS channel.
        seconds: how long each answer may take.

    Raises:
        ConfigurationError: it is no such URL.
        OSError, http.client.HTTPException: there is no connection, or no HTTP on it.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{url!r}: give a URL such as https://www.corp.example/")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError("give the URL without a name and password: the ticket of `kinit` logs in")
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{url!r}: {error}") from error
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    exchange = Exchange(url=url, host=parts.hostname)
    connection = _connection(parts.scheme, parts.hostname, port, seconds)
    try:
        _exchange(exchange, connection, target, bind=bind)
    finally:
        connection.close()
    return exchange


def _connection(scheme: str, host: str, port: int | None, seconds: float) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=seconds)
    return http.client.HTTPSConnection(host, port, timeout=seconds, context=ssl.create_default_context())


def _exchange(exchange: Exchange, connection: http.client.HTTPConnection, target: str, *, bind: bool) -> None:
    connection.connect()
    bindings = _bindings(connection) if bind else None
    exchange.legs.append(_ask(connection, target, None, exchange))
    if exchange.last.status != 401 or not _offers_negotiate(exchange.last):
        return
    try:
        context = _Initiator(exchange.host, bindings)
        exchange.principal = context.principal
        token = context.step(None)
    except GSSError as error:
        exchange.failed = _plainly(exchange.host) or Failed(error)
        return
    exchange.is_bound = bindings is not None
    exchange.asked, exchange.ticket = _labels(token)
    for _ in range(_MAX_LEGS):
        exchange.legs.append(_ask(connection, target, token, exchange))
        try:
            token = context.step(exchange.last.token) if exchange.last.token else b""
        except GSSError as error:
            exchange.server_failed = str(error)
            return
        if exchange.last.status != 401 or not token:
            break
    exchange.is_mutual = context.is_mutual


class _Initiator:
    """The client's half, kept to Kerberos: a client that falls back to something else explains nothing."""

    def __init__(self, host: str, bindings: bytes | None) -> None:
        self._name = gssapi.Name(f"HTTP@{host}", gssapi.NameType.hostbased_service)
        self._credentials = gssapi.Credentials(usage="initiate", mechs=[_KRB5, _SPNEGO])
        gssapi.raw.set_neg_mechs(self._credentials, [_KRB5])
        self.principal = str(self._credentials.name)
        self._bindings = None if bindings is None else gssapi.raw.ChannelBindings(application_data=bindings)
        self._context: Any = None
        self.is_mutual = False

    def step(self, token: bytes | None) -> bytes:
        flag = gssapi.RequirementFlag
        done = gssapi.raw.init_sec_context(
            self._name,
            self._credentials,
            context=self._context,
            mech=_SPNEGO,
            flags=flag.mutual_authentication | flag.integrity,
            channel_bindings=self._bindings,
            input_token=token,
        )
        self._context = done.context
        self.is_mutual = not done.more_steps and bool(done.flags & flag.mutual_authentication)
        return done.token or b""


def _plainly(host: str) -> Failed | None:
    """Why there is no ticket, asked without SPNEGO, which gives errors numbers of its own."""
    try:
        name = gssapi.Name(f"HTTP@{host}", gssapi.NameType.hostbased_service)
        gssapi.raw.init_sec_context(name, gssapi.Credentials(usage="initiate", mechs=[_KRB5]), mech=_KRB5)
    except GSSError as error:
        return Failed(error)
    return None


def _ask(connection: http.client.HTTPConnection, target: str, token: bytes | None, exchange: Exchange) -> Leg:
    headers = {"User-Agent": "negotiate-mw", "Accept": "*/*"}
    if token is not None:
        headers["Authorization"] = f"Negotiate {b64encode(token).decode()}"
    connection.request("GET", target, headers=headers)
    response = connection.getresponse()
    body = response.read(_MAX_BODY)
    closes = response.will_close or not response.isclosed()
    if closes:
        connection.close()  # the next request opens another
    challenges = response.headers.get_all("www-authenticate") or []
    for sign in _signs(response):
        if sign not in exchange.proxies:
            exchange.proxies.append(sign)
    return Leg(
        sent=token,
        status=response.status,
        reason=response.reason,
        challenges=tuple(each.partition(" ")[0] for each in challenges),
        token=next(filter(None, map(_token, challenges)), None),
        version="1.0" if response.version == 10 else "1.1",
        closes=closes,
        location=response.headers.get("location"),
        reference=_reference(body),
    )


def _bindings(connection: http.client.HTTPConnection) -> bytes | None:
    der = connection.sock.getpeercert(binary_form=True) if isinstance(connection.sock, ssl.SSLSocket) else None
    return of_certificate(der) if der else None


def _offers_negotiate(leg: Leg) -> bool:
    return any(scheme.rstrip(",").lower() == "negotiate" for scheme in leg.challenges)


def _token(challenge: str) -> bytes | None:
    scheme, _, token = challenge.partition(" ")
    try:
        return b64decode(token.strip(), validate=True) if scheme.lower() == "negotiate" else None
    except Base64Error:
        return None


def _labels(token: bytes) -> tuple[str | None, str | None]:
    try:
        first = spnego.read(token)
        ticket = read_ap_req(first.mech_token or b"")
    except WireError:
        return None, None
    kvno = "not said" if ticket.kvno is None else str(ticket.kvno)
    return ticket.spn, f"kvno {kvno}, {enctype_name(ticket.enctype)}, a token of {len(token)} bytes"


def _signs(response: http.client.HTTPResponse) -> list[str]:
    signs = [f"{name}: {value}" for name in _PROXY_HEADERS if (value := response.headers.get(name))]
    server = response.headers.get("server", "")
    if server.lower().startswith(_PROXIES):
        signs.append(f"server: {server}")
    if response.version == 10:
        signs.append("answers with HTTP/1.0")
    return signs


def _reference(body: bytes) -> str | None:
    _, found, rest = body.partition(b"Reference: ")
    word = rest[:12].decode("ascii", "replace")
    return word if found and word.isalnum() else None
