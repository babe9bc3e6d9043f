"""Directories that are down, that hang, or that don't want us: what users and operators see, and who else notices."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from negotiate_mw import AcceptError, ConfigurationError, LdapDirectory, LdapGroups, NegotiateMiddleware, Policy
from negotiate_mw.directory import process
from negotiate_mw.directory.process import RETRY_SECONDS
from negotiate_mw.testing import KerberosRealm
from negotiate_mw.testing.scripted import ScriptedAcceptor, user
from tests.integration.samba_ad import SambaAD
from tests.shell.driving import Client, Site, on_a_loop

from .conftest import MIT
from .slapd import ADMIN, PASSWORD, SUFFIX, Slapd
from .test_active_directory import groups_of, ntlm_user
from .test_member_of import mit_user

Directory = Callable[..., LdapDirectory]


@contextmanager
def held(pid: int) -> Iterator[None]:
    """A process that hangs."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def worst_lag(during: Awaitable[object]) -> float:
    """The longest that the event loop was away, in seconds."""
    worst, task = 0.0, asyncio.ensure_future(during)
    while not task.done():
        begin = time.perf_counter()
        await asyncio.sleep(0.001)
        worst = max(worst, time.perf_counter() - begin - 0.001)
    await task
    return worst


def app_with(groups: LdapGroups, **options: object) -> tuple[NegotiateMiddleware, Site]:
    site = Site()
    script = {name.encode(): (mit_user(name), None) for name in ("alice", "bob", "carol")}
    acceptor = ScriptedAcceptor(script, realms=frozenset({MIT}))
    return NegotiateMiddleware(site, acceptor=acceptor, groups=groups, **options), site  # type: ignore[arg-type]


def children() -> set[int]:
    """This process's look-up processes."""
    command = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())]
    found = subprocess.run(command, capture_output=True, text=True)
    return {int(line.split()[0]) for line in found.stdout.splitlines() if "negotiate_mw.directory.child" in line}


