"""Requests after the log-in, on one core: what remembers a user, beside the app alone and Apache's ways to do it.

    .venv/bin/python -m benchmarks.sessions [--rounds N] [--seconds S]

Law: as in ``throughput``. Each row is begun by a real Kerberos log-in; an answer has to name its user, so a row that
forgot would end the run. What is held against another row gets the same requests, cookie and all. A session that is
*opened* is one that this process hasn't seen for 10,000 others.
"""

import argparse
import asyncio
import hashlib
import os
import secrets
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from statistics import median

from benchmarks import apps
from benchmarks.apps import BODY, PATH
from benchmarks.chart import bars
from benchmarks.report import Aim, Figure, Outcome, machine, quiet_rounds, table
from benchmarks.servers import (
    CONNECTIONS,
    BenchmarkError,
    Recipe,
    Run,
    Server,
    certificate,
    free_port,
    load,
    negotiate,
    serving,
    uvicorn,
    web_server,
)
from benchmarks.throughput import World, ready
from negotiate_mw import redis_store
from negotiate_mw.sessions import Sessions
from negotiate_mw.testing import RealmError
from negotiate_mw.testing.scripted import user

COOKIES = 12_000  # one after the other; ours keep 10,000 in memory
ROWS = {
    "bare": "bare app",
    "exempt": "negotiate-mw, exempt path",
    "cookie": "negotiate-mw, cookie session, cached",
    "cookie_opened": "negotiate-mw, cookie session, opened",
    "redis": "negotiate-mw, Redis session, cached",
    "redis_asked": "negotiate-mw, Redis session, asked for",
    "apache": "Apache, no authentication",
    "apache_session": "Apache, GssapiUseSessions",
    "bare_tls": "bare app over TLS",
    "bound": "negotiate-mw over TLS, bound to the connection",
    "apache_tls": "Apache over TLS, no authentication",
    "apache_bound": "Apache over TLS, GssapiConnectionBound",
}
# what each row is held against: the same without authentication, and Apache's way to remember
WITHOUT = dict.fromkeys(("exempt", "cookie", "cookie_opened", "redis", "redis_asked"), "bare")
WITHOUT |= {"apache_session": "apache", "bound": "bare_tls", "apache_bound": "apache_tls"}
APACHES = dict.fromkeys(("cookie", "cookie_opened", "redis", "redis_asked"), "apache_session")
APACHES |= {"bare": "apache", "exempt": "apache", "bare_tls": "apache_tls", "bound": "apache_bound"}
STEADY = ("cookie", "cookie_opened", "redis", "bound", "apache_session")
AIM_CACHED = 0.85


def begun(sessions: Sessions, count: int, *, at_once: int = 16) -> list[str]:
    """``Cookie`` values of so many sessions of alice's, made as a log-in makes them."""

    async def main() -> list[str]:
        cookies: list[str] = []
        numbers = iter(range(count))

        async def some() -> None:
            for _ in numbers:
                session = sessions.session({"headers": []}, is_tls=False)
                await session.begin(user(apps.USER))
                cookie = session.set_cookie()
                if cookie is None:
                    raise BenchmarkError("a session couldn't be begun")
                cookies.append(cookie.partition(b";")[0].decode())

        redis_store.SECONDS = 60.0  # here nobody waits for an answer
        await sessions.start()
        await asyncio.gather(*(some() for _ in range(at_once)))
        await sessions.stop()
        return cookies

    return asyncio.run(main())


def logged_in(server: Server, token: str, path: str) -> str:
    """Log in once, and return the cookie that remembers it."""
    status, headers, body = server.get(negotiate(token), path)
    if status != 200 or body != BODY:
        raise BenchmarkError(f"a log-in at {server.url}{path} is answered by {status}: {body!r}")
    cookie = (headers["Set-Cookie"] or "").partition(";")[0]
    middle = len(cookie) * 3 // 4
    forged = cookie[:middle] + ("A" if cookie[middle] != "A" else "B") + cookie[middle + 1 :]
    for sent, expected in ((cookie, 200), (forged, 401), ("", 401)):
        status = server.get({"Cookie": sent}, path)[0]
        if not cookie or status != expected:
            raise BenchmarkError(f"{server.url}{path} answers {status} to the cookie {sent!r}, not {expected}")
    return cookie


