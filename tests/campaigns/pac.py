"""The PAC's readers, fed buffers that were changed: groups, claims or a ``WireError``, nothing else, never for long.

Law: each input is a buffer of a real domain controller, or one built for as many groups as nobody is in, changed in
places that count: lengths, counts, pointers and SIDs. Time is the processor's, so that a busy machine doesn't count.
"""

import random
from collections import Counter
from collections.abc import Sequence
from time import thread_time

from negotiate_mw.wire.claims import read_claims
from negotiate_mw.wire.errors import WireError
from negotiate_mw.wire.logon_info import read_logon_info
from negotiate_mw.wire.pac import read_upn_dns_info
from tests.wire import claims_vectors, vectors
from tests.wire.building import logon_info
from tests.wire.claims_building import INT64, STRING, claims_info

from .report import Report

MOST_SECONDS = 0.010  # for any input
_FAR = [(f"S-1-5-21-4-5-6-{number}", 7) for number in range(40)]
LOGON_INFOS = (
    vectors.LOGON_INFO,
    logon_info("", groups=[], extra=[], flags=0),
    logon_info(extra=_FAR, resource_domain_sid="S-1-5-21-7-8-9", resource=[(1200, 0x20000007)] * 40, flags=0x220),
    claims_vectors.LOGON_INFO_LOCAL_GROUPS,
    logon_info(rid=0, extra=[("S-1-5-" + "-".join("1" * 15), 7), *_FAR]),
)
LARGEST = logon_info(groups=[(1000 + number, 7) for number in range(1000)], extra=_FAR * 10)
CLAIMS = (
    claims_vectors.WINDOWS,
    claims_vectors.WINDOWS_PACKED,
    claims_vectors.SAMBA,
    claims_vectors.SAMBA_LONG,
    claims_info([("a", STRING, ["b" * 70] * 9), ("c", INT64, range(40))], form=4),
)
LARGEST_CLAIMS = claims_info([(f"claim {number}", STRING, [f"value {number}"] * 4) for number in range(200)], form=4)
NUMBERS = (0, 1, 2, 3, 0xF, 0x10, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def changed(dice: random.Random, seeds: Sequence[bytes], largest: bytes) -> bytes:
    """A buffer with one to eight changes, its own length put right in half of the cases."""
    data = bytearray(largest if dice.random() < 0.02 else dice.choice(seeds))
    for _ in range(dice.choice((1, 1, 2, 8))):
        at = dice.randrange(len(data) + 1) & (~3 if dice.random() < 0.7 else ~0)
        match dice.randrange(6):
            case 0:
                data[at : at + 4] = dice.choice(NUMBERS).to_bytes(4, "little")
            case 1:
                number = int.from_bytes(data[at : at + 4], "little") + dice.choice((-1, 1, 4, 8))
                data[at : at + 4] = (number % 2**32).to_bytes(4, "little")
            case 2:
                data[at : at + 1] = bytes([data[at] ^ 1 << dice.randrange(8)]) if at < len(data) else b""
            case 3:
                data[at:at] = dice.randbytes(dice.choice((1, 4, 8)))
            case 4:
                del data[at : at + dice.choice((1, 4, 8))]
            case _:
                del data[max(at, 16) :]
    if dice.random() < 0.5 and len(data) >= 16:
        data[8:12] = (len(data) - 16).to_bytes(4, "little")
    return bytes(data)


def run(count: int, seed: int) -> Report:
    """``count`` buffers: three in four of groups, one of claims; one in ten for the reader of UPN_DNS_INFO as well."""
    dice = random.Random(seed)
    came: Counter[str] = Counter()
    longest = 0.0
    failures: list[str] = []
    for number in range(count):
        of_claims = number % 4 == 3
        data = changed(dice, CLAIMS, LARGEST_CLAIMS) if of_claims else changed(dice, LOGON_INFOS, LARGEST)
        began = thread_time()
        try:
            read_claims(data) if of_claims else read_logon_info(data).group_sids()
        except WireError as error:
            came[f"refused: {error.reason}"] += 1
        except Exception as error:
            failures.append(f"{error!r} on {data.hex()}")
        else:
            came["claims read" if of_claims else "read"] += 1
        spent = thread_time() - began
        longest = max(longest, spent)
        if spent > MOST_SECONDS:
            failures.append(f"{spent * 1000:.1f} ms for {data.hex()}")
        if number % 10 == 0:
            try:
                read_upn_dns_info(data)
            except WireError:
                pass
            except Exception as error:
                failures.append(f"UPN_DNS_INFO: {error!r} on {data.hex()}")
    counts: dict[str, int | float] = {**came, "longest ms": round(longest * 1000, 2)}
    return Report(done=count, held=count - len(failures), counts=counts, failures=tuple(failures[:5]))
