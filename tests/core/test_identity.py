import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from negotiate_mw.backends.gssapi import _printed
from negotiate_mw.errors import AcceptError
from negotiate_mw.identity import AcceptResult, Account, Anonymous, account_of, parse_principal
from negotiate_mw.status import ContextFlag, SecStatus
from negotiate_mw.wire.pac import UpnDnsInfo

from .building import PROPERTY, finished, unfinished, user

SID = "S-1-5-21-1-2-3-1106"
LETTERS = st.text(st.sampled_from(r"a@/\n0 Éß$.") | st.characters(), max_size=12)


def info(
    sam: str | None = "alice", upn: str = "alice@example.com", *, constructed: bool = True, sid: str | None = SID
) -> UpnDnsInfo:
    return UpnDnsInfo(
        upn=upn,
        dns_domain="EXAMPLE.COM",
        upn_constructed=constructed,
        sam_account_name=sam,
        sid=None if sam is None else sid,
    )


def reason_of(ticket_name: str, pac: UpnDnsInfo | None) -> str:
    with pytest.raises(AcceptError) as caught:
        account_of(ticket_name, pac)
    assert caught.value.status is SecStatus.LOGON_DENIED
    return caught.value.reason


# parse_principal()


@pytest.mark.parametrize(
    ("text", "components", "realm"),
    [
        ("alice@EXAMPLE.COM", ("alice",), "EXAMPLE.COM"),
        ("host/pc1@EXAMPLE.COM", ("host", "pc1"), "EXAMPLE.COM"),
        ("a/b/c@R", ("a", "b", "c"), "R"),
        (r"carol\@corp.example@EXAMPLE.COM", ("carol@corp.example",), "EXAMPLE.COM"),
        (r"a\/b@R", ("a/b",), "R"),
        (r"a\\b@R", (r"a\b",), "R"),
        (r"a\xb@R", ("axb",), "R"),
        ("Zoë Müller@R", ("Zoë Müller",), "R"),
        ("a@R/S", ("a",), "R/S"),
    ],
)
def test_a_name_is_taken_apart_as_krb5_put_it_together(text: str, components: tuple[str, ...], realm: str) -> None:
    assert parse_principal(text) == (components, realm)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "alice",
        "alice@",
        "@EXAMPLE.COM",
        "alice@EXAMPLE.COM@EVIL.EXAMPLE",
        r"alice@EXAMPLE.COM\@EVIL.EXAMPLE",
        r"alice@EXAMPLE\\COM",
        "/alice@R",
        "alice/@R",
        "a//b@R",
        "ad\rX-User: root@R",
        "ad\nmin@R",
        r"ad\nmin@R",
        r"ad\tmin@R",
        r"ad\bmin@R",
        r"ad\0min@R",
        "alice\0@R",
        "alice@R\0",
        "alice@R\u202e",
        "ali\u200bce@R",
        "alice@R\\",
        r"alice\@R",
        "ali\udc80ce@R",
        "alice @R",
        " alice@R",
        "alice@R ",
        "HTTP/ @R",
        "alice\u00a0@R",
    ],
)
def test_a_name_that_could_be_read_in_two_ways_is_unusable(text: str) -> None:
    with pytest.raises(AcceptError) as caught:
        parse_principal(text)

    assert (caught.value.status, caught.value.reason) == (SecStatus.LOGON_DENIED, "name-unusable")
    assert str(caught.value).isprintable()


@PROPERTY
@given(LETTERS)
@example("a@b@c")
def test_any_text_is_a_usable_name_or_our_own_error(text: str) -> None:
    try:
        components, realm = parse_principal(text)
    except AcceptError as error:
        assert error.reason == "name-unusable"  # noqa: PT017 - the other way is allowed as well
    else:
        assert all(part and part.isprintable() for part in (*components, realm))
        assert not set(realm) & {"@", "\\"}


@PROPERTY
@given(
    st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), min_size=1),
    st.from_regex(r"[A-Z.]+", fullmatch=True),
)
def test_a_quoted_name_comes_back_as_it_was(components: list[str], realm: str) -> None:
    text = "/".join(re.sub(r"([\\/@])", r"\\\1", part).replace("\\\\n", "\\\\n") for part in components) + "@" + realm

    assert parse_principal(text) == (tuple(components), realm)


