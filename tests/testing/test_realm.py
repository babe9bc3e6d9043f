"""KerberosRealm for real: a KDC of our own, its programs, and python-gssapi on both ends."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import gssapi
import pytest

from negotiate_mw.testing import KerberosRealm, RealmError, RealmUnavailable
from negotiate_mw.testing.tickets import OIDS

HTTP = "HTTP/localhost"


def accept(keytab: Path, token: bytes) -> str:
    """Who the token is from, as the C library sees it; GSSError if it doesn't accept it."""
    krb5, spnego = (gssapi.OID.from_int_seq(OIDS[name]) for name in ("kerberos", "spnego"))
    store: dict[bytes | str, bytes | str] = {"keytab": str(keytab), "rcache": "none:"}
    creds = gssapi.Credentials(usage="accept", mechs=[krb5, spnego], store=store)
    gssapi.raw.set_neg_mechs(creds, [krb5])
    result = gssapi.raw.accept_sec_context(token, acceptor_creds=creds)
    return str(gssapi.Name(result.initiator_name))


@pytest.fixture(scope="module")
def keytab(kerberos_realm: KerberosRealm) -> Path:
    return kerberos_realm.keytab(HTTP)


@pytest.fixture(scope="module")
def alice(kerberos_realm: KerberosRealm) -> Path:
    return kerberos_realm.kinit("alice")


@pytest.fixture
def own_realm() -> Iterator[KerberosRealm]:
    with KerberosRealm("OTHER.EXAMPLE") as realm:
        yield realm


@pytest.mark.parametrize("wrapping", ["spnego", "kerberos"])
def test_a_token_names_its_user(kerberos_realm: KerberosRealm, keytab: Path, alice: Path, wrapping: str) -> None:
    token = kerberos_realm.token(HTTP, alice, wrapping=wrapping)  # type: ignore[arg-type]

    assert accept(keytab, token) == "alice@TEST.EXAMPLE"


def test_a_token_needs_nothing_of_this_process_environment(
    kerberos_realm: KerberosRealm, keytab: Path, alice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KRB5_CONFIG", "KRB5CCNAME"):
        monkeypatch.setenv(name, "/nonexistent")

    before = dict(os.environ)
    token = kerberos_realm.token("HTTP/www.test.example", alice)

    assert token
    assert dict(os.environ) == before


def test_an_initiator_gets_its_mutual_authentication(kerberos_realm: KerberosRealm, keytab: Path, alice: Path) -> None:
    initiator = kerberos_realm.initiator(HTTP, alice)
    creds = gssapi.Credentials(usage="accept", store={"keytab": str(keytab), "rcache": "none:"})
    acceptor = gssapi.SecurityContext(creds=creds, usage="accept")

    answer = acceptor.step(initiator.step())
    initiator.step(answer)

    assert initiator.complete
    assert gssapi.RequirementFlag.mutual_authentication in initiator.actual_flags


def test_channel_bindings_travel(kerberos_realm: KerberosRealm, keytab: Path, alice: Path) -> None:
    token = kerberos_realm.initiator(HTTP, alice, bindings=b"tls-server-end-point:x").step()
    creds = gssapi.Credentials(usage="accept", store={"keytab": str(keytab), "rcache": "none:"})
    bindings = gssapi.raw.ChannelBindings(application_data=b"tls-server-end-point:x")

    result = gssapi.raw.accept_sec_context(token, acceptor_creds=creds, channel_bindings=bindings)

    assert int(result.flags) & 2048


def test_a_token_for_a_service_whose_key_is_not_there_is_refused(
    kerberos_realm: KerberosRealm, keytab: Path, alice: Path
) -> None:
    token = kerberos_realm.token("host/localhost", alice)

    with pytest.raises(gssapi.raw.GSSError, match="not found in keytab"):
        accept(keytab, token)


def test_an_expired_ticket_is_sent_and_refused_as_expired(kerberos_realm: KerberosRealm, keytab: Path) -> None:
    ccache = kerberos_realm.expired("alice", HTTP)

    token = kerberos_realm.token(HTTP, ccache)

    with pytest.raises(gssapi.raw.GSSError, match="expired"):
        accept(keytab, token)


def test_a_clock_that_is_off_is_refused_for_its_skew(kerberos_realm: KerberosRealm, keytab: Path, alice: Path) -> None:
    token = kerberos_realm.token(HTTP, alice, clock=timedelta(minutes=10))

    with pytest.raises(gssapi.raw.GSSError, match=r"(?i)clock skew"):
        accept(keytab, token)


def test_a_rotated_key_is_in_the_next_keytab_only(own_realm: KerberosRealm) -> None:
    own_realm.add_user("alice")
    own_realm.add_service(HTTP)
    keytab = own_realm.keytab(HTTP)

    own_realm.rotate(HTTP)
    token = own_realm.token(HTTP, own_realm.kinit("alice"))

    with pytest.raises(gssapi.raw.GSSError):
        accept(keytab, token)
    assert own_realm.keytab(HTTP, path=keytab) == keytab
    assert accept(keytab, token) == "alice@OTHER.EXAMPLE"


def test_a_rotation_that_keeps_the_old_key_leaves_tickets_good(own_realm: KerberosRealm) -> None:
    own_realm.add_user("alice")
    own_realm.add_service(HTTP)
    ccache = own_realm.kinit("alice")
    own_realm.token(HTTP, ccache)

    own_realm.rotate(HTTP, keep_old=True)

    assert accept(own_realm.keytab(HTTP), own_realm.token(HTTP, ccache)) == "alice@OTHER.EXAMPLE"


def test_without_its_kdc_nobody_logs_in_and_tickets_stay_good(own_realm: KerberosRealm) -> None:
    own_realm.add_user("alice")
    own_realm.add_service(HTTP)
    ccache = own_realm.kinit("alice")
    own_realm.token(HTTP, ccache)

    own_realm.stop_kdc()

    with pytest.raises(RealmError, match="Cannot contact any KDC"):
        own_realm.kinit("alice")
    assert accept(own_realm.keytab(HTTP), own_realm.token(HTTP, ccache)) == "alice@OTHER.EXAMPLE"
    own_realm.start_kdc()
    assert own_realm.kinit("alice").exists()


def test_two_realms_run_side_by_side(own_realm: KerberosRealm, kerberos_realm: KerberosRealm) -> None:
    own_realm.add_user("alice", "another password")

    assert own_realm.kinit("alice", "another password") != kerberos_realm.kinit("alice")
    assert own_realm.env["KRB5_CONFIG"] != kerberos_realm.env["KRB5_CONFIG"]


def test_apply_leads_this_process_in_and_out(
    kerberos_realm: KerberosRealm, alice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KRB5_CLIENT_KTNAME", "/etc/krb5.keytab")
    before = dict(os.environ)

    with kerberos_realm.apply(alice):
        inside = dict(os.environ)
        name = gssapi.Credentials(usage="initiate").name

    assert str(name) == "alice@TEST.EXAMPLE"
    assert "KRB5_CLIENT_KTNAME" not in inside
    assert dict(os.environ) == before


def test_a_delegating_client_forwards_a_ticket(kerberos_realm: KerberosRealm, keytab: Path, alice: Path) -> None:
    with kerberos_realm.apply():
        token = kerberos_realm.initiator(HTTP, alice, delegate=True).step()
    creds = gssapi.Credentials(usage="accept", store={"keytab": str(keytab), "rcache": "none:"})

    result = gssapi.raw.accept_sec_context(token, acceptor_creds=creds)

    assert result.delegated_creds is not None


def test_a_child_without_a_ticket_has_none(kerberos_realm: KerberosRealm) -> None:
    done = subprocess.run(["klist", "-s"], env=kerberos_realm.environ())

    assert done.returncode == 1


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda realm: realm.kinit("alice", "wrong"), "Password incorrect"),
        (lambda realm: realm.kinit("nobody", "x"), "not found in Kerberos database"),
        (lambda realm: realm.keytab("HTTP/nowhere"), "does not exist"),
        (lambda realm: realm.rotate("HTTP/nowhere"), "does not exist"),
        (lambda realm: realm.add_user("alice"), "already exists"),
    ],
)
def test_a_mistake_is_told_in_the_programs_own_words(kerberos_realm: KerberosRealm, act, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RealmError, match=words):
        act(kerberos_realm)


