"""``auth_to_local``: what the C library makes of a real krb5.conf's rules."""

from collections.abc import Iterator

import pytest

from negotiate_mw import Policy
from negotiate_mw.local_names import _library, local_name
from negotiate_mw.testing import KerberosRealm, user

RULES = r"""
    auth_to_local = RULE:[1:$1@$0](^.*@PARTNER\.EXAMPLE$)s/@.*/_partner/
    auth_to_local = RULE:[2:$1;$2](^.*;admin$)s/;admin$//
    auth_to_local = RULE:[1:$1@$0](^odd@.*)s/@.*/@home/
    auth_to_local = DEFAULT
  }"""


@pytest.fixture(scope="module")
def rules(kerberos_realm: KerberosRealm) -> Iterator[None]:
    """A krb5.conf with rules, and a library that has not read another before."""
    with KerberosRealm() as realm:
        krb5 = realm.directory / "krb5.conf"
        krb5.write_text(krb5.read_text().replace("\n  }", RULES, 1))
        _library.cache_clear()
        with realm.apply():
            yield
        _library.cache_clear()


@pytest.mark.usefixtures("rules")
@pytest.mark.parametrize(
    ("principal", "name"),
    [
        ("alice@TEST.EXAMPLE", "alice"),
        ("alice@PARTNER.EXAMPLE", "alice_partner"),
        ("alice/admin@TEST.EXAMPLE", "alice"),
        ("alice/other@TEST.EXAMPLE", "alice/other@TEST.EXAMPLE"),
        ("alice@EVIL.EXAMPLE", "alice@EVIL.EXAMPLE"),
        (r"alice\@TEST.EXAMPLE@EVIL.EXAMPLE", r"alice\@TEST.EXAMPLE@EVIL.EXAMPLE"),
        ("odd@EVIL.EXAMPLE", "odd@EVIL.EXAMPLE"),
        ("a" * 300 + "@TEST.EXAMPLE", "a" * 300 + "@TEST.EXAMPLE"),
    ],
)
def test_a_user_has_the_name_that_the_rules_give_and_else_the_principal(principal: str, name: str) -> None:
    assert local_name(user(principal)) == name


def test_who_did_not_log_in_by_kerberos_has_no_local_name() -> None:
    identity = user("CORP\\alice", mechanism="ntlm", realm="CORP")

    assert local_name(identity) == "CORP\\alice"


@pytest.mark.usefixtures("rules")
def test_a_policy_takes_it_for_its_username() -> None:
    rules = Policy(realms="*", username=local_name).rules({"TEST.EXAMPLE"})

    assert rules.named(user("alice@PARTNER.EXAMPLE")).username == "alice_partner"
