import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.identity import Identity
from negotiate_mw.policy import Limits, Policy
from negotiate_mw.status import ContextFlag, SecStatus

from .building import user

BOTH = ContextFlag.MUTUAL_AUTH | ContextFlag.INTEGRITY


@pytest.mark.parametrize(
    ("options", "to_type"),
    [
        ({"realms": "CORP.EXAMPLE"}, 'realms=["CORP.EXAMPLE"]'),
        ({"realms": ""}, "realms=["),
        ({"realms": []}, 'realms=["CORP.EXAMPLE"]'),
        ({"realms": [""]}, 'realms=["CORP.EXAMPLE"]'),
        ({"realms": [b"CORP.EXAMPLE"]}, 'realms=["CORP.EXAMPLE"]'),
        ({"realms": 5}, 'realms=["CORP.EXAMPLE"]'),
        ({"trusted_origins": "https://a.example"}, '["https://a.example"]'),
        ({"trusted_origins": ["a.example"]}, "https://portal.corp.example"),
        ({"trusted_origins": ["https://a.example/"]}, "https://portal.corp.example"),
        ({"trusted_origins": ["https://A.example"]}, "https://portal.corp.example"),
        ({"trusted_origins": ["ftp://a.example"]}, "https://portal.corp.example"),
        ({"trusted_origins": ["https://"]}, "https://portal.corp.example"),
        ({"trusted_origins": ["https://*.example"]}, "https://portal.corp.example"),
        ({"trusted_origins": ["*"]}, "https://portal.corp.example"),
        ({"trusted_origins": ["null"]}, "https://portal.corp.example"),
        ({"trusted_origins": ["https://u@a.example"]}, "https://portal.corp.example"),
        ({"trusted_origins": [None]}, "https://portal.corp.example"),
        ({"trusted_origins": None}, "https://portal.corp.example"),
        ({"required_flags": 2}, "ContextFlag.MUTUAL_AUTH"),
        ({"required_flags": "MUTUAL_AUTH"}, "ContextFlag.MUTUAL_AUTH"),
        ({"username": "principal"}, "a function"),
        ({"services": 1}, "True or False"),
        ({"services": ["HTTP/a"]}, "True or False"),
        ({"require_tls": None}, "True or False"),
        ({"tls_terminated_by_proxy": "yes"}, "True or False"),
    ],
)
def test_a_wrong_option_says_its_name_and_what_to_type(options: dict[str, Any], to_type: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Policy(**options)

    assert f"Policy({next(iter(options))}" in str(caught.value)
    assert to_type in str(caught.value)


@pytest.mark.parametrize("name", list(Limits.__dataclass_fields__))
@pytest.mark.parametrize("value", [0, -1, None, "5", True, math.inf, math.nan])
def test_a_limit_that_is_no_number_above_zero_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"Limits\({name}=.*give a number above 0, such as \d+"):
        Limits(**{name: value})


def test_seconds_may_be_fractions_and_counts_may_not() -> None:
    assert Limits(step_seconds=0.5, handshake_seconds=0.5).step_seconds == 0.5
    with pytest.raises(ConfigurationError):
        Limits(legs=1.5)  # type: ignore[arg-type]


def test_limits_have_these_defaults() -> None:
    limits = Limits()

    assert (limits.token_bytes, limits.legs, limits.half_open, limits.handshake_seconds) == (65536, 8, 10_000, 30)
    assert (limits.threads, limits.queue, limits.step_seconds) == (8, 64, 10)


# realms


def reason(policy: Policy, identity: Identity, keytab: tuple[str, ...] = ("EXAMPLE.COM",)) -> str | None:
    refused = policy.rules(keytab).refusal(identity)
    return refused and refused[0]


@pytest.mark.parametrize("realm", ["EXAMPLE.COM", "OTHER.EXAMPLE"])
def test_without_realms_those_of_the_keytab_may_in(realm: str) -> None:
    assert reason(Policy(), user(f"alice@{realm}"), ("EXAMPLE.COM", "OTHER.EXAMPLE")) is None


