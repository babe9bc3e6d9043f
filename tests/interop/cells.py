"""Which client logs in to which server by which mechanism, with whose tickets: the cells that ``test_interop`` proves.

Law: what a server can is what ``tests.servers.table`` says of it, so that the two pages can't differ. What a client
can't do is here too, with the reason.
"""

from dataclasses import dataclass, replace
from typing import Literal

from tests.servers import table
from tests.servers.clients import NTLM as IN_TWO_LEGS

Mechanism = Literal["Kerberos by SPNEGO", "Kerberos, raw", "NTLM"]
KdcName = Literal["MIT", "AD"]
Outcome = Literal["in", "refused", "refused, error", "not offered"]

SPNEGO: Mechanism = "Kerberos by SPNEGO"
RAW: Mechanism = "Kerberos, raw"
NTLM: Mechanism = "NTLM"
MECHANISMS = (SPNEGO, RAW, NTLM)
KDCS: tuple[KdcName, ...] = ("MIT", "AD")

# as the page lists them
CLIENTS = (
    "curl", "Chromium", "pycurl", "requests-gssapi", "requests-kerberos", "httpx-gssapi", "NegotiateAuth", "pyspnego",
    "requests_ntlm", "httpx-ntlm",
)  # fmt: skip

WRAPPED, BARE, OWN_SCHEME = "Negotiate, SPNEGO", "Negotiate, raw", "NTLM, raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to use one client.

    Attributes:
        client: its name.
        set_up: what its user writes, in Markdown.
        sends: the scheme of its ``Authorization`` header, and what its last token is wrapped in.
        checks: it wants the server to prove itself, and gives no answer else; "in part": it asks for a proof, and
            isn't to be relied on beyond that.
        waits: it sends no token where its scheme isn't offered.
        stumbles: it raises an error where a refusal has no challenge.
        needs: programs, modules and mechanisms that may be missing.
    """

    client: str
    mechanism: Mechanism
    set_up: str
    needs: tuple[str, ...]
    sends: str
    checks: Literal["yes", "in part", "no"] = "no"
    waits: bool = False
    stumbles: bool = False

    @property
    def id(self) -> str:
        return f"{self.client}-{self.mechanism}-{self.sends}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cannot:
    """What a client doesn't do, and why."""

    client: str
    mechanism: Mechanism
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A server, as the page calls it and as it is started; ``needs``: modules that may be missing."""

    title: str
    row: table.Row
    needs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One client's log-in at one server; ``kdc``: whose tickets. NTLM has none, and is tried where MIT's keys are."""

    way: Way
    site: Site
    kdc: KdcName

    @property
    def id(self) -> str:
        of = [self.way.id, self.site.title] + [self.kdc] * (self.way.mechanism != NTLM)
        return "-".join(of)

    @property
    def outcome(self) -> Outcome:
        if self.way.mechanism != NTLM or self.site.row.takes(IN_TWO_LEGS):
            return "in"
        if self.way.waits:
            return "not offered"
        return "refused, error" if self.way.stumbles else "refused"


def _site(title: str, start: str, *needs: str) -> Site:
    program = start.split()[0]
    # a program's first row is the one that takes no adapter
    stock = next(row for row in table.ROWS if row.start.split()[0] == program)
    return Site(title=title, row=replace(stock, start=start, app="tests.interop.app:app"), needs=(program, *needs))


SITES = (
    _site("uvicorn, h11", "uvicorn app:app --http h11 --loop asyncio", "h11"),
    _site("uvicorn, httptools", "uvicorn app:app --http httptools --loop asyncio", "httptools"),
    _site("uvicorn, uvloop", "uvicorn app:app --http httptools --loop uvloop", "httptools", "uvloop"),
    _site("hypercorn", "hypercorn app:app"),
    _site("granian", "granian app:app --interface asgi"),
    _site("daphne", "daphne app:app"),
)

_GSS_NTLM = "mechanism gss-ntlmssp"
_REQUIRED = "mutual_authentication=REQUIRED"
_PASSWORD = '"CORP\\\\bob", "…"'  # as Python has it

