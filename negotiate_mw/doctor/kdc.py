"""Where a realm's KDC is, and what time it has there.

Law: one question that any KDC refuses, since it offers no encryption type that is still in use: its refusal says the
time, no ticket is made, and nobody's password is tried.
"""

import re
import secrets
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from negotiate_mw.doctor.deployed import Deployed
from negotiate_mw.doctor.krb5conf import CLOCKSKEW, Profile, Unreadable, profile
from negotiate_mw.doctor.report import Line, ok, problem, skipped, told, warning
from negotiate_mw.wire import der
from negotiate_mw.wire.errors import WireError
from negotiate_mw.wire.kerberos import read_krb_error
from negotiate_mw.wire.spnego import KRB5

_SECONDS = 3.0  # for one KDC; the library itself waits for one second, and then asks the next one too
_MAX_KDCS = 4
_MAX_ANSWER = 64 * 1024
_WARN_SECONDS = 60
_ADDRESS = re.compile(r"(?:tcp/|udp/)?(?:\[(?P<v6>[^]]+)\]|(?P<host>[^:/]+))(?::(?P<port>[0-9]+))?")
_DES = 1  # an encryption type that no KDC has any more (RFC 6649)


def examine(deployed: Deployed) -> Iterator[Line]:
    """Compare clocks with the KDC of each of the keytab's realms."""
    try:
        conf = profile()
    except Unreadable:
        return
    skew = conf.seconds("libdefaults", "clockskew", default=CLOCKSKEW)
    for realm in sorted(deployed.keytab.realms):
        yield _compare(conf, realm, skew, is_asked=deployed.basic)


def _compare(conf: Profile, realm: str, skew: int, *, is_asked: bool) -> Line:
    addresses = _addresses(conf, realm)
    said = None
    for address in addresses[:_MAX_KDCS]:
        begun = time.time()
        try:
            said = clock(address, realm)
        except (OSError, WireError):
            continue
        offset = (begun + time.time()) / 2 - said.timestamp()
        return _judge(realm, address[0], round(offset), skew)
    if is_asked:
        return told("password-kdc", f"no KDC of {realm} answers, which passwords are asked of")
    if not conf.all("realms", realm, "kdc"):
        return skipped(f"no KDC of {realm} is known here, so clocks weren't compared; accepting log-ins needs none")
    return warning("kdc-unreachable", realm=realm, kdc=", ".join(host for host, _ in addresses[:_MAX_KDCS]))


def _judge(realm: str, kdc: str, offset: int, skew: int) -> Line:
    if abs(offset) < _WARN_SECONDS:
        return ok(f"this machine's clock is that of {realm}'s KDC, {kdc}")
    off = f"{abs(offset) // 60} min {abs(offset) % 60} s {'ahead of' if offset > 0 else 'behind'}"
    seen = {"off": off, "kdc": kdc, "realm": realm}
    return problem("clock-off", **seen) if abs(offset) > skew else warning("clock-off", **seen)


def _addresses(conf: Profile, realm: str) -> list[tuple[str, int]]:
    """Those of krb5.conf; else whatever has the realm's name, which in Active Directory is its domain controllers."""
    named = conf.all("realms", realm, "kdc") or [realm.lower()]
    parsed = (_ADDRESS.fullmatch(each) for each in named)
    return [(each["v6"] or each["host"], int(each["port"] or 88)) for each in parsed if each]


def clock(address: tuple[str, int], realm: str) -> datetime:
    """What time a KDC has, to the second.

    Raises:
        OSError: it doesn't answer.
        WireError: what answers is no KDC.
    """
    question = _as_req(realm)
    with socket.create_connection(address, timeout=_SECONDS) as tcp:
        tcp.sendall(len(question).to_bytes(4) + question)  # RFC 4120 7.2.2
        answer = _exactly(tcp, min(int.from_bytes(_exactly(tcp, 4)), _MAX_ANSWER))
    frame = der.encode(0x60, der.encode(der.OID, der.encode_oid(KRB5)) + b"\x03\x00" + answer)
    refusal = read_krb_error(frame)
    assert refusal is not None  # only a NegTokenResp may be without
    return datetime.strptime(refusal.server_time, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)


def _exactly(tcp: socket.socket, octets: int) -> bytes:
    data = b""
    while len(data) < octets:
        if not (more := tcp.recv(octets - len(data))):
            raise ConnectionError("the KDC closed the connection")
        data += more
    return data


def _as_req(realm: str) -> bytes:
    """An AS-REQ (RFC 4120 5.4.1) of the ticket-granting service itself, with DES alone."""
    tgs = ("krbtgt", realm)
    body = (
        _field(0, der.encode(der.BIT_STRING, bytes(5))),
        _field(1, _name(tgs)),
        _field(2, der.encode(der.GENERAL_STRING, realm.encode())),
        _field(3, _name(tgs)),
        _field(5, der.encode(0x18, b"20370101000000Z")),
        _field(7, _integer(secrets.randbits(31))),
        _field(8, der.encode(der.SEQUENCE, _integer(_DES))),
    )
    request = (
        _field(1, _integer(5)),
        _field(2, _integer(10)),
        _field(4, der.encode(der.SEQUENCE, b"".join(body))),
    )
    return der.encode(0x6A, der.encode(der.SEQUENCE, b"".join(request)))


def _name(components: tuple[str, ...]) -> bytes:
    strings = b"".join(der.encode(der.GENERAL_STRING, each.encode()) for each in components)
    return der.encode(der.SEQUENCE, _field(0, _integer(2)) + _field(1, der.encode(der.SEQUENCE, strings)))


def _field(number: int, content: bytes) -> bytes:
    return der.encode(0xA0 + number, content)


def _integer(value: int) -> bytes:
    return der.encode(der.INTEGER, value.to_bytes(value.bit_length() // 8 + 1))
