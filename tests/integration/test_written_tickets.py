"""What the C library makes of tickets that say anything at all: whose account a ticket is, whose groups, and which
realm's word counts for what."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from gssapi import raw

from negotiate_mw import AcceptError, Acceptor, AcceptResult, ContextFlag, Identity, SecStatus
from tests.wire.building import logon_info, sid_octets, upn_dns_info
from tests.wire.test_delegation_info import REAL as THROUGH_HTTP_FRONT

from .writing import DELEGATION_INFO, LOGON_INFO, UPN_DNS_INFO, Service

T = TypeVar("T")
SID = "S-1-5-21-1-2-3-1102"
ALICE = "alice@TEST.EXAMPLE"


def account(name: str, realm: str = "TEST.EXAMPLE", sid: str = SID) -> bytes:
    """UPN_DNS_INFO with an account's name and SID."""
    upn, domain, bare = (text.encode("utf-16-le") for text in (f"{name}@{realm}", realm, name))
    return upn_dns_info(upn, domain, bare, sid_octets(sid))


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def accepting(service: Service, tmp_path: Path) -> Callable[[Callable[[Acceptor], Awaitable[T]]], T]:
    """Runs what it is given with an acceptor that has the service's key."""

    def run(test: Callable[[Acceptor], Awaitable[T]]) -> T:
        async def main() -> T:
            async with Acceptor(keytab=service.keytab(tmp_path / "http.keytab"), rcache=tmp_path) as acceptor:
                return await test(acceptor)

        return asyncio.run(main())

    return run


Accepting = Callable[[Callable[[Acceptor], Awaitable[Any]]], Any]


def accepted(accepting: Accepting, token: bytes) -> AcceptResult:
    result: AcceptResult = accepting(lambda acceptor: acceptor.accept(None, token))
    return result


def who(accepting: Accepting, token: bytes) -> Identity:
    identity = accepted(accepting, token).identity
    assert identity is not None
    return identity


def refusal(accepting: Accepting, token: bytes) -> tuple[SecStatus, str]:
    with pytest.raises(AcceptError) as refused:
        accepted(accepting, token)
    return refused.value.status, refused.value.reason


def test_a_ticket_is_its_pacs_account_with_its_sid_and_groups(service: Service, accepting: Accepting) -> None:
    pac = {UPN_DNS_INFO: account("alice"), LOGON_INFO: logon_info()}

    result = accepted(accepting, service.token(ALICE, pac))

    assert result.identity is not None
    assert (result.identity.principal, result.identity.account_id, result.identity.sid) == (ALICE, SID, SID)
    assert result.group_sids is not None
    assert result.group_sids() == {"S-1-5-21-1-2-3-513", "S-1-5-21-1-2-3-1106", "S-1-18-1"}


@pytest.mark.parametrize("options", [{"signed": False}, {"said_by": "bob"}], ids=["another key's", "another user's"])
def test_a_pac_that_the_library_does_not_vouch_for_makes_nobody_its_account(
    service: Service, accepting: Accepting, options: dict[str, Any]
) -> None:
    token = service.token(ALICE, {UPN_DNS_INFO: account("alice")}, **options)

    assert refusal(accepting, token) == (SecStatus.LOGON_DENIED, "name-mismatch")


def test_a_pac_that_the_library_does_not_vouch_for_has_no_groups(service: Service, accepting: Accepting) -> None:
    result = accepted(accepting, service.token(ALICE, {LOGON_INFO: logon_info()}, signed=False))

    assert result.identity is not None
    assert result.identity.sid is None
    assert result.group_sids is not None
    with pytest.raises(AcceptError) as refused:
        result.group_sids()
    assert (refused.value.status, refused.value.reason) == (SecStatus.LOGON_DENIED, "groups-missing")


