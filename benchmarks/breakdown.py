"""Where the microseconds of one log-in go: each stage alone, and what is left between them.

    .venv/bin/python -m benchmarks.breakdown [--rounds N]

Law: nested wholes are timed with real tickets, each accepted once in a replay cache of its own (the library's call; the
backend's step; the acceptor's accept; the middleware in process; the server), and so are the functions inside them, by
themselves. A row that is a difference says so. The rows add up to the whole; in a server, where caches are colder than
in a loop, the last row takes what that costs.
"""

import argparse
import asyncio
import importlib
import sys
from base64 import b64decode
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

from gssapi import raw

from benchmarks.apps import whoami
from benchmarks.in_process import finish, no_collections, receive, request, send
from benchmarks.kerberos import KRB5, SPNEGO
from benchmarks.report import Figure, Outcome, machine, quiet_rounds, table
from benchmarks.servers import BenchmarkError, Recipe, Run, free_port, load, uvicorn
from benchmarks.throughput import SPARE_TOKENS, World, ready
from negotiate_mw import Acceptor, NegotiateMiddleware
from negotiate_mw.connection import Message, Scope
from negotiate_mw.testing import RealmError
from negotiate_mw.wire import spnego

TOKENS = 2000  # of a round
ROUNDS = 7

Times = dict[str, float]  # microseconds each


def part(module: str, name: str) -> Any:
    """A function of ours; None where it has moved, and then its row is missing and said to be."""
    found = getattr(importlib.import_module(f"negotiate_mw.{module}"), name, None)
    if found is None:
        print(f"breakdown: negotiate_mw.{module} has no {name} any more; its row is missing", file=sys.stderr)
    return found


def each(call: Callable[[Any], object], arguments: Sequence[Any]) -> float:
    """Microseconds of processor time of a call."""
    with no_collections():
        began = process_time()
        for argument in arguments:
            call(argument)
        return (process_time() - began) * 1e6 / len(arguments)


def stages(keytab: Path, folder: Path, lines: Sequence[str]) -> Times:
    """One round, in a process of its own on one core."""
    folder.mkdir(exist_ok=True)
    for replays in folder.glob("*/*"):
        replays.unlink()
    tokens = [b64decode(line) for line in lines]
    times: Times = {}
    openings = [spnego.opens(token) for token in tokens]
    inner = [token[opening.kerberos_at :] for token, opening in zip(tokens, openings, strict=True) if opening]
    times["accept"] = each(accepting(keytab, folder), inner)
    times["name"], user = naming(keytab, folder, tokens[0])
    if (account_of := part("identity", "account_of")) is not None:
        times["account"] = each(lambda _: account_of(user, None), tokens)

    async def steps() -> None:
        context = part("backends", "Context")
        async with Acceptor(keytab=keytab, rcache=room(folder, "step"), offload="never") as acceptor:
            backend = acceptor._kerberos
            if context is not None and backend is not None:
                pairs = list(zip(openings, tokens, strict=True))
                times["step"] = each(lambda pair: backend.step(context(backend, pair[0]), pair[1], None), pairs)

    async def accepts() -> None:
        async with Acceptor(keytab=keytab, rcache=room(folder, "accept"), offload="never") as acceptor:
            times["acceptor"] = each(lambda token: finish(acceptor.accept(None, token)), tokens)

    asyncio.run(steps())
    asyncio.run(accepts())
    if (read := part("wire.spnego", "read")) is not None:
        times["spnego"] = each(read, tokens)

    scopes = [request("/") for _ in lines]
    for scope, line in zip(scopes, lines, strict=True):
        scope["headers"][-1] = (b"authorization", b"Negotiate " + line.encode())
    if (parse := part("wire.http", "parse")) is not None:
        times["parse"] = each(lambda scope: parse(scope["headers"]), scopes)
        times["base64"] = each(b64decode, lines)
    if (wrap := part("respond", "with_identity_headers")) is not None:
        proof = b"Negotiate " + b"A" * 200
        times["send"] = each(lambda _: finish(answer(wrap(send, proof))), scopes)
        times["send"] -= each(lambda _: finish(answer(send)), scopes)

    async def whole() -> None:
        acceptor = Acceptor(keytab=keytab, rcache=room(folder, "whole"), offload="never")
        await acceptor.acquire()
        app = NegotiateMiddleware(whoami, acceptor=acceptor)
        times["middleware"] = each(lambda scope: finish(app(scope, receive, counting)), scopes)
        await acceptor.aclose()

    good = 0

    async def counting(message: Message) -> None:
        nonlocal good
        good += message.get("status") == 200

    asyncio.run(whole())
    if good != len(lines):
        raise BenchmarkError(f"{len(lines) - good} of {len(lines)} log-ins failed in process")
    identity_scopes: list[Scope] = [{**scope, "user": _Alice} for scope in scopes]
    times["app"] = each(lambda scope: finish(whoami(scope, receive, send)), identity_scopes)
    return times


class _Alice:
    principal = "alice@TEST.EXAMPLE"


