"""Whatever a client sends: an answer of ours, nothing left behind, and no token in the log."""

import asyncio
import logging
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from negotiate_mw import Acceptor, Limits, NegotiateMiddleware, Policy, Refusal
from negotiate_mw.errors import AcceptError
from negotiate_mw.status import SecStatus
from negotiate_mw.testing.scripted import LATER, ScriptedAcceptor, user
from tests.core.building import KERBEROS, PROPERTY, FakeBackend, unfinished
from tests.core.building import finished as done

from .driving import Answer, Client, Headers, Site, negotiate, on_a_loop

ALICE = user("alice@EXAMPLE.COM")
CANARY = b"CanaryCanaryCanary"
NAMES = st.sampled_from(
    [
        b"authorization",
        b"host",
        b"origin",
        b"sec-fetch-site",
        b"cookie",
        b"x-forwarded-for",
        b"forwarded",
        b"Authorization",
    ]
) | st.binary(max_size=20)
VALUES = (
    st.sampled_from(
        [
            *(negotiate(token)[1] for token in (b"OneLeg", b"ClientBlob1", LATER + b"ClientBlob2", KERBEROS)),
            b"Negotiate",
            b"Negotiate ",
            b"negotiate\tYQ==",
            b"NTLM TlRMTVNTUAA=",
            b"Basic YTpi",
            b"Negotiate " + b64encode(bytes(2000)),
            b"http://www.example.com",
            b"cross-site",
            b"localhost",
        ]
    )
    | st.binary(max_size=60)
    | st.binary(max_size=60).map(lambda token: negotiate(token)[1])
    | st.binary(max_size=60).map(lambda junk: b"Negotiate " + junk)
)
REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(["GET", "POST", "OPTIONS", "websocket", ""]),
        st.lists(st.tuples(NAMES, VALUES), max_size=5),
        st.text(max_size=20),
        st.sampled_from(["1.1", "2", "1.0"]),
    ),
    min_size=1,
    max_size=4,
)


def scripted() -> ScriptedAcceptor:
    script: dict[bytes, Any] = {
        b"OneLeg": (ALICE, b"ServerLast"),
        b"ClientBlob1": b"ServerBlob1",
        LATER + b"ClientBlob2": (ALICE, None),
    }
    return ScriptedAcceptor(script, limits=Limits(token_bytes=1000))


async def talk(app: NegotiateMiddleware, requests: list[tuple[str, Headers, str, str]]) -> list[Answer]:
    client = Client(app)
    answers = []
    for method, headers, path, version in requests:
        scope = {"path": f"/{path}", "raw_path": path.encode(errors="surrogatepass"), "http_version": version}
        if method == "websocket":
            answers.append(await client.websocket(headers=list(headers), **scope))
        else:
            answers.append(await client.get(method=method, headers=list(headers), **scope))
    client.close()
    return answers


@PROPERTY
@given(REQUESTS, st.booleans())
@example([("GET", [(b"authorization", b"Negotiate \xff")], "", "1.1")], True)
@example([("GET", [(b"\xff\xfe", b"\xff")], "\ud800", "1.1")], True)
def test_any_headers_on_any_connection_give_an_answer_of_ours_and_leave_nothing(
    requests: list[tuple[str, Headers, str, str]], required: bool
) -> None:
    acceptor = scripted()
    app = NegotiateMiddleware(Site(), acceptor=acceptor, required=required, exempt=("/static/*",))

    answers = asyncio.run(talk(app, requests))

    for answer in answers:
        assert answer.error is None
        assert answer.status in {101, 200, 400, 401, 403, 431}
    assert not acceptor.open
    assert len(app._store) == 0


@PROPERTY
@given(
    st.lists(
        st.binary(max_size=80) | st.binary(max_size=8).map(KERBEROS.__add__) | st.just(KERBEROS), min_size=1, max_size=4
    ),
    st.sampled_from([done(ALICE), unfinished()]),
)
def test_any_tokens_to_the_real_acceptor_give_an_answer_of_ours_and_leave_nothing(
    tokens: list[bytes], last: Any
) -> None:
    backend = FakeBackend(unfinished(), last)
    acceptor = Acceptor()
    acceptor._kerberos = backend
    acceptor.acquired = True
    app = NegotiateMiddleware(Site(), acceptor=acceptor)

    answers = asyncio.run(talk(app, [("GET", [negotiate(token)], "", "1.1") for token in tokens]))

    assert {answer.status for answer in answers} <= {200, 400, 401}
    assert all(answer.error is None for answer in answers)
    assert all(context.handle is None and not context.lock.locked() for context, _, _ in backend.steps)


