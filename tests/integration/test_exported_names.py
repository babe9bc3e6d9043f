"""A name by one call of the library is the name and the attributes that it says in two."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gssapi
import pytest
from gssapi import raw

from negotiate_mw import AcceptError
from negotiate_mw.backends import Context
from negotiate_mw.backends.gssapi import GssapiBackend
from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire.composite_name import read_composite_name

from .samba_ad import SambaAD
from .writing import DELEGATION_INFO, LOGON_INFO, UPN_DNS_INFO, Service

HTTP = "HTTP/localhost"


def initiator_of(keytab: Path, token: bytes) -> Any:
    store: dict[bytes | str, bytes | str] = {"keytab": str(keytab), "rcache": "none:"}
    creds = gssapi.Credentials(usage="accept", mechs=[gssapi.MechType.kerberos], store=store)
    return raw.accept_sec_context(token, acceptor_creds=creds).initiator_name


def assert_same(name: Any) -> None:
    read = read_composite_name(raw.export_name_composite(name))

    assert read.name == raw.display_name(name, False).name
    assert read.attributes == frozenset(raw.inquire_name(name, mech_name=False, attrs=True).attrs)


@pytest.mark.parametrize(
    "client", ["alice@TEST.EXAMPLE", r"a\@b@TEST.EXAMPLE", "host/pc@TEST.EXAMPLE", "ä@TEST.EXAMPLE"]
)
@pytest.mark.parametrize(
    "pac", [None, {}, {UPN_DNS_INFO: b"x" * 20}, {LOGON_INFO: b"", DELEGATION_INFO: b"y", 13: b"z", 99: b"?" * 500}]
)
@pytest.mark.parametrize("signed", [True, False])
def test_of_any_ticket(tmp_path: Path, client: str, pac: Mapping[int, bytes] | None, signed: bool) -> None:
    service = Service()
    token = service.token(client, pac, signed=signed)

    assert_same(initiator_of(service.keytab(tmp_path / "keytab"), token))


def test_of_a_ticket_of_mits(kerberos_realm: KerberosRealm, alice: Path) -> None:
    token = kerberos_realm.token(HTTP, alice, wrapping="kerberos")

    assert_same(initiator_of(kerberos_realm.keytab(HTTP), token))


def test_of_an_active_directorys(samba_ad: SambaAD) -> None:
    token = samba_ad.token(HTTP, samba_ad.kinit("alice"), wrapping="kerberos")

    assert_same(initiator_of(samba_ad.keytab(HTTP), token))


def test_where_it_cannot_be_read_the_library_is_asked_call_by_call_from_then_on(
    kerberos_realm: KerberosRealm, alice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def another_layout(name: Any) -> bytes:
        asked.append(name)
        return b"another layout"

    monkeypatch.setattr(raw, "export_name_composite", another_layout)
    backend = GssapiBackend(service="HTTP", hosts=(), keytab=kerberos_realm.keytab(HTTP), rcache=tmp_path)
    backend.acquire()

    for _ in range(2):
        result = backend.step(Context(backend), kerberos_realm.token(HTTP, alice), None)
        assert result.identity is not None
        assert result.identity.principal == "alice@TEST.EXAMPLE"

    assert len(asked) == 1


def test_an_account_is_checked_where_it_cannot_be_read_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    reasons = []

    for export in (raw.export_name_composite, lambda _: b"another layout"):
        monkeypatch.setattr(raw, "export_name_composite", export)
        backend = GssapiBackend(service="HTTP", hosts=(), keytab=service.keytab(tmp_path / "keytab"), rcache=tmp_path)
        backend.acquire()
        with pytest.raises(AcceptError) as refused:
            backend.step(Context(backend), service.token("alice@TEST.EXAMPLE", {UPN_DNS_INFO: b"x" * 20}), None)
        reasons.append(refused.value.reason)

    assert reasons == ["name-mismatch"] * 2
