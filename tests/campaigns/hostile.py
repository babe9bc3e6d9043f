"""Hostile input through the whole stack: real acceptor, both mechanisms, real keytab.

Law: each kind is a dialogue that yields a request's headers and is given the token that came back. Whatever it sends:
no crash, no 5xx, nobody let in without a key, and none but the key's own user with one.

Two apps take turns. In one, replays are looked for, as ever: there no token works twice, however it was changed. In the
other they are not, so that what was changed is judged by itself and not for being a replay.
"""

import asyncio
import random
import tempfile
import time
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from negotiate_mw import Acceptor, NegotiateMiddleware
from negotiate_mw.wire import der
from negotiate_mw.wire.spnego import KRB5, KRB5_U2U, MS_KRB5, NEGOEX, NTLM, SPNEGO
from tests.integration.tokens import neg_token_init, neg_token_resp
from tests.shell.driving import Answer, Client, Headers, negotiate

from .child import Listener, resident_mib
from .report import Report
from .seeds import NTLM_USERS, NTLMSSP, Seeds, challenge_in

Dialogue = Generator[Headers, bytes | None, None]
Kind = Callable[[int, random.Random, Seeds], Dialogue]

ALLOWED = frozenset({101, 200, 400, 401, 403, 431})
SLOWEST_SECONDS = 1.0  # of the processor's time; a busy machine may keep anybody waiting for longer than that
GROWTH_MIB = 4.0
WARM_UP = 0.2  # of the count
CROWD = neg_token_init([KRB5] * 7000)


# The kinds


