"""What a log-in by password costs, beside one by ticket, against a KDC on this machine.

    .venv/bin/python -m benchmarks.basic [--times N]

Law: both take the way of the middleware, each password through the pool; what is timed is a whole log-in, and one that
fails ends the run.
"""

import argparse
import asyncio
import statistics
import time

from benchmarks.report import machine
from negotiate_mw.accept import Acceptor
from negotiate_mw.basic import PasswordLogins
from negotiate_mw.testing import KerberosRealm

REALMS = frozenset({"TEST.EXAMPLE"})


async def measure(realm: KerberosRealm, times: int) -> None:
    keytab = realm.keytab("HTTP/localhost")
    ccache = realm.kinit("alice")
    tickets = [realm.token("HTTP/localhost", ccache) for _ in range(times)]
    async with Acceptor(keytab=keytab, rcache=realm.directory / "rcache") as acceptor:
        passwords = PasswordLogins(acceptor)
        for name in ("ticket", "password"):
            seconds, cpu = [], time.process_time()
            for ticket in tickets:
                begun = time.perf_counter()
                if name == "ticket":
                    await acceptor.accept(None, ticket)
                else:
                    await passwords.log_in(b"alice:secret", peer="127.0.0.1", realms=REALMS, host=None)
                seconds.append(time.perf_counter() - begun)
            used = (time.process_time() - cpu) / times
            print(f"{name:>8}: median {statistics.median(seconds) * 1e3:.2f} ms, of that our own {used * 1e3:.2f} ms")
        passwords.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=500)
    arguments = parser.parse_args()
    print(machine())
    with KerberosRealm() as realm:
        realm.add_user("alice", "secret")
        realm.add_service("HTTP/localhost")
        with realm.apply():
            asyncio.run(measure(realm, arguments.times))


if __name__ == "__main__":
    main()
