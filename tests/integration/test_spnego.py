"""Kerberos as the client's first choice, taken out of its SPNEGO by us: held against the library's own SPNEGO."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gssapi
import pytest

from negotiate_mw import AcceptError, AcceptResult, SecStatus
from negotiate_mw.backends import Context
from negotiate_mw.backends.gssapi import GssapiBackend
from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire import spnego
from negotiate_mw.wire.kerberos import krb_error_code
from tests.wire import building

from .writing import Service

HTTP = "HTTP/localhost"
REPLAY = 34  # RFC 4120 7.5.9
flag = gssapi.RequirementFlag


@pytest.fixture(scope="module")
def backend(kerberos_realm: KerberosRealm, tmp_path_factory: pytest.TempPathFactory) -> GssapiBackend:
    rcache = tmp_path_factory.mktemp("rcache")
    backend = GssapiBackend(service="HTTP", hosts=(), keytab=kerberos_realm.keytab(HTTP), rcache=rcache)
    backend.acquire()
    return backend


@pytest.fixture(params=["a list of one", "as Windows lists them"])
def rewrapped(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "as Windows lists them")


def as_windows(token: bytes) -> bytes:
    """The same Kerberos message behind the list that Windows offers."""
    first = spnego.read(token)
    assert isinstance(first, spnego.FirstToken)
    assert first.mech_token is not None
    offered = (building.MS_KRB5_OID, building.KRB5_OID, building.NEGOEX_OID, building.NTLM_OID)
    return building.neg_token_init(building.mech_types(*offered), building.octets(0xA2, first.mech_token))


def initiator(realm: KerberosRealm, ccache: Path, flags: gssapi.RequirementFlag) -> gssapi.SecurityContext:
    realm.token(HTTP, ccache)  # so that the ticket is there
    krb5, wrapping = (gssapi.OID.from_int_seq(oid) for oid in (spnego.KRB5, spnego.SPNEGO))
    creds = gssapi.Credentials(usage="initiate", mechs=[krb5, wrapping], store={"ccache": f"FILE:{ccache}"})
    gssapi.raw.set_neg_mechs(creds, [krb5])
    name = gssapi.Name(f"{HTTP}@{realm.name}", gssapi.NameType.kerberos_principal)
    return gssapi.SecurityContext(name=name, creds=creds, usage="initiate", mech=wrapping, flags=flags)


def by_us(backend: GssapiBackend, token: bytes) -> Context:
    opening = spnego.opens(token)
    assert opening is not None
    assert opening.kerberos_at
    return Context(backend, opening)


def said(result: AcceptResult) -> spnego.FirstToken | spnego.Continuation:
    """The answer without what is new in each, the Kerberos message, of which its beginning is left."""
    assert result.token is not None
    answer = spnego.read(result.token)
    message = None if answer.mech_token is None else answer.mech_token[answer.mech_token.index(b"\x06") :][:13]
    return replace(answer, mech_token=message)


@pytest.mark.parametrize(
    "flags", [flag.mutual_authentication | flag.integrity, flag.integrity], ids=["mutual", "plain"]
)
def test_our_answer_is_the_librarys_but_for_what_is_sealed_in_it(
    kerberos_realm: KerberosRealm, alice: Path, backend: GssapiBackend, flags: gssapi.RequirementFlag, rewrapped: bool
) -> None:
    results = []
    for ours in (False, True):
        token = initiator(kerberos_realm, alice, flags).step() or b""
        token = as_windows(token) if rewrapped else token
        context = by_us(backend, token) if ours else Context(backend)
        results.append(backend.step(context, token, None))

    librarys, own = results
    assert said(own) == said(librarys)
    assert own.attributes == librarys.attributes
    assert own.identity is not None
    assert librarys.identity is not None
    assert replace(own.identity, expires_at=None) == replace(librarys.identity, expires_at=None)


def test_the_library_on_the_other_side_is_content_with_our_answer(
    kerberos_realm: KerberosRealm, alice: Path, backend: GssapiBackend
) -> None:
    client = initiator(kerberos_realm, alice, flag.mutual_authentication | flag.integrity)
    token = client.step() or b""

    result = backend.step(by_us(backend, token), token, None)

    client.step(result.token)
    assert client.complete
    assert flag.mutual_authentication in client.actual_flags


def test_three_legs_in_dce_style_are_the_librarys(
    kerberos_realm: KerberosRealm, alice: Path, backend: GssapiBackend
) -> None:
    client = initiator(kerberos_realm, alice, flag.mutual_authentication | flag.integrity | flag.dce_style)
    token = client.step() or b""
    opening = spnego.opens(token)
    assert opening is not None
    context = Context(backend, opening)

    first = backend.step(context, token, None)
    second = backend.step(context, client.step(first.token) or b"", None)

    assert (first.status, second.status) == (SecStatus.CONTINUE_NEEDED, SecStatus.OK)
    assert second.identity is not None
    assert second.identity.principal == "alice@TEST.EXAMPLE"


def test_dce_style_in_a_frame_is_refused(kerberos_realm: KerberosRealm, tmp_path: Path) -> None:
    service = Service()
    backend = GssapiBackend(service="HTTP", hosts=(), keytab=service.keytab(tmp_path / "keytab"), rcache=tmp_path)
    backend.acquire()
    message = service.token("alice@TEST.EXAMPLE", flags=int(flag.mutual_authentication | flag.dce_style))
    token = building.neg_token_init(building.mech_types(building.KRB5_OID), building.octets(0xA2, message))

    with pytest.raises(AcceptError) as refused:
        backend.step(by_us(backend, token), token, None)

    assert (refused.value.status, refused.value.reason) == (SecStatus.INVALID_TOKEN, "malformed")


def test_a_library_that_wanted_a_further_leg_would_not_be_left_half_open(
    kerberos_realm: KerberosRealm, alice: Path, backend: GssapiBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    wants_more = SimpleNamespace(more_steps=True, context=object(), token=b"AP-REP")
    monkeypatch.setattr("negotiate_mw.backends.gssapi.raw.accept_sec_context", lambda *_: wants_more)
    token = kerberos_realm.token(HTTP, alice)

    with pytest.raises(AcceptError) as refused:
        backend.step(by_us(backend, token), token, None)

    assert (refused.value.status, refused.value.reason) == (SecStatus.INVALID_TOKEN, "malformed")


def test_an_error_token_travels_in_the_wrapping_that_the_client_chose(
    kerberos_realm: KerberosRealm, alice: Path, backend: GssapiBackend
) -> None:
    token = kerberos_realm.token(HTTP, alice)
    backend.step(by_us(backend, token), token, None)

    with pytest.raises(AcceptError) as refused:
        backend.step(by_us(backend, token), token, None)

    assert refused.value.reason == "replay"
    answer = spnego.read(refused.value.token or b"")
    assert isinstance(answer, spnego.Continuation)
    assert (answer.state, answer.mechanism) == (2, spnego.KRB5)
    assert krb_error_code(answer.mech_token or b"") == REPLAY
