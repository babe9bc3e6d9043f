"""Does a ticket from the KDC really open with the keytab? Gets one for each name and accepts it, as the acceptor would.

Law: accepted with a replay cache of nobody's, so that the service's own stays as it is; and one key at most is tried
against the KDC, since some lock an account after a few wrong ones.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from negotiate_mw.backends import Context
from negotiate_mw.backends.gssapi import GssapiBackend
from negotiate_mw.causes import Finding
from negotiate_mw.diagnosis import Evidence, diagnose
from negotiate_mw.doctor.ccache import Client, Failed, by_keytab, operator
from negotiate_mw.doctor.deployed import Deployed
from negotiate_mw.doctor.report import Level, Line, found, ok, problem, skipped, warning
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.identity import Identity
from negotiate_mw.policy import Policy
from negotiate_mw.wire.errors import WireError
from negotiate_mw.wire.kerberos import enctype_name, read_ap_req
from negotiate_mw.wire.keytab import KeytabEntry

_MAX_NAMES = 8
_UNKNOWN_CLIENT, _UNKNOWN_SERVICE, _TWO_OF_A_NAME = 6, 7, 8  # RFC 4120 7.5.9
_NO_ENCTYPE, _LOCKED = 14, 18
_PREAUTH_FAILED, _PREAUTH_NEEDED, _BAD_INTEGRITY, _SKEW = 24, 25, 31, 37
_KEY_REFUSED = frozenset({_NO_ENCTYPE, _PREAUTH_FAILED, _PREAUTH_NEEDED, _BAD_INTEGRITY})
_UNREACHABLE = 156  # KRB5_KDC_UNREACH
_NO_KDC = frozenset({154, 220, 224})  # KRB5_REALM_UNKNOWN, KRB5_REALM_CANT_RESOLVE, KRB5_CONFIG_NODEFREALM


def examine(deployed: Deployed) -> Iterator[Line]:
    """Try every name of the keytab, as far as anybody here can have tickets."""
    held = deployed.keytab
    if held.problem():
        return
    keytab = str(held.path)
    names = sorted({(entry.principal, entry.realm) for entry in held.entries if _is_ours(deployed, entry)})
    if not names:
        return
    client = operator()
    if client is None:
        principal = _principal_to_try(deployed)
        try:
            client = by_keytab(principal, keytab)
        except Failed as error:
            yield _without_client(principal, keytab, error)
            return
    backend = GssapiBackend(service=deployed.service, hosts=(), keytab=keytab, rcache="none")
    try:
        backend.acquire()
    except ConfigurationError as error:
        yield problem("not-acquired-because", what=str(error))
        return
    for name, realm in names[:_MAX_NAMES]:
        yield from _try(client, backend, name, realm, deployed.policy)
    if len(names) > _MAX_NAMES:
        yield skipped(f"{len(names) - _MAX_NAMES} more names weren't tried")


def _try(client: Client, backend: GssapiBackend, name: str, realm: str, policy: Policy | None) -> Iterator[Line]:
    try:
        token = _token(client, name, realm)
    except Failed as error:
        yield _without_ticket(name, realm, error)
        return
    try:
        result = backend.step(Context(backend), token, None)
    except AcceptError as error:
        yield found(_why(error, token, backend), Level.PROBLEM)
        return
    assert result.identity is not None  # raw Kerberos takes one leg
    yield ok(f"a ticket for {name} opens: {_label(token)}, logged in as {client.principal}")
    if policy is not None:
        yield from _pac(result.identity, policy)


def _pac(identity: Identity, policy: Policy) -> Iterator[Line]:
    """Whether the policy asks of tickets what the KDC puts into them: whose account they are."""
    if policy.pac == "required":
        if identity.upn is None:
            yield problem("pac-stripped")
        else:
            yield ok(
                f'tickets of {identity.realm} say whose account they are, and Policy(pac="required") insists on it'
            )
    elif identity.upn is not None:
        yield warning("pac-optional", realm=identity.realm)


def _token(client: Client, name: str, realm: str) -> bytes:
    """A ticket of the client's own realm, as its users would get; else of the one that the keytab says."""
    try:
        return client.token(f"{name}@{client.realm}")
    except Failed:
        if client.realm == realm:
            raise
        return client.token(f"{name}@{realm}")


def _why(error: AcceptError, token: bytes, backend: GssapiBackend) -> Finding:
    """What the log would say of it."""
    evidence = Evidence(
        reason=error.reason,
        detail=error.detail,
        now=datetime.now(UTC),
        token=token,
        holdings=backend.holdings(),
    )
    named = diagnose(evidence)
    if named is None or named.told:
        return Finding(
            cause="" if named is None else named.cause,
            sentence=error.detail,
            cure="" if named is None else named.cure,
        )
    return named


def _without_client(principal: str, keytab: str, error: Failed) -> Line:
    realm = principal.rpartition("@")[2]
    if error.code in _KEY_REFUSED:
        return problem("keytab-key-refused", spn=principal, keytab=keytab, said=error.sentence)
    if error.code == _LOCKED:
        return problem("account-locked", account=principal)
    if error.code == _UNREACHABLE:
        return warning("kdc-unreachable", realm=realm, kdc="that of krb5.conf or DNS")
    if error.code in _NO_KDC:
        return skipped(f"no KDC of {realm} is known here, so no ticket was tried; accepting log-ins needs none")
    return skipped(
        f"no ticket was tried: {principal} can't log in by itself ({error.sentence})",
        f"`kinit` as any user of {realm}, and run this again",
    )


def _without_ticket(name: str, realm: str, error: Failed) -> Line:
    if error.code == _UNKNOWN_SERVICE:
        return problem("spn-missing", spn=name, realm=realm)
    if error.code in _NO_KDC:
        return skipped(f"no KDC of {realm} is known here, so no ticket was tried; accepting log-ins needs none")
    if error.code == _TWO_OF_A_NAME:
        return problem("spn-duplicate", spn=name)
    if error.code == _LOCKED:
        return problem("account-locked", account=name)
    if error.code == _UNREACHABLE:
        return warning("kdc-unreachable", realm=realm, kdc="that of krb5.conf or DNS")
    return warning("no-ticket", spn=name, said=error.sentence)


def _principal_to_try(deployed: Deployed) -> str:
    """A computer's account first: it can log in; in Active Directory an SPN alone can't."""
    entries = deployed.keytab.entries
    chosen = next((entry for entry in entries if entry.principal.endswith("$")), None)
    chosen = chosen or next(entry for entry in entries if _is_ours(deployed, entry))
    return f"{chosen.principal}@{chosen.realm}"


def _is_ours(deployed: Deployed, entry: KeytabEntry) -> bool:
    is_named = not deployed.hosts or entry.components[1:] in {(host,) for host in deployed.hosts}
    return entry.components[0] == deployed.service and is_named


def _label(token: bytes) -> str:
    try:
        ticket = read_ap_req(token)
    except WireError:
        return f"{len(token)} bytes"
    return f"kvno {ticket.kvno}, {enctype_name(ticket.enctype)}, {len(token)} bytes"
