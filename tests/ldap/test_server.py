"""The whole of it: uvicorn, a real domain, tickets of its users."""

import json
from collections.abc import Callable

import pytest

from negotiate_mw import LdapDirectory
from tests.integration.samba_ad import SambaAD
from tests.integration.serving import ServerEnded, get, serve

from .test_active_directory import HTTP

APP = "tests.ldap.app:app"
Directory = Callable[..., LdapDirectory]


def environ(ad: SambaAD, directory: LdapDirectory) -> dict[str, str]:
    names = ("realm", "domain", "servers", "base", "principal", "keytab")
    options = json.dumps({name: getattr(directory, name) for name in names})
    return ad.environ() | {"KRB5_KTNAME": str(ad.keytab(HTTP)), "LDAP_OPTIONS": options}


def test_groups_of_the_directory_open_and_close_doors(ad: SambaAD, ad_directory: Directory) -> None:
    alice, bob = ad.kinit("alice"), ad.kinit("bob")

    with serve(APP, env=environ(ad, ad_directory())) as server:
        listed = get(server, "/", ad.token(HTTP, alice))
        hers = get(server, "/salaries", ad.token(HTTP, alice))
        his = get(server, "/salaries", ad.token(HTTP, bob))

    assert listed.json == [rf"ADTEST\{name}" for name in ("Domain Users", "nested", "web-admins", "web-users")]
    assert (hers.status, hers.body) == (200, b"Hello alice")
    assert his.status == 403


def test_a_directory_that_refuses_us_stops_the_start_with_one_sentence(ad: SambaAD, ad_directory: Directory) -> None:
    directory = ad_directory(principal=f"svc-old@{ad.name}")

    with pytest.raises(ServerEnded) as ended, serve(APP, env=environ(ad, directory)):
        pass

    assert "negotiate-mw: LdapGroups: ldap://" in ended.value.log
    assert f"Try: kinit -k -t {directory.keytab} svc-old@{ad.name}" in ended.value.log
    assert "Traceback" not in ended.value.log
