"""Whom a connection may be remembered for: only who proved it, and only as long as both last."""

from datetime import UTC, datetime

import pytest

from negotiate_mw.bound import BoundIdentities
from negotiate_mw.connection import Connection

from .building import user

ENDS = datetime(2030, 1, 1, tzinfo=UTC)
NOW = ENDS.timestamp() - 3600
ALICE = user(channel_bound=True, expires_at=ENDS)


def test_who_proved_the_channel_is_remembered_until_the_connection_ends() -> None:
    bound, connection = BoundIdentities(), Connection(native=True)

    bound.bind(connection, ALICE)

    assert bound.of(connection, NOW) is ALICE
    assert bound.of(Connection(native=True), NOW) is None
    connection.close()
    assert len(bound) == 0
    assert bound.of(connection, NOW) is None


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

    found = bound.of(connection, NOW + seconds)

    assert (found is ALICE) is known
    assert len(bound) == known


def test_the_next_log_in_takes_the_place_of_the_last() -> None:
    bound, connection = BoundIdentities(), Connection(native=True)
    bob = user("bob@EXAMPLE.COM", channel_bound=True)
    bound.bind(connection, ALICE)

    bound.bind(connection, bob)

    assert bound.of(connection, NOW) is bob
    bound.forget(connection)
    bound.forget(None)
    assert bound.of(connection, NOW) is None


def test_at_the_end_everybody_is_forgotten() -> None:
    bound, connection = BoundIdentities(), Connection(native=True)
    bound.bind(connection, ALICE)

    bound.clear()

    assert bound.of(connection, NOW) is None
