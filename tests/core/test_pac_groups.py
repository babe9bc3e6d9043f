"""``PacGroups`` and whom it believes: no PAC, of whatever realm, says more than its KDC may."""

import asyncio
from typing import Any

import pytest

from negotiate_mw import AcceptError, ConfigurationError, PacGroups, SecStatus
from negotiate_mw.groups import compile_groups
from negotiate_mw.identity import AcceptResult, Account, vouched_groups
from negotiate_mw.wire.logon_info import LogonInfo, read_logon_info
from tests.wire.building import logon_info

from .building import user

OURS = "S-1-5-21-1-2-3"
PARTNERS = "S-1-5-21-4-5-6"
WELL_KNOWN = "Authentication Authority Asserted Identity"


def account(name: str = "alice", realm: str = "CORP.EXAMPLE", sid: str | None = f"{OURS}-1102") -> Account:
    return Account(principal=f"{name}@{realm}", realm=realm, sid=sid, upn="", is_service=False)


def info(**fields: Any) -> LogonInfo:
    return read_logon_info(logon_info(**fields))


def result(groups: frozenset[str] | AcceptError, asked: list[str | None] | None = None, **fields: Any) -> AcceptResult:
    def group_sids(domain_sid: str | None = None) -> frozenset[str]:
        if asked is not None:
            asked.append(domain_sid)
        if isinstance(groups, AcceptError):
            raise groups
        return groups

    identity = user("alice@CORP.EXAMPLE", **fields)
    return AcceptResult(status=SecStatus.OK, context=None, identity=identity, group_sids=group_sids)


def groups_of(groups: PacGroups, outcome: AcceptResult) -> frozenset[str]:
    assert outcome.identity is not None
    return asyncio.run(groups.of(outcome.identity, outcome))


def missing(account: Account, info: LogonInfo, **how: Any) -> AcceptError:
    with pytest.raises(AcceptError) as caught:
        vouched_groups(account, info, **how)
    assert caught.value.status is SecStatus.LOGON_DENIED
    return caught.value


# Whom to believe


def test_our_own_kdc_may_say_everything() -> None:
    said = info(
        extra=[("S-1-18-1", 7), (f"{PARTNERS}-1108", 7)], resource_domain_sid="S-1-5-21-7-8-9", resource=[(12, 7)]
    )

    groups = vouched_groups(account(), said, at_home=True)

    assert groups == {f"{OURS}-513", f"{OURS}-1106", "S-1-18-1", f"{PARTNERS}-1108", "S-1-5-21-7-8-9-12"}


def partner(**fields: Any) -> LogonInfo:
    return info(**{"domain_sid": PARTNERS, **fields})


THEIR_ALICE = account(realm="PARTNER.EXAMPLE", sid=f"{PARTNERS}-1102")


def test_another_realms_kdc_is_believed_in_its_own_domains_groups_and_no_others() -> None:
    claims = [
        (f"{OURS}-512", 7),
        ("S-1-5-32-544", 7),
        ("S-1-18-5", 7),
        ("S-1-5-21-7-8-9-512", 7),
        (f"{PARTNERS}-1-2", 7),
        (f"{PARTNERS}7-8", 7),
        (f"{PARTNERS}-1300", 7),
    ]
    said = partner(extra=claims, resource_domain_sid=OURS, resource=[(512, 7)])

    groups = vouched_groups(THEIR_ALICE, said, at_home=False, domain_sid=PARTNERS)

    assert groups == {f"{PARTNERS}-513", f"{PARTNERS}-1106", f"{PARTNERS}-1300"}


def test_another_realms_kdc_is_not_believed_as_long_as_its_domain_isnt_known() -> None:
    refused = missing(THEIR_ALICE, partner(), at_home=False)

    assert refused.reason == "groups-missing"
    assert "PacGroups(realms={'PARTNER.EXAMPLE': 'S-1-5-21-…'})" in refused.detail


@pytest.mark.parametrize(
    ("said", "sid"),
    [
        (info(), f"{OURS}-1102"),  # it says it is our domain
        (info(), None),
        (partner(rid=0, extra=[(f"{OURS}-500", 7)]), f"{OURS}-500"),  # our administrator in its domain's clothes
        (partner(rid=0, extra=[(f"{OURS}-500", 7)]), None),
    ],
)
def test_another_realms_kdc_that_claims_another_domain_is_not_believed(said: LogonInfo, sid: str | None) -> None:
    refused = missing(account(realm="PARTNER.EXAMPLE", sid=sid), said, at_home=False, domain_sid=PARTNERS)

    assert refused.reason == "groups-missing"
    assert PARTNERS in refused.detail


