"""Why was this log-in refused? The true cause, from what anybody could read of the token, and the keytab's labels.

Law: pure, and needs no key. It never decides anything: it is asked after a refusal, off the event loop, and says
nothing rather than something that may be wrong. What a client chose leaves here escaped and cut.
"""

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from negotiate_mw.backends import Holdings
from negotiate_mw.causes import Finding, finding
from negotiate_mw.telemetry import plain
from negotiate_mw.wire import spnego
from negotiate_mw.wire.errors import WireError
from negotiate_mw.wire.kerberos import ApReq, enctype_name, read_ap_req, unparse
from negotiate_mw.wire.keytab import KeytabEntry

_SHOWN = 5  # names or numbers in one sentence
_RC4 = frozenset({23, 24})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of one refusal.

    Attributes:
        reason: the refusal's slug, ``"no-key"``.
        detail: its sentence.
        now: the time here, aware.
        token: what the client sent.
        host: which host the request asks for, without port.
        is_forwarded: a proxy put a header of its own into the request.
        is_preflight: a CORS preflight.
        names_certfile: ``ChannelBinding(certfile=…)`` is set.
        holdings: what the acceptor has; None where that isn't known.
    """

    reason: str
    now: datetime
    detail: str = ""
    token: bytes | None = field(default=None, repr=False)
    host: str | None = None
    is_forwarded: bool = False
    is_preflight: bool = False
    names_certfile: bool = False
    holdings: Holdings | None = None

    @property
    def time(self) -> str:
        return f"{self.now:%Y-%m-%d %H:%M:%S %Z}"


def diagnose(evidence: Evidence) -> Finding | None:
    """The true cause of a refusal; None where what is known doesn't tell."""
    if (simple := _BY_REASON.get(evidence.reason)) is not None:
        return finding(simple)
    ask = _QUESTIONS.get(evidence.reason)
    return None if ask is None else ask(evidence)


def _mechanism(evidence: Evidence) -> Finding | None:
    try:
        first = spnego.read(evidence.token or b"")
    except WireError:
        return None
    if not isinstance(first, spnego.FirstToken):
        return None
    if spnego.NTLM not in first.mechanisms:
        return finding("other-mechanism", offered=_listed(_MECHANISMS.get(oid, oid) for oid in first.mechanisms))
    holdings = evidence.holdings
    if holdings is None:  # no Kerberos here, so nobody can mend it by an SPN
        return None
    held = _listed(_principals(holdings)) or "none"
    host = plain(evidence.host or "HOST")
    if _is_address(host):
        return finding("ntlm-by-address", address=host, held=held)
    return finding("ntlm-not-kerberos", spn=f"{holdings.service}/{host}", host=host)


def _keys(evidence: Evidence) -> Finding | None:
    """Hold the ticket against the keytab: name, realm, version, type, and what is left is the key itself."""
    holdings, ticket = evidence.holdings, _ticket(evidence.token)
    if holdings is None or ticket is None or not holdings.entries:
        return None
    if holdings.uses_gssproxy:
        return finding("gssproxy", keytab=holdings.keytab)
    name = unparse(ticket.service)
    asked = plain(name)
    ours = [entry for entry in holdings.entries if entry.components[0] == holdings.service]
    if ticket.service[0] != holdings.service:
        return finding("other-service", other=asked, service=holdings.service)
    named = [entry for entry in ours if entry.components == ticket.service]
    if not named:
        spelled = {entry.principal for entry in ours if entry.principal.casefold() == name.casefold()}
        if spelled:
            return finding("name-spelling", spelled=asked, spn=_listed(spelled))
        return finding("alias", asked=asked, held=_listed(_principals(holdings)), keytab=holdings.keytab)
    if holdings.hosts and name not in holdings.hosts:
        return finding("hostname-option", asked=asked, held=_listed(holdings.hosts))
    in_realm = [entry for entry in named if entry.realm == ticket.realm]
    if not in_realm:
        realms = _listed(entry.realm for entry in named)
        return finding("other-realm", asked=asked, realm=plain(ticket.realm), realms=realms)
    of_version = [entry for entry in in_realm if _may_be_kvno(entry.kvno, ticket.kvno)]
    if not of_version:
        return _kvno(ticket, in_realm, holdings.keytab)
    if all(entry.enctype != ticket.enctype for entry in of_version):
        enctypes = _listed(enctype_name(entry.enctype) for entry in of_version)
        if ticket.enctype in _RC4:
            return finding("rc4-ticket", spn=asked, enctypes=enctypes)
        return finding("enctype-missing", spn=asked, enctype=enctype_name(ticket.enctype), enctypes=enctypes)
    if evidence.reason != "wrong-key":  # by the labels it should have opened
        return None
    return finding(
        "wrong-key",
        spn=asked,
        kvno="?" if ticket.kvno is None else str(ticket.kvno),
        enctype=enctype_name(ticket.enctype),
        keytab=holdings.keytab,
    )


def _kvno(ticket: ApReq, entries: list[KeytabEntry], keytab: str) -> Finding:
    kvnos = sorted({entry.kvno for entry in entries})
    assert ticket.kvno is not None  # one that isn't said may be any
    number = ticket.kvno & 0xFFFF if ticket.kvno > 0xFFFF else ticket.kvno  # see _may_be_kvno
    slug = "kvno-new" if number < kvnos[-1] else "kvno-old"
    seen = {"spn": plain(unparse(ticket.service)), "kvno": str(ticket.kvno), "kvnos": _and(kvnos)}
    if slug == "kvno-old":
        seen |= {"keytab": keytab, "realm": plain(ticket.realm)}
    return finding(slug, **seen)


