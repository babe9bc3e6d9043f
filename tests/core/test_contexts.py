from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from negotiate_mw.connection import Connection
from negotiate_mw.contexts import ContextStore
from negotiate_mw.handshake import IDLE, Handshake, State

from .building import PROPERTY


def half_open(context: object = "context", begun: float = 0.0) -> Handshake:
    return Handshake(state=State.HALF_OPEN, context=context, legs=1, begun=begun)


def store(limit: int = 10, max_age: float = 30.0) -> tuple[ContextStore, list[object]]:
    dropped: list[object] = []
    return ContextStore(limit, max_age, lambda handshake: dropped.append(handshake.context)), dropped


def connection() -> Connection:
    return Connection(native=True)


def test_take_gives_a_handshake_out_once() -> None:
    kept, dropped = store()
    client = connection()
    kept.put(client, half_open(), 0.0)

    first, second = kept.take(client, 1.0), kept.take(client, 1.0)

    assert (first, second) == (half_open(), IDLE)
    assert dropped == []
    assert len(kept) == 0


def test_a_connection_gets_nobody_elses_handshake() -> None:
    kept, dropped = store()
    kept.put(connection(), half_open(), 0.0)

    assert kept.take(connection(), 0.0) is IDLE
    assert kept.take(None, 0.0) is IDLE
    assert (len(kept), dropped) == (1, [])


def test_a_second_handshake_of_a_connection_drops_its_first() -> None:
    kept, dropped = store()
    client = connection()

    kept.put(client, half_open("old"), 0.0)
    kept.put(client, half_open("new"), 1.0)

    assert dropped == ["old"]
    assert kept.take(client, 1.0).context == "new"


def test_the_oldest_makes_room_at_the_limit() -> None:
    kept, dropped = store(limit=2)
    clients = [connection() for _ in range(3)]

    for number, client in enumerate(clients):
        kept.put(client, half_open(number), float(number))

    assert (len(kept), dropped) == (2, [0])
    assert kept.take(clients[0], 3.0) is IDLE


def test_replacing_ones_own_handshake_at_the_limit_evicts_nobody_else() -> None:
    kept, dropped = store(limit=2)
    first, second = connection(), connection()
    kept.put(first, half_open("first"), 0.0)
    kept.put(second, half_open("old"), 1.0)

    kept.put(second, half_open("new"), 2.0)

    assert dropped == ["old"]
    assert kept.take(first, 2.0).context == "first"


def test_a_handshake_that_is_too_old_is_dropped_and_not_given_out() -> None:
    kept, dropped = store(max_age=30.0)
    client = connection()
    kept.put(client, half_open(begun=0.0), 0.0)

    assert kept.take(client, 30.1) is IDLE
    assert dropped == ["context"]


def test_a_handshake_at_its_last_second_is_given_out() -> None:
    kept, dropped = store(max_age=30.0)
    client = connection()
    kept.put(client, half_open(begun=0.0), 0.0)

    assert kept.take(client, 30.0) == half_open()
    assert dropped == []


def test_further_legs_do_not_make_a_handshake_younger() -> None:
    kept, dropped = store(max_age=30.0)
    client = connection()
    kept.put(client, half_open(begun=0.0), 29.0)

    assert kept.take(client, 31.0) is IDLE
    assert dropped == ["context"]


def test_expire_drops_what_is_too_old_and_says_when_to_look_again() -> None:
    kept, dropped = store(max_age=30.0)
    kept.put(connection(), half_open("old"), 0.0)
    kept.put(connection(), half_open("new"), 10.0)

    assert kept.expire(31.0) == 9.0
    assert dropped == ["old"]
    assert kept.expire(40.1) is None
    assert dropped == ["old", "new"]
    assert kept.expire(40.1) is None


def test_the_end_of_a_connection_drops_what_it_had_once() -> None:
    kept, dropped = store()
    client = connection()
    for number in range(3):
        kept.put(client, half_open(number), 0.0)
        kept.take(client, 0.0)
    kept.put(client, half_open("last"), 0.0)

    client.close()
    client.close()

    assert dropped == ["last"]
    assert len(kept) == 0


