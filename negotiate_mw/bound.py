"""Identities remembered for a TCP connection, where the handshake proved that it belongs to that very connection.

A proxy leaves no sign and shares its connections to us among its clients, so a connection alone is nobody's. Law: only
a log-in that proved its TLS channel, on a TLS socket of our own whose end is signalled to us, is remembered; the next
``Authorization`` header forgets it, whatever that says. No clock: the caller says what time it is.
"""

from negotiate_mw.connection import Connection, Scope, is_forwarded, native
from negotiate_mw.handshake import Remembered
from negotiate_mw.identity import Identity


class BoundIdentities:
    """Who logged in on which connection: at most one entry for each open connection."""

    def __init__(self) -> None:
        self._entries: dict[Connection | None, Remembered] = {}  # None is never among them

    def __len__(self) -> int:
        return len(self._entries)

    def has(self, scope: Scope, now: float) -> bool:
        """True if a request's connection belongs to somebody, as ``of`` would say of the next one."""
        remembered = self._entries.get(native(scope))
        return remembered is not None and now < remembered.ends

    def bind(self, connection: Connection | None, identity: Identity) -> None:
        """Remember ``identity`` until the connection or its ticket ends, if it provably belongs to the connection."""
        if identity.channel_bound and connection is not None and connection.native and not connection.closed:
            ends = float("inf") if identity.expires_at is None else identity.expires_at.timestamp()
            self._entries[connection] = Remembered(identity, ends)
            connection.call_on_close(self.forget)

    def of(self, scope: Scope, now: float) -> Remembered | None:
        """Who a request's connection belongs to: nobody's once the ticket ended, a token or a sign of a proxy came.

        Args:
            scope: the request's.
            now: seconds since 1970.
        """
        connection = native(scope)
        remembered = self._entries.get(connection)
        if remembered is None:
            return None
        names = dict(scope["headers"])
        if now < remembered.ends and b"authorization" not in names and not is_forwarded(names):
            return remembered
        self.forget(connection)
        return None

    def forget(self, connection: Connection | None) -> None:
        """The connection is nobody's any more."""
        self._entries.pop(connection, None)

    def clear(self) -> None:
        """Forget everybody."""
        self._entries.clear()