def _may_be_kvno(held: int, asked: int | None) -> bool:
    """True unless the numbers rule it out.

    A keytab may hold 8 bits of a number, and 0 (``ktpass /kvno 0``) stands for any; a read-only domain controller puts
    its own number into the upper 16 bits ([MS-KILE] 3.1.5.8); a ticket may leave it out.
    """
    return not asked or not held or held in (asked, asked & 0xFFFF, asked & 0xFF)


def _host(evidence: Evidence) -> Finding | None:
    ticket = _ticket(evidence.token)
    if ticket is None:
        return None
    return finding("host-rewritten", host=plain(evidence.host or "no clear host"), asked=plain(unparse(ticket.service)))


def _skew(evidence: Evidence) -> Finding:
    # RFC 4120 7.5.9: KRB_AP_ERR_TKT_NYV is about the KDC's clock, KRB_AP_ERR_SKEW about the client's
    return finding("clock-behind" if "valid yet" in evidence.detail else "clock-skew", now=evidence.time)


def _replay(evidence: Evidence) -> Finding:
    return finding("replayed-by-proxy" if evidence.is_forwarded else "replayed")


def _bindings(evidence: Evidence) -> Finding:
    if evidence.names_certfile:
        return finding("bad-bindings-certfile", host=plain(evidence.host or "HOST"))
    return finding("bad-bindings")


def _slow(evidence: Evidence) -> Finding:
    holdings = evidence.holdings
    if holdings is not None and holdings.uses_gssproxy:
        return finding("gssproxy", keytab=holdings.keytab)
    if holdings is not None and holdings.locked_replay_file is not None:
        return finding("replay-cache-locked", file=holdings.locked_replay_file)
    return finding("overloaded")


_MECHANISMS = {
    spnego.KRB5: "Kerberos",
    spnego.MS_KRB5: "Kerberos",
    spnego.KRB5_U2U: "Kerberos user-to-user",
    spnego.NEGOEX: "NegoEx",
    spnego.NTLM: "NTLM",
}

# What needs no look at the token
_BY_REASON = {
    "anonymous": "ntlm-refused",
    "busy": "overloaded",
    "directory-busy": "directory-down",
    "directory-down": "directory-down",
    "domain-not-allowed": "domain-not-allowed",
    "duplicate-header": "two-authorizations",
    "flags-missing": "flags-missing",
    "groups-failed": "groups-failed",
    "groups-missing": "groups-missing",
    "incomplete": "token-damaged",
    "indicators-missing": "indicators-missing",
    "kdc-failed": "password-kdc",
    "kdc-unreachable": "password-kdc",
    "keytab": "keytab",
    "logon-failed": "ntlm-refused",
    "malformed": "token-damaged",
    "mech-list-mic": "ntlm-refused",
    "mic": "ntlm-refused",
    "name-forbidden": "name-forbidden",
    "name-mismatch": "name-mismatch",
    "name-unusable": "name-forbidden",
    "needs-connection": "no-connection",
    "no-handshake": "second-leg",
    "no-proof": "ntlm-refused",
    "not-acquired": "not-acquired",
    "not-bound": "not-bound",
    "not-token68": "token-damaged",
    "ntlm-refused": "ntlm-domain-refused",
    "ntlm-users": "not-acquired",
    "ntlm-v1": "ntlm-refused",
    "pac-missing": "pac-stripped",
    "password-refused": "password-refused",
    "password-without-tls": "password-without-tls",
    "realm-not-allowed": "realm-not-allowed",
    "replay-cache": "replay-cache",
    "replay-store": "replay-store",
    "service-not-allowed": "computer-account",
    "too-large": "token-too-large",
    "too-many-tries": "too-many-tries",
    "username-failed": "username-failed",
    "winbind": "winbind",
}

_QUESTIONS: dict[str, Callable[[Evidence], Finding | None]] = {
    "bad-bindings": _bindings,
    "clock-skew": _skew,
    "mechanism-not-allowed": _mechanism,
    "no-key": _keys,
    "origin-not-trusted": lambda evidence: finding("preflight-refused" if evidence.is_preflight else "cross-origin"),
    "refused": _keys,
    "replay": _replay,
    "ticket-expired": lambda evidence: finding("ticket-expired", now=evidence.time),
    "timeout": _slow,
    "tls-required": lambda evidence: finding("tls-ends-at-proxy" if evidence.is_forwarded else "tls-required"),
    "wrong-host": _host,
    "wrong-key": _keys,
    "wrong-principal": _keys,
}


def _ticket(token: bytes | None) -> ApReq | None:
    try:
        first = spnego.read(token or b"")
        return read_ap_req(first.mech_token) if first.mech_token else None
    except WireError:
        return None


def _principals(holdings: Holdings) -> set[str]:
    return {entry.principal for entry in holdings.entries if entry.components[0] == holdings.service}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _listed(names: Iterable[str]) -> str:
    listed = sorted(set(names))
    return ", ".join(map(plain, listed[:_SHOWN])) + (" and others" if len(listed) > _SHOWN else "")


def _and(numbers: list[int]) -> str:
    shown = list(map(str, numbers[-_SHOWN:]))
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