@pytest.mark.parametrize("at_home", [True, False])
@pytest.mark.parametrize(
    ("who", "said"),
    [
        (account(sid=f"{OURS}-1102"), info(rid=1103)),
        (account(sid=f"{OURS}-1102"), partner(rid=1102)),
        (account("boss", sid=None), info(account="boss$")),
        (account("carol", sid=None), info(account="bob")),
    ],
)
def test_groups_of_another_account_are_nobodys(who: Account, said: LogonInfo, at_home: bool) -> None:
    refused = missing(who, said, at_home=at_home, domain_sid=None if at_home else said.domain_sid)

    assert refused.reason == "name-mismatch"


def test_where_no_sid_is_known_the_name_tells_whose_groups_they_are() -> None:
    assert vouched_groups(account("ALICE", sid=None), info(), at_home=True)


# PacGroups


def test_groups_go_by_their_names_and_the_others_by_their_sids() -> None:
    groups = PacGroups(names={f"{OURS}-1106": "HR"})

    found = groups_of(groups, result(frozenset({f"{OURS}-1106", f"{OURS}-513", "S-1-18-1"}), sid=f"{OURS}-1102"))

    assert found == {"HR", f"{OURS}-513", WELL_KNOWN, f"{OURS}-1102"}


def test_pac_is_the_sids() -> None:
    groups = compile_groups("pac")

    assert isinstance(groups, PacGroups)
    assert groups_of(groups, result(frozenset({f"{OURS}-1106"}))) == {f"{OURS}-1106"}


def test_builtin_groups_which_are_another_machines_have_no_name() -> None:
    assert groups_of(PacGroups(), result(frozenset({"S-1-5-32-544"}))) == {"S-1-5-32-544"}


@pytest.mark.parametrize(("realm", "domain"), [("PARTNER.EXAMPLE", PARTNERS), ("CORP.EXAMPLE", None)])
def test_a_listed_realm_is_asked_for_its_own_domains_groups(realm: str, domain: str | None) -> None:
    asked: list[str | None] = []

    groups_of(PacGroups(realms={"PARTNER.EXAMPLE": PARTNERS}), result(frozenset(), asked, realm=realm))

    assert asked == [domain]


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (AcceptResult(status=SecStatus.OK, context=None, identity=user()), "no PAC"),
        (AcceptResult(status=SecStatus.OK, context=None, identity=user("CORP\\alice", mechanism="ntlm")), "ntlm"),
    ],
)
def test_who_has_no_groups_to_read_is_told_apart_in_the_log(outcome: AcceptResult, says: str) -> None:
    with pytest.raises(AcceptError, match=says) as caught:
        groups_of(PacGroups(), outcome)

    assert (caught.value.status, caught.value.reason) == (SecStatus.LOGON_DENIED, "groups-missing")


def test_where_an_outer_middleware_used_the_ticket_up_the_log_says_where_groups_belong() -> None:
    with pytest.raises(AcceptError, match="outer"):
        asyncio.run(PacGroups().of(user(), None))


GOOD = f"{OURS}-1106"


@pytest.mark.parametrize(
    "names",
    [
        ["HR"],
        "HR",
        {"S-1-5-21-…-1106": "HR"},
        {"HR": GOOD},
        {"": "HR"},
        {GOOD + " ": "HR"},
        {GOOD.lower(): "HR"},
        {"S-1-5-21-1-2-3-01106": "HR"},
        {"S-1-5-21-1-2-3-4294967296": "HR"},
        {"S-1-5": "HR"},
        {"S-1-5" + "-1" * 16: "HR"},
        {"S-2-5-32": "HR"},
        {1106: "HR"},
        {GOOD: ""},
        {GOOD: " "},
        {GOOD: 7},
        {GOOD: "H\nR"},
        {GOOD: f"{OURS}-512"},
        {GOOD: "s-1-x"},
        {GOOD: WELL_KNOWN},
        {GOOD: WELL_KNOWN.upper()},
    ],
)
def test_names_that_could_mean_something_else_are_refused_with_what_to_type(names: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"PacGroups\(names="):
        PacGroups(names=names)


@pytest.mark.parametrize("sid", [GOOD, "S-1-18-1", "S-1-0xFFFFFFFFFFFF-1", "S-1-5-32-544"])
def test_any_whole_sid_can_be_named(sid: str) -> None:
    assert groups_of(PacGroups(names={sid: "HR"}), result(frozenset({sid}))) == {"HR"}


@pytest.mark.parametrize(
    "realms",
    [
        ["PARTNER.EXAMPLE"],
        {"PARTNER.EXAMPLE": "S-1-5-21-…"},
        {"PARTNER.EXAMPLE": "S-1-5-32"},
        {"PARTNER.EXAMPLE": "S-1-18"},
        {"PARTNER.EXAMPLE": f"{PARTNERS}-513"},
        {"PARTNER.EXAMPLE": "*"},
        {"PARTNER.EXAMPLE": None},
        {"": PARTNERS},
    ],
)
def test_a_realm_is_listed_with_the_sid_of_a_whole_domain_or_not_at_all(realms: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"PacGroups\(realms="):
        PacGroups(realms=realms)
