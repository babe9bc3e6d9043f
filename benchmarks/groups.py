"""What it costs to read a ticket's groups, from the PAC's buffer to the names that the app sees.

    .venv/bin/python -m benchmarks.groups [--rounds N]

Law: no library and no KDC on the clock, only the reader and PacGroups; every group counts, none is read twice.
"""

import argparse
import asyncio
from time import perf_counter

from benchmarks.in_process import finish, no_collections
from benchmarks.report import Figure, machine, table
from negotiate_mw.groups import PacGroups
from negotiate_mw.identity import AcceptResult, Account, vouched_groups
from negotiate_mw.status import SecStatus
from negotiate_mw.testing import user
from negotiate_mw.wire.logon_info import read_logon_info
from tests.wire.building import logon_info

DOMAIN = "S-1-5-21-1004336348-1177238915-682003330"
ELSEWHERE = "S-1-5-21-3623811015-3361044348-30300820"
CASES = ((200, 0.0, 100), (200, 0.1, 100), (1000, 0.0, 500), (1000, 0.1, 500))
ALICE = user("alice@CORP.EXAMPLE", sid=f"{DOMAIN}-1102")
ACCOUNT = Account(principal="alice@CORP.EXAMPLE", realm="CORP.EXAMPLE", sid=ALICE.sid, upn="", is_service=False)


def buffer(groups: int, elsewhere: float) -> bytes:
    """KERB_VALIDATION_INFO of somebody in so many groups, of which a share is another domain's."""
    others = int(groups * elsewhere)
    return logon_info(
        domain_sid=DOMAIN,
        groups=[(2000 + number, 7) for number in range(groups - others)],
        extra=[(f"{ELSEWHERE}-{3000 + number}", 7) for number in range(others)],
    )


def read(data: bytes, rounds: int) -> Figure:
    """Microseconds from bytes to SIDs."""

    def once() -> float:
        began = perf_counter()
        read_logon_info(data).group_sids()
        return (perf_counter() - began) * 1e6

    with no_collections():
        return Figure.of([once() for _ in range(rounds)])


def whole(data: bytes, rounds: int) -> Figure:
    """Microseconds of ``PacGroups.of``, all but the library's copying of the buffer."""

    def group_sids(domain_sid: str | None = None) -> frozenset[str]:
        return vouched_groups(ACCOUNT, read_logon_info(data), at_home=True, domain_sid=domain_sid)

    groups = PacGroups(names={f"{DOMAIN}-2001": "HR"})
    result = AcceptResult(status=SecStatus.OK, context=None, identity=ALICE, group_sids=group_sids)
    assert "HR" in asyncio.run(groups.of(ALICE, result))

    def once() -> float:
        began = perf_counter()
        finish(groups.of(ALICE, result))
        return (perf_counter() - began) * 1e6

    with no_collections():
        return Figure.of([once() for _ in range(rounds)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.groups", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2000, help="(default: %(default)s)")
    rounds = parser.parse_args().rounds
    rows = []
    for groups, elsewhere, most in CASES:
        data = buffer(groups, elsewhere)
        text = f"{groups:,} groups, {elsewhere:.0%} of another domain"
        rows.append([text, f"{len(data):,}", f"{read(data, rounds):.0f}", f"{whole(data, rounds):.0f}", str(most)])
    print(table(["µs (quartiles)", "bytes", "read", "read and named", "at most"], rows), end="\n\n")
    print(machine())


if __name__ == "__main__":
    main()