@pytest.mark.parametrize(
    "realm",
    [
        "EVIL.EXAMPLE",
        "EXAMPLE.CO",
        "EXAMPLE.COM.EVIL",
        "XEXAMPLE.COM",
        "example.com",
        "EXAMPLE.COM.",
        "EXAMPL\u0415.COM",
    ],
)
@pytest.mark.parametrize("policy", [Policy(), Policy(realms=["EXAMPLE.COM"])])
def test_a_realm_that_only_looks_like_ours_may_not_in(policy: Policy, realm: str) -> None:
    assert reason(policy, user(f"alice@{realm}")) == "realm-not-allowed"


def test_a_list_replaces_the_keytabs_realms() -> None:
    policy = Policy(realms=["CORP.EXAMPLE"])

    assert reason(policy, user("alice@CORP.EXAMPLE")) is None
    assert reason(policy, user("alice@EXAMPLE.COM")) == "realm-not-allowed"


def test_a_star_lets_any_realm_in() -> None:
    assert reason(Policy(realms="*"), user("alice@ANY.EXAMPLE"), ()) is None


def test_no_realms_and_no_keytab_says_what_to_type() -> None:
    with pytest.raises(ConfigurationError, match=r'policy=Policy\(realms=\["CORP\.EXAMPLE"\]\)'):
        Policy().rules([])


def test_a_refused_realm_prints_the_option_to_paste() -> None:
    refused = Policy(realms=["EXAMPLE.COM"]).rules([]).refusal(user("bob@CORP.EXAMPLE"))

    assert refused is not None
    assert "Policy(realms=['CORP.EXAMPLE', 'EXAMPLE.COM'])" in refused[1]


# services and flags


def test_a_service_may_in_only_where_services_may() -> None:
    computer = user("pc1$@EXAMPLE.COM", is_service=True)

    assert reason(Policy(), computer) == "service-not-allowed"
    assert reason(Policy(services=True), computer) is None


def test_services_may_in_only_from_realms_that_may() -> None:
    assert reason(Policy(services=True), user("pc1$@EVIL.EXAMPLE", is_service=True)) == "realm-not-allowed"


@pytest.mark.parametrize(
    ("has", "missing"),
    [(ContextFlag(0), True), (ContextFlag.MUTUAL_AUTH, True), (BOTH, False), (BOTH | ContextFlag.DELEGATE, False)],
)
def test_every_required_flag_must_be_there(has: ContextFlag, missing: bool) -> None:
    assert (reason(Policy(required_flags=BOTH), user(attributes=has)) == "flags-missing") is missing


# usernames


@pytest.mark.parametrize(
    ("policy", "principal", "username"),
    [
        (Policy(), "alice@EXAMPLE.COM", "alice"),
        (Policy(realms=["EXAMPLE.COM", "CORP.EXAMPLE"]), "alice@EXAMPLE.COM", "alice@EXAMPLE.COM"),
        (Policy(realms="*"), "alice@EXAMPLE.COM", "alice@EXAMPLE.COM"),
        (Policy(services=True), "host/pc1@EXAMPLE.COM", "host/pc1@EXAMPLE.COM"),
        (Policy(), r"a\@b@EXAMPLE.COM", r"a\@b@EXAMPLE.COM"),
    ],
)
def test_the_bare_name_is_used_where_exactly_one_realm_may_in(policy: Policy, principal: str, username: str) -> None:
    assert policy.rules(["EXAMPLE.COM"]).named(user(principal)).username == username


def test_a_username_function_replaces_the_username_and_nothing_else() -> None:
    rules = Policy(username=lambda identity: f"<{identity.principal}>").rules(["EXAMPLE.COM"])

    assert rules.named(user()) == replace(user(), username="<alice@EXAMPLE.COM>")


