"""Which server does what: the claims that the tests in this package hold against the real servers, and their table.

Law: the page in ``docs`` says what is here, and ``test_servers`` proves each cell. To write the page anew::

    python -m tests.servers.table
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .clients import MECHANISMS, Mechanism

PAGE = Path(__file__).resolve().parents[2] / "docs" / "servers.md"
UPDATE = "python -m tests.servers.table"
_BEGIN, _END = "<!-- table: ", "<!-- end of table -->\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way to start one server.

    Attributes:
        start: what an operator types.
        app: what the test has in place of ``app:app``.
        note: what else there is to do.
        http: the version that the test's client speaks.
        connection: how a request's connection is known.
        websocket: the status of a refused websocket; None: the client speaks HTTP/2, and isn't asked.
        over: what it listens on.
        pairs: how many pairs of users log in at once.
        needs: a module that the server's option needs, where it may be missing.
    """

    start: str
    connection: Literal["native", "derived", "none"]
    app: str = "tests.servers.telling:app"
    note: str = ""
    http: Literal["1.1", "2"] = "1.1"
    websocket: int | None = 401
    over: Literal["tcp", "tls", "unix"] = "tcp"
    pairs: int = 50
    needs: str | None = None

    @property
    def id(self) -> str:
        return " ".join(filter(None, [self.start, self.note, "over HTTP/2" if self.http == "2" else ""]))

    def takes(self, mechanism: Mechanism) -> bool:
        """True if it logs people in by this mechanism."""
        return mechanism.legs == 1 or self.connection != "none"


OURS = "--http negotiate_mw.servers.uvicorn"
TLS = "--ssl-certfile site.pem --ssl-keyfile site.key"
INSTALLED, INSTALL = "tests.servers.hypercorn_app:app", "with `install()` in the app's module"
MANY = 1000

# those with connections first, those with HTTP/2 last: the tests of some rows take the first so many
ROWS = (
    Row(start="uvicorn app:app", connection="derived", pairs=MANY),
    Row(start="uvicorn app:app --http h11 --loop asyncio --ws wsproto", connection="derived"),
    Row(start="uvicorn app:app --http zttp", connection="derived", needs="zttp"),
    Row(start=f"uvicorn app:app {OURS}:Auto", connection="native", pairs=MANY),
    Row(start=f"uvicorn app:app {OURS}:H11 --ws websockets-sansio", connection="native"),
    Row(start=f"uvicorn app:app {OURS}:Auto --workers 2", connection="native"),
    Row(start=f"uvicorn app:app {OURS}:Auto --uds app.sock", connection="native", over="unix"),
    Row(start=f"uvicorn app:app {OURS}:Auto {TLS}", connection="native", over="tls"),
    Row(start="hypercorn app:app", connection="derived", pairs=MANY),
    Row(start="hypercorn app:app", app=INSTALLED, note=INSTALL, connection="native", pairs=MANY),
    Row(start="hypercorn app:app --workers 2 --worker-class uvloop", app=INSTALLED, note=INSTALL, connection="native"),
    Row(start="gunicorn app:app -k negotiate_mw.servers.gunicorn.Worker", connection="native", pairs=MANY),
    Row(
        start="gunicorn app:app -k negotiate_mw.servers.gunicorn.Worker --preload --workers 2",
        app="tests.servers.preloaded_app:app",
        connection="native",
    ),
    Row(start="granian app:app --interface asgi", connection="none", pairs=MANY),
    Row(start="daphne app:app", connection="none", websocket=403, pairs=MANY),
    Row(start="uvicorn app:app --http zttp --http2", http="2", connection="none", websocket=None, needs="zttp"),
    Row(start="hypercorn app:app", app=INSTALLED, note=INSTALL, http="2", connection="none", websocket=None),
    Row(start="granian app:app --interface asgi", http="2", connection="none", websocket=None),
)


def _table() -> str:
    heads = ["server", "HTTP", "connection", *(mechanism.title for mechanism in MECHANISMS), "refused websocket"]
    lines = [heads, ["---"] * len(heads)]
    for row in ROWS:
        start = f"`{row.start}`" + (f", {row.note}" if row.note else "")
        cells = ["yes" if row.takes(mechanism) else "no" for mechanism in MECHANISMS]
        lines.append([start, row.http, row.connection, *cells, str(row.websocket or "")])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def updated(page: str) -> str:
    """The page with the table as it has to be."""
    before, begin, rest = page.partition(_BEGIN)
    _old, end, after = rest.partition(_END)
    assert begin
    assert end
    return f"{before}{begin}{UPDATE} -->\n{_table()}{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
