"""What is wrong with an option, what is allowed, what to type."""

from importlib import util
from pathlib import Path
from typing import Any

import pytest

from negotiate_mw import ConfigurationError, LdapDirectory, LdapGroups
from tests.shell.driving import on_a_loop

AD: dict[str, Any] = {
    **{"realm": "CORP.EXAMPLE", "domain": "CORP", "servers": ["ldap://dc1.corp.example"], "base": "dc=corp,dc=example"},
    **{"principal": "svc-web@CORP.EXAMPLE", "keytab": "/etc/web.keytab"},
}
BY_PASSWORD = {"principal": None, "keytab": None, "bind_dn": "cn=web,dc=corp,dc=example", "password_file": "/etc/pw"}


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"realm": ""}, "realm=''.*give a text"),
        ({"realm": None}, '"CORP.EXAMPLE"'),
        ({"realm": "alice@CORP.EXAMPLE"}, '"CORP.EXAMPLE"'),
        ({"domain": "BUILTIN"}, '"CORP"'),
        ({"domain": "NT AUTHORITY"}, '"CORP"'),
        ({"domain": "CORP\\HR"}, '"CORP"'),
        ({"servers": "ldap://dc1.corp.example"}, r"give a list of URLs"),
        ({"servers": []}, r"give a list of URLs"),
        ({"servers": ["dc1.corp.example"]}, r"give a list of URLs"),
        ({"servers": ["https://dc1"]}, r"give a list of URLs"),
        ({"servers": ["ldap://"]}, r"give a list of URLs"),
        ({"servers": ["ldap://dc1/dc=corp"]}, r"give a list of URLs"),
        ({"servers": ["ldap://dc1:70000"]}, r"give a list of URLs"),
        ({"servers": ["ldap://user@dc1"]}, r"give a list of URLs"),
        ({"base": None}, "give base="),
        ({"users": "ou=people,dc=x"}, "give base="),
        ({"base": None, "users": "ou=people,dc=x"}, "give base="),
        ({"base": "corp.example"}, "give a distinguished name"),
        ({"base": "dc=a\0,dc=b"}, "give a text"),
        ({"principal": None}, "give principal="),
        ({"keytab": None}, "give principal="),
        ({"bind_dn": "cn=web,dc=x", "password_file": "/pw"}, "give principal="),
        ({"principal": "svc-web"}, "with its realm"),
        ({"keytab": 7}, "give a path"),
        (BY_PASSWORD, "a password goes over TLS only; give ldaps://"),
    ],
)
def test_a_wrong_option_of_a_directory_says_what_to_type(options: dict[str, Any], cure: str) -> None:
    with pytest.raises(ConfigurationError, match=cure):
        LdapDirectory(**AD | options)


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"ttl": -1}, "give seconds"),
        ({"ttl": "300"}, "give seconds"),
        ({"ttl": float("nan")}, "give seconds"),
        ({"cache_size": 0}, "give a number of users"),
        ({"cache_size": True}, "give a number of users"),
        ({"timeout": 0}, "at most 60"),
        ({"timeout": 61}, "at most 60"),
    ],
)
def test_a_wrong_option_says_what_to_type(options: dict[str, Any], cure: str) -> None:
    with pytest.raises(ConfigurationError, match=cure):
        LdapGroups(LdapDirectory(**AD), **options)


def test_directories_are_needed_and_each_is_a_realms_own() -> None:
    with pytest.raises(ConfigurationError, match="at least one LdapDirectory"):
        LdapGroups()
    with pytest.raises(ConfigurationError, match="the same realm"):
        LdapGroups(LdapDirectory(**AD), LdapDirectory(**AD | {"domain": "OTHER"}))
    with pytest.raises(ConfigurationError, match="the same domain"):
        LdapGroups(LdapDirectory(**AD), LdapDirectory(**AD | {"realm": "OTHER.EXAMPLE", "domain": "corp"}))


def test_a_password_may_go_over_tls() -> None:
    directory = LdapDirectory(**AD | BY_PASSWORD | {"servers": ["ldaps://dc1.corp.example"]})

    assert directory.servers == ("ldaps://dc1.corp.example",)


@on_a_loop
async def test_without_the_library_the_start_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("negotiate_mw.ldap.find_spec", lambda name: None if name == "bonsai" else util.find_spec(name))

    with pytest.raises(ConfigurationError, match=r"bonsai is missing: .*pip install 'negotiate-mw\[ldap\]'"):
        await LdapGroups(LdapDirectory(**AD)).start()


@on_a_loop
async def test_a_keytab_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    directory = LdapDirectory(**AD | {"keytab": tmp_path / "missing.keytab"})

    with pytest.raises(ConfigurationError, match=r"can't read .*missing\.keytab"):
        await LdapGroups(directory).start()
