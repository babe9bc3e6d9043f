"""What a type checker says of the test kit: right uses pass, wrong ones don't."""

from pathlib import Path

from mypy import api

RIGHT = """\
from typing import assert_type

from starlette.testclient import TestClient
from starlette.applications import Starlette

from negotiate_mw import ContextFlag, NegotiateMiddleware
from negotiate_mw.testing import LATER, Answer, ScriptedAcceptor, as_user, connection, user

app = Starlette()
client = TestClient(as_user(app, "alice@EXAMPLE.COM", groups=["HR"], attributes=ContextFlag.MUTUAL_AUTH))
nobody = TestClient(as_user(NegotiateMiddleware(app), None))
known = as_user(app, user("alice@EXAMPLE.COM", sid="S-1-5-21-1-2-3-4"))
acceptor = ScriptedAcceptor({b"one": b"two", LATER: (user("alice@EXAMPLE.COM"), None)})


async def talk() -> None:
    async with connection(app) as one:
        answer = await one.get("/", token=b"t", headers={"x": "y"})
        assert_type(answer, Answer)
        assert_type(answer.token, bytes | None)
        assert_type(answer.status, int)
        assert_type(answer.headers, tuple[tuple[str, str], ...])
"""

WRONG = [
    "as_user(app, 5)",
    "as_user(app, 'a@B', groups=[1])",
    "as_user('app', 'a@B')",
    "connection('app')",
    "ScriptedAcceptor({'text': b'two'})",
]


def check(text: str, folder: Path) -> str:
    module = folder / "checked.py"
    module.write_text(text)
    said, problem, _ = api.run(["--strict", "--cache-dir", str(folder / "cache"), str(module)])
    return said + problem


def test_the_kit_is_typed(tmp_path: Path) -> None:
    lines = RIGHT.count("\n")

    said = check(RIGHT + "\n".join(WRONG) + "\n", tmp_path)

    errors = [line for line in said.splitlines() if ": error:" in line]
    assert {int(line.split(":")[1]) for line in errors} == {lines + 1 + place for place in range(len(WRONG))}, said
