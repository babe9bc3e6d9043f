"""Every cell of the tables in ``docs/interoperability.md``: other people's clients, servers and KDCs."""

import subprocess
import sys
from base64 import b64decode
from dataclasses import replace

import pytest

from negotiate_mw.testing.plugin import REQUIRED
from tests.servers.starting import AnyServer

from .cells import CANNOT, CELLS, CLIENTS, KDCS, MECHANISMS, NTLM, SITES, WAYS, Cell, Outcome
from .clients import DOMAIN, SECONDS, USER, Errand, Unproven, ask, missing
from .conftest import World, skip
from .page import PAGE, UPDATE, updated


def those(outcome: Outcome) -> pytest.MarkDecorator:
    """The cells with this outcome."""
    chosen = [cell for cell in CELLS if cell.outcome == outcome]
    return pytest.mark.parametrize("cell", chosen, ids=lambda cell: cell.id)


@pytest.fixture
def errand(cell: Cell, around: World, server: AnyServer) -> Errand:
    for need in cell.way.needs:
        if why := missing(need):
            skip(why)
    user = around.nobody if cell.way.mechanism == NTLM else around.alice
    return Errand(port=server.port, user=user, passwords=around.passwords)


def assert_cure(server: AnyServer, mark: int) -> None:
    """The log says what to change."""
    line = server.until_logged(r"refused with 401: needs-connection: .*", mark=mark)
    assert "negotiate_mw.servers.uvicorn:Auto" in line[0]


@those("in")
def test_who_may_in_is_in_under_the_right_name(cell: Cell, around: World, errand: Errand) -> None:
    by_ticket = {"principal": f"alice@{around.realm}", "realm": around.realm, "mechanism": "kerberos"}
    by_password = {"principal": USER, "realm": DOMAIN, "mechanism": "ntlm"}
    expected = by_password if cell.way.mechanism == NTLM else by_ticket

    said = ask(cell.way, errand)

    assert said.status == 200, said.body
    assert said.user == {**expected, "sent": cell.way.sends}
    assert said.proven is (cell.way.checks != "no")
    assert said.asked == (1 if cell.way.waits else 0)


FALSE = [
    pytest.param(page, cell, id=f"{page}-{cell.id}")
    for cell in CELLS[: len(WAYS)]
    for page in {"yes": ("silent", "forged"), "in part": ("silent",), "no": ()}[cell.way.checks]
]


@pytest.mark.parametrize(("page", "cell"), FALSE)
def test_a_client_that_checks_the_server_gives_no_answer_of_a_false_one(cell: Cell, errand: Errand, page: str) -> None:
    with pytest.raises(Unproven):
        ask(cell.way, replace(errand, page=page))


@those("refused")
def test_where_no_connection_is_known_ntlm_is_refused_and_the_log_says_what_to_change(
    cell: Cell, server: AnyServer, errand: Errand
) -> None:
    mark = server.mark()

    said = ask(cell.way, errand)

    assert said.status == 401
    assert_cure(server, mark)


@those("refused, error")
def test_a_refusal_without_a_challenge_is_too_much_for_some_and_the_log_says_what_to_change(
    cell: Cell, server: AnyServer, errand: Errand
) -> None:
    mark = server.mark()

    with pytest.raises(KeyError, match="www-authenticate"):
        ask(cell.way, errand)

    assert_cure(server, mark)


@those("not offered")
def test_where_no_connection_is_known_nobody_is_asked_for_a_password(cell: Cell, errand: Errand) -> None:
    said = ask(cell.way, errand)

    assert (said.status, said.asked) == (401, 0)


# What isn't there


@pytest.mark.parametrize("need", ["program no-such-client", "module no_such_client", "mechanism no-such-mechanism"])
def test_what_is_missing_is_skipped_with_a_reason_or_an_error_where_all_has_to_be_there(
    need: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = missing(need)
    assert why is not None

    monkeypatch.delenv(REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="isn't installed: scripts/setup test"):
        skip(why)
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(RuntimeError, match="isn't installed"):
        skip(why)


# What can't be


def test_the_wheel_of_pycurl_has_no_ntlm() -> None:
    if why := missing("module pycurl"):
        skip(why)
    import pycurl  # type: ignore[import-untyped]

    assert not pycurl.version_info()[4] & pycurl.VERSION_NTLM


# in a process of its own, since the C library's NTLM may end it
_GSSAPI = """\
import sys
import {library}, {library}_gssapi
answer = {library}.get(sys.argv[1], auth={library}_gssapi.HTTPSPNEGOAuth(), timeout=60)
print(answer.status_code, answer.headers["www-authenticate"])
"""


@pytest.mark.parametrize("library", ["requests", "httpx"])
@pytest.mark.parametrize("cell", [CELLS[0]], ids=lambda cell: cell.site.title)
def test_a_client_with_a_context_for_each_leg_never_sends_the_second(
    cell: Cell, around: World, server: AnyServer, library: str
) -> None:
    if why := missing(f"module {library}_gssapi") or missing("mechanism gss-ntlmssp"):
        skip(why)
    command = [sys.executable, "-c", _GSSAPI.format(library=library), f"http://localhost:{server.port}/"]
    env = {**around.nobody.env, "NTLM_USER_FILE": str(around.passwords)}

    said = subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS).stdout

    status, scheme, token = said.split()
    assert (status, scheme) == ("401", "Negotiate")
    assert b"NTLMSSP\0\2" in b64decode(token), "the server's half was there to go on with"


# The page


def test_the_page_has_these_tables() -> None:
    page = PAGE.read_text()

    assert page == updated(page), f"to bring {PAGE.name} up to date: {UPDATE}"


def test_each_client_has_a_cell_or_a_reason_for_each_mechanism() -> None:
    ways = {(way.client, way.mechanism) for way in WAYS}
    reasons = {(cannot.client, cannot.mechanism) for cannot in CANNOT}

    assert not ways & reasons
    assert ways | reasons == {(client, mechanism) for client in CLIENTS for mechanism in MECHANISMS}


def test_each_cell_is_there_once() -> None:
    ids = [cell.id for cell in CELLS]
    by_ticket = sum(way.mechanism != NTLM for way in WAYS)

    assert len(set(ids)) == len(ids)
    assert len(ids) == len(SITES) * (by_ticket * len(KDCS) + len(WAYS) - by_ticket)