def measure(rounds: int, seconds: int, *, lives: int = 1, warm_up: bool = True) -> dict[str, list[Run]]:
    """As ``throughput.measure``."""
    runs: dict[str, list[Run]] = {row: [] for row in ROWS}
    for life in range(lives):
        with ExitStack() as stack:
            turns = prepared(stack, seconds)
            for turn in range(0 if warm_up else 1, rounds + 1):
                start = turn % len(ROWS)
                for row in [*ROWS][start:] + [*ROWS][:start]:
                    run = turns[row]()
                    if turn:
                        runs[row].append(run)
                said = "" if turn else " (warming up)"
                print(f"sessions: round {turn} of {rounds}, life {life + 1} of {lives}{said}", file=sys.stderr)
                sys.stderr.flush()
    return runs


def prepared(stack: ExitStack, seconds: int) -> dict[str, Callable[[], Run]]:
    """Every server up, every session begun; what to call for one turn of a row."""
    world = World(stack)
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    stack.enter_context(serving(command, port, world.realm.environ(), world.work / "redis.log", world.cores.load))
    os.environ |= {"SESSION_KEY": secrets.token_urlsafe(32), "SESSION_REDIS": f"redis://127.0.0.1:{port}/0"}
    own = {name: os.environ[name] for name in ("SESSION_KEY", "SESSION_REDIS")}
    key, cert = certificate(world.work)
    over_tls = ["--ssl-keyfile", str(key), "--ssl-certfile", str(cert)]
    native = ["--http", "negotiate_mw.servers.uvicorn:HttpTools"]
    recipes = {
        row: (Recipe(uvicorn(f"apps:{row}()", at := free_port()), own), at) for row in ("exempt", "cookie", "redis")
    }
    recipes["bare"] = (Recipe(uvicorn("bare:named", at := free_port())), at)
    recipes["bare_tls"] = (Recipe(uvicorn("bare:named", at := free_port(), *over_tls), tls=True), at)
    recipes["bound"] = (Recipe(uvicorn("apps:bound()", at := free_port(), *over_tls, *native), tls=True), at)
    tls_port, at = free_port(), free_port()
    more = {"tls_port": tls_port, "key": key, "certificate": cert}
    conf = "apache_remembering.conf"
    recipes["apache"] = (
        web_server("apache2", conf, world.work / "apache", at, world.realm, world.keytab, **more),
        at,
    )
    alive = {row: stack.enter_context(world.serve(row, *each)) for row, each in recipes.items()}
    apache_tls = replace(alive["apache"], port=tls_port, tls=True)

    cookies = {row: logged_in(alive[row], world.tokens(1)[0], PATH) for row in ("cookie", "redis")}
    session, bound = f"/session{PATH}", f"/bound{PATH}"
    cookies["apache"] = logged_in(alive["apache"], world.tokens(1)[0], session)
    many = {"cookie": world.work / "cookies", "redis": world.work / "ids"}
    many["cookie"].write_text("\n".join(begun(apps.cookie_sessions(), COOKIES)) + "\n")
    many["redis"].write_text("\n".join(begun(apps.redis_sessions(), COOKIES)) + "\n")
    end_point = b"tls-server-end-point:" + hashlib.sha256(ssl.PEM_cert_to_DER_cert(cert.read_text())).digest()
    for server, path in ((alive["bound"], PATH), (apache_tls, bound)):
        if server.get({}, path)[0] != 401:
            raise BenchmarkError(f"{server.url}{path} lets somebody in without a ticket")

    core = world.cores.load

    def plain(row: str, server: Server, path: str = PATH, cookie: str = "", threads: int = 1) -> Callable[[], Run]:
        headers = [f"Cookie: {cookie}"] if cookie else []
        return lambda: load(ROWS[row], server, seconds, core, path=path, headers=headers, threads=threads)

    def opened(row: str, of: str) -> Callable[[], Run]:
        how = {"lines": many[of], "how": "again", "header": "Cookie"}
        return lambda: load(ROWS[row], alive[of], seconds, core, **how)  # type: ignore[arg-type]

    def by_connection(row: str, server: Server, path: str) -> Callable[[], Run]:
        def turn() -> Run:
            tokens = world.lines(world.tokens(CONNECTIONS, bindings=end_point))
            return load(
                ROWS[row], server, seconds, core, lines=tokens, how="first", path=path, threads=CONNECTIONS
            )  # a connection for each thread, which sends a ticket first and none after it

        return turn

    return {
        "bare": plain("bare", alive["bare"], cookie=cookies["cookie"]),
        "exempt": plain("exempt", alive["exempt"], cookie=cookies["cookie"]),
        "cookie": plain("cookie", alive["cookie"], cookie=cookies["cookie"]),
        "cookie_opened": opened("cookie_opened", "cookie"),
        "redis": plain("redis", alive["redis"], cookie=cookies["redis"]),
        "redis_asked": opened("redis_asked", "redis"),
        "apache": plain("apache", alive["apache"], cookie=cookies["apache"]),
        "apache_session": plain("apache_session", alive["apache"], session, cookies["apache"]),
        "bare_tls": plain("bare_tls", alive["bare_tls"], threads=CONNECTIONS),
        "bound": by_connection("bound", alive["bound"], PATH),
        "apache_tls": plain("apache_tls", apache_tls, threads=CONNECTIONS),
        "apache_bound": by_connection("apache_bound", apache_tls, bound),
    }


