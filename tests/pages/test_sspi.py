"""``docs/sspi.md``: what it says of statuses, attributes, functions and parameters, and the test behind each row."""

import ast
import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from negotiate_mw import AcceptError, Acceptor, ContextFlag, SecStatus
from negotiate_mw.identity import AcceptResult
from tests.core.building import KERBEROS, FakeBackend, denied, finished, unfinished, user
from tests.core.test_accept import LATER, acceptor_of, until

from . import tables
from .write import DOCS, UPDATE, updated

TESTS = Path(__file__).parents[1]
PAGE = (DOCS / "sspi.md").read_text()

# what its page lists of AcceptSecurityContext (Negotiate) and of SspiAcceptSecurityContextAsync
DOCUMENTED = {
    "SEC_E_OK", "SEC_E_INCOMPLETE_MESSAGE", "SEC_I_COMPLETE_AND_CONTINUE", "SEC_I_COMPLETE_NEEDED",
    "SEC_I_CONTINUE_NEEDED", "SEC_I_ASYNC_CALL_PENDING", "SEC_E_INSUFFICIENT_MEMORY", "SEC_E_INTERNAL_ERROR",
    "SEC_E_INVALID_HANDLE", "SEC_E_INVALID_TOKEN", "SEC_E_LOGON_DENIED", "SEC_E_NO_AUTHENTICATING_AUTHORITY",
    "SEC_E_NO_CREDENTIALS", "SEC_E_UNSUPPORTED_FUNCTION",
}  # fmt: skip

ACCEPT, HERE, WINDOWS = "core/test_accept.py", "pages/test_sspi.py", "ntlm/test_sspi.py"
FORWARDED, S4U = "delegation/test_forwarded.py", "delegation/test_service_tickets.py"
# the first cell of a row of the page -> the test behind it; None: there is nothing of ours to test
PROOFS: dict[str, tuple[str, str] | None] = {
    # functions
    "SspiAcceptSecurityContextAsync": (ACCEPT, "test_a_handshake_of_two_legs_steps_one_context_twice"),
    "AcquireCredentialsHandle": (WINDOWS, "test_one_inbound_credential_is_shared"),
    "FreeCredentialsHandle": (ACCEPT, "test_it_is_acquired_once_and_closed_at_the_end_of_its_block"),
    "SspiCreateAsyncContext": (HERE, "test_a_call_is_pending_until_its_step_has_ended_and_says_so_once"),
    "SspiGetAsyncCallStatus": (HERE, "test_a_call_is_pending_until_its_step_has_ended_and_says_so_once"),
    "SspiSetAsyncNotifyCallback": (HERE, "test_a_call_is_pending_until_its_step_has_ended_and_says_so_once"),
    "SspiAsyncContextRequiresNotify": None,
    "SspiReinitAsyncContext": (HERE, "test_a_call_is_good_for_once"),
    "SspiFreeAsyncContext": (ACCEPT, "test_a_cancelled_step_deletes_its_context_exactly_once"),
    "DeleteSecurityContext": (ACCEPT, "test_deleting_is_idempotent_and_final"),
    "CompleteAuthToken": (WINDOWS, "test_complete_needed_is_completed_before_the_token_is_sent"),
    "FreeContextBuffer": (HERE, "test_a_token_outlives_its_context"),
    "QueryContextAttributes: NAMES": (WINDOWS, "test_identity_is_the_contexts"),
    "QueryContextAttributes: SIZES": None,
    "QuerySecurityContextToken": (
        "integration/test_pac_groups.py",
        "test_nested_groups_and_local_ones_and_the_primary_one_are_those_of_the_directory",
    ),
    "ImpersonateSecurityContext": (S4U, "test_a_user_who_never_came_is_impersonated_where_the_kdc_allows_it"),
    "InitializeSecurityContext": ("client/test_other_servers.py", "test_apache_lets_it_in_and_proves_itself"),
    # parameters
    "AsyncContext": (HERE, "test_a_call_is_pending_until_its_step_has_ended_and_says_so_once"),
    "phCredential": (S4U, "test_the_credential_that_accepts_stays_one_that_only_accepts"),
    "phContext": (ACCEPT, "test_a_handshake_of_two_legs_steps_one_context_twice"),
    "pInput, SECBUFFER_TOKEN": (ACCEPT, "test_a_first_token_that_is_no_offer_of_kerberos_never_reaches_the_library"),
    "pInput, SECBUFFER_EMPTY": (ACCEPT, "test_a_first_token_that_is_no_offer_of_kerberos_never_reaches_the_library"),
    "pInput, SECBUFFER_CHANNEL_BINDINGS": (WINDOWS, "test_bindings_are_handed_on_and_never_taken_for_proven"),
    "fContextReq": (ACCEPT, "test_required_attributes_are_held_against_the_finished_context"),
    "TargetDataRep": (WINDOWS, "test_legs_go_on_with_the_same_context"),
    "phNewContext": (ACCEPT, "test_a_handshake_of_two_legs_steps_one_context_twice"),
    "pOutput": (WINDOWS, "test_nothing_to_send_is_no_token"),
    "pOutput with an error": (
        "pages/test_apache.py",
        "test_apache_tells_a_stranger_clock_realm_and_name_and_we_do_not",
    ),
    "pfContextAttr": (HERE, "test_attributes_and_expiry_are_there_with_ok_and_not_before"),
    "ptsExpiry": (WINDOWS, "test_expiry_is_the_earlier_of_its_two_readings"),
    # of its statuses' page those without a member
    "SEC_I_COMPLETE_NEEDED": (WINDOWS, "test_complete_needed_is_completed_before_the_token_is_sent"),
    "SEC_I_COMPLETE_AND_CONTINUE": (WINDOWS, "test_complete_needed_is_completed_before_the_token_is_sent"),
    "SEC_I_ASYNC_CALL_PENDING": (HERE, "test_a_call_is_pending_until_its_step_has_ended_and_says_so_once"),
}


