"""hypercorn with an identity for each connection: call ``install()`` in the module that your app is in.

::

    from negotiate_mw.servers.hypercorn import install

    install()
    app = NegotiateMiddleware(…)                # hypercorn app:app

There and nowhere else, since hypercorn's workers are processes that load the app's module and nothing more: what a
configuration file does happens in their parent only. It costs nothing under another server. asyncio and uvloop
workers; the trio worker doesn't run the acceptor.

Law: no request code of hypercorn is replaced. It gives every request a copy of the connection's state; ours has one
key more. Streams of HTTP/2 have it too, and are told by their version that they are not alone on the connection.
"""

from typing import Any

from hypercorn.asyncio import run
from hypercorn.asyncio.tcp_server import TCPServer

from negotiate_mw.connection import STATE_KEY, Connection


class _Identified(TCPServer):
    """hypercorn's server of one connection."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._connection = Connection(native=True)
        self.state = {**self.state, STATE_KEY: self._connection}

    async def _read_data(self) -> None:  # its end is the connection's; ``run`` ends a keep-alive time later
        try:
            await super()._read_data()
        finally:
            self._connection.close()


def install() -> None:
    """Have hypercorn (0.18 or newer) give each of this process's connections an identity; idempotent."""
    run.TCPServer = _Identified  # type: ignore[assignment, attr-defined]
