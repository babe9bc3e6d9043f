"""Names that look like somebody else's, from a real KDC: whoever gets in is themselves, and nobody else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm

from .serving import Server, get, serve

HTTP = "HTTP/localhost"


@pytest.fixture(scope="module")
def look_alike(kerberos_realm: KerberosRealm) -> Iterator[KerberosRealm]:
    """A realm that ours trusts, whose name begins like ours, with an alice of its own."""
    with KerberosRealm("TEST.EXAMPLE.EVIL") as realm:
        realm.add_user("alice")
        kerberos_realm.trust(realm)
        yield realm


@pytest.fixture(scope="module")
def other_alice(look_alike: KerberosRealm) -> Path:
    return look_alike.kinit("alice")


@pytest.fixture(scope="module")
def services(service_env: dict[str, str]) -> Iterator[Server]:
    """A server that lets services in as well."""
    with serve("services", env=service_env) as server:
        yield server


def test_a_trusted_realms_user_gets_in_only_where_the_policy_names_their_realm(
    server: Server, look_alike: KerberosRealm, other_alice: Path
) -> None:
    mark = server.mark()

    answer = get(server, token=look_alike.token(f"{HTTP}@TEST.EXAMPLE", other_alice))

    assert answer.status == 403
    line = server.until_logged(r"refused with 403: realm-not-allowed: .*", mark=mark)[0]
    assert "'alice@TEST.EXAMPLE.EVIL'" in line


def test_two_realms_users_of_one_name_are_two_people(
    service_env: dict[str, str],
    kerberos_realm: KerberosRealm,
    alice: Path,
    look_alike: KerberosRealm,
    other_alice: Path,
) -> None:
    with serve("any_realm", env=service_env) as server:
        ours = get(server, token=kerberos_realm.token(HTTP, alice)).json
        theirs = get(server, token=look_alike.token(f"{HTTP}@TEST.EXAMPLE", other_alice)).json

    assert ours["username"] == ours["account_id"] == "alice@TEST.EXAMPLE"
    assert theirs["username"] == theirs["account_id"] == "alice@TEST.EXAMPLE.EVIL"


@pytest.mark.parametrize(
    ("name", "username"),
    [
        ("Alice", "Alice"),
        ("alicе", "alicе"),  # noqa: RUF001 - the last letter is Cyrillic
        ("alice.", "alice."),
        (r"alice\@TEST.EXAMPLE", r"alice\@TEST.EXAMPLE@TEST.EXAMPLE"),  # as an enterprise name comes, quoted
    ],
)
def test_a_name_that_looks_like_alices_is_another_persons(
    server: Server, kerberos_realm: KerberosRealm, name: str, username: str
) -> None:
    kerberos_realm.add_user(name)

    answer = get(server, token=kerberos_realm.token(HTTP, kerberos_realm.kinit(name)))

    assert answer.status == 200
    assert answer.json["username"] == username
    assert answer.json["principal"] == answer.json["account_id"] == f"{name}@TEST.EXAMPLE"


@pytest.mark.parametrize("name", ["alice$", "alice/admin", "HTTP/alice", r"alice/\@TEST.EXAMPLE"])
def test_a_service_or_a_computer_with_alices_name_is_no_person(
    server: Server, services: Server, kerberos_realm: KerberosRealm, name: str
) -> None:
    kerberos_realm.add_user(name)
    ccache = kerberos_realm.kinit(name)

    refused = get(server, token=kerberos_realm.token(HTTP, ccache))
    let_in = get(services, token=kerberos_realm.token(HTTP, ccache))

    assert refused.status == 403
    assert let_in.json["principal"] == let_in.json["account_id"] == f"{name}@TEST.EXAMPLE"
    assert let_in.json["username"] != "alice"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("alice\rX-User: root", "name-unusable"),
        ("alice\x1b[2K", "name-unusable"),
        ("alice\N{RIGHT-TO-LEFT OVERRIDE}", "name-unusable"),
        ("alice\N{ZERO WIDTH SPACE}", "name-unusable"),
        ("kadmin/alice", "name-forbidden"),
        ("WELLKNOWN/alice", "name-forbidden"),
    ],
)
def test_a_name_that_nobody_may_have_gets_nobody_in(
    services: Server, kerberos_realm: KerberosRealm, name: str, reason: str
) -> None:
    kerberos_realm.add_user(name)
    mark = services.mark()

    answer = get(services, token=kerberos_realm.token(HTTP, kerberos_realm.kinit(name)))

    assert answer.status == 403
    assert answer.challenges == []
    services.until_logged(f"refused with 403: {reason}: ", mark=mark)
    assert all(line.isprintable() for line in services.since(mark).splitlines())
