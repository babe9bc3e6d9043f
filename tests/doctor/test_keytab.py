"""The keytab: what is wrong with it before any ticket comes."""

from pathlib import Path

import pytest

from negotiate_mw import Policy
from negotiate_mw.doctor.keytab import MANY_KEYS, examine
from negotiate_mw.testing import KerberosRealm, tickets

from .examining import alarms, deployed


def with_enctypes(realm: KerberosRealm, name: str, enctypes: str, path: Path) -> Path:
    """A keytab with these types alone, as `ktpass /crypto` makes."""
    command = ("kadmin.local", "-r", realm.name, "ktadd", "-q", "-k", str(path), "-e", enctypes, name)
    realm.add_service(name)
    tickets.run(realm.environ(), *command)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o640])
def test_a_keytab_that_only_its_owner_or_a_group_can_read_is_fine(keytab: Path, mode: int) -> None:
    keytab.chmod(mode)

    assert alarms(examine(deployed(keytab))) == []


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o602, 0o777])
def test_a_keytab_that_everybody_can_read_or_others_can_change_is_a_problem(keytab: Path, mode: int) -> None:
    keytab.chmod(mode)

    assert alarms(examine(deployed(keytab))) == [("problem", "keytab-exposed")]


@pytest.mark.parametrize("contents", [None, b"", b"\x05\x02", b"\x05\x01", b"not a keytab"])
def test_a_keytab_that_is_missing_empty_or_damaged_is_a_problem(tmp_path: Path, contents: bytes | None) -> None:
    path = tmp_path / "http.keytab"
    if contents is not None:
        path.write_bytes(contents)

    assert alarms(examine(deployed(path))) == [("problem", "keytab")]


def test_rc4_alone_is_a_problem_and_beside_aes_a_warning(kerberos_realm: KerberosRealm, tmp_path: Path) -> None:
    alone = with_enctypes(kerberos_realm, "HTTP/rc4.test.example", "arcfour-hmac:normal", tmp_path / "rc4")
    types = "aes256-cts:normal,arcfour-hmac:normal"
    both = with_enctypes(kerberos_realm, "HTTP/both.test.example", types, tmp_path / "both")

    assert alarms(examine(deployed(alone))) == [("problem", "keytab-weak")]
    assert alarms(examine(deployed(both))) == [("warning", "keytab-weak-too")]


def test_a_keytab_of_many_keys_is_a_warning(kerberos_realm: KerberosRealm, keytab: Path) -> None:
    one = keytab.read_bytes()

    keytab.write_bytes(one + one[2:] * (MANY_KEYS // 2))

    assert alarms(examine(deployed(keytab))) == [("warning", "keytab-large")]


def test_a_host_without_a_key_is_a_problem(keytab: Path) -> None:
    assert alarms(examine(deployed(keytab, hosts=("localhost",)))) == []
    assert alarms(examine(deployed(keytab, hosts=("localhost", "wiki")))) == [("problem", "hostname-without-key")]


@pytest.mark.parametrize(
    ("realms", "seen"), [(["TEST.EXAMPLE", "X"], False), (["X"], True), ("*", False), (None, False)]
)
def test_a_policy_without_the_keytabs_realm_is_a_warning(keytab: Path, realms: list[str] | str, seen: bool) -> None:
    lines = examine(deployed(keytab, policy=Policy(realms=realms)))

    assert alarms(lines) == ([("warning", "keytab-realm-not-allowed")] if seen else [])