def test_clear_drops_everything() -> None:
    kept, dropped = store()
    for number in range(3):
        kept.put(connection(), half_open(number), 0.0)

    kept.clear()
    kept.clear()

    assert (len(kept), dropped) == (0, [0, 1, 2])


class _Counted:
    """A connection that counts how often a dictionary looks at it."""

    def __init__(self) -> None:
        self.looks = 0

    def __hash__(self) -> int:
        self.looks += 1
        return id(self)

    def call_on_close(self, callback: Callable[[Any], None]) -> None:
        """Never ends."""


def test_an_operation_looks_at_no_more_entries_in_a_large_store_than_in_a_small_one() -> None:
    def looks(entries: int) -> int:
        kept, _ = store(limit=entries, max_age=1e6)
        others: list[Any] = [_Counted() for _ in range(entries)]
        for number, other in enumerate(others):
            kept.put(other, half_open(number), float(number))
        for other in others:
            other.looks = 0
        one: Any = _Counted()
        kept.put(one, half_open("one"), float(entries))
        kept.expire(float(entries))
        kept.take(one, float(entries))
        kept.close(one)
        return one.looks + sum(other.looks for other in others)

    assert looks(2000) == looks(20)


class StoreAgainstModel(RuleBasedStateMachine):
    """A plain list does what the store does; and every context that went in comes out once, taken or dropped."""

    LIMIT, AGE = 3, 10.0

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.dropped: list[object] = []
        self.taken: list[object] = []
        self.contexts = 0
        self.model: list[tuple[Connection, float, Handshake]] = []
        self.expected: list[object] = []
        self.store = ContextStore(self.LIMIT, self.AGE, lambda handshake: self.dropped.append(handshake.context))
        self.connections = [connection() for _ in range(5)]

    def drop(self, index: int) -> None:
        self.expected.append(self.model.pop(index)[2].context)

    def find(self, client: Connection) -> int | None:
        return next((index for index, entry in enumerate(self.model) if entry[0] is client), None)

    @rule(who=st.integers(0, 4), older=st.floats(0, 12))
    def put(self, who: int, older: float) -> None:
        client = self.connections[who]
        self.contexts += 1
        handshake = half_open(self.contexts, begun=self.now - older)
        self.store.put(client, handshake, self.now)
        if (index := self.find(client)) is not None:
            self.drop(index)
        if len(self.model) == self.LIMIT:
            self.drop(0)
        self.model.append((client, self.now, handshake))

    @rule(who=st.integers(0, 4))
    def take(self, who: int) -> None:
        client = self.connections[who]
        found = self.store.take(client, self.now)
        index = self.find(client)
        if index is None:
            assert found is IDLE
        elif self.now - self.model[index][2].begun > self.AGE:
            assert found is IDLE
            self.drop(index)
        else:
            assert found is self.model.pop(index)[2]
            self.taken.append(found.context)

    @rule(seconds=st.floats(0, 6))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        again = self.store.expire(self.now)
        while self.model and self.now - self.model[0][1] > self.AGE:
            self.drop(0)
        assert (again is None) is (not self.model)
        assert again is None or 0 <= again <= self.AGE

    @rule(who=st.integers(0, 4))
    def close(self, who: int) -> None:
        self.connections[who].close()
        if (index := self.find(self.connections[who])) is not None:
            self.drop(index)
        self.connections[who] = connection()

    @rule()
    def clear(self) -> None:
        self.store.clear()
        while self.model:
            self.drop(0)

    @invariant()
    def same(self) -> None:
        assert self.dropped == self.expected
        assert len(self.store) == len(self.model) <= self.LIMIT

    def teardown(self) -> None:
        self.store.clear()
        assert sorted([*self.dropped, *self.taken]) == list(range(1, self.contexts + 1))  # type: ignore[type-var]


TestStoreAgainstModel = StoreAgainstModel.TestCase
TestStoreAgainstModel.settings = settings(PROPERTY, max_examples=100, stateful_step_count=40)
