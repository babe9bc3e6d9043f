"""The context store: half-open handshakes between two legs, one per connection.

Law: ``take`` removes what it returns, so no context is ever stepped twice; there are never more than ``limit``, none
is given out after ``max_age``, and whatever falls out is handed to ``drop``. Every operation is O(1). No clock: the
caller says what time it is.
"""

from collections import OrderedDict
from collections.abc import Callable

from negotiate_mw.connection import Connection
from negotiate_mw.handshake import IDLE, Handshake


class ContextStore:
    """Half-open handshakes by connection, oldest first.

    Args:
        limit: most entries; the oldest makes room for the newest.
        max_age: seconds from a handshake's first leg to its last.
        drop: told about each handshake that ends without a further leg, so that its context gets deleted.

    Attributes:
        entries: what there is, by connection; to look whether there is anything.
    """

    def __init__(self, limit: int, max_age: float, drop: Callable[[Handshake], None]) -> None:
        self._limit = limit
        self._max_age = max_age
        self._drop = drop
        self.entries: OrderedDict[Connection, tuple[float, Handshake]] = OrderedDict()

    def __len__(self) -> int:
        return len(self.entries)

    def put(self, connection: Connection, handshake: Handshake, now: float) -> None:
        """Keep a handshake until its next leg; one that the connection had before is dropped."""
        self.close(connection)
        if len(self.entries) >= self._limit:
            self._drop(self.entries.popitem(last=False)[1][1])
        self.entries[connection] = (now, handshake)
        connection.call_on_close(self.close)

    def take(self, connection: Connection | None, now: float) -> Handshake:
        """Remove and return the connection's half-open handshake; ``IDLE`` if it has none, or one that is too old."""
        entry = self.entries.pop(connection, None) if connection is not None else None
        if entry is None:
            return IDLE
        handshake = entry[1]
        if now - handshake.begun > self._max_age:
            self._drop(handshake)
            return IDLE
        return handshake

    def expire(self, now: float) -> float | None:
        """Drop what is too old; return in how many seconds to look again, None if nothing is left."""
        while self.entries:
            connection, (since, handshake) = next(iter(self.entries.items()))
            if now - since <= self._max_age:
                return self._max_age - (now - since)
            del self.entries[connection]
            self._drop(handshake)
        return None

    def close(self, connection: Connection) -> None:
        """Forget what the connection had, if anything: it ended, or begins anew."""
        entry = self.entries.pop(connection, None)
        if entry is not None:
            self._drop(entry[1])

    def clear(self) -> None:
        """Drop everything."""
        while self.entries:
            self._drop(self.entries.popitem(last=False)[1][1])
