"""Whom a connection may be remembered for: only who proved it, and only as long as both last."""

from datetime import UTC, datetime

import pytest

from negotiate_mw.bound import BoundIdentities
from negotiate_mw.connection import STATE_KEY, Connection
from negotiate_mw.identity import Identity

from .building import user

ENDS = datetime(2030, 1, 1, tzinfo=UTC)
NOW = ENDS.timestamp() - 3600
ALICE = user(channel_bound=True, expires_at=ENDS)


def of(bound: BoundIdentities, connection: Connection, now: float = NOW, *headers: bytes) -> Identity | None:
    fields = [(name, b"x") for name in (b"host", *headers)]
    scope = {"http_version": "1.1", "state": {STATE_KEY: connection}, "headers": fields}
    has = bound.has(scope, now)
    remembered = bound.of(scope, now)
    assert has or remembered is None
    return None if remembered is None else remembered.identity


def test_who_proved_the_channel_is_remembered_until_the_connection_ends() -> None:
    bound, connection = BoundIdentities(), Connection(native=True)

    bound.bind(connection, ALICE)

    assert of(bound, connection) is ALICE
    assert of(bound, Connection(native=True)) is None
    connection.close()
    assert len(bound) == 0
    assert of(bound, connection) is None


def test_who_proved_nothing_is_not_remembered() -> None:
    bound, connection = BoundIdentities(), Connection(native=True)

    bound.bind(connection, user(channel_bound=False))

    assert len(bound) == 0


def test_a_connection_whose_end_is_not_told_remembers_nobody() -> None:
    bound = BoundIdentities()
    closed = Connection(native=True)
    closed.close()

    for connection in (None, Connection(native=False), closed):
        bound.bind(connection, ALICE)

    assert len(bound) == 0


@pytest.mark.parametrize(("seconds", "known"), [(3599, True), (3600, False), (7200, False)])
def test_a_remembered_identity_ends_with_its_ticket(seconds: int, known: bool) -> None:
    bound, connection = BoundIdentities(), Connection(native=True)
    bound.bind(connection, ALICE)

    found = of(bound, connection, NOW + seconds)

    assert (found is ALICE) is known
    assert len(bound) == known


def test_the_next_log_in_takes_the_place_of_the_last() -> None:
    bound, connection = BoundIdentities(), Connection(native=True)
    bob = user("bob@EXAMPLE.COM", channel_bound=True)
    bound.bind(connection, ALICE)

    bound.bind(connection, bob)

    assert of(bound, connection) is bob
    bound.forget(connection)
    bound.forget(None)
    assert of(bound, connection) is None


def test_at_the_end_everybody_is_forgotten() -> None:
    bound, connection = BoundIdentities(), Connection(native=True)
    bound.bind(connection, ALICE)

    bound.clear()

    assert of(bound, connection) is None


@pytest.mark.parametrize("name", [b"authorization", b"x-forwarded-for", b"x-forwarded-by-whom", b"via", b"forwarded"])
def test_a_token_or_a_sign_of_a_proxy_ends_what_is_remembered(name: bytes) -> None:
    bound, connection = BoundIdentities(), Connection(native=True)
    bound.bind(connection, ALICE)

    assert of(bound, connection, NOW, b"cookie", b"x-app", name) is None

    assert len(bound) == 0


def test_what_a_client_sends_besides_changes_nothing() -> None:
    bound, connection = BoundIdentities(), Connection(native=True)
    bound.bind(connection, ALICE)

    assert of(bound, connection, NOW, b"cookie", b"x-app", b"proxy-authorization", b"x-forwarded") is ALICE