def truncated(n: int, dice: random.Random, seeds: Seeds) -> Dialogue:
    token = seeds.real() if n % 2 else seeds.other()
    yield [negotiate(token[: n // 2 % len(token)])]


def flipped(n: int, dice: random.Random, seeds: Seeds) -> Dialogue:
    token = bytearray(seeds.any())
    for _ in range(1 if n % 2 else dice.randint(2, 8)):
        token[dice.randrange(len(token))] ^= 1 << dice.randrange(8)
    yield [negotiate(bytes(token))]


def lengths_edited(n: int, dice: random.Random, seeds: Seeds) -> Dialogue:
    token = bytearray(seeds.any())
    at = dice.randrange(min(80, len(token)) if dice.random() < 0.7 else len(token))
    value = dice.choice((0, 1, token[at] - 1, token[at] + 1, 0x7F, 0x80, 0x81, 0x82, 0x83, 0x84, 0x88, 0xFE, 0xFF))
    token[at : at + 1] = bytes([value & 0xFF]) + dice.choice((b"", b"", b"\0", b"\xff\xff\xff\xff", b"\x7f" + bytes(7)))
    yield [negotiate(bytes(token))]


def nested(n: int, dice: random.Random, seeds: Seeds) -> Dialogue:
    token, tag = seeds.any(), dice.choice((0x30, 0x60, 0xA0, 0xA1, 0xA2, 0x24))
    spnego = dice.random() < 0.3
    for _ in range(dice.choice((1, 2, 30) if spnego else (2, 30, 400, 3000))):
        token = neg_token_init([dice.choice((SPNEGO, KRB5))], token) if spnego else der.encode(tag, token)
    yield [negotiate(neg_token_init([KRB5], token) if n % 2 else token)]


def negoex(n: int, dice: random.Random, seeds: Seeds) -> Dialogue:
    def number() -> bytes:
        return dice.choice((0, 1, 40, 96, 0xFFFF, 0xFFFFFFF8, 0xFFFFFFFF)).to_bytes(4, "little")

    message = b"NEGOEXTS" + dice.randrange(9).to_bytes(4, "little") + b"".join(number() for _ in range(3))
    message += dice.randbytes(16) + dice.randbytes(32) + b"".join(number() for _ in range(8)) + seeds.any()
    lists = ([NEGOEX], [NEGOEX, KRB5], [NEGOEX, NTLM], [KRB5, NEGOEX], [NTLM, NEGOEX, KRB5])
    answer = yield [negotiate(neg_token_init(dice.choice(lists), message * dice.choice((1, 1, 3))))]
    if answer:
        yield [negotiate(neg_token_resp(dice.choice((message, seeds.kerberos()))))]


def ntlm_fields_wrapped(n: int, dice: random.Random, seeds: Seeds) -> Dialogue:
    wrapped = dice.random() < 0.5
    edges = (0, 1, 7, 16, 24, 63, 64, 72, 88, 0x7FFF, 0x8000, 0xFFF0, 0xFFFF, 0x7FFFFFFF, 0xFFFFFF00, 0xFFFFFFFF)

    def edited(message: bytes, fields: range) -> bytes:
        changed = bytearray(message)
        for _ in range(dice.choice((0, 1, 1, 2, 6))):
            at = dice.choice(fields)
            field = b"".join((dice.choice(edges) & 0xFFFF).to_bytes(2, "little") for _ in range(2))
            changed[at : at + 8] = field + dice.choice((*edges, len(message), len(message) - 1)).to_bytes(4, "little")
        return bytes(changed)

    first = seeds.ntlm_first(wrapped=False)
    if n % 4 == 0:
        first = edited(first, range(16, 32, 8))
    answer = yield [negotiate(neg_token_init([NTLM], first) if wrapped else first)]
    if (challenge := challenge_in(answer)) is not None:
        last = edited(seeds.ntlm_last(challenge, keyed=dice.random() < 0.7), range(12, 60, 8))
        yield [negotiate(neg_token_resp(last) if wrapped else last)]


def wrappings_confused(n: int, dice: random.Random, seeds: Seeds) -> Dialogue:
    oids = (KRB5, MS_KRB5, KRB5_U2U, NTLM, NEGOEX, SPNEGO, "1.3.6.1.5.2.5", "1.3.5.1.5.2", "2.999")
    inner = dice.choice((seeds.kerberos, seeds.spnego, seeds.other, lambda: seeds.ntlm_first(wrapped=False)))()
    oid = dice.choice(oids)
    bare = der.encode(0x60, der.encode(der.OID, der.encode_oid(oid)) + dice.choice((b"", b"\1\0", b"\2\0")) + inner)
    mixed = [
        bare,
        neg_token_init([oid], inner),
        neg_token_init(dice.sample(oids, dice.randint(1, len(oids))), dice.choice((inner, bare))),
        neg_token_init([oid], bare),
        neg_token_resp(inner),
        NTLMSSP + inner,
        inner.replace(der.encode_oid(KRB5), der.encode_oid(MS_KRB5)),
        inner + seeds.any(),
    ]
    answer = yield [negotiate(dice.choice(mixed))]
    if answer:
        yield [negotiate(dice.choice((neg_token_resp(inner), neg_token_resp(bare), inner, bare)))]


def legs_out_of_order(n: int, dice: random.Random, seeds: Seeds) -> Dialogue:
    answer: bytes | None = None
    for _ in range(dice.randint(1, 12)):
        challenge = challenge_in(answer)
        last = seeds.recorded[-1] if challenge is None else seeds.ntlm_last(challenge, keyed=dice.random() < 0.5)
        leg = dice.choice(
            (
                *(neg_token_resp(), neg_token_resp(seeds.kerberos()), neg_token_resp(last), last),
                *(neg_token_init([KRB5]), neg_token_init([NTLM, KRB5], seeds.ntlm_first(wrapped=False))),
                *(seeds.ntlm_first(wrapped=False), seeds.ntlm_first(wrapped=True), seeds.any(), answer or b"\xa1\0"),
                None,
            )
        )
        answer = yield [] if leg is None else [negotiate(leg)]


def base64_broken(n: int, dice: random.Random, seeds: Seeds) -> Dialogue:
    text = b64encode(seeds.any())
    at = dice.randrange(len(text))
    value = dice.choice(
        (
            *(text.rstrip(b"=") + b"=" * dice.randrange(4), text[:-1], text + text, b"=" + text, text + b" " + text),
            *(urlsafe_b64encode(seeds.any()), text[:at] + dice.randbytes(1) + text[at:], text[:at] + b"=" + text[at:]),
            *(text[:at] + b"\n" + text[at:], text[:at] + b" " + text[at:], b'"' + text + b'"', text + b","),
            *(text[:at] + text[at:].swapcase(), text.hex().encode(), b"=", b"====", b"A", b"AA", b"AAA"),
        )
    )
    yield [(b"authorization", b"Negotiate " + value)]


def headers_repeated(n: int, dice: random.Random, seeds: Seeds) -> Dialogue:
    good = negotiate(seeds.any())
    more = (good, negotiate(seeds.other()), (b"authorization", b""), (b"authorization", b"Basic YWxpY2U6eA=="))
    headers = [
        good,
        *dice.choices((*more, (b"authorization", b"NTLM " + b64encode(seeds.other()))), k=dice.randint(1, 50)),
    ]
    dice.shuffle(headers)
    yield headers


def schemes_odd(n: int, dice: random.Random, seeds: Seeds) -> Dialogue:
    text = b64encode(dice.choice((seeds.any(), seeds.ntlm_first(wrapped=False))))
    schemes = (
        b"NTLM ",
        b"ntlm\t",
        b"NEGOTIATE ",
        b"Negotiate",
        b"Negotiate\t",
        b"Negotiate, ",
        b"Negotiate  ",
        b"Kerberos ",
    )
    more = (b"Basic ", b"Bearer ", b"Nego2 ", b"Negotiate\0", b" Negotiate ", b"Negotiate realm=", b"", b"SPNEGO ")
    answer = yield [(dice.choice((b"authorization", b"proxy-authorization")), dice.choice(schemes + more) + text)]
    if (challenge := challenge_in(answer)) is not None:
        last = b64encode(seeds.ntlm_last(challenge, keyed=dice.random() < 0.5))
        yield [(b"authorization", dice.choice(schemes + more) + last)]


def oversized(n: int, dice: random.Random, seeds: Seeds) -> Dialogue:
    size = dice.choice((60_000, 65_535, 65_536, 65_537, 90_000, 200_000)) + dice.randrange(3)
    token = seeds.any()
    full = dice.choice((token + bytes(size), neg_token_init([KRB5], token + bytes(size)), CROWD))
    yield [negotiate(full if n % 4 else full[:size])]


def not_latin_1(n: int, dice: random.Random, seeds: Seeds) -> Dialogue:
    text = b64encode(seeds.any())
    characters = "\xe9\xff\u017f\u212a\u0130\uff14\u202e\0\x85\U0001f3ab"
    odd = dice.choice(characters).encode(dice.choice(("utf-8", "utf-16-le")))
    at = dice.randrange(len(text))
    broken = (
        b"Negotiate " + text[:at] + odd + text[at:],
        odd + b" " + text,
        b"Negotiate" + odd + text,
        b"Negotiate " + odd,
    )
    extra = (dice.choice((b"host", b"origin", b"cookie", b"x-forwarded-for", b"user-agent")), odd)
    yield [(b"authorization", dice.choice((*broken, b"Negotiate " + text))), extra]


def garbage(n: int, dice: random.Random, seeds: Seeds) -> Dialogue:
    head = dice.choice(
        (b"", b"", b"\x60", b"\xa1", b"\x60\x82\1\0", NTLMSSP, NTLMSSP + b"\1\0\0\0", NTLMSSP + b"\3\0\0\0")
    )
    token = head + dice.randbytes(dice.choice((0, 1, 2, 8, 40, 300, 3000)))
    if n % 3 == 0:
        real = seeds.any()
        token = real[: dice.randrange(len(real))] + token
    yield [negotiate(dice.choice((token, neg_token_init([KRB5], token), neg_token_init([NTLM], token))))]


KINDS: tuple[Kind, ...] = (
    *(truncated, flipped, lengths_edited, nested, negoex, ntlm_fields_wrapped, wrappings_confused),
    *(legs_out_of_order, base64_broken, headers_repeated, schemes_odd, oversized, not_latin_1, garbage),
)


# The campaign


async def whoami(scope: Any, receive: Any, send: Any) -> None:
    """Says who asked: nobody is an empty body."""
    name = getattr(scope["user"], "principal", "").encode()
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept", "headers": [(b"x-user", name)]})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": name})


class Findings:
    """What was seen, and what should not have been."""

    def __init__(self, seeds: Seeds) -> None:
        self._seeds = seeds
        self._used: set[bytes] = set()
        self.statuses: Counter[int] = Counter()
        self.accepted: Counter[str] = Counter()
        self.failures: list[str] = []
        self.slowest_cpu = self.slowest = 0.0

    def judge(self, kind: str, headers: Headers, answer: Answer, *, replays_found: bool) -> None:
        self.statuses[answer.status] += 1
        user = answer.text or "".join(answer.all("x-user"))
        if answer.error is not None or answer.status not in ALLOWED:
            self._fail(f"{kind}: {answer.status}, {answer.error!r}", headers)
        if user and answer.status in (101, 200):
            self.accepted[kind] += 1
            owners = [owner for owner in map(self._seeds.owner, _tokens(headers)) if owner is not None]
            if [name for _, name in owners] != [user]:
                self._fail(f"{kind}: {user} was let in by a token without that user's proof", headers)
            elif replays_found:
                if owners[0][0] in self._used:
                    self._fail(f"{kind}: {user} was let in twice by one token", headers)
                self._used.add(owners[0][0])

    def _fail(self, sentence: str, headers: Headers) -> None:
        if len(self.failures) < 5:
            self.failures.append(f"{sentence}: {headers!r:.4000}")


def _tokens(headers: Headers) -> list[bytes]:
    found = []
    for name, value in headers:
        if name == b"authorization":
            try:
                found.append(b64decode(value.split()[-1] if value.split() else b"", validate=True))
            except ValueError:
                continue
    return found


def _circumstances(dice: random.Random) -> dict[str, Any]:
    """What else a request may be, now and then."""
    return dice.choice(
        (
            *([{}] * 15),
            {"method": "POST"},
            {"method": "OPTIONS"},
            {"http_version": "1.0"},
            {"http_version": "2"},
            {"path": "/é\0"},
        )
    )


async def _attack(count: int, seed: int, rcache: Path, users: Path) -> Report:
    dice = random.Random(seed)
    seeds = Seeds(dice)
    findings = Findings(seeds)
    listener = Listener()
    mechanisms = ("kerberos", "ntlm")
    strict, lenient = (Acceptor(mechanisms=mechanisms, ntlm_users=users, rcache=where) for where in (rcache, "none"))
    apps = (
        NegotiateMiddleware(whoami, acceptor=strict),
        NegotiateMiddleware(whoami, acceptor=lenient, required=False),
    )
    done, turn, before = 0, 0, 0.0
    async with strict, lenient:
        while done < count:
            kind = KINDS[turn % len(KINDS)]
            app = apps[turn // len(KINDS) % 2]
            dialogue = kind(turn // len(KINDS), dice, seeds)
            turn += 1
            client = Client(app, peer=(f"192.0.2.{dice.randrange(256)}", 50000))
            answer: Answer | None = None
            try:
                while True:
                    headers = next(dialogue) if answer is None else dialogue.send(_token(answer))
                    ask = client.websocket if dice.random() < 0.03 else client.get
                    began, cpu = time.perf_counter(), time.process_time()
                    answer = await ask(headers=list(headers), **_circumstances(dice))
                    findings.slowest_cpu = max(findings.slowest_cpu, time.process_time() - cpu)
                    findings.slowest = max(findings.slowest, time.perf_counter() - began)
                    findings.judge(kind.__name__, headers, answer, replays_found=app is apps[0])
                    done += 1
            except StopIteration:
                client.close()
            await asyncio.sleep(0)  # as between any two requests: the loop forgets its timers
            if not before and done >= count * WARM_UP:
                before = resident_mib()
        growth = resident_mib() - before
    failures = findings.failures + listener.mistakes
    if findings.slowest_cpu > SLOWEST_SECONDS:
        failures.append(f"a request took {findings.slowest_cpu:.1f} s of the processor's time")
    if growth > GROWTH_MIB:
        failures.append(f"the process grew by {growth:.1f} MiB")
    failures += [f"{len(app._store)} handshakes were left" for app in apps if len(app._store)]
    counts = {f"answered {status}": number for status, number in sorted(findings.statuses.items())}
    return Report(
        done=done,
        held=done - len(findings.failures),
        counts=counts
        | {"let in, by the proof's own user": findings.accepted.total()}
        | {
            "slowest ms": round(findings.slowest * 1000, 1),
            "growth MiB": round(growth, 2),
            "log lines": listener.lines,
        },
        failures=tuple(failures),
    )


def _token(answer: Answer) -> bytes | None:
    """The token of an answer's challenge, whatever the scheme."""
    for value in answer.all("www-authenticate"):
        if " " in value:
            return b64decode(value.partition(" ")[2])
    return None


def run(count: int, seed: int) -> Report:
    """``count`` requests of fourteen kinds."""
    with tempfile.TemporaryDirectory() as directory:
        users = Path(directory, "users")
        users.touch(0o600)
        users.write_text(NTLM_USERS)
        rcache = Path(directory, "rcache")
        rcache.mkdir(0o700)
        return asyncio.run(_attack(count, seed, rcache, users))
