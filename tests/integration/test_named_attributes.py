"""What a KDC vouches for beside the name: authentication indicators (RFC 8129), by a real KDC that asserts them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gssapi import raw

from negotiate_mw import Acceptor, Identity, NegotiateMiddleware, Policy
from negotiate_mw.testing import KerberosRealm, tickets
from tests.shell.driving import Answer, Client, Site

HTTP = "HTTP/localhost"

OPENSSL_CONF = """\
[req]
distinguished_name = subject
[subject]
[ca]
basicConstraints = critical,CA:TRUE
[kdc]
keyUsage = digitalSignature,keyEncipherment,keyAgreement
extendedKeyUsage = 1.3.6.1.5.2.3.5
subjectAltName = otherName:1.3.6.1.5.2.2;SEQUENCE:krbtgt
[krbtgt]
realm = EXP:0,GeneralString:{realm}
name = EXP:1,SEQUENCE:krbtgt_name
[krbtgt_name]
type = EXP:0,INTEGER:2
parts = EXP:1,SEQUENCE:krbtgt_parts
[krbtgt_parts]
first = GeneralString:krbtgt
second = GeneralString:{realm}
[user]
keyUsage = digitalSignature,keyEncipherment,keyAgreement
extendedKeyUsage = 1.3.6.1.5.2.3.4
subjectAltName = otherName:1.3.6.1.5.2.2;SEQUENCE:alice
[alice]
realm = EXP:0,GeneralString:{realm}
name = EXP:1,SEQUENCE:alice_name
[alice_name]
type = EXP:0,INTEGER:1
parts = EXP:1,SEQUENCE:alice_parts
[alice_parts]
first = GeneralString:alice
"""
PKINIT = """\
    pkinit_identity = FILE:{0}/kdc.pem,{0}/kdc.key
    pkinit_anchors = FILE:{0}/ca.pem
    pkinit_indicator = pkinit
    spake_preauth_indicator = spake
"""


@pytest.fixture(scope="module")
def realm(kerberos_realm: KerberosRealm) -> Iterator[KerberosRealm]:
    """A realm that tells who logged in by SPAKE, or by a certificate; bob needs no preauthentication at all."""
    with KerberosRealm("SPAKE.EXAMPLE") as realm:
        realm.add_service(HTTP)
        for user in ("alice", "bob"):
            realm.add_user(user)
        tickets.run(realm.environ(), "kadmin.local", "-r", realm.name, "modprinc", "+requires_preauth", "alice")
        realm.stop_kdc()
        _certificates(realm)
        krb5, kdc = realm.directory / "krb5.conf", realm.directory / "kdc.conf"
        groups = "[libdefaults]\n  spake_preauth_groups = edwards25519"
        krb5.write_text(krb5.read_text().replace("[libdefaults]", groups, 1))
        indicators = PKINIT.format(realm.directory) + "    max_life"
        kdc.write_text(kdc.read_text().replace("    max_life", indicators, 1))
        realm.start_kdc()
        yield realm


def _certificates(realm: KerberosRealm) -> None:
    """A certification authority, and what it certifies: the KDC, and alice (RFC 4556 3.2)."""
    folder = realm.directory
    conf = folder / "openssl.cnf"
    conf.write_text(OPENSSL_CONF.format(realm=realm.name))
    for name, section in (("ca", "ca"), ("kdc", "kdc"), ("alice", "user")):
        ours = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
        signer = [] if name == "ca" else ["-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key")]
        options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        tickets.run(
            realm.environ(),
            *("openssl", "req", "-config", str(conf), "-extensions", section, *options, *signer, *ours),
        )


@pytest.fixture(scope="module")
def keytab(realm: KerberosRealm) -> Path:
    return realm.keytab(HTTP)


def accepted(realm: KerberosRealm, keytab: Path, user: str, *options: str) -> Identity:
    async def accept() -> Identity:
        async with Acceptor(keytab=keytab, rcache=realm.directory / "rcache") as acceptor:
            result = await acceptor.accept(None, realm.token(HTTP, realm.kinit(user, options=options)))
        assert result.identity is not None
        return result.identity

    return asyncio.run(accept())


def answered(realm: KerberosRealm, keytab: Path, user: str, *indicators: str) -> Answer:
    acceptor = Acceptor(keytab=keytab, rcache=realm.directory / "rcache")
    policy = Policy(required_indicators=indicators)

    async def ask() -> Answer:
        client = Client(NegotiateMiddleware(Site(), acceptor=acceptor, policy=policy))
        return await client.get(realm.token(HTTP, realm.kinit(user)))

    return asyncio.run(ask())


def test_how_a_user_logged_in_to_the_kdc_is_an_attribute(realm: KerberosRealm, keytab: Path) -> None:
    assert accepted(realm, keytab, "alice").attributes_of("auth-indicators") == ("spake",)


def test_a_certificate_is_told_from_a_password(realm: KerberosRealm, keytab: Path) -> None:
    folder = realm.directory
    identity, anchors = f"FILE:{folder}/alice.pem,{folder}/alice.key", f"FILE:{folder}/ca.pem"
    options = ("-X", f"X509_user_identity={identity}", "-X", f"X509_anchors={anchors}")

    assert accepted(realm, keytab, "alice", *options).attributes_of("auth-indicators") == ("pkinit",)


def test_who_logged_in_otherwise_has_no_such_attribute(realm: KerberosRealm, keytab: Path) -> None:
    assert accepted(realm, keytab, "bob").attributes_of("auth-indicators") == ()


def test_indicators_that_the_library_does_not_vouch_for_are_none(
    realm: KerberosRealm, keytab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = raw.get_name_attribute

    def unverified(name: Any, attribute: bytes) -> Any:
        return SimpleNamespace(values=genuine(name, attribute).values, authenticated=False)

    monkeypatch.setattr(raw, "get_name_attribute", unverified)

    assert accepted(realm, keytab, "alice").attributes_of("auth-indicators") == ()


@pytest.mark.parametrize(
    ("user", "required", "status"),
    [
        ("alice", ["spake"], 200),
        ("alice", ["spake", "pkinit"], 403),
        ("alice", ["SPAKE"], 403),
        ("bob", ["spake"], 403),
    ],
)
def test_a_required_indicator_keeps_out_who_lacks_it(
    realm: KerberosRealm,
    keytab: Path,
    caplog: pytest.LogCaptureFixture,
    user: str,
    required: list[str],
    status: int,
) -> None:
    answer = answered(realm, keytab, user, *required)

    assert answer.status == status
    assert ("indicators-missing: " in caplog.text) is (status == 403)