WAYS = (
    Way(client="curl", mechanism=SPNEGO, set_up="`--negotiate -u :`", sends=WRAPPED, needs=("program curl",)),
    Way(
        client="Chromium",
        mechanism=SPNEGO,
        set_up="`--auth-server-allowlist=localhost`",
        sends=WRAPPED,
        needs=("program chromium",),
    ),
    Way(client="pycurl", mechanism=SPNEGO, set_up="`HTTPAUTH_NEGOTIATE`", sends=WRAPPED, needs=("module pycurl",)),
    Way(
        client="requests-gssapi",
        mechanism=SPNEGO,
        set_up=f"`HTTPSPNEGOAuth({_REQUIRED})`",
        sends=WRAPPED,
        checks="in part",
        needs=("module requests_gssapi",),
    ),
    Way(
        client="httpx-gssapi",
        mechanism=SPNEGO,
        set_up=f"`HTTPSPNEGOAuth({_REQUIRED})`",
        sends=WRAPPED,
        checks="in part",
        needs=("module httpx_gssapi",),
    ),
    Way(
        client="NegotiateAuth",
        mechanism=SPNEGO,
        set_up="`NegotiateAuth()`",
        sends=WRAPPED,
        checks="yes",
        needs=("module httpx",),
    ),
    Way(
        client="pyspnego",
        mechanism=SPNEGO,
        set_up='`client(protocol="negotiate")`',
        sends=WRAPPED,
        checks="yes",
        needs=("module spnego",),
    ),
    Way(
        client="requests-kerberos",
        mechanism=RAW,
        set_up=f"`HTTPKerberosAuth({_REQUIRED})`",
        sends=BARE,
        checks="yes",
        needs=("module requests_kerberos",),
    ),
    Way(
        client="requests-gssapi",
        mechanism=RAW,
        set_up=f"`HTTPSPNEGOAuth({_REQUIRED}, mech=MechType.kerberos)`",
        sends=BARE,
        checks="yes",
        needs=("module requests_gssapi",),
    ),
    Way(
        client="httpx-gssapi",
        mechanism=RAW,
        set_up=f"`HTTPSPNEGOAuth({_REQUIRED}, mech=MechType.kerberos)`",
        sends=BARE,
        checks="yes",
        needs=("module httpx_gssapi",),
    ),
    Way(
        client="pyspnego",
        mechanism=RAW,
        set_up='`client(protocol="kerberos")`',
        sends=BARE,
        checks="yes",
        needs=("module spnego",),
    ),
    Way(
        client="curl",
        mechanism=NTLM,
        set_up="`--ntlm -u 'CORP\\bob:…'`",
        sends=OWN_SCHEME,
        needs=("program curl",),
    ),
    Way(
        client="curl",
        mechanism=NTLM,
        set_up="`--negotiate -u :`, with gss-ntlmssp and `NTLM_USER_FILE`",
        sends=WRAPPED,
        needs=("program curl", _GSS_NTLM),
    ),
    Way(
        client="Chromium",
        mechanism=NTLM,
        set_up="a password in its box",
        sends=OWN_SCHEME,
        waits=True,
        needs=("program chromium",),
    ),
    Way(
        client="NegotiateAuth",
        mechanism=NTLM,
        set_up='`NegotiateAuth(mechanisms=("ntlm",), …), PinnedTransport()`',
        sends=BARE,
        needs=("module httpx",),
    ),
    Way(
        client="pyspnego",
        mechanism=NTLM,
        set_up='`client(protocol="ntlm")`',
        sends=BARE,
        needs=("module spnego",),
    ),
    Way(
        client="pyspnego",
        mechanism=NTLM,
        set_up='`client(protocol="negotiate")`',
        sends=WRAPPED,
        needs=("module spnego",),
    ),
    Way(
        client="requests_ntlm",
        mechanism=NTLM,
        set_up=f"`HttpNtlmAuth({_PASSWORD})`",
        sends=OWN_SCHEME,
        stumbles=True,
        needs=("module requests_ntlm",),
    ),
    Way(
        client="httpx-ntlm",
        mechanism=NTLM,
        set_up=f"`HttpNtlmAuth({_PASSWORD})`",
        sends=OWN_SCHEME,
        stumbles=True,
        needs=("module httpx_ntlm",),
    ),
)

_IN_SPNEGO = "it always wraps its tickets in SPNEGO"
_NTLM_ONLY = "it does NTLM and nothing else"
_ONE_CONTEXT_A_LEG = "it begins a new security context with each 401, so that a log-in in two legs never ends"

CANNOT = (
    Cannot(client="requests-kerberos", mechanism=SPNEGO, why="it sends its tickets raw, without SPNEGO"),
    *(Cannot(client=client, mechanism=SPNEGO, why=_NTLM_ONLY) for client in ("requests_ntlm", "httpx-ntlm")),
    *(Cannot(client=client, mechanism=RAW, why=_IN_SPNEGO) for client in ("curl", "Chromium", "pycurl")),
    Cannot(client="NegotiateAuth", mechanism=RAW, why=_IN_SPNEGO),
    *(Cannot(client=client, mechanism=RAW, why=_NTLM_ONLY) for client in ("requests_ntlm", "httpx-ntlm")),
    Cannot(client="pycurl", mechanism=NTLM, why="the libcurl that its wheel brings has no NTLM"),
    *(Cannot(client=client, mechanism=NTLM, why=_ONE_CONTEXT_A_LEG) for client in ("requests-gssapi", "httpx-gssapi")),
    Cannot(client="requests-kerberos", mechanism=NTLM, why="it does Kerberos and nothing else"),
)

CELLS = tuple(
    Cell(way=way, site=site, kdc=kdc)
    for kdc in KDCS
    for site in SITES
    for way in WAYS
    if way.mechanism != NTLM or kdc == "MIT"
)
