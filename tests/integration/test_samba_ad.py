"""What Active Directory puts into tickets: why the name in one is not the account."""

from pathlib import Path

import gssapi
import pytest

from negotiate_mw.wire.pac import UpnDnsInfo, read_upn_dns_info

from .samba_ad import SambaAD


def accept(keytab: Path, token: bytes) -> tuple[str, UpnDnsInfo]:
    store: dict[bytes | str, bytes | str] = {"keytab": str(keytab), "rcache": "none:"}
    creds = gssapi.Credentials(usage="accept", mechs=[gssapi.MechType.kerberos], store=store)
    name = gssapi.raw.accept_sec_context(token, acceptor_creds=creds).initiator_name
    (pac,) = gssapi.raw.get_name_attribute(name, b"urn:mspac:upn-dns-info").values
    return str(gssapi.Name(name)), read_upn_dns_info(pac)


@pytest.fixture(scope="module")
def keytab(samba_ad: SambaAD) -> Path:
    return samba_ad.keytab("HTTP/localhost")


@pytest.mark.parametrize(
    ("asked_for", "account", "options", "in_ticket"),
    [
        ("alice", "alice", [], "alice"),
        ("ALICE", "alice", [], "ALICE"),
        ("ALICE", "alice", ["-C"], "alice"),
        ("bob", "bob", [], "bob"),
        ("carol", "bob", [], "carol"),
        ("carol@AD.TEST.EXAMPLE", "bob", ["-E"], r"carol\@AD.TEST.EXAMPLE"),
        ("carol@AD.TEST.EXAMPLE", "bob", ["-E", "-C"], "bob"),
        ("boss$", "boss$", [], "boss$"),
        ("boss", "boss$", [], "boss"),
        ("boss", "boss$", ["-C"], "boss$"),
    ],
)
def test_a_ticket_has_the_name_that_was_asked_for_and_the_account_that_it_is(
    samba_ad: SambaAD, keytab: Path, asked_for: str, account: str, options: list[str], in_ticket: str
) -> None:
    ccache = samba_ad.kinit(asked_for, samba_ad.password(account), options=options)

    name, pac = accept(keytab, samba_ad.token("HTTP/localhost", ccache, wrapping="kerberos"))

    assert name == f"{in_ticket}@AD.TEST.EXAMPLE"
    assert pac.sam_account_name == account


def test_a_upn_that_was_set_is_told_from_one_that_is_made_up(samba_ad: SambaAD, keytab: Path) -> None:
    pacs = {
        account: accept(keytab, samba_ad.token("HTTP/localhost", samba_ad.kinit(account), wrapping="kerberos"))[1]
        for account in ("boss$", "bob")
    }

    assert (pacs["bob"].upn, pacs["bob"].upn_constructed) == ("carol@AD.TEST.EXAMPLE", False)
    assert pacs["boss$"].upn_constructed
