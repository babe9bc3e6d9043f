"""Which proxy, set up how, lets which mechanism through: what the tests here prove, and the table of it.

Law: the page in ``docs`` says what is here, and ``test_proxies`` proves each cell. To write the page anew::

    python -m tests.proxies.table
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.servers.clients import MECHANISMS, Mechanism

PAGE = Path(__file__).resolve().parents[2] / "docs" / "proxies.md"
UPDATE = "python -m tests.proxies.table"
_BEGIN, _END = "<!-- table: ", "<!-- end of table -->\n"


Through = Literal["yes", "no", "alone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One proxy, set up in one way.

    Attributes:
        proxy: its program.
        setup: the lines that matter, as an operator writes them.
        servers: how many it hands requests to.
        several_legs: do handshakes of several legs get through? "alone": while nobody else comes at the same time.
        reasons: what the log says of those that don't; of NTLM alone, but for the first.
    """

    proxy: Literal["HAProxy", "nginx"]
    setup: str
    servers: int = 1
    several_legs: Through = "yes"
    reasons: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.proxy}, {self.setup}, {self.servers}"

    def takes(self, mechanism: Mechanism) -> Through:
        """Do users of this mechanism get through?"""
        return "yes" if mechanism.legs == 1 else self.several_legs


SPLIT = ("no-handshake",)
NO_CONNECTION = ("needs-connection",)
SHARED = ("no-handshake", "logon-failed")
KEEP_ALIVE = 'proxy_http_version 1.1; proxy_set_header Connection "";'

ROWS = (
    Row(proxy="HAProxy", setup="mode tcp"),
    Row(proxy="HAProxy", setup="http-reuse never"),
    Row(proxy="HAProxy", setup="http-reuse safe"),
    Row(proxy="HAProxy", setup="http-reuse aggressive"),
    Row(proxy="HAProxy", setup="http-reuse always"),
    Row(proxy="HAProxy", setup="balance roundrobin", servers=2),
    Row(proxy="HAProxy", setup="option http-server-close", several_legs="no", reasons=SPLIT),
    Row(proxy="HAProxy", setup="option httpclose", several_legs="no", reasons=SPLIT),
    Row(proxy="nginx", setup="proxy_pass http://app;", several_legs="no", reasons=NO_CONNECTION),
    Row(proxy="nginx", setup="proxy_http_version 1.1;", several_legs="no", reasons=SPLIT),
    Row(proxy="nginx", setup=KEEP_ALIVE, several_legs="alone", reasons=SHARED),
    Row(proxy="nginx", setup=KEEP_ALIVE, servers=2, several_legs="no", reasons=SPLIT),
    Row(proxy="nginx", setup="stream { … }"),
    Row(proxy="nginx", setup="stream { … }", servers=2),
)


_WORDS = {"yes": "yes", "no": "no", "alone": "only while alone"}


def _table() -> str:
    heads = ["proxy", "set up with", "servers", *(mechanism.title for mechanism in MECHANISMS), "the log's reason"]
    lines = [heads, ["---"] * len(heads)]
    for row in ROWS:
        reasons = ", ".join(f"`{reason}`" for reason in row.reasons)
        cells = [_WORDS[row.takes(mechanism)] for mechanism in MECHANISMS]
        lines.append([row.proxy, f"`{row.setup}`", str(row.servers), *cells, reasons])
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
