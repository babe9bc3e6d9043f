"""The pure readers, fed what no client sends: an answer or a ``WireError``, and nothing else.

Law: each input is somebody's real bytes, changed; each reader gets whatever was meant for any of them.
"""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from negotiate_mw.wire import http, kerberos, keytab, ntlm, pac, spnego
from negotiate_mw.wire.errors import WireError
from tests.integration.tokens import neg_token_init, neg_token_resp
from tests.wire import vectors

from .report import Report

SEEDS = (
    *(value for name, value in vars(vectors).items() if name.isupper() and isinstance(value, bytes)),
    neg_token_init([spnego.KRB5, spnego.NTLM] * 4, vectors.KERBEROS),
    neg_token_resp(vectors.NTLM_AUTHENTICATE),
    bytes.fromhex("010500000000000515000000238f9d19348848cabdb9a7954e040000"),
    b"Negotiate TlRMTVNTUAABAAAA",
)
EDGES = (0, 1, 0x1F, 0x30, 0x60, 0x7F, 0x80, 0x81, 0x84, 0xA0, 0xA1, 0xFE, 0xFF)
READERS: tuple[Callable[[bytes], Any], ...] = (
    spnego.read,
    kerberos.read_ap_req,
    kerberos.krb_error_code,
    ntlm.read_negotiate,
    ntlm.read_authenticate,
    ntlm.read_v2_response,
    keytab.read_keytab,
    pac.read_upn_dns_info,
    pac.read_sid,
    lambda data: http.parse([(b"authorization", data)], max_bytes=65536),
    lambda data: http.host([(b"host", data)]),
)


def changed(dice: random.Random) -> bytes:
    """A seed with one to eight changes."""
    data = bytearray(dice.choice(SEEDS))
    for _ in range(dice.choice((1, 1, 2, 8))):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(6):
            case 0:
                data[at : at + 1] = bytes([dice.choice(EDGES)])
            case 1:
                data[at : at + 1] = bytes([data[at] ^ 1 << dice.randrange(8)]) if at < len(data) else b""
            case 2:
                del data[at:]
            case 3:
                data[at:at] = dice.randbytes(dice.choice((1, 2, 4)))
            case 4:
                data[at : at + 4] = bytes(dice.choice(EDGES) for _ in range(4))
            case _:
                data[at : at + dice.choice((1, 2, 8))] = b""
    return bytes(data)


def run(count: int, seed: int) -> Report:
    """``count`` inputs, each to one reader."""
    dice = random.Random(seed)
    came: Counter[str] = Counter()
    failures: list[str] = []
    for n in range(count):
        data, reader = changed(dice), READERS[n % len(READERS)]
        try:
            reader(data)
        except WireError as error:
            came[f"refused: {error.reason}"] += 1
        except Exception as error:
            came["foreign exceptions"] += 1
            failures.append(f"{reader!r} raised {error!r} on {data.hex()}")
        else:
            came["read"] += 1
    foreign = came["foreign exceptions"]
    return Report(done=count, held=count - foreign, counts=dict(came), failures=tuple(failures[:5]))