@PROPERTY
@given(LETTERS, st.none() | st.builds(info, sam=st.none() | LETTERS, upn=LETTERS, constructed=st.booleans()))
def test_any_name_with_any_pac_is_an_account_or_our_own_error(name: str, pac: UpnDnsInfo | None) -> None:
    try:
        account = account_of(name, pac)
    except AcceptError as error:
        assert error.status is SecStatus.LOGON_DENIED  # noqa: PT017 - the other way is allowed as well
    else:
        assert account.principal.isprintable()
        assert account.principal.endswith(f"@{account.realm}")
        assert len(account.principal) > len(account.realm) + 1


# account_of()


def test_without_a_pac_the_ticket_says_who_it_is() -> None:
    assert account_of("alice@EXAMPLE.COM", None) == Account(
        principal="alice@EXAMPLE.COM", realm="EXAMPLE.COM", sid=None, upn=None, is_service=False
    )


def test_with_a_pac_the_account_says_who_it_is() -> None:
    assert account_of("alice@EXAMPLE.COM", info()) == Account(
        principal="alice@EXAMPLE.COM", realm="EXAMPLE.COM", sid=SID, upn="alice@example.com", is_service=False
    )


def test_a_computer_that_calls_itself_boss_is_not_boss() -> None:
    assert reason_of("boss@EXAMPLE.COM", info("boss$", "boss$@example.com")) == "name-mismatch"


def test_a_computer_whose_upn_says_boss_logs_in_as_the_computer() -> None:
    account = account_of("boss@EXAMPLE.COM", info("boss$", "boss@example.com", constructed=False))

    assert (account.principal, account.is_service) == ("boss$@EXAMPLE.COM", True)


def test_another_case_of_the_name_is_the_same_account_under_its_own_name() -> None:
    assert account_of("ALICE@EXAMPLE.COM", info()).principal == "alice@EXAMPLE.COM"


def test_an_alias_by_upn_is_the_account_under_its_own_name() -> None:
    account = account_of("carol@EXAMPLE.COM", info("bob", "carol@example.com", constructed=False))

    assert (account.principal, account.upn) == ("bob@EXAMPLE.COM", "carol@example.com")


def test_an_enterprise_name_is_the_account_whose_upn_it_is() -> None:
    pac = info("bob", "Carol@mail.example", constructed=False)

    assert account_of(r"carol\@mail.example@EXAMPLE.COM", pac).principal == "bob@EXAMPLE.COM"


@pytest.mark.parametrize(
    "name", ["carol", r"carol\@example.com", "carol/x", "bob/x", "bo", "bobb", r"bob\@mail.example"]
)
def test_a_name_that_is_neither_the_accounts_nor_its_upn_is_refused(name: str) -> None:
    assert reason_of(f"{name}@EXAMPLE.COM", info("bob", "carol@mail.example", constructed=False)) == "name-mismatch"


def test_the_upn_of_another_domain_does_not_match_by_its_first_half() -> None:
    assert reason_of("boss@EXAMPLE.COM", info("bob", "boss@evil.example", constructed=False)) == "name-mismatch"


def test_a_constructed_upn_names_the_account_where_the_pac_does_not() -> None:
    account = account_of("alice@EXAMPLE.COM", info(None, "Alice@example.com"))

    assert (account.principal, account.sid) == ("Alice@EXAMPLE.COM", None)


def test_a_constructed_upn_unmasks_the_computer_as_well() -> None:
    assert reason_of("boss@EXAMPLE.COM", info(None, "boss$@example.com")) == "name-mismatch"


def test_an_explicit_upn_does_not_name_the_account() -> None:
    assert reason_of("alice@EXAMPLE.COM", info(None, constructed=False)) == "name-mismatch"


@pytest.mark.parametrize("sam", ["al@ice", "al/ice", "al\\ice", "al\rice", "al\0ice", "ali\u202ece", ""])
def test_an_account_name_with_odd_characters_is_refused(sam: str) -> None:
    assert reason_of("alice@EXAMPLE.COM", info(sam)) == "name-mismatch"