def raises(_: Identity) -> str:
    raise KeyError("alice")


@pytest.mark.parametrize("function", [raises, lambda _: "", lambda _: None, lambda _: b"alice", lambda _: 1 / 0])
def test_a_username_function_that_gives_no_name_is_an_error_of_ours(function: Callable[[Identity], str]) -> None:
    rules = Policy(username=function).rules(["EXAMPLE.COM"])

    with pytest.raises(AcceptError) as caught:
        rules.named(user())

    assert (caught.value.status, caught.value.reason) == (SecStatus.INTERNAL_ERROR, "username-failed")


@pytest.mark.parametrize(
    ("pac", "upn", "refused"), [("required", None, True), ("required", "a@b", False), ("when_present", None, False)]
)
@pytest.mark.parametrize("mechanism", ["kerberos", "basic"])  # a password is proven by a ticket
def test_a_ticket_that_does_not_say_whose_account_it_is_gets_in_only_where_it_may(
    mechanism: str, pac: str, upn: str | None, refused: bool
) -> None:
    rules = Policy(pac=pac).rules(["EXAMPLE.COM"])

    refusal = rules.refusal(user("alice@EXAMPLE.COM", upn=upn, mechanism=mechanism))

    assert (refusal is not None) is refused
    assert refusal is None or refusal[0] == "pac-missing"


@pytest.mark.parametrize(
    ("has", "lets_in"), [(("pkinit", "spake"), True), (("spake",), False), (("PKINIT", "spake"), False), ((), False)]
)
def test_who_did_not_log_in_in_all_of_the_ways_that_are_required_may_not_in(
    has: tuple[str, ...], lets_in: bool
) -> None:
    rules = Policy(required_indicators=["spake", "pkinit"]).rules(["EXAMPLE.COM"])

    refusal = rules.refusal(user(named_attributes=(("auth-indicators", has),)))

    assert refusal is None if lets_in else refusal is not None and refusal[0] == "indicators-missing"


ALICE, ALICE_OF_CORP = user("alice@EXAMPLE.COM"), user("CORP\\alice", mechanism="ntlm", realm="CORP")


def test_who_may_come_from_a_realm_and_from_a_domain_goes_by_their_whole_name() -> None:
    both = Policy().rules(["EXAMPLE.COM"], ["CORP"])
    realm, domain = Policy().rules(["EXAMPLE.COM"]), Policy().rules(None, ["CORP"])

    assert [both.named(alice).username for alice in (ALICE, ALICE_OF_CORP)] == ["alice@EXAMPLE.COM", "CORP\\alice"]
    assert [realm.named(ALICE).username, domain.named(ALICE_OF_CORP).username] == ["alice", "alice"]


def test_who_comes_by_a_mechanism_that_is_not_accepted_may_not_in_though_their_realm_is_listed() -> None:
    policy = Policy(realms=["EXAMPLE.COM"], ntlm_domains=["CORP"])

    refusals = policy.rules(None, ["CORP"]).refusal(ALICE), policy.rules(["EXAMPLE.COM"], None).refusal(ALICE_OF_CORP)

    assert [refusal and refusal[0] for refusal in refusals] == ["realm-not-allowed", "domain-not-allowed"]


def test_one_ntlm_domain_is_a_list_all_the_same() -> None:
    with pytest.raises(ConfigurationError, match=r"give a list, \[\"CORP\"\]"):
        Policy(ntlm_domains="CORP")


def test_pac_cannot_be_required_on_windows_which_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")

    with pytest.raises(ConfigurationError, match="on Windows"):
        Policy(pac="required").rules({"*"})
    Policy(pac="required").rules(None, {"CORP"})  # of NTLM no PAC is wanted anywhere
    Policy(pac="when_present").rules({"*"})


def test_pac_is_one_of_two_words() -> None:
    with pytest.raises(ConfigurationError, match="when_present"):
        Policy(pac="always")
