"""A server that things go wrong with: its files are its own, and it may not do everything, even if root starts it.

Law: no file of the machine is touched but those in a directory of its own, which goes with it.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import Answer, Server, Wire, serve
from tests.servers.clients import ONE_LEG, User

SERVICE = "HTTP/localhost"
IS_ROOT = os.geteuid() == 0
UID = os.geteuid()
ELSE = UID + 4242  # somebody else
# root without its privileges is a user as any other, whose own files it may be kept from
UNPRIVILEGED = ("setpriv", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--") if IS_ROOT else ()


class Site:
    """One server's files, and the server while it runs.

    Attributes:
        directory: all that belongs to the server.
        keytab: its keys.
        rcache: the directory of its replay cache.
        krb5_conf: its own copy of the realm's.
    """

    def __init__(self, realm: KerberosRealm, directory: Path) -> None:
        self.realm = realm
        self.directory = directory
        self.keytab = directory / "http.keytab"
        self.rcache = directory / "rcache"
        self.krb5_conf = directory / "krb5.conf"
        shutil.copy(realm.directory / "krb5.conf", self.krb5_conf)
        self.krb5_conf.chmod(0o644)
        self.rcache.mkdir(mode=0o700)
        self.put_keytab(realm.keytab(SERVICE).read_bytes())

    @property
    def replay_file(self) -> Path:
        return self.rcache / f"krb5_{UID}.rcache2"

    @property
    def env(self) -> dict[str, str]:
        return {
            **self.realm.environ(),
            "KRB5_KTNAME": str(self.keytab),
            "KRB5RCACHEDIR": str(self.rcache),
            "KRB5_CONFIG": str(self.krb5_conf),
        }

    def put_keytab(self, content: bytes) -> None:
        """Replace the keytab in one step."""
        fresh = self.keytab.with_name("fresh")
        fresh.touch(0o600)
        fresh.write_bytes(content)
        fresh.chmod(0o400)
        fresh.replace(self.keytab)

    @contextmanager
    def serving(self, *, under: Sequence[str] = UNPRIVILEGED, env: Mapping[str, str] | None = None) -> Iterator[Server]:
        """Its server for a ``with`` block; ``under`` changes its surroundings, see ``serve``."""
        with serve("app", env=self.env | dict(env or {}), under=under) as server:
            yield server


@contextmanager
def new_site(realm: KerberosRealm) -> Iterator[Site]:
    directory = Path(tempfile.mkdtemp(prefix="negotiate-mw-faults-"))
    try:
        yield Site(realm, directory)
    finally:
        shutil.rmtree(directory)


def needs_root(what: str) -> None:
    """Skip a test that root alone can set up."""
    if not IS_ROOT:
        pytest.skip(f"{what} takes root")


def log_in(server: Server, user: User) -> Answer:
    """One log-in on a connection of its own."""
    with Wire(server.port) as wire:
        return wire.get(token=ONE_LEG.begin(user).step())