# no token anywhere but where it belongs

OUTCOMES: list[Any] = [
    *(
        AcceptError(status, "reason", detail="why", token=CANARY)
        for status in SecStatus
        if status > SecStatus.CONTINUE_NEEDED
    ),
    AcceptError(SecStatus.LOGON_DENIED, "name-mismatch", token=CANARY),
    (ALICE, CANARY),
    (user("mallory@EVIL.EXAMPLE"), CANARY),
    CANARY,
]
CANARIES = [CANARY.decode(), b64encode(CANARY).decode(), CANARY.hex(), "Canary"]


def shows_a_token(text: str) -> bool:
    return any(canary in text for canary in CANARIES)


def everything_in(record: logging.LogRecord) -> str:
    return logging.Formatter().format(record) + repr(vars(record))


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
@pytest.mark.parametrize("username", [None, lambda _: 1 / 0])
@on_a_loop
async def test_no_outcome_puts_a_token_into_the_log_or_an_error_token_into_the_answer(
    caplog: pytest.LogCaptureFixture, outcome: Any, username: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    script = {b"Canary": outcome, b"CanaryFirst": b"ServerBlob1", LATER + b"Canary": outcome}
    app = NegotiateMiddleware(Site(), acceptor=ScriptedAcceptor(script), policy=Policy(username=username))

    for kind in ("get", "websocket"):
        client = Client(app)
        answers = [await getattr(client, kind)(token) for token in (b"Canary", b"CanaryFirst", LATER + b"Canary")]
        for answer in answers:
            assert answer.error is None
            assert not shows_a_token(answer.text)
            assert answer.token != CANARY or not isinstance(outcome, AcceptError)
            assert not any(
                shows_a_token(value.decode()) for name, value in answer.headers if name != b"www-authenticate"
            )

    assert caplog.records
    assert not any(shows_a_token(everything_in(record)) for record in caplog.records)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Negotiate " + CANARY + b"!")],
        [(b"authorization", b"Negotiate CanaryCanary CanaryCanary")],
        [(b"authorization", b"Negotiate\tCanaryCanary")],
        [negotiate(CANARY), negotiate(CANARY)],
        [negotiate(CANARY * 5000)],
        [(b"authorization", b"Basic CanaryCanary")],
        [(b"authorization", b"Bearer CanaryCanary")],
        [negotiate(CANARY), (b"origin", b"https://evil.example"), (b"cookie", b"session=Canary")],
        [negotiate(LATER + CANARY)],
        [negotiate(KERBEROS + CANARY)],
        [negotiate(b"NTLMSSP\0\x01\0\0\0" + CANARY)],
        [negotiate(KERBEROS), (b"cookie", b"session=Canary")],
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
@on_a_loop
async def test_no_broken_header_puts_a_token_into_the_log_or_the_answer(
    caplog: pytest.LogCaptureFixture, headers: Headers, method: str
) -> None:
    caplog.set_level(logging.DEBUG)
    acceptor = Acceptor()
    acceptor._kerberos = FakeBackend(AcceptError(SecStatus.LOGON_DENIED, "replay", token=CANARY))
    acceptor.acquired = True

    def page(scope: Any, refusal: Refusal) -> Any:
        raise KeyError("template")

    for on_refused in (None, page):
        app = NegotiateMiddleware(Site(), acceptor=acceptor, on_refused=on_refused)
        answer = await Client(app).get(method=method, headers=list(headers))
        assert answer.status in (400, 401, 403, 431)
        assert not shows_a_token(answer.text + repr(answer.headers))

    assert caplog.records
    assert not any(shows_a_token(everything_in(record)) for record in caplog.records)


@on_a_loop
async def test_a_user_agent_that_writes_lines_into_the_log_fails(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "negotiate_mw")
    app = NegotiateMiddleware(Site(), acceptor=scripted())

    await Client(app, peer=("192.0.2.7\nforged", 1)).get(b"Forged", path="/a\r\nERROR forged")
    await Client(app).get(method="POST", headers=[(b"origin", b"https://a\r\nERROR forged")])

    assert len(caplog.records) == 2
    assert all("\n" not in record.getMessage() and "\r" not in record.getMessage() for record in caplog.records)