async def answer(send: Callable[[Message], Any]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def room(folder: Path, name: str) -> Path:
    (folder / name).mkdir(exist_ok=True)
    return folder / name


def credential(keytab: Path, rcache: Path) -> Any:
    store: dict[bytes | str, bytes | str] = {"keytab": str(keytab), "rcache": f"file2:{rcache / 'raw.rcache2'}"}
    name = raw.import_name(b"HTTP", raw.NameType.hostbased_service)
    found = raw.acquire_cred_from(store, name, usage="accept", mechs=[KRB5, SPNEGO]).creds
    raw.set_neg_mechs(found, [KRB5])
    return found


def accepting(keytab: Path, folder: Path) -> Callable[[bytes], object]:
    """The library's call, with the last context kept, as the backend does it."""
    held = credential(keytab, room(folder, "raw"))
    kept: list[Any] = [None]

    def accept(token: bytes) -> None:
        kept[0] = raw.accept_sec_context(token, held)

    return accept


def naming(keytab: Path, folder: Path, token: bytes) -> tuple[float, str]:
    """What it takes to ask a finished context's name for itself and for what attributes it has; and the name."""
    # kept whole, as the backend keeps it: the allocator would give memory back, and ask for it again, at each call
    done = raw.accept_sec_context(token, credential(keytab, room(folder, "names")))
    name: Any = done.initiator_name
    return each(lambda _: raw.export_name_composite(name), range(TOKENS)), raw.display_name(name, False).name.decode()


def measure(rounds: int, seconds: int = 1) -> tuple[list[Times], dict[str, list[Run]]]:
    """Rounds in process, and of the two servers."""
    found: list[Times] = []
    runs: dict[str, list[Run]] = {"bare": [], "ours": []}
    with ExitStack() as stack:
        world = World(stack)
        alive = {}
        for row, app in (("bare", "bare:named"), ("ours", "apps:ours")):
            port = free_port()
            alive[row] = stack.enter_context(world.serve(row, Recipe(uvicorn(app, port)), port))
        supply = int(world.accept_loop(world.tokens(3000)).rate * seconds * SPARE_TOKENS) + 100
        for turn in range(rounds + 1):
            tokens = world.tokens(max(supply, TOKENS))
            file = world.lines(tokens)
            world.forget_replays()
            for row, how in (("bare", "again"), ("ours", "once")):
                runs[row].append(load(row, alive[row], seconds, world.cores.load, lines=file, how=how))
            found.append(world.in_process(stages, world.keytab, world.work / "stages", tokens[:TOKENS]))
            print(
                f"breakdown: round {turn} of {rounds}" + ("" if turn else " (warming up)"), file=sys.stderr, flush=True
            )
    return found[1:], {row: each[1:] for row, each in runs.items()}


def outcome(found: Sequence[Times], runs: dict[str, list[Run]]) -> Outcome:
    """The table, from the outside in."""
    chosen, quiet = quiet_rounds(runs, ("ours",))

    def cost(row: str) -> list[float]:
        return [run.cost for run in chosen[row]]

    def of(name: str) -> float | None:
        return Figure.of([times[name] for times in found]).median if name in found[0] else None

    rows, sum_of = [], 0.0

    def row(what: str, how: str, value: float | None) -> None:
        nonlocal sum_of
        if value is not None:
            rows.append([what, f"{value:.1f}", how])
            sum_of += value

    def less(whole: float | None, *parts: float | None) -> float | None:
        return None if whole is None else whole - sum(each or 0.0 for each in parts)

    total = median(cost("ours"))
    row("server: socket, HTTP, event loop, and a bare app", "the bare app's CPU time", median(cost("bare")))
    row("header scan, base64 of the token", "`wire.http.parse`", of("parse"))
    row("the accept call: decrypt, check, replay cache; freeing a context", "the C library's call", of("accept"))
    row("asking for the name and its attributes", "`export_name_composite`", of("name"))
    inside = [of(name) for name in ("accept", "name")]
    row("account check, identity, result", "the backend's step less the above", less(of("step"), *inside))
    row(
        "acceptor: out of SPNEGO, choice, lock, its own clock",
        "`accept` less the step",
        less(of("acceptor"), of("step")),
    )
    row("send wrapper: last token, `Vary`, `Cache-Control`", "`with_identity_headers`", of("send"))
    outside = [of(name) for name in ("acceptor", "parse", "send", "app")]
    row(
        "middleware: origin, connection, decisions, scope, log",
        "a request in process less the above",
        less(of("middleware"), *outside),
    )
    row("a larger answer, colder caches", "the server's CPU time less the above", total - sum_of)
    rows.append(["**one log-in**", f"**{total:.1f}**", "the server's CPU time"])
    text = table(["where a log-in's time goes", "µs", "measured by"], rows)
    apart = {
        "base64": "base64 of the token",
        "spnego": "reading SPNEGO of a new kind",
        "account": "checking a new account",
    }
    said = [f"{what} {of(name):.1f} µs" for name, what in apart.items() if of(name) is not None]
    text += f"\n\nBy themselves: {', '.join(said)}." if said else ""
    return Outcome("profile", f"{text}\n\n{quiet.sentence}", {}, (), quiet)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.breakdown", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds that count (default: %(default)s)")
    arguments = parser.parse_args()
    ready()
    try:
        print(outcome(*measure(arguments.rounds)).text)
    except (BenchmarkError, RealmError) as error:
        sys.exit(f"benchmarks.breakdown: {error}")
    print(machine("uvicorn", "gssapi"))


if __name__ == "__main__":
    main()
