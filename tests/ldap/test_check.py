"""``negotiate-mw check`` of LdapGroups: directories that can be asked, one that refuses us, one that isn't there."""

import socket
from collections.abc import Callable
from typing import Any

from negotiate_mw import LdapDirectory, LdapGroups, NegotiateMiddleware
from negotiate_mw.doctor.deployed import of_app
from negotiate_mw.doctor.directory import examine
from negotiate_mw.doctor.report import Level, Line

from .slapd import Slapd

Directory = Callable[..., LdapDirectory]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Nothing."""


def checked(*directories: LdapDirectory) -> list[Line]:
    (deployed,) = of_app(NegotiateMiddleware(app, groups=LdapGroups(*directories)))
    return list(examine(deployed))


def test_directories_that_can_be_asked_are_in_order(
    slapd: Slapd, ad_directory: Directory, mit_directory: Directory
) -> None:
    lines = checked(ad_directory(), mit_directory())

    assert [line.level for line in lines] == [Level.OK, Level.OK]
    assert ["AD.TEST.EXAMPLE" in lines[0].sentence, "MIT.EXAMPLE" in lines[1].sentence] == [True, True]


def test_a_directory_without_the_base_is_a_problem(ad_directory: Directory) -> None:
    (line,) = checked(ad_directory(base="dc=other,dc=example"))

    assert (line.level, line.cause) == (Level.PROBLEM, "directory-refused")
    assert "dc=other,dc=example" in line.sentence


def test_a_directory_that_is_down_is_a_problem_and_another_is_looked_at_all_the_same(
    slapd: Slapd, ad_directory: Directory, mit_directory: Directory
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and listens to nobody
        lines = checked(ad_directory(servers=[f"ldap://127.0.0.1:{unused.getsockname()[1]}"]), mit_directory())

    assert [(line.level, line.cause) for line in lines] == [(Level.PROBLEM, "directory-down"), (Level.OK, "")]
