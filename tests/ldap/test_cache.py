"""How often a directory is asked, and whose answer it is."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from negotiate_mw import AcceptError, Acceptor, LdapDirectory, LdapGroups, NegotiateMiddleware, Policy
from negotiate_mw.testing import KerberosRealm
from negotiate_mw.testing.scripted import ScriptedAcceptor
from negotiate_mw.testing.scripted import user as identity_of
from tests.integration.samba_ad import SambaAD
from tests.shell.driving import Client, Site

from .conftest import MIT
from .slapd import Slapd
from .test_active_directory import HTTP, ntlm_user
from .test_member_of import mit_user

Directory = Callable[..., LdapDirectory]


def test_a_thousand_log_ins_at_once_cost_one_query(slapd: Slapd, mit_directory: Directory) -> None:
    site = Site()
    groups = LdapGroups(mit_directory())
    acceptor = ScriptedAcceptor({b"Alice": (mit_user("alice"), None)}, realms=frozenset({MIT}))
    app = NegotiateMiddleware(site, acceptor=acceptor, groups=groups)

    async def log_in(crowd: int) -> tuple[list[int], int]:
        await groups.start()
        before = slapd.searches
        answers = await asyncio.gather(*(Client(app).get(b"Alice") for _ in range(crowd)))
        searches = slapd.searches - before
        await groups.stop()
        return [answer.status for answer in answers], searches

    one, cost_of_one = asyncio.run(log_in(1))
    thousand, cost_of_thousand = asyncio.run(log_in(1000))

    assert (set(one), set(thousand), len(thousand)) == ({200}, {200}, 1000)
    assert cost_of_thousand == cost_of_one > 0
    assert {scope["user"].groups for scope in site.scopes} == {frozenset({r"MIT\staff", r"MIT\everybody-here"})}


def test_groups_in_the_ticket_cost_one_query(ad: SambaAD, ad_directory: Directory) -> None:
    groups = LdapGroups(ad_directory())
    asked = groups._by_realm[ad.name][1]

    async def log_in() -> int:
        async with Acceptor(keytab=str(ad.keytab(HTTP)), rcache="none") as acceptor:
            result = await acceptor.accept(None, ad.token(HTTP, ad.kinit("alice")))
        assert result.identity is not None
        await asyncio.gather(*(groups.of(result.identity, result) for _ in range(1000)))
        await groups.stop()
        return asked.asked

    assert asyncio.run(log_in()) == 1


def test_an_answer_is_good_for_its_time_and_no_longer(slapd: Slapd, mit_directory: Directory) -> None:
    groups = LdapGroups(mit_directory(), ttl=0.5)

    async def ask() -> list[int]:
        searches = []
        for seconds in (0.0, 0.0, 0.6):
            await asyncio.sleep(seconds)
            await groups.of(mit_user("alice"), None)
            searches.append(slapd.searches)
        await groups.stop()
        return searches

    first, second, third = asyncio.run(ask())

    assert first == second < third


def test_no_more_answers_are_kept_than_the_size_says(slapd: Slapd, mit_directory: Directory) -> None:
    groups = LdapGroups(mit_directory(), cache_size=2)

    async def ask() -> list[int]:
        searches = [slapd.searches]
        for name in ("alice", "bob", "carol", "carol", "alice"):
            await groups.of(mit_user(name), None)
            searches.append(slapd.searches)
        assert len(groups._known) == 2
        await groups.stop()
        return searches

    before, alice, bob, carol, carol_again, alice_again = asyncio.run(ask())

    assert before < alice < bob < carol == carol_again < alice_again


def test_one_who_goes_away_does_not_end_the_others_question(slapd: Slapd, mit_directory: Directory) -> None:
    groups = LdapGroups(mit_directory())

    async def ask() -> frozenset[str]:
        first = asyncio.create_task(groups.of(mit_user("alice"), None))
        second = asyncio.create_task(groups.of(mit_user("alice"), None))
        await asyncio.sleep(0)
        first.cancel()
        try:
            return await second
        finally:
            assert first.cancelled()
            await groups.stop()

    assert r"MIT\staff" in asyncio.run(ask())


def test_two_event_loops_ask_for_one_user_side_by_side(slapd: Slapd, mit_directory: Directory) -> None:
    groups = LdapGroups(mit_directory(), timeout=30)
    asks = groups._by_realm[MIT][1]

    async def ask() -> frozenset[str]:
        return await groups.of(mit_user("alice"), None)

    with ThreadPoolExecutor(2) as threads:
        with asks._asking:  # as a long question would, so that both are under way
            loops = [threads.submit(asyncio.run, ask()) for _ in range(2)]
            deadline = time.monotonic() + 10
            while len(groups._under_way) < 2 and not any(loop.done() for loop in loops):
                assert time.monotonic() < deadline
                time.sleep(0.01)
        found = [loop.result(30) for loop in loops]
    asyncio.run(groups.stop())

    assert found == [frozenset({r"MIT\staff", r"MIT\everybody-here"})] * 2
    assert groups._under_way == {}


def test_a_known_users_groups_cost_no_time(mit_directory: Directory) -> None:
    groups, alice = LdapGroups(mit_directory()), mit_user("alice")

    async def ask() -> float:
        await groups.of(alice, None)
        begin = time.perf_counter()
        for _ in range(1000):
            await groups.of(alice, None)
        seconds = time.perf_counter() - begin
        await groups.stop()
        return seconds / 1000

    assert asyncio.run(ask()) < 0.0005  # about 0.000001


def test_each_realms_alice_has_the_groups_of_her_own_directory(
    ad: SambaAD, mit: KerberosRealm, ad_directory: Directory, mit_directory: Directory
) -> None:
    site = Site()
    groups = LdapGroups(ad_directory(), mit_directory())
    options: dict[str, Any] = {"groups": groups, "policy": Policy(realms=[ad.name, MIT])}
    in_ad = NegotiateMiddleware(site, acceptor=Acceptor(keytab=str(ad.keytab(HTTP)), rcache="none"), **options)
    in_mit = NegotiateMiddleware(site, acceptor=Acceptor(keytab=str(mit.keytab(HTTP)), rcache="none"), **options)

    async def log_in() -> list[int]:
        await groups.start()
        one = await Client(in_ad).get(ad.token(HTTP, ad.kinit("alice")))
        other = await Client(in_mit).get(mit.token(HTTP, mit.kinit("alice")))
        await groups.stop()
        return [one.status, other.status]

    assert asyncio.run(log_in()) == [200, 200]
    adtest, mits = (scope["user"].groups for scope in site.scopes)
    assert {name.partition("\\")[0] for name in adtest} == {"ADTEST"}
    assert mits == {r"MIT\staff", r"MIT\everybody-here"}


def test_an_answer_is_kept_for_one_realm_whatever_the_account_is_called(
    ad_directory: Directory, mit_directory: Directory
) -> None:
    groups = LdapGroups(ad_directory(), mit_directory())
    ours = identity_of(f"alice@{MIT}", realm=MIT)
    theirs = identity_of(f"alice@{MIT}", realm="PARTNER.EXAMPLE")  # what vouches for it is another KDC

    async def ask() -> str:
        assert await groups.of(ours, None)
        try:
            await groups.of(theirs, None)
        except AcceptError as error:
            return error.detail
        finally:
            await groups.stop()
        return "let in"

    assert asyncio.run(ask()).startswith("no LdapDirectory has the users of 'PARTNER.EXAMPLE'")


@pytest.mark.parametrize("realm", ["PARTNER.EXAMPLE", "mit.example", "MIT", "ADTEST", ""])
def test_a_realm_without_a_directory_is_refused(mit_directory: Directory, realm: str) -> None:
    name = f"alice@{realm or 'X'}"
    acceptor = ScriptedAcceptor({b"Alice": (identity_of(name, realm=realm), None)}, realms=frozenset({realm}))
    app = NegotiateMiddleware(Site(), acceptor=acceptor, groups=LdapGroups(mit_directory()))

    answer = asyncio.run(Client(app).get(b"Alice"))

    assert answer.status == 403


def test_an_ntlm_domain_is_the_directorys_own_in_any_case(ad_directory: Directory) -> None:
    groups = LdapGroups(ad_directory())

    async def ask(domain: str) -> frozenset[str]:
        try:
            return await groups.of(ntlm_user("alice", domain), None)
        finally:
            await groups.stop()

    assert r"ADTEST\web-admins" in asyncio.run(ask("AdTest"))
    with pytest.raises(AcceptError, match="no LdapDirectory"):
        asyncio.run(ask("AD.TEST.EXAMPLE"))
