"""What a refused person is told: what to do and a reference, in their language, and never why."""

import asyncio
import json
import re
from typing import Any

import pytest

from negotiate_mw import AcceptError, NegotiateMiddleware, SecStatus, helpful_page
from negotiate_mw.refusal import Refusal
from negotiate_mw.testing import ScriptedAcceptor
from tests.shell.driving import Client, Site, on_a_loop

STATUSES = [400, 401, 403, 431, 503]
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def answer(refusal: Refusal, **headers: str) -> tuple[int, dict[str, str], str]:
    sent: list[dict[str, Any]] = []
    lines = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": "/salaries", "headers": lines}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(helpful_page(scope, refusal)(scope, None, send))  # type: ignore[arg-type]
    start, body = sent
    return start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, body["body"].decode()


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(("accepted", "language"), [("en-GB,en;q=0.9", "en"), ("de-AT,de;q=0.9,en;q=0.8", "de")])
def test_a_browser_gets_a_page_in_its_language_with_the_reference(status: int, accepted: str, language: str) -> None:
    refusal = Refusal(status=status)

    answered, headers, page = answer(refusal, accept=BROWSER, accept_language=accepted)

    assert answered == status
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["content-language"] == language
    assert f'<html lang="{language}">' in page
    assert f"<code>{refusal.reference}</code>" in page
    assert len(page.encode()) == int(headers["content-length"]) < 4096


@pytest.mark.parametrize("accepted", ["", "fr-FR,it", "*", "\xff;;;,,q=de", "deutsch"])
def test_who_asks_for_neither_language_gets_english(accepted: str) -> None:
    assert answer(Refusal(status=401), accept=BROWSER, accept_language=accepted)[1]["content-language"] == "en"


def test_it_loads_nothing_runs_nothing_and_its_policy_says_so() -> None:
    _, headers, page = answer(Refusal(status=401), accept=BROWSER)

    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert not re.search(r"<script|<link|<img|<iframe|\son\w+=|javascript:|https?://|url\(|@import", page)


@pytest.mark.parametrize(
    "accept", ["application/json", "application/json, text/plain, */*", "application/problem+json"]
)
def test_a_program_that_wants_json_gets_problem_details(accept: str) -> None:
    refusal = Refusal(status=403)

    _, headers, body = answer(refusal, accept=accept)

    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body) == {"title": "You can't open this page", "status": 403, "reference": refusal.reference}


@pytest.mark.parametrize("headers", [{}, {"accept": "*/*"}])
def test_everybody_else_gets_a_line_of_text(headers: dict[str, str]) -> None:
    refusal = Refusal(status=401)

    _, answered, body = answer(refusal, **headers)

    assert answered["content-type"] == "text/plain; charset=utf-8"
    assert body == f"We couldn't sign you in. Reference: {refusal.reference}\n"


def test_a_reference_is_text() -> None:
    refusal = Refusal(status=401, reference="<b>&")

    assert "<code>&lt;b&gt;&amp;</code>" in answer(refusal, accept=BROWSER)[2]


@on_a_loop
async def test_whatever_the_cause_the_page_is_the_same_but_for_its_reference() -> None:
    script = {
        b"replayed": AcceptError(SecStatus.LOGON_DENIED, "replay", detail="seen before at 10:00"),
        b"skewed": AcceptError(SecStatus.TIME_SKEW, "clock-skew", detail="off by 6 min"),
        b"unbound": AcceptError(SecStatus.BAD_BINDINGS, "bad-bindings", detail="another channel"),
    }
    app = NegotiateMiddleware(Site(), acceptor=ScriptedAcceptor(script), on_refused=helpful_page)

    pages = set()
    for token in (None, *script):
        refused = await Client(app).get(token, path="/<script>", headers=[(b"accept", BROWSER.encode())])
        assert refused.status == 401
        assert refused.challenge == "Negotiate"
        pages.add(re.sub("[0-9a-f]{12}", "…", refused.text))

    assert len(pages) == 1
