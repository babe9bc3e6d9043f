"""A reader's place: a clone of the repository, the realm CORP.EXAMPLE, her ticket, and what pages take for granted."""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm, RealmUnavailable
from tests.integration.serving import Server, serve
from tests.store.server import RedisServer

from .pages import PAGES, ROOT, blocks

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
APP = next(block.text for block in blocks(ROOT / "README.md") if block.name == "app.py")
FILES = ("http.keytab", "users.txt", "session.keys", "cert.pem", "key.pem")
PASSWORD = "alice's password"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The realm CORP.EXAMPLE with alice, a Redis, and a site that she can log in to."""

    realm: KerberosRealm
    files: Path
    redis: str
    key: str
    site: Server


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    texts = "".join(page.read_text() for page in PAGES)
    hosts = {"localhost", *re.findall(r"https?://([\w.-]+\.example)\b", texts)}
    certificate = ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=localhost", "-days", "2"]
    certificate += ["-addext", "subjectAltName=" + ",".join(f"DNS:{host}" for host in sorted(hosts))]
    certificate += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    try:
        realm = KerberosRealm("CORP.EXAMPLE")
        realm.__enter__()
    except RealmUnavailable as exc:
        if os.environ.get("NEGOTIATE_MW_REQUIRE_REALM") == "1":
            raise
        pytest.skip(str(exc))
    with closing(realm), RedisServer() as redis:
        realm.add_user("alice", PASSWORD)
        services = [f"HTTP/{host}" for host in sorted(hosts)]
        realm.add_service(*services)
        keytab = realm.keytab(*services, path=folder / "http.keytab")
        subprocess.run(certificate, check=True, capture_output=True)
        hashed = [str(BIN / "negotiate-mw"), "ntlm-hash", "CORP", "bob", "-"]
        user = subprocess.run(hashed, input="secret\n", check=True, capture_output=True, text=True).stdout
        key = secrets.token_urlsafe(32)
        for name, text in (("users.txt", user), ("session.keys", f"{key}\n")):
            (folder / name).touch(0o600)
            (folder / name).write_text(text)
        env = realm.environ() | {"KRB5_KTNAME": str(keytab), "REDIS_URL": redis.url, "SESSION_KEY": key}
        with serve("tests.docs.site_app:app", env=env) as site:
            yield World(realm=realm, files=folder, redis=redis.url, key=key, site=site)


@pytest.fixture
def folder(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Where a page's reader is: her keytab, certificate and apps, in a clone of the repository."""
    page: Path = request.getfixturevalue("page")
    for name in ("app.py", "main.py"):
        (tmp_path / name).write_text(APP)
    for block in blocks(page):
        if block.name.endswith((".py", ".txt", ".ini", ".yml", ".conf")):
            (tmp_path / block.name).write_text(block.text)
    (tmp_path / "etc").mkdir()
    keytabs = dict.fromkeys(re.findall(r"[\w-]+\.keytab", page.read_text()), "http.keytab")
    for where in (tmp_path, tmp_path / "etc"):
        for name, file in {**keytabs, **{name: name for name in FILES}}.items():
            (where / name).symlink_to(world.files / file)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "port").write_text(f"{world.site.port}\n")
    return tmp_path


@pytest.fixture
def env(world: World, folder: Path) -> dict[str, str]:
    paths = [str(HERE / "python"), str(folder), os.environ.get("PYTHONPATH", "")]
    env = world.realm.environ(world.realm.kinit("alice"))
    return env | {
        "HOME": str(folder),
        "PATH": f"{BIN}:{env['PATH']}",
        "PYTHONPATH": ":".join(filter(None, paths)),
        "KRB5_KTNAME": str(folder / "http.keytab"),
        "SSL_CERT_FILE": str(folder / "cert.pem"),
        "CURL_CA_BUNDLE": str(folder / "cert.pem"),
        "SESSION_KEY": world.key,
        "REDIS_URL": world.redis,
        "NEGOTIATE_MW_DEV": "1",
        "DOCS_PORT": str(folder / "port"),
        "DOCS_URL": world.site.url,
        "DOCS_PASSWORD": PASSWORD,
    }