def rows() -> list[str]:
    """What the rows that a person wrote begin with."""
    by_hand = re.sub(r"<!-- table .*?<!-- end of table -->", "", PAGE, flags=re.DOTALL)
    cells = [line.split("|")[1].strip() for line in by_hand.splitlines() if line.startswith("|")]
    return [cell.replace("`", "") for cell in cells if cell.startswith("`")]


def proof_of(row: str) -> str:
    """The longest key of ``PROOFS`` that a row begins with."""
    found = [key for key in PROOFS if row == key or row.startswith((f"{key},", f"{key} and"))]
    assert found, f"no proof of {row!r}"
    return max(found, key=len)


@pytest.mark.parametrize(("page", "name"), tables.TABLES)
def test_the_table_is_as_the_code_is(page: str, name: str) -> None:
    text = (DOCS / page).read_text()

    assert updated(text, name, tables.TABLES[page, name]) == text, f"stale: {UPDATE}"


def test_every_row_names_its_proof_and_every_proof_its_row() -> None:
    assert {proof_of(row) for row in rows()} == set(PROOFS)


@pytest.mark.parametrize(("file", "test"), sorted({proof for proof in PROOFS.values() if proof}))
def test_the_proof_is_there(file: str, test: str) -> None:
    tree = ast.parse((TESTS / file).read_text())
    tests = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]

    assert test in tests


def test_every_status_that_microsoft_documents_is_on_the_page() -> None:
    assert set(re.findall(r"^\| `(SEC_[EI]_\w+)`", PAGE, re.MULTILINE)) >= DOCUMENTED


@pytest.mark.parametrize("status", SecStatus)
def test_every_status_is_put_into_words(status: SecStatus) -> None:
    assert re.search(rf"\| `0x{status:08X}` \| `{status.name}`, (returned|raised) \| .{{8,}} \| .*\d", PAGE)


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (SecStatus.LOGON_DENIED, "401"),
        (SecStatus.BUSY, "503"),
        (SecStatus.NO_CREDENTIALS, "503"),
        (SecStatus.CONTINUE_NEEDED, "401 with the next token"),
    ],
)
def test_the_http_answer_is_what_the_core_concludes(status: SecStatus, answer: str) -> None:
    assert tables.answer_to(status) == answer


def test_a_status_that_nobody_put_into_words_stops_the_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(tables.WHEN, SecStatus.BUSY)

    with pytest.raises(KeyError):
        tables.statuses()


# claims that no other test has


def run(test: Callable[[], object]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcome", "status"), [(finished(), SecStatus.OK), (unfinished(), SecStatus.CONTINUE_NEEDED), (denied(), None)]
)
def test_a_call_is_pending_until_its_step_has_ended_and_says_so_once(
    outcome: AcceptResult | AcceptError, status: SecStatus | None
) -> None:
    backend = FakeBackend(outcome)
    backend.go_on.clear()
    acceptor = acceptor_of(backend, offload="always")

    async def test() -> None:
        told: list[object] = []
        call = asyncio.create_task(acceptor.accept(None, KERBEROS))
        call.add_done_callback(told.append)
        await until(backend.began.is_set)
        pending = call.done()  # SEC_I_ASYNC_CALL_PENDING

        backend.go_on.set()
        await asyncio.wait([call], timeout=30)

        assert (pending, call.done(), told) == (False, True, [call])
        if status is None:
            assert isinstance(call.exception(), AcceptError)
        else:
            assert call.result().status is status
        await acceptor.aclose()

    run(test)


def test_a_call_is_good_for_once() -> None:
    acceptor = acceptor_of(FakeBackend(finished()))

    async def test() -> None:
        call = acceptor.accept(None, KERBEROS)
        await call
        with pytest.raises(RuntimeError, match="cannot reuse"):
            await call

    run(test)


def test_a_token_outlives_its_context() -> None:
    acceptor = acceptor_of(FakeBackend(unfinished(b"more")))

    async def test() -> None:
        result = await acceptor.accept(None, KERBEROS)
        await acceptor.delete(result.context)
        assert result.token == b"more"

    run(test)


def test_attributes_and_expiry_are_there_with_ok_and_not_before() -> None:
    acceptor = acceptor_of(FakeBackend(unfinished(), finished(user(attributes=ContextFlag.MUTUAL_AUTH))))

    async def test() -> None:
        first = await acceptor.accept(None, KERBEROS)
        last = await acceptor.accept(first.context, LATER)
        assert (first.attributes, first.expires_at, first.identity) == (ContextFlag(0), None, None)
        assert last.attributes == ContextFlag.MUTUAL_AUTH

    run(test)


def test_the_pages_code_takes_a_handshake_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(block, "docs/sspi.md", "exec"), names)
    backends = [FakeBackend(unfinished(b"challenge"), finished()), FakeBackend(unfinished(b"challenge"), denied())]

    async def acquire(backend: FakeBackend, self: Acceptor) -> None:
        self._kerberos = backend
        self.acquired = True

    async def exchange(token: bytes | None) -> bytes:
        assert token == b"challenge"
        return LATER

    outcomes = []
    for backend in backends:
        with monkeypatch.context() as patch:
            patch.setattr(Acceptor, "acquire", lambda self, backend=backend: acquire(backend, self))
            outcomes.append(asyncio.run(names["handshake"](KERBEROS, exchange)))  # type: ignore[operator]

    assert [outcome.status for outcome in outcomes] == [SecStatus.OK, denied().status]
