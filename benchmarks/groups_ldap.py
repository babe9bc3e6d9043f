"""What it costs to look groups up in a directory, and what the event loop notices of it.

    .venv/bin/python -m benchmarks.groups_ldap

Law: a real KDC and a real OpenLDAP on loopback; the lag is that of a loop which does nothing but sleep a millisecond at
a time, beside an idle one's.
"""

import asyncio
import os
from statistics import median, quantiles
from time import perf_counter

from benchmarks.report import machine
from negotiate_mw import LdapDirectory, LdapGroups
from negotiate_mw.testing import KerberosRealm, user
from tests.ldap.slapd import GROUPS, USERS, Slapd, dn, group
from tests.ldap.slapd import user as entry

REALM = "MIT.EXAMPLE"
BINDS, LOOKUPS = 50, 100_000


async def lags(seconds: float = 0.0, during: "asyncio.Task[None] | None" = None) -> list[float]:
    """By how many seconds each sleep was too long."""
    late, end = [], perf_counter() + seconds
    while (not during.done()) if during is not None else perf_counter() < end:
        begin = perf_counter()
        await asyncio.sleep(0.001)
        late.append(perf_counter() - begin - 0.001)
    return late


def shown(what: str, late: list[float]) -> str:
    p99 = quantiles(late, n=100)[98]
    return f"{what}: lag p50 {median(late) * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms, most {max(late) * 1e3:.2f} ms"


async def measure(slapd: Slapd, directory: LdapDirectory) -> None:
    groups, alice = LdapGroups(directory, ttl=3600), user(f"alice@{REALM}")
    binding: list[float] = []

    async def bind() -> None:
        for _ in range(BINDS):
            begin = perf_counter()
            await groups.start()
            binding.append(perf_counter() - begin)
            await groups.stop()

    print(shown("idle", await lags(3.0)))
    print(shown(f"{BINDS} times: start the process, ticket, bind", await lags(during=asyncio.create_task(bind()))))
    print(f"start the process, ticket, bind: p50 {median(binding) * 1e3:.0f} ms")
    await groups.start()
    before, begin = slapd.searches, perf_counter()
    await asyncio.gather(*(groups.of(alice, None) for _ in range(1000)))
    seconds, searches = perf_counter() - begin, slapd.searches - before
    print(f"1,000 log-ins of one user at once: 1 look-up ({searches} searches), {seconds * 1e3:.0f} ms for all")
    once = []
    for number in range(200):
        begin = perf_counter()
        await groups.of(user(f"user{number}@{REALM}"), None)
        once.append(perf_counter() - begin)
    print(f"look-up of an unknown user with nested groups: p50 {median(once) * 1e3:.1f} ms")
    begin = perf_counter()
    for _ in range(LOOKUPS):
        await groups.of(alice, None)
    print(f"cached: {(perf_counter() - begin) / LOOKUPS * 1e6:.2f} µs")
    await groups.stop()


def main() -> None:
    with KerberosRealm(REALM) as realm:
        realm.add_service("HTTP/localhost", "ldap/localhost")
        os.environ |= realm.env
        with Slapd(realm.environ(), realm.keytab("ldap/localhost")) as slapd:
            names = ["alice", *(f"user{number}" for number in range(200))]
            slapd.add("".join(map(entry, names)))
            slapd.add(group("staff", *map(dn, names)) + group("all", dn("staff", GROUPS)))
            print(machine())
            keytab = realm.keytab("HTTP/localhost")
            directory = LdapDirectory(
                realm=REALM,
                domain="MIT",
                servers=[slapd.url],
                users=USERS,
                groups=GROUPS,
                principal=f"HTTP/localhost@{REALM}",
                keytab=keytab,
            )
            asyncio.run(measure(slapd, directory))


if __name__ == "__main__":
    main()