@on_a_loop
async def test_a_directory_that_is_down_is_503_for_those_unknown_until_it_is_back(
    slapd: Slapd, mit_directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    groups = LdapGroups(mit_directory())
    app, site = app_with(groups)
    before = await Client(app).get(b"alice")
    slapd.stop()

    try:
        known, unknown = await Client(app).get(b"alice"), await Client(app).get(b"bob")
    finally:
        slapd.start()
    soon = await Client(app).get(b"bob")
    await asyncio.sleep(RETRY_SECONDS)
    later = await Client(app).get(b"bob")
    await groups.stop()

    statuses = [answer.status for answer in (before, known, unknown, soon, later)]
    assert statuses == [200, 200, 503, 503, 200]
    assert unknown.all("retry-after")
    assert f"directory-down: {slapd.url}: " in caplog.text
    assert site.scopes[-1]["user"].groups == {r"MIT\staff", r"MIT\everybody-here"}


@on_a_loop
async def test_without_required_groups_a_log_in_goes_on_without(slapd: Slapd, mit_directory: Directory) -> None:
    groups = LdapGroups(mit_directory())
    app, site = app_with(groups, policy=Policy(groups_optional=True))
    slapd.stop()

    try:
        answer = await Client(app).get(b"bob")
    finally:
        slapd.start()
        await groups.stop()

    assert answer.status == 200
    assert site.scopes[0]["user"].groups == frozenset()


@on_a_loop
async def test_the_connection_is_kept_and_made_again_when_it_broke(slapd: Slapd, mit_directory: Directory) -> None:
    groups = LdapGroups(mit_directory(), ttl=0)
    before, binds = slapd.binds, []

    for restart in (False, False, True, False):
        if restart:
            slapd.stop()
            slapd.start()
        await groups.of(mit_user("alice"), None)
        binds.append(slapd.binds - before)
    await groups.stop()

    assert binds == [1, 1, 2, 2]


@on_a_loop
async def test_a_directory_that_hangs_is_503_in_time_and_holds_up_nobody_else(
    slapd: Slapd, mit_directory: Directory
) -> None:
    groups = LdapGroups(mit_directory(), timeout=1)
    app, _ = app_with(groups, exempt=["/healthz"])
    await Client(app).get(b"alice")

    with held(slapd.pid):
        begin = time.monotonic()
        bob = asyncio.create_task(Client(app).get(b"bob"))
        lag = await worst_lag(bob)
        seconds = time.monotonic() - begin
        meanwhile = await Client(app).get(b"alice")
    await asyncio.sleep(RETRY_SECONDS)
    later = await Client(app).get(b"bob")
    await groups.stop()

    assert (bob.result().status, meanwhile.status, later.status) == (503, 200, 200)
    assert seconds < 3
    assert lag < 0.5


@on_a_loop
async def test_a_domain_controller_that_hangs_is_503_in_time(ad: SambaAD, ad_directory: Directory) -> None:
    groups = LdapGroups(ad_directory(), timeout=1)
    script = {name.encode(): (user(f"{name}@{ad.name}", upn=f"{name}@ad"), None) for name in ("alice", "bob")}
    app = NegotiateMiddleware(Site(), acceptor=ScriptedAcceptor(script, realms=frozenset({ad.name})), groups=groups)
    before = await Client(app).get(b"alice")

    with held(ad.pid):
        bob = asyncio.create_task(Client(app).get(b"bob"))
        lag = await worst_lag(bob)
        alice = await Client(app).get(b"alice")
    await asyncio.sleep(RETRY_SECONDS)
    later = await Client(app).get(b"bob")
    await groups.stop()

    assert (before.status, alice.status, bob.result().status, later.status) == (200, 200, 503, 200)
    assert lag < 0.5


@pytest.mark.parametrize("which", ["directory", "directory by TLS", "KDC"])
@on_a_loop
async def test_what_hangs_at_the_bind_holds_up_nobody_else(
    slapd: Slapd, mit: KerberosRealm, mit_directory: Directory, which: str
) -> None:
    options = {"servers": [slapd.tls_url], "ca_file": slapd.directory / "cert.pem"} if "TLS" in which else {}
    groups = LdapGroups(mit_directory(**options), timeout=1)
    assert mit._kdc is not None

    with held(mit._kdc.pid if which == "KDC" else slapd.pid):
        bob = asyncio.create_task(groups.of(mit_user("bob"), None))
        await asyncio.wait([bob], timeout=0.05)
        lag = await worst_lag(asyncio.wait([bob]))
    await groups.stop()

    assert isinstance(bob.exception(), AcceptError)
    assert "no answer within 1.0 s" in str(bob.exception())
    assert lag < 0.5


@on_a_loop
async def test_another_server_is_asked_where_the_first_is_down_or_hangs(slapd: Slapd, mit_directory: Directory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closed:
        urls = [f"ldap://localhost:{server.getsockname()[1]}" for server in (silent, closed)]
        closed.close()
        groups = LdapGroups(mit_directory(servers=[*urls, slapd.url]), timeout=6)

        found = await groups.of(mit_user("alice"), None)
        begin = time.monotonic()
        await groups.of(mit_user("bob"), None)  # whoever answered is asked first
        seconds = time.monotonic() - begin
        await groups.stop()

    assert r"MIT\staff" in found
    assert seconds < 1.5


@on_a_loop
async def test_a_keytab_with_old_keys_stops_the_start_and_says_what_to_try(
    ad: SambaAD, mit: KerberosRealm, ad_directory: Directory, mit_directory: Directory, tmp_path: Path
) -> None:
    with KerberosRealm(MIT) as other:
        other.add_service("HTTP/localhost")
        keytab = other.keytab("HTTP/localhost", path=tmp_path / "old.keytab")
        groups = LdapGroups(mit_directory(keytab=keytab))

        with pytest.raises(ConfigurationError, match=rf"kinit -k -t {keytab} HTTP/localhost@{MIT}"):
            await groups.start()
        with pytest.raises(AcceptError, match="directory-down"):
            await groups.of(mit_user("alice"), None)
        await groups.stop()


@pytest.mark.parametrize("trouble", ["empty keytab", "wrong password", "empty password"])
@on_a_loop
async def test_a_crowd_whose_directory_does_not_want_us_costs_one_process_and_one_log_in(
    trouble: str, mit_directory: Directory, slapd: Slapd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keytab = tmp_path / "empty.keytab"
    keytab.write_bytes(b"\x05\x02")
    by_this = by_password(slapd, "" if "empty" in trouble else "wrong") if "password" in trouble else {"keytab": keytab}
    directory = mit_directory(**by_this)
    started = []
    begin = process._Child.__init__

    def counted(child: process._Child, options: Mapping[str, object]) -> None:
        started.append(options["server"])
        begin(child, options)

    monkeypatch.setattr(process._Child, "__init__", counted)
    monkeypatch.setattr(process, "RETRY_SECONDS", 300.0)  # so that a slow machine doesn't try again
    groups = LdapGroups(directory, timeout=30)

    crowd = [groups.of(mit_user(f"user{number}"), None) for number in range(40)]
    errors = await asyncio.gather(*crowd, return_exceptions=True)
    with pytest.raises(AcceptError, match="directory-down"):
        await groups.of(mit_user("late"), None)
    await groups.stop()

    assert {error.reason for error in errors if isinstance(error, AcceptError)} == {"directory-down"}
    assert len(errors) == 40
    assert started == list(directory.servers)


@pytest.mark.parametrize("base", ["users", "groups"])
@on_a_loop
async def test_a_base_that_is_not_there_stops_the_start(mit_directory: Directory, base: str) -> None:
    groups = LdapGroups(mit_directory(**{base: f"ou=nowhere,{SUFFIX}"}))

    with pytest.raises(ConfigurationError, match=f"there is no ou=nowhere,{SUFFIX}"):
        await groups.start()
    await groups.stop()


@on_a_loop
async def test_a_directory_that_is_down_does_not_stop_the_start(
    mit_directory: Directory, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"ldap://localhost:{closed.getsockname()[1]}"
    groups = LdapGroups(mit_directory(servers=[url]))

    await groups.start()
    await groups.stop()

    assert f"no groups for {MIT} yet: {url}: " in caplog.text


# Binding


@on_a_loop
async def test_kerberos_and_tls_go_together(slapd: Slapd, mit_directory: Directory) -> None:
    groups = LdapGroups(mit_directory(servers=[slapd.tls_url], ca_file=slapd.directory / "cert.pem"))

    assert r"MIT\staff" in await groups.of(mit_user("alice"), None)
    await groups.stop()


@on_a_loop
async def test_a_server_that_would_not_seal_the_connection_is_not_believed(
    mit: KerberosRealm, slapd: Slapd, mit_directory: Directory
) -> None:
    with Slapd(mit.environ(), mit.keytab("ldap/localhost"), security="maxssf=0") as clear:
        groups = LdapGroups(mit_directory(servers=[clear.url]))

        with pytest.raises(AcceptError, match="directory-down"):
            await groups.of(mit_user("alice"), None)
        await groups.stop()

        assert clear.binds == 0


def by_password(slapd: Slapd, password: str, ca: str = "cert.pem") -> dict[str, object]:
    file = slapd.directory / "password"
    file.write_text(password)
    who = {"principal": None, "keytab": None, "bind_dn": ADMIN, "password_file": file}
    return who | {"servers": [slapd.tls_url], "ca_file": slapd.directory / ca}


@on_a_loop
async def test_a_password_will_do(slapd: Slapd, mit_directory: Directory) -> None:
    groups = LdapGroups(mit_directory(**by_password(slapd, PASSWORD + "\n")))

    await groups.start()

    assert r"MIT\staff" in await groups.of(mit_user("alice"), None)
    await groups.stop()


@pytest.mark.parametrize(
    ("password", "why"), [("wrong", "Invalid credentials"), ("", "password is empty"), ("\n", "password is empty")]
)
@on_a_loop
async def test_a_wrong_or_empty_password_stops_the_start(
    slapd: Slapd, mit_directory: Directory, password: str, why: str
) -> None:
    groups = LdapGroups(mit_directory(**by_password(slapd, password)))  # slapd takes an empty one, as many do

    with pytest.raises(ConfigurationError, match=rf"{why}.* have the password of cn=admin"):
        await groups.start()
    await groups.stop()


@on_a_loop
async def test_no_password_goes_to_a_server_that_nobody_vouches_for(
    slapd: Slapd, mit_directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LDAPTLS_REQCERT", "never")  # the server's own environment says otherwise
    groups = LdapGroups(mit_directory(**by_password(slapd, PASSWORD, ca="other.pem")))
    binds = slapd.log.count(" BIND dn=")

    with pytest.raises(AcceptError, match="directory-down"):
        await groups.of(mit_user("alice"), None)
    await groups.stop()

    assert slapd.log.count(" BIND dn=") == binds


@on_a_loop
async def test_the_process_keeps_its_environment_and_uses_no_other_ticket(
    mit: KerberosRealm, slapd: Slapd, mit_directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{mit.kinit('bob')}")
    before, seen = dict(os.environ), len(slapd.log)
    groups = LdapGroups(mit_directory())

    await groups.of(mit_user("alice"), None)
    await groups.stop()

    assert dict(os.environ) == before
    assert "uid=http/localhost" in slapd.log[seen:]
    assert "uid=bob" not in slapd.log[seen:]


# Processes


@on_a_loop
async def test_nothing_is_left_after_the_stop(mit_directory: Directory) -> None:
    groups = LdapGroups(mit_directory())
    before = children()
    await groups.start()
    during = children()

    await groups.stop()

    assert len(during - before) == 1
    assert children() == before


@on_a_loop
async def test_a_stop_amid_a_question_ends_it(slapd: Slapd, mit_directory: Directory) -> None:
    groups = LdapGroups(mit_directory(), timeout=30)
    before = children()

    with held(slapd.pid):
        question = asyncio.create_task(groups.of(mit_user("alice"), None))
        await asyncio.wait([question], timeout=0.5)
        begin = time.monotonic()
        await groups.stop()
        await asyncio.wait([question], timeout=5)

    assert isinstance(question.exception(), AcceptError)
    assert time.monotonic() - begin < 5
    assert children() == before


@on_a_loop
async def test_a_look_up_process_that_dies_is_started_again(mit_directory: Directory) -> None:
    groups = LdapGroups(mit_directory(), ttl=0)
    before = children()
    await groups.of(mit_user("alice"), None)
    (pid,) = children() - before

    os.kill(pid, signal.SIGKILL)
    with pytest.raises(AcceptError, match="the look-up process ended"):
        await groups.of(mit_user("alice"), None)
    await asyncio.sleep(RETRY_SECONDS)

    assert r"MIT\staff" in await groups.of(mit_user("alice"), None)
    await groups.stop()


def test_a_server_that_is_killed_leaves_no_look_up_process(slapd: Slapd, mit_directory: Directory) -> None:
    directory = mit_directory()
    options = {name: getattr(directory, name) for name in ("realm", "domain", "users", "groups", "principal", "keytab")}
    script = (
        "import asyncio, os, signal, sys\n"
        "from negotiate_mw import LdapDirectory, LdapGroups\n"
        f"groups = LdapGroups(LdapDirectory(servers=[{slapd.url!r}], **{options!r}))\n"
        "asyncio.run(groups.start())\n"
        "print(next(iter(groups._by_realm.values()))[1]._child._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )

    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=dict(os.environ))

    pid = int(said.stdout)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "(zombie)" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@on_a_loop
async def test_too_many_questions_are_told_so(slapd: Slapd, mit_directory: Directory) -> None:
    groups = LdapGroups(mit_directory(), timeout=1)
    groups._by_realm[MIT][1]._pool._capacity = 2

    with held(slapd.pid):
        many = [groups.of(mit_user(f"user{number}"), None) for number in range(4)]
        errors = await asyncio.gather(*many, return_exceptions=True)
    await groups.stop()

    assert sorted(error.reason for error in errors if isinstance(error, AcceptError)) == [
        *("directory-busy", "directory-busy", "directory-busy"),  # two found no room, one's turn didn't come
        "directory-down",
    ]
    assert "\n".join(map(str, errors)).count("look-ups wait already") == 2


@on_a_loop
async def test_a_question_whose_turn_does_not_come_is_told_so_and_ends_nothing(
    slapd: Slapd, mit_directory: Directory
) -> None:
    groups = LdapGroups(mit_directory(), timeout=2, ttl=0)
    await groups.of(mit_user("alice"), None)
    asks = groups._by_realm[MIT][1]
    before = children()

    with asks._asking:  # as a long question would
        late = asyncio.create_task(groups.of(mit_user("bob"), None))
        await asyncio.sleep(2.2)
    (error,) = await asyncio.gather(late, return_exceptions=True)
    found = await groups.of(mit_user("alice"), None)
    unchanged = children() == before
    await groups.stop()

    assert isinstance(error, AcceptError)
    assert error.reason == "directory-busy"
    assert r"MIT\staff" in found
    assert unchanged


def test_a_wrong_directory_for_the_kind_is_refused(ad: SambaAD, ad_directory: Directory) -> None:
    directory = ad_directory(base="dc=nowhere,dc=example")

    with pytest.raises(AcceptError):
        groups_of(LdapGroups(directory), ntlm_user("alice"))
