"""docs/basic.md does what it says: every block in it is run."""

import re
from pathlib import Path
from typing import Any

from negotiate_mw import NegotiateMiddleware
from negotiate_mw.testing.scripted import ScriptedAcceptor, user
from tests.shell.driving import Client, on_a_loop

from .test_logins import basic

PAGE = (Path(__file__).parents[2] / "docs" / "basic.md").read_text()
BLOCKS = dict(re.findall(r"<!-- test: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL))


@on_a_loop
async def test_the_app_says_by_what_its_user_logged_in_and_the_challenges_are_those_of_the_page() -> None:
    acceptor = ScriptedAcceptor(
        {b"T": (user("alice@EXAMPLE.COM"), None)}, passwords={("alice@EXAMPLE.COM", "pw"): b"T"}
    )
    names: dict[str, Any] = {}
    exec(compile(BLOCKS["app.py"], "docs/basic.md", "exec"), names)
    made: NegotiateMiddleware = names["app"]
    client = Client(NegotiateMiddleware(made.app, acceptor=acceptor, basic=True, policy=made._policy), scheme="https")

    asked, given = await client.get(), await client.get(headers=[basic("alice", "pw")])

    assert given.text == "Hello alice, by basic"
    said = [f"WWW-Authenticate: {value}" for value in asked.all("www-authenticate")]
    assert "\n".join(said) == BLOCKS["challenges"].strip()
    assert made._passwords is not None
