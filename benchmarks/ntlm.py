"""What an NTLM log-in costs the server, beside pyspnego's own acceptor; and what it costs to refuse one.

    .venv/bin/python -m benchmarks.ntlm [--rounds N]

Law: only the server's two legs are on the clock; the sides of every comparison take turns, each with fresh messages of
a real client; users have hashes, not passwords, in the file that both acceptors read.
"""

import argparse
import gc
import os
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import perf_counter
from typing import Any

import spnego

from benchmarks.report import Figure, machine, table
from negotiate_mw import AcceptError, Acceptor
from negotiate_mw.backends.ntlmv2 import nt_hash
from negotiate_mw.ntlm_users import hash_line

PASSWORD = "a-password"
USERS = 1  # in the file, which pyspnego reads at each log-in, and we at each change
MOST_RATIO, MOST_APART = 1.3, 50.0  # a log-in's to pyspnego's; microseconds between the two refusals

Timed = Callable[[spnego.ContextProxy], float]


def client(user: str, password: str) -> spnego.ContextProxy:
    return spnego.client(
        f"CORP\\{user}", password, hostname="localhost", protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm
    )


def finish(coroutine: Coroutine[Any, None, Any]) -> Any:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("it waits for something")


def ours(acceptor: Acceptor, *, refused: bool = False) -> Timed:
    """Microseconds that our acceptor takes for a client."""

    def time(client: spnego.ContextProxy) -> float:
        token = client.step() or b""
        began = perf_counter()
        result = finish(acceptor.accept(None, token))
        spent = perf_counter() - began
        token = client.step(result.token) or b""
        began = perf_counter()
        try:
            identity = finish(acceptor.accept(result.context, token)).identity
        except AcceptError:
            identity = None
        spent += perf_counter() - began
        if (identity is None) is not refused:
            raise RuntimeError("the log-in came out otherwise")
        return spent * 1e6

    return time


def pyspnegos(client: spnego.ContextProxy) -> float:
    """Microseconds that pyspnego's acceptor takes for a client."""
    token = client.step() or b""
    began = perf_counter()
    server = spnego.server(hostname="localhost", protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm)
    answer = server.step(token)
    spent = perf_counter() - began
    token = client.step(answer) or b""
    began = perf_counter()
    server.step(token)
    spent += perf_counter() - began
    if not server.complete:
        raise RuntimeError("the log-in failed")
    return spent * 1e6


def in_turns(rounds: int, *sides: tuple[Timed, str, str]) -> list[Figure]:
    """Each side's figure; a side is what to time, and who logs in."""
    times: list[list[float]] = [[] for _ in sides]
    for number in range(rounds + rounds // 10):
        if number % 100 == 0:
            gc.collect()
        for index, (timed, user, password) in enumerate(sides):
            spent = timed(client(user, password))
            if number >= rounds // 10:  # the first tenth warms up
                times[index].append(spent)
    return [Figure.of(values) for values in times]


def measure(users: Path, rounds: int) -> str:
    acceptor = Acceptor(mechanisms=("ntlm",), ntlm_users=users, offload="never")
    finish(acceptor.acquire())
    log_in, refuse = ours(acceptor), ours(acceptor, refused=True)
    gc.disable()
    mine, theirs = in_turns(rounds, (log_in, "user0", PASSWORD), (pyspnegos, "user0", PASSWORD))
    wrong, unknown = in_turns(rounds, (refuse, "user0", "wrong"), (refuse, "mallory", PASSWORD))
    gc.enable()
    rows = [
        ["log-in", f"{mine:.1f}", ""],
        ["log-in, pyspnego's own acceptor", f"{theirs:.1f}", ""],
        ["ratio of the two", f"{mine.median / theirs.median:.2f}", f"{MOST_RATIO}"],
        ["refusal, wrong password", f"{wrong:.1f}", ""],
        ["refusal, unknown user", f"{unknown:.1f}", ""],
        ["between the two", f"{abs(wrong.median - unknown.median):.1f}", f"{MOST_APART}"],
    ]
    return table(["both legs of NTLM on the server", "µs (quartiles)", "at most"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.ntlm", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2000, help="(default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        users = Path(directory) / "users"
        users.touch(0o600)
        lines = [hash_line("CORP", f"user{number}", nt_hash(PASSWORD), bytes(range(16))) for number in range(USERS)]
        users.write_text("\n".join(lines) + "\n")
        os.environ["NTLM_USER_FILE"] = str(users)  # pyspnego knows no other way
        print(measure(users, arguments.rounds), end="\n\n")
    print(machine("pyspnego"))


if __name__ == "__main__":
    main()
