"""uvicorn with an identity for each connection: ``uvicorn app:app --http negotiate_mw.servers.uvicorn:Auto``.

Law: no request code of uvicorn is replaced. uvicorn gives every request ``app_state.copy()``; ours adds one key. The
end of a connection is signalled also where a websocket took it over.
"""

from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from negotiate_mw.connection import STATE_KEY, Connection

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError:
    HttpToolsProtocol = None  # type: ignore[assignment, misc]


class _State(dict[str, Any]):
    """The lifespan's state; each copy of it knows the connection that it is for."""

    def __init__(self, state: dict[str, Any], connection: Connection) -> None:
        super().__init__(state)
        self._shared = state
        self._connection = connection

    def copy(self) -> dict[str, Any]:
        return {**self._shared, STATE_KEY: self._connection}


class _Identified:
    """Mixed into uvicorn's protocol classes, one instance of which serves one connection."""

    def __init__(self, *args: Any, app_state: dict[str, Any], **options: Any) -> None:
        self._connection = Connection(native=True)
        super().__init__(*args, app_state=_State(app_state, self._connection), **options)  # type: ignore[call-arg]

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's: what belongs to the connection ends with it."""
        self._connection.close()
        super().connection_lost(exc)  # type: ignore[misc]

    def handle_websocket_upgrade(self, *args: Any) -> None:
        """uvicorn's: whichever protocol takes the connection over, its end is the connection's."""
        super().handle_websocket_upgrade(*args)  # type: ignore[misc]
        protocol = self.transport.get_protocol()  # type: ignore[attr-defined]
        if protocol is self or protocol is None:
            return
        connection, lost = self._connection, protocol.connection_lost

        def connection_lost(exc: Exception | None) -> None:
            connection.close()
            lost(exc)

        protocol.connection_lost = connection_lost


class H11(_Identified, H11Protocol):
    """``--http negotiate_mw.servers.uvicorn:H11``"""


if HttpToolsProtocol is not None:

    class HttpTools(_Identified, HttpToolsProtocol):
        """``--http negotiate_mw.servers.uvicorn:HttpTools``"""

    Auto: type[H11] | type[HttpTools] = HttpTools
else:
    Auto = H11