def test_odd_names_are_taken_as_they_are(kerberos_realm: KerberosRealm, keytab: Path) -> None:
    kerberos_realm.add_user("eve x\\@\"y'", "p w\"'")

    ccache = kerberos_realm.kinit("eve x\\@\"y'")

    assert accept(keytab, kerberos_realm.token(HTTP, ccache)) == "eve x\\@\"y'@TEST.EXAMPLE"


def test_a_realm_leaves_nothing_behind() -> None:
    with KerberosRealm() as realm:
        directory = realm.directory
        port = int((directory / "kdc.conf").read_text().split("127.0.0.1:")[1].split()[0])
        socket.create_connection(("127.0.0.1", port)).close()

    assert not directory.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with pytest.raises(RealmError, match="not running"):
        realm.kinit("alice")


def test_a_machine_without_a_kdc_is_told_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("negotiate_mw.testing.tickets.search_path", lambda: "/nonexistent")

    with pytest.raises(RealmUnavailable, match=r"(?s)krb5kdc.*apt-get install.*dnf install.*brew install"):
        KerberosRealm().__enter__()


PLUGIN_TEST = "def test_it(kerberos_realm): pass"


@pytest.mark.parametrize(("required", "outcome"), [("0", "1 skipped"), ("1", "1 error")])
def test_without_a_kdc_the_fixture_skips_or_fails(tmp_path: Path, required: str, outcome: str) -> None:
    (tmp_path / "test_it.py").write_text(PLUGIN_TEST)
    (tmp_path / "conftest.py").write_text(
        "from negotiate_mw.testing import tickets\ntickets.search_path = lambda: '/nonexistent'"
    )

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env={**os.environ, "NEGOTIATE_MW_REQUIRE_REALM": required},
        capture_output=True,
        text=True,
    )

    assert outcome in done.stdout
    assert "apt-get install" in done.stdout or required == "0"


def test_importing_the_test_kit_imports_neither_pytest_nor_gssapi() -> None:
    code = "import sys, negotiate_mw.testing as t; t.KerberosRealm; print({'pytest', 'gssapi'} & sys.modules.keys())"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"