@pytest.mark.parametrize(
    "name",
    [
        "krbtgt/EXAMPLE.COM",
        "krbtgt",
        "KRBTGT/EXAMPLE.COM",
        "kadmin/admin",
        "kadmin/changepw",
        "KAdmin/x",
        "kiprop/x",
        "K/M",
        "WELLKNOWN/ANONYMOUS",
    ],
)
@pytest.mark.parametrize("has_pac", [True, False])
def test_the_realms_own_principals_are_nobody_who_logs_in(name: str, has_pac: bool) -> None:
    pac = info("svc", f"{name}@example.com", constructed=False) if has_pac else None

    assert reason_of(f"{name}@EXAMPLE.COM", pac) == "name-forbidden"


def test_an_alias_of_krbtgts_account_is_nobody_who_logs_in() -> None:
    assert reason_of("alice@EXAMPLE.COM", info("krbtgt", "alice@example.com", constructed=False)) == "name-forbidden"


@pytest.mark.parametrize(
    ("name", "is_service"),
    [("alice", False), ("alice/admin", True), ("pc1$", True), ("host/pc1", True), ("kadmin", False), (r"a\/b", False)],
)
def test_computers_and_names_of_several_components_are_services(name: str, is_service: bool) -> None:
    assert account_of(f"{name}@EXAMPLE.COM", None).is_service is is_service


# the types


def test_an_identity_has_the_shape_of_starlettes_user() -> None:
    identity = user(username="alice", account_id=SID)

    assert identity.is_authenticated
    assert (identity.display_name, identity.identity) == ("alice", SID)


@pytest.mark.parametrize(
    ("principal", "mechanism", "bare"),
    [
        ("alice@R", "kerberos", "alice"),
        ("a/b@R", "kerberos", "a/b@R"),
        ("CORP\\alice", "ntlm", "alice"),
        ("R\\@x@R", "kerberos", "R\\@x@R"),
    ],
)
def test_a_bare_name_leaves_off_the_realm_where_nothing_gets_ambiguous(
    principal: str, mechanism: str, bare: str
) -> None:
    realm = "CORP" if mechanism == "ntlm" else "R"

    assert user(principal, mechanism=mechanism, realm=realm).bare_name == bare


def test_nobody_has_the_shape_of_starlettes_user_and_is_not_authenticated() -> None:
    nobody = Anonymous()

    assert (nobody.is_authenticated, nobody.display_name, nobody.identity) == (False, "", "")
    assert nobody == Anonymous()
    assert hash(nobody) == hash(Anonymous())
    assert nobody != user()
    assert repr(nobody) == "Anonymous()"


def test_a_result_without_an_identity_cannot_say_ok() -> None:
    with pytest.raises(ValueError, match="exactly if its status is OK"):
        AcceptResult(status=SecStatus.OK, context=object())


def test_a_result_with_an_identity_cannot_say_continue() -> None:
    with pytest.raises(ValueError, match="exactly if its status is OK"):
        AcceptResult(status=SecStatus.CONTINUE_NEEDED, context=object(), identity=user())


def test_a_results_repr_shows_no_token() -> None:
    assert "CANARY" not in repr(finished(token=b"CANARY")) + repr(unfinished(b"CANARY"))


def test_an_identity_is_frozen() -> None:
    identity = user(attributes=ContextFlag.MUTUAL_AUTH, expires_at=datetime.now(UTC))

    with pytest.raises(AttributeError):
        identity.principal = "root@EXAMPLE.COM"  # type: ignore[misc]


def test_two_names_that_are_not_utf8_are_nobodys_and_never_one() -> None:
    for name in (b"m\xfcller@EXAMPLE.COM", b"m\xf6ller@EXAMPLE.COM"):
        with pytest.raises(AcceptError) as refused:
            account_of(_printed(name), None)
        assert refused.value.reason == "name-unusable"


def test_claims_hide_no_other_attribute() -> None:
    came_by = (("urn:mspac:delegation-info", ("HTTP/front",)),)

    alice = user("alice@EXAMPLE.COM", named_attributes=came_by, claims=lambda: (("ad-claims/x", ("y",)),))

    assert alice.via == ("HTTP/front",)
    assert alice.attributes_of("ad-claims/x") == ("y",)