def test_groups_that_the_library_fails_to_read_are_our_fault(
    service: Service, accepting: Accepting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get_name_attribute(name: Any, wanted: bytes) -> Any:
        raise raw.GSSError(13 << 16, 0)  # GSS_S_FAILURE

    result = accepted(accepting, service.token(ALICE, {LOGON_INFO: logon_info()}))
    monkeypatch.setattr(raw, "get_name_attribute", get_name_attribute)

    assert result.group_sids is not None
    with pytest.raises(AcceptError) as refused:
        result.group_sids()
    assert (refused.value.status, refused.value.reason) == (SecStatus.INTERNAL_ERROR, "groups-failed")


@pytest.mark.parametrize("attribute", [b"urn:mspac:upn-dns-info", b"urn:mspac:delegation-info"])
def test_what_a_library_says_is_not_verified_is_not_believed(
    service: Service, accepting: Accepting, monkeypatch: pytest.MonkeyPatch, attribute: bytes
) -> None:
    genuine = raw.get_name_attribute

    def get_name_attribute(name: Any, wanted: bytes) -> Any:
        found = genuine(name, wanted)
        return SimpleNamespace(values=found.values, authenticated=False) if wanted == attribute else found

    monkeypatch.setattr(raw, "get_name_attribute", get_name_attribute)
    token = service.token(ALICE, {UPN_DNS_INFO: account("alice"), DELEGATION_INFO: THROUGH_HTTP_FRONT})

    assert refusal(accepting, token) == (SecStatus.LOGON_DENIED, "name-mismatch")


def test_through_whom_a_user_came_is_what_the_pac_says(service: Service, accepting: Accepting) -> None:
    token = service.token(ALICE, {UPN_DNS_INFO: account("alice"), DELEGATION_INFO: THROUGH_HTTP_FRONT})

    assert who(accepting, token).attributes_of("urn:mspac:delegation-info") == (
        "HTTP/front.test.example@AD.TEST.EXAMPLE",
    )


@pytest.mark.parametrize(
    "pac",
    [
        {UPN_DNS_INFO: account("alice")[:-1]},
        {UPN_DNS_INFO: b""},
        {UPN_DNS_INFO: account("alice"), DELEGATION_INFO: b"no structure"},
    ],
    ids=["cut off", "empty", "through whom"],
)
def test_a_pac_that_cannot_be_read_lets_nobody_in(
    service: Service, accepting: Accepting, pac: Mapping[int, bytes]
) -> None:
    assert refusal(accepting, service.token(ALICE, pac)) == (SecStatus.LOGON_DENIED, "name-mismatch")


def test_another_accounts_pac_lets_nobody_in(service: Service, accepting: Accepting) -> None:
    token = service.token(ALICE, {UPN_DNS_INFO: account("bob")})

    assert refusal(accepting, token) == (SecStatus.LOGON_DENIED, "name-mismatch")


def test_a_log_in_is_nobody_elses_though_much_is_worked_out_once(service: Service, accepting: Accepting) -> None:
    """Alike but for one thing, one after the other in one process, and then all of them again."""
    other = f"{SID}7"
    bound = b"tls-server-end-point:" + bytes(32)
    tickets: list[tuple[str, bytes | None, bytes | None, tuple[object, ...]]] = [
        (ALICE, None, None, (ALICE, None, False)),
        (ALICE, None, bound, (ALICE, None, True)),
        (ALICE, account("alice"), None, (ALICE, SID, False)),
        (ALICE, account("alice"), bound, (ALICE, SID, True)),
        (ALICE, account("alice", sid=other), None, (ALICE, other, False)),
        ("bob@TEST.EXAMPLE", account("bob"), None, ("bob@TEST.EXAMPLE", SID, False)),
        ("alice@ELSEWHERE.EXAMPLE", account("alice"), None, ("alice@ELSEWHERE.EXAMPLE", None, False)),
        (ALICE, account("bob"), None, ("name-mismatch",)),
        (ALICE, None, None, ("pac-missing",)),
    ]

    async def log_in(acceptor: Acceptor, client: str, info: bytes | None, bindings: bytes | None) -> tuple[object, ...]:
        pac = None if info is None else {UPN_DNS_INFO: info}
        try:
            result = await acceptor.accept(None, service.token(client, pac, bindings=bindings), bindings=bindings)
        except AcceptError as error:
            return (error.reason,)
        assert result.identity is not None
        return (result.identity.principal, result.identity.sid, result.identity.channel_bound)

    async def test(acceptor: Acceptor) -> None:
        for client, info, bindings, expected in [*tickets, *tickets[2:]]:
            assert await log_in(acceptor, client, info, bindings) == expected

    accepting(test)


def test_a_realm_of_elsewhere_gives_its_users_no_sid_of_ours(service: Service, accepting: Accepting) -> None:
    elses = "alice@ELSEWHERE.EXAMPLE"

    identity = who(accepting, service.token(elses, {UPN_DNS_INFO: account("alice", "ELSEWHERE.EXAMPLE")}))

    assert (identity.principal, identity.account_id, identity.sid) == (elses, elses, None)


def test_where_two_realms_have_keys_a_bare_name_is_nobodys(service: Service, tmp_path: Path) -> None:
    other = Service(realm="OTHER.EXAMPLE")

    async def names(*keys: Service) -> list[str]:
        found = []
        async with Acceptor(keytab=keys[0].keytab(tmp_path / "http.keytab", *keys[1:]), rcache=tmp_path) as acceptor:
            for key in keys:
                for realm in ("TEST.EXAMPLE", "OTHER.EXAMPLE"):
                    identity = (await acceptor.accept(None, key.token(f"alice@{realm}"))).identity
                    assert identity is not None
                    found.append(identity.username)
        return found

    assert asyncio.run(names(service)) == ["alice", "alice@OTHER.EXAMPLE"]
    assert asyncio.run(names(service, other)) == ["alice@TEST.EXAMPLE", "alice@OTHER.EXAMPLE"] * 2


def test_a_thousand_realms_are_held_to_their_pacs_and_strangers_make_us_remember_no_more(
    service: Service, accepting: Accepting
) -> None:
    realms = [f"R{number}.EXAMPLE" for number in range(1001)]

    async def all_with_and_some_without(acceptor: Acceptor) -> list[str]:
        for realm in realms:
            await acceptor.accept(None, service.token(f"alice@{realm}", {UPN_DNS_INFO: account("alice", realm)}))
        outcomes = []
        for realm in (realms[0], realms[999], realms[1000], "NEW.EXAMPLE"):
            try:
                await acceptor.accept(None, service.token(f"alice@{realm}"))
                outcomes.append("let in")
            except AcceptError as error:
                outcomes.append(error.reason)
        return outcomes

    outcomes = accepting(all_with_and_some_without)

    assert outcomes == ["pac-missing", "pac-missing", "let in", "let in"]


OURS, OTHERS = b"tls-server-end-point:" + bytes(32), b"tls-server-end-point:" + b"\1" * 32


@pytest.mark.parametrize(
    ("theirs", "ours", "outcome"),
    [
        (None, None, False),
        (None, OURS, False),
        (OURS, None, False),
        (OURS, OURS, True),
        (OTHERS, OURS, SecStatus.BAD_BINDINGS),
    ],
)
def test_who_is_bound_to_our_channel_alone_has_proven_it(
    service: Service,
    accepting: Accepting,
    theirs: bytes | None,
    ours: bytes | None,
    outcome: bool | SecStatus,
) -> None:
    async def bound(acceptor: Acceptor) -> bool | SecStatus:
        try:
            result = await acceptor.accept(None, service.token(ALICE, bindings=theirs), bindings=ours)
        except AcceptError as error:
            return error.status
        assert result.identity is not None
        assert result.identity.channel_bound is (ContextFlag.CHANNEL_BOUND in result.attributes)
        return result.identity.channel_bound

    assert accepting(bound) is outcome