def outcome(runs: Mapping[str, Sequence[Run]]) -> Outcome:
    """The table, its chart, and what they say of the aims."""
    chosen, quiet = quiet_rounds(runs, STEADY)

    def ratio(row: str, to: str | None) -> Figure | None:
        if to is None:
            return None
        return Figure.of([a.rate / b.rate for a, b in zip(chosen[row], chosen[to], strict=True)])

    def share(row: str, without: str | None) -> Figure | None:
        """By processor time: the load may be too slow for what does nothing."""
        if without is None:
            return None
        return Figure.of([b.cost / a.cost for a, b in zip(chosen[row], chosen[without], strict=True)])

    lines = []
    for row in ROWS:
        rate = Figure.of([run.rate for run in chosen[row]])
        cost = Figure.of([run.cost for run in chosen[row]])
        busy = median(run.busy for run in chosen[row])
        ratios = (share(row, WITHOUT.get(row)), ratio(row, APACHES.get(row)))
        figures = [
            f"{rate:,.0f}",
            f"{cost.median:.1f}",
            f"{busy:.0%}",
            *("" if r is None else f"{r:.2f}" for r in ratios),
        ]
        lines.append([ROWS[row], *figures])
    head = ["one core", "requests a second (quartiles)", "CPU µs each", "of the core"]
    head += ["of the same without, by CPU time", "times Apache's rate"]
    cached = share("cookie", "bare")
    assert cached is not None
    chart = bars(
        "Requests a second after the log-in, one core",
        [(ROWS[row], Figure.of([run.rate for run in chosen[row]]), row not in _NOT_OURS) for row in ROWS],
    )
    aim = Aim(
        "session in the cache, of the bare app", f"≥ {AIM_CACHED:.0%}", f"{cached:.0%}", cached.median >= AIM_CACHED
    )
    text = f"{table(head, lines)}\n\n{quiet.sentence}"
    return Outcome("sessions", text, {"performance-sessions.svg": chart}, [aim], quiet)


_NOT_OURS = ("bare", "bare_tls", "apache", "apache_tls", "apache_session", "apache_bound")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.sessions", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="that count, of each life (default: %(default)s)")
    parser.add_argument("--lives", type=int, default=3, help="of the servers (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=1, help="of load, each row and round (default: %(default)s)")
    arguments = parser.parse_args()
    ready()
    try:
        print(outcome(measure(arguments.rounds, arguments.seconds, lives=arguments.lives)).text)
    except (BenchmarkError, RealmError) as error:
        sys.exit(f"benchmarks.sessions: {error}")
    print(machine("uvicorn", "uvloop", "httptools", "cryptography", "redis"))


if __name__ == "__main__":
    main()
