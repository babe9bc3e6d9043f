"""Active Directory: the name in a ticket is not the account, and who gets in is the account."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from negotiate_mw import AcceptError, Acceptor, Identity, SecStatus
from negotiate_mw.testing import tickets

from .samba_ad import SambaAD
from .serving import Server, get, serve

HTTP = "HTTP/localhost"
REALM = "AD.TEST.EXAMPLE"


@pytest.fixture(scope="module")
def keytab(samba_ad: SambaAD) -> Path:
    return samba_ad.keytab(HTTP)


@pytest.fixture(scope="module")
def sids(samba_ad: SambaAD) -> dict[str, str]:
    """The SID of each account, as the directory itself has it."""
    database = samba_ad.directory / "private" / "sam.ldb"

    def sid(account: str) -> str:
        kind = "computer" if account.endswith("$") else "user"
        show = ("samba-tool", kind, "show", account, "--attributes=objectSid", "-H", str(database))
        found = re.search(r"^objectSid: (\S+)$", tickets.run(samba_ad.environ(), *show), re.M)
        assert found
        return found[1]

    return {account: sid(account) for account in ("alice", "bob", "boss$")}


@pytest.fixture(scope="module")
def ad_env(samba_ad: SambaAD, keytab: Path) -> dict[str, str]:
    return {**samba_ad.environ(), "KRB5_KTNAME": str(keytab)}


@pytest.fixture(scope="module")
def ad_server(ad_env: dict[str, str]) -> Iterator[Server]:
    with serve("app", env=ad_env) as server:
        yield server


def accepted(ad: SambaAD, keytab: Path, ccache: Path) -> Identity:
    """Who the acceptor says it is."""

    async def accept() -> Identity:
        async with Acceptor(keytab=keytab, rcache=ad.directory / "rcache") as acceptor:
            result = await acceptor.accept(None, ad.token(HTTP, ccache))
        assert result.identity is not None
        return result.identity

    return asyncio.run(accept())


@pytest.mark.parametrize("hostname", [["localhost", "www.test.example"], ["{host}", "www.test.example", "localhost"]])
def test_each_of_an_accounts_names_takes_its_own_tickets(
    samba_ad: SambaAD, tmp_path: Path, hostname: list[str]
) -> None:
    """The names of an account share its key, and the keytab's first would fit a ticket for any of them."""
    keytab, ccache = samba_ad.keytab("HTTP/www.test.example", HTTP), samba_ad.kinit("alice")

    async def accept() -> list[str]:
        principals = []
        async with Acceptor(keytab=keytab, rcache=tmp_path, hostname=hostname) as acceptor:
            for host in ("localhost", "www.test.example"):
                result = await acceptor.accept(None, samba_ad.token(f"HTTP/{host}", ccache), host=host)
                assert result.identity is not None
                principals.append(result.identity.principal)
        return principals

    assert asyncio.run(accept()) == [f"alice@{REALM}"] * 2


@pytest.mark.parametrize("wrapping", ["spnego", "kerberos"])
def test_alice_logs_in_as_alice_and_is_known_by_her_sid(
    ad_server: Server, samba_ad: SambaAD, sids: dict[str, str], wrapping: str
) -> None:
    client = samba_ad.initiator(HTTP, samba_ad.kinit("alice"), wrapping=wrapping)  # type: ignore[arg-type]

    answer = get(ad_server, token=client.step())

    assert answer.status == 200
    assert answer.json["principal"] == f"alice@{REALM}"
    assert answer.json["username"] == "alice"
    assert answer.json["account_id"] == sids["alice"]
    client.step(answer.token)
    assert client.complete


@pytest.mark.parametrize(
    ("asked_for", "account", "options"),
    [
        ("alice", "alice", []),
        ("ALICE", "alice", []),
        ("aLiCe", "alice", []),
        ("bob", "bob", []),
        ("carol", "bob", []),
        ("CAROL", "bob", []),
        ("carol@AD.TEST.EXAMPLE", "bob", ["-E"]),
        ("carol@AD.TEST.EXAMPLE", "bob", ["-E", "-C"]),
    ],
)
def test_whatever_name_the_user_typed_it_is_the_account_that_logs_in(
    samba_ad: SambaAD, keytab: Path, sids: dict[str, str], asked_for: str, account: str, options: list[str]
) -> None:
    ccache = samba_ad.kinit(asked_for, samba_ad.password(account), options=options)

    identity = accepted(samba_ad, keytab, ccache)

    assert identity.principal == f"{account}@{REALM}"
    assert identity.account_id == identity.sid == sids[account]
    assert identity.realm == REALM
    assert not identity.is_service


