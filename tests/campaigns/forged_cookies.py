"""Forged session cookies: every single-bit flip of real ones, and what somebody could make who has a few.

Law: whatever isn't, to the letter, a cookie that was set is refused with 401 and cleared, and nothing raises.
"""

import asyncio
import logging
import random
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable

from negotiate_mw import CookieSessions, NegotiateMiddleware
from negotiate_mw.sessions.sealing import Sealer, make_key
from negotiate_mw.testing.scripted import ScriptedAcceptor, user
from tests.shell.driving import Client, Site

from .report import Report

NAME = b"__Host-negotiate-mw="
REAL = 8


def decoded(cookie: bytes) -> bytes:
    return urlsafe_b64decode(cookie + b"=" * (-len(cookie) % 4))


def encoded(sealed: bytes) -> bytes:
    return urlsafe_b64encode(sealed).rstrip(b"=")


def noise(real: list[bytes], chance: random.Random) -> bytes:
    return encoded(chance.randbytes(chance.randint(0, 400)))


def changed(real: list[bytes], chance: random.Random) -> bytes:
    sealed = bytearray(decoded(chance.choice(real)))
    for _ in range(chance.randint(1, 12)):
        sealed[chance.randrange(len(sealed))] = chance.randrange(256)
    return encoded(bytes(sealed))


def spliced(real: list[bytes], chance: random.Random) -> bytes:
    head, tail = (decoded(cookie) for cookie in chance.sample(real, 2))
    cut = chance.randrange(1, min(len(head), len(tail)))
    return encoded(head[:cut] + tail[cut:])


def cut_or_grown(real: list[bytes], chance: random.Random) -> bytes:
    sealed = decoded(chance.choice(real))
    return encoded(sealed[: chance.randrange(len(sealed))] if chance.random() < 0.5 else sealed + chance.randbytes(3))


def respelled(real: list[bytes], chance: random.Random) -> bytes:
    cookie = chance.choice(real)
    place = chance.randrange(len(cookie))
    return chance.choice(
        [
            cookie[:place] + bytes([chance.choice(b"!\"%&'()*+,/:<=>?@[]^`{|}~.\\\x00\x80\xff")]) + cookie[place:],
            cookie + b"=" * chance.randint(1, 3),
            cookie.swapcase(),
            b'"' + cookie + b'"',
        ]
    )


def sealed_by_another(real: list[bytes], chance: random.Random) -> bytes:
    return encoded(Sealer([make_key()], "cookie session").seal(decoded(chance.choice(real))[40:], NAME[:-1] + b"\n"))


KINDS: tuple[Callable[[list[bytes], random.Random], bytes], ...] = (
    noise,
    changed,
    spliced,
    cut_or_grown,
    respelled,
    sealed_by_another,
)


def forgeries(count: int, seed: int) -> Report:
    """``count`` forgeries, and every single-bit flip of a few real cookies besides."""
    logger = logging.getLogger("negotiate_mw")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        return asyncio.run(_forgeries(count, random.Random(seed)))
    finally:
        logger.setLevel(level)


async def _forgeries(count: int, chance: random.Random) -> Report:
    names = {f"user{number}".encode(): (user(f"user{number}@EXAMPLE.COM"), None) for number in range(REAL)}
    sessions = CookieSessions(keys=[make_key()], idle=600)
    app = NegotiateMiddleware(Site(), acceptor=ScriptedAcceptor(names), sessions=sessions)
    client = Client(app, scheme="https")
    real = [(await client.get(name)).all("set-cookie")[0].encode().partition(b";")[0][len(NAME) :] for name in names]
    done: Counter[str] = Counter()
    failures: list[str] = []

    async def refused(kind: str, cookie: bytes) -> None:
        answer = await client.get(headers=[(b"cookie", NAME + cookie)])
        done[kind] += 1
        is_cleared = any(line.startswith(f"{NAME.decode()}; Max-Age=0") for line in answer.all("set-cookie"))
        if (answer.status, answer.error, is_cleared) != (401, None, True) and len(failures) < 5:
            failures.append(f"{kind}: {cookie!r} was answered {answer.status}, cleared: {is_cleared}, {answer.error!r}")

    for cookie in real[:3]:
        for bit in range(8 * len(cookie)):
            flipped = bytearray(cookie)
            flipped[bit // 8] ^= 1 << bit % 8
            await refused("bit flip", bytes(flipped))
    for _ in range(count):
        make = chance.choice(KINDS)
        forged = make(real, chance)
        if forged not in real:
            await refused(make.__name__.replace("_", " "), forged)
    for name, cookie in zip(names, real, strict=True):
        answer = await client.get(headers=[(b"cookie", NAME + cookie)])
        if answer.text != name.decode():
            failures.append(f"a real cookie of {name.decode()} was answered {answer.status} {answer.text!r}")
    total = sum(done.values())
    return Report(done=total, held=total - len(failures), counts=dict(done), failures=tuple(failures))
