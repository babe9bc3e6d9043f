"""Two worlds, each with a KDC, servers that have its keys, and users with their browsers."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import pytest

from negotiate_mw.testing import KerberosRealm
from negotiate_mw.testing.plugin import REQUIRED
from negotiate_mw.testing.realm import RealmUnavailable
from tests.integration.samba_ad import SambaAD
from tests.parity.chromium import chromium
from tests.servers.starting import AnyServer, start

from .cells import SITES, Cell, KdcName, Site
from .clients import DOMAIN, PASSWORD, USER, missing

SERVICE = "HTTP/localhost"


def skip(why: str) -> NoReturn:
    """Skip for want of a part; an error where all parts have to be there."""
    if os.environ.get(REQUIRED) == "1":
        raise RuntimeError(why)
    pytest.skip(why)


class User:
    """Somebody at this machine, as ``clients.User``."""

    def __init__(self, env: Mapping[str, str], until_the_end: ExitStack) -> None:
        self.env = env
        self._until_the_end = until_the_end

    @cached_property
    def browser(self) -> str:
        return self._until_the_end.enter_context(chromium(self.env))


class World:
    """What the tests of one KDC share.

    Attributes:
        realm: the KDC's realm.
        alice: a user with a ticket; ``nobody``: one without.
        passwords: the file of NTLM users.
    """

    def __init__(self, kdc: KerberosRealm | SambaAD, folder: Path, until_the_end: ExitStack) -> None:
        self._folder = folder
        self._until_the_end = until_the_end
        self._servers: dict[str, Future[AnyServer]] = {}
        self.realm = kdc.name
        self.nobody = User(kdc.environ(), until_the_end)
        self.alice = User(kdc.environ(kdc.kinit("alice")), until_the_end)
        self.passwords = folder / "users"
        self.passwords.touch(0o600)
        self.passwords.write_text(f"{DOMAIN}:{USER.removeprefix(f'{DOMAIN}{chr(92)}')}:{PASSWORD}\n")
        keys = {"KRB5_KTNAME": str(kdc.keytab(SERVICE)), "TEST_NTLM_USERS": str(self.passwords)}
        self._env = {**self.nobody.env, **keys}

    def start(self, pool: ThreadPoolExecutor, site: Site) -> None:
        """Begin to start a server."""
        folder = self._folder / site.title
        folder.mkdir()
        one = start(site.row, self._env, folder / "no-certificate", folder)
        self._servers[site.title] = pool.submit(self._until_the_end.enter_context, one)

    def server(self, site: Site) -> AnyServer:
        """A server, once it answers."""
        return self._servers[site.title].result()


@contextmanager
def world(name: KdcName, kdc: KerberosRealm | SambaAD, request: pytest.FixtureRequest, folder: Path) -> Iterator[World]:
    """The world of a KDC; the servers that are asked for start at the same time."""
    cells = [item.callspec.params.get("cell") for item in request.session.items if hasattr(item, "callspec")]
    asked_for = {cell.site.title for cell in cells if isinstance(cell, Cell) and cell.kdc == name}
    with ExitStack() as until_the_end, ThreadPoolExecutor() as pool:
        one = World(kdc, folder, until_the_end)
        for site in SITES:
            if site.title in asked_for and not lacking(site):
                one.start(pool, site)
        yield one


def lacking(site: Site) -> str | None:
    """Which of a server's modules isn't there."""
    return next(filter(None, (missing(f"module {need}") for need in site.needs)), None)


@pytest.fixture(scope="module")
def mit(
    request: pytest.FixtureRequest, kerberos_realm: KerberosRealm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """That of MIT's KDC."""
    with world("MIT", kerberos_realm, request, tmp_path_factory.mktemp("mit")) as one:
        yield one


@pytest.fixture(scope="module")
def samba_ad(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """That of a Samba domain controller."""
    with ExitStack() as until_the_end:
        try:
            kdc = until_the_end.enter_context(SambaAD())
        except RealmUnavailable as error:
            skip(str(error))
        yield until_the_end.enter_context(world("AD", kdc, request, tmp_path_factory.mktemp("ad")))


@pytest.fixture
def around(request: pytest.FixtureRequest, cell: Cell) -> World:
    """The cell's world."""
    found: World = request.getfixturevalue({"MIT": "mit", "AD": "samba_ad"}[cell.kdc])
    return found


@pytest.fixture
def server(cell: Cell, around: World) -> AnyServer:
    """The cell's server."""
    if why := lacking(cell.site):
        skip(why)
    return around.server(cell.site)