@pytest.mark.parametrize(("asked_for", "account"), [("ALICE", "alice"), ("carol", "bob")])
def test_another_name_of_the_account_works_through_the_server(
    ad_server: Server, samba_ad: SambaAD, sids: dict[str, str], asked_for: str, account: str
) -> None:
    ccache = samba_ad.kinit(asked_for, samba_ad.password(account))

    answer = get(ad_server, token=samba_ad.token(HTTP, ccache))

    assert answer.json["principal"] == f"{account}@{REALM}"
    assert answer.json["account_id"] == sids[account]


def test_a_computer_that_calls_itself_boss_is_not_boss(ad_server: Server, samba_ad: SambaAD, keytab: Path) -> None:
    ccache = samba_ad.kinit("boss", samba_ad.password("boss$"))
    mark = ad_server.mark()

    answer = get(ad_server, token=samba_ad.token(HTTP, ccache))
    with pytest.raises(AcceptError) as refused:
        accepted(samba_ad, keytab, ccache)

    assert answer.status == 403
    assert answer.challenges == [], "no proof either: to whom?"
    line = ad_server.until_logged(r"WARNING negotiate_mw: refused with 403: name-mismatch: .*", mark=mark)[0]
    assert "'boss'" in line
    assert "'boss$'" in line
    assert (refused.value.status, refused.value.reason) == (SecStatus.LOGON_DENIED, "name-mismatch")


@pytest.mark.parametrize("options", [[], ["-C"]])
def test_no_policy_lets_a_computer_in_under_a_name_that_is_not_its_own(
    samba_ad: SambaAD, ad_env: dict[str, str], options: list[str]
) -> None:
    ccache = samba_ad.kinit("boss", samba_ad.password("boss$"), options=options)

    with serve("services", env=ad_env) as server:
        answer = get(server, token=samba_ad.token(HTTP, ccache))

    if options:  # the domain controller wrote the account's own name into the ticket
        assert answer.json["principal"] == f"boss$@{REALM}"
    else:
        assert answer.status == 403


def test_a_computer_gets_in_under_its_own_name_where_services_may(
    ad_server: Server, samba_ad: SambaAD, ad_env: dict[str, str], sids: dict[str, str]
) -> None:
    ccache = samba_ad.kinit("boss$")
    mark = ad_server.mark()

    by_default = get(ad_server, token=samba_ad.token(HTTP, ccache))
    with serve("services", env=ad_env) as server:
        let_in = get(server, token=samba_ad.token(HTTP, ccache))

    assert by_default.status == 403
    ad_server.until_logged(r"refused with 403: service-not-allowed: ", mark=mark)
    assert let_in.status == 200
    assert let_in.json["principal"] == f"boss$@{REALM}"
    assert let_in.json["account_id"] == sids["boss$"]


WITHOUT_PAC = ("--no-request-pac",)


@pytest.mark.parametrize(("asked_for", "account"), [("boss", "boss$"), ("carol", "bob"), ("alice", "alice")])
def test_a_realm_that_says_whose_tickets_are_is_held_to_it(
    samba_ad: SambaAD, keytab: Path, asked_for: str, account: str
) -> None:
    with_pac = samba_ad.kinit("alice")
    without = samba_ad.kinit(asked_for, samba_ad.password(account), options=WITHOUT_PAC)

    async def run() -> AcceptError:
        async with Acceptor(keytab=keytab, rcache=samba_ad.directory / "rcache") as acceptor:
            await acceptor.accept(None, samba_ad.token(HTTP, with_pac))
            with pytest.raises(AcceptError) as refused:
                await acceptor.accept(None, samba_ad.token(HTTP, without))
            return refused.value

    refused = asyncio.run(run())

    assert (refused.status, refused.reason) == (SecStatus.LOGON_DENIED, "pac-missing")


@pytest.mark.parametrize(("asked_for", "account"), [("boss", "boss$"), ("carol", "bob")])
def test_where_a_pac_is_required_the_first_ticket_without_one_is_refused(
    ad_env: dict[str, str], samba_ad: SambaAD, asked_for: str, account: str
) -> None:
    without = samba_ad.kinit(asked_for, samba_ad.password(account), options=WITHOUT_PAC)

    with serve("pac_required", env=ad_env) as server:
        refused = get(server, token=samba_ad.token(HTTP, without))
        admitted = get(server, token=samba_ad.token(HTTP, samba_ad.kinit("alice")))
        server.until_logged("refused with 403: pac-missing: ")

    assert refused.status == 403
    assert admitted.status == 200
