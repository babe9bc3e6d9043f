"""Identities remembered for a TCP connection, where the handshake proved that it belongs to that very connection.

A proxy leaves no sign and shares its connections to us among its clients, so a connection alone is nobody's. Law: only
a log-in that proved its TLS channel, on a TLS socket of our own whose end is signalled to us, is remembered; the next
``Authorization`` header forgets it, whatever that says. No clock: the caller says what time it is.
"""

from negotiate_mw.connection import Connection
from negotiate_mw.identity import Identity


class BoundIdentities:
    """Who logged in on which connection: at most one entry for each open connection."""

    def __init__(self) -> None:
        # and when their ticket ends, in seconds since 1970
        self._entries: dict[Connection, tuple[Identity, float]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def bind(self, connection: Connection | None, identity: Identity) -> None:
        """Remember ``identity`` until the connection or its ticket ends, if it provably belongs to the connection."""
        if identity.channel_bound and connection is not None and connection.native and not connection.closed:
            ends = float("inf") if identity.expires_at is None else identity.expires_at.timestamp()
            self._entries[connection] = identity, ends
            connection.call_on_close(self.forget)

    def of(self, connection: Connection | None, now: float) -> Identity | None:
        """Who the connection belongs to, if their ticket hasn't ended; None is nobody's connection."""
        entry = None if connection is None else self._entries.get(connection)
        if entry is None:
            return None
        if now < entry[1]:
            return entry[0]
        self.forget(connection)
        return None

    def forget(self, connection: Connection | None) -> None:
        """The connection is nobody's any more."""
        if connection is not None:
            self._entries.pop(connection, None)

    def clear(self) -> None:
        """Forget everybody."""
        self._entries.clear()
