"""Which names of groups are believed."""

import pytest

from negotiate_mw.directory.child import escape
from negotiate_mw.directory.names import qualified

DOMAIN = "S-1-5-21-1-2-3"


@pytest.mark.parametrize(
    "name", ["HR", "web-admins", "Büro München", "a.b", "O'Neil (old)", "Domain Adminsx", "s-1", "admins"]
)
def test_a_name_is_qualified_and_keeps_its_spelling(name: str) -> None:
    assert qualified("CORP", name, f"{DOMAIN}-1106") == f"CORP\\{name}"


@pytest.mark.parametrize(
    "name",
    [
        *("S-1-5-32-544", "s-1-5-21-1-2-3-512", "S-1-evil", "Administrators", "ADMINISTRATORS", "Everyone", "System"),
        *("Authenticated Users", "This Organization", "Domain Admins", "domain admins", "Enterprise Admins"),
        *("", " ", " HR", "HR ", "HR\n", "a\0b", "CORP\\HR"),
    ],
)
@pytest.mark.parametrize("sid", [f"{DOMAIN}-1106", f"{DOMAIN}-1512", None])
def test_a_name_that_means_something_else_is_dropped(name: str, sid: str | None) -> None:
    assert qualified("CORP", name, sid) is None


@pytest.mark.parametrize(("name", "rid"), [("Domain Admins", 512), ("domain users", 513), ("Enterprise Admins", 519)])
def test_a_well_known_name_is_kept_where_it_belongs(name: str, rid: int) -> None:
    assert qualified("CORP", name, f"{DOMAIN}-{rid}") == f"CORP\\{name}"


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("alice1", "alice1"),
        ("*", "\\2a"),
        ("(a)", "\\28a\\29"),
        ("\\", "\\5c"),
        ("\0", "\\00"),
        (" a", "\\20a"),
        ("ü", "\\c3\\bc"),
        ("\ud800", "\\ed\\a0\\80"),
    ],
)
def test_a_filters_value_has_no_character_that_means_something(value: str, escaped: str) -> None:
    assert escape(value) == escaped
