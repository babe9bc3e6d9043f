"""An Active Directory's claims as attributes: recorded ones (see tests/wire/claims_vectors.py), in place of those that
a real ticket has none of, since the domain controller here issues none."""

import asyncio
import copy
import pickle
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gssapi import raw

from negotiate_mw import Acceptor, CookieSessions, Identity, NegotiateMiddleware, Policy
from tests.shell.driving import Client, Site
from tests.wire import claims_vectors

from .samba_ad import SambaAD

HTTP = "HTTP/localhost"
DEPARTMENT = "ad-claims/ad://ext/department:d85e77c116162b5b"


@pytest.fixture(scope="module")
def keytab(samba_ad: SambaAD) -> Path:
    return samba_ad.keytab(HTTP)


class Claims:
    """The library's answers about a ticket, with claims."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.buffer = claims_vectors.SAMBA
        self.authenticated = True
        self.without: set[bytes] = set()
        self.read = 0
        self._inquire, self._get = raw.inquire_name, raw.get_name_attribute
        monkeypatch.setattr(raw, "export_name_composite", lambda _: b"")  # which would say it as well
        monkeypatch.setattr(raw, "inquire_name", self.inquire_name)
        monkeypatch.setattr(raw, "get_name_attribute", self.get_name_attribute)

    def inquire_name(self, name: Any, **options: Any) -> Any:
        listed = self._inquire(name, **options).attrs
        return SimpleNamespace(
            attrs=[attribute for attribute in listed if attribute not in self.without] + [b"urn:mspac:13"]
        )

    def get_name_attribute(self, name: Any, attribute: bytes) -> Any:
        if attribute != b"urn:mspac:13":
            return self._get(name, attribute)
        self.read += 1
        return SimpleNamespace(values=[self.buffer], authenticated=self.authenticated)


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> Claims:
    return Claims(monkeypatch)


def accepted(ad: SambaAD, keytab: Path) -> Identity:
    async def accept() -> Identity:
        async with Acceptor(keytab=keytab, rcache=ad.directory / "rcache") as acceptor:
            result = await acceptor.accept(None, ad.token(HTTP, ad.kinit("alice")))
        assert result.identity is not None
        return result.identity

    return asyncio.run(accept())


def test_claims_are_attributes(samba_ad: SambaAD, keytab: Path, claims: Claims) -> None:
    alice = accepted(samba_ad, keytab)

    assert alice.attributes_of(DEPARTMENT) == ("Human Resources",)
    assert alice.attributes_of("ad-claims/ad://ext/msNPAllowDialin:592599c26e177304") == ("true",)
    assert alice.attributes_of("ad-claims/ad://ext/department") == ()
    assert alice.attributes_of("auth-indicators") == ()


def test_claims_are_read_when_asked_for_and_once(samba_ad: SambaAD, keytab: Path, claims: Claims) -> None:
    alice = accepted(samba_ad, keytab)
    at_log_in = claims.read

    for _ in range(3):
        alice.attributes_of(DEPARTMENT)

    assert (at_log_in, claims.read) == (0, 1)


def test_ticket_of_a_user_without_claims_has_none(samba_ad: SambaAD, keytab: Path, claims: Claims) -> None:
    claims.buffer = b""

    assert accepted(samba_ad, keytab).attributes_of(DEPARTMENT) == ()


def test_claims_of_another_realms_users_do_not_count(
    samba_ad: SambaAD, keytab: Path, claims: Claims, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere.keytab"
    elsewhere.write_bytes(keytab.read_bytes().replace(b"AD.TEST.EXAMPLE", b"MY.TEST.EXAMPLE"))

    alice = accepted(samba_ad, elsewhere)

    assert alice.principal == "alice@AD.TEST.EXAMPLE"
    assert alice.attributes_of(DEPARTMENT) == ()
    assert claims.read == 0


def test_claims_do_not_count_where_the_ticket_does_not_say_whose_they_are(
    samba_ad: SambaAD, keytab: Path, claims: Claims
) -> None:
    claims.without = {b"urn:mspac:upn-dns-info"}

    assert accepted(samba_ad, keytab).attributes_of(DEPARTMENT) == ()


def test_claims_that_the_library_does_not_vouch_for_are_none(samba_ad: SambaAD, keytab: Path, claims: Claims) -> None:
    claims.authenticated = False

    assert accepted(samba_ad, keytab).attributes_of(DEPARTMENT) == ()


def test_claims_that_cannot_be_read_are_none_and_the_log_says_where(
    samba_ad: SambaAD, keytab: Path, claims: Claims, caplog: pytest.LogCaptureFixture
) -> None:
    claims.buffer = claims.buffer[:-8]

    assert accepted(samba_ad, keytab).attributes_of(DEPARTMENT) == ()
    assert (
        "the claims in the ticket of 'alice@AD.TEST.EXAMPLE' don't count: malformed: CLAIMS_SET_METADATA" in caplog.text
    )
    assert "Human" not in caplog.text


def test_claims_outlive_the_log_in_in_a_session(samba_ad: SambaAD, keytab: Path, claims: Claims) -> None:
    site = Site()
    acceptor = Acceptor(keytab=keytab, rcache=samba_ad.directory / "rcache")
    app = NegotiateMiddleware(
        site, acceptor=acceptor, sessions=CookieSessions(keys=[bytes(range(32))]), policy=Policy(pac="required")
    )

    async def ask() -> None:
        client = Client(app)
        answer = await client.get(samba_ad.token(HTTP, samba_ad.kinit("alice")))
        cookie = dict(answer.headers)[b"set-cookie"].partition(b";")[0]
        await client.get(headers=[(b"cookie", cookie)])

    asyncio.run(ask())

    first, second = (scope["user"] for scope in site.scopes)
    assert first.attributes_of(DEPARTMENT) == second.attributes_of(DEPARTMENT) == ("Human Resources",)
    assert second.claims is None


def test_without_a_session_nobody_reads_claims(samba_ad: SambaAD, keytab: Path, claims: Claims) -> None:
    acceptor = Acceptor(keytab=keytab, rcache=samba_ad.directory / "rcache")

    async def ask() -> int:
        answer = await Client(NegotiateMiddleware(Site(), acceptor=acceptor)).get(
            samba_ad.token(HTTP, samba_ad.kinit("alice"))
        )
        return answer.status

    assert asyncio.run(ask()) == 200
    assert claims.read == 0


def test_a_user_with_claims_can_be_copied_and_written_down(samba_ad: SambaAD, keytab: Path, claims: Claims) -> None:
    alice = accepted(samba_ad, keytab)

    for other in (copy.deepcopy(alice), pickle.loads(pickle.dumps(alice))):
        assert other == alice
        assert other.attributes_of(DEPARTMENT) == ("Human Resources",)
    assert asdict(alice)["principal"] == alice.principal
