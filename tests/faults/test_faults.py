"""What breaks on a running server: whose fault it is called, what the log says, and that its repair is enough."""

import os
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm, tickets
from tests.integration.serving import Answer, Server, ServerEnded, Wire
from tests.servers.clients import ONE_LEG, User

from .site import ELSE, SERVICE, UID, UNPRIVILEGED, Site, log_in, needs_root

APART = ("unshare", "--mount", "--propagation", "private")  # mounts that nobody else sees, and that go with it

Harm = Callable[[Site], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that an operator, or another user of the machine, does while the server runs.

    Attributes:
        name: what it is.
        harm: does it.
        repair: undoes it.
        says: what its line in the log has, after the path of the file.
        needs_root: only root can do it, since it takes another user.
    """

    name: str
    harm: Harm
    repair: Harm
    says: str
    needs_root: bool = False

    def __str__(self) -> str:
        return self.name


def keys(site: Site) -> bytes:
    return site.realm.keytab(SERVICE).read_bytes()


def restore_keytab(site: Site) -> None:
    site.put_keytab(keys(site))


def cut_in_place(site: Site) -> None:
    site.keytab.chmod(0o600)
    os.truncate(site.keytab, 40)


def lock_directory(site: Site) -> None:
    site.replay_file.unlink()
    site.rcache.chmod(0o500)


def make_elses(path: Path) -> None:
    """Make a file as somebody else."""
    path.touch(0o600)
    os.chown(path, ELSE, -1)


def taken(site: Site) -> None:
    site.replay_file.unlink()
    make_elses(site.replay_file)


def free(site: Site) -> None:
    site.replay_file.unlink()


KEYTAB_FAULTS = (
    Fault(
        name="keytab half-written",
        harm=cut_in_place,
        repair=restore_keytab,
        says="is no usable keytab (incomplete: ",
    ),
    Fault(
        name="keytab replaced by half of one",
        harm=lambda site: site.put_keytab(keys(site)[:40]),
        repair=restore_keytab,
        says="is no usable keytab (incomplete: ",
    ),
    Fault(
        name="keytab emptied",
        harm=lambda site: site.put_keytab(b""),
        repair=restore_keytab,
        says="is no usable keytab (incomplete: ",
    ),
    Fault(
        name="keytab of another service",
        harm=lambda site: site.put_keytab(site.realm.keytab("host/localhost").read_bytes()),
        repair=restore_keytab,
        says="holds no key of HTTP/… (it holds host/localhost)",
    ),
    Fault(
        name="keytab unreadable",
        harm=lambda site: site.keytab.chmod(0),
        repair=lambda site: site.keytab.chmod(0o400),
        says=f"can't be read (Permission denied); let uid {UID} read it: setfacl -m u:{UID}:r ",
    ),
    Fault(
        name="keytab removed",
        harm=lambda site: site.keytab.unlink(),
        repair=restore_keytab,
        says="can't be read (No such file or directory); name the right file: ",
    ),
)
REPLAY_FAULTS = (
    Fault(
        name="replay cache read-only",
        harm=lambda site: site.replay_file.chmod(0o400),
        repair=lambda site: site.replay_file.chmod(0o600),
        says="can't be written; name a directory of this user: ",
    ),
    Fault(
        name="replay cache gone, its directory read-only",
        harm=lock_directory,
        repair=lambda site: site.rcache.chmod(0o700),
        says="can't be written (Permission denied); name a directory of this user: ",
    ),
    Fault(
        name="replay cache made by another user",
        harm=taken,
        repair=free,
        says=f"is not ours (it belongs to uid {ELSE}); name a directory of this user: ",
        needs_root=True,
    ),
)


@pytest.mark.parametrize("fault", KEYTAB_FAULTS + REPLAY_FAULTS, ids=str)
def test_what_is_ours_is_503_with_one_error_line_and_its_repair_is_enough(
    site: Site, alice: User, fault: Fault
) -> None:
    if fault.needs_root:
        needs_root("another user's file")
    with site.serving() as server:
        before = log_in(server, alice)
        mark = server.mark()

        fault.harm(site)
        broken = log_in(server, alice)
        server.until_logged("ERROR", mark=mark)
        said = server.since(mark)
        fault.repair(site)
        repaired = log_in(server, alice)

    assert [answer.status for answer in (before, broken, repaired)] == [200, 503, 200]
    reason, place = ("keytab", site.keytab) if fault in KEYTAB_FAULTS else ("replay-cache", site.rcache)
    assert_one_error_line(broken, said, reason, f"{place}", fault.says)


def assert_one_error_line(broken: Answer, said: str, reason: str, *words: str) -> None:
    (line,) = said.splitlines()
    assert line.startswith(f"ERROR negotiate_mw: refused with 503: {reason}: ")
    for word in words:
        assert word in line
    reference = re.search(rb"Reference: (\w+)", broken.body)
    assert reference
    assert f"reference={reference[1].decode()}" in line
    assert (broken.headers["retry-after"], broken.challenges) == ("5", [])


# Keys that change


def test_a_keytab_with_old_and_new_keys_takes_tickets_of_both(kerberos_realm: KerberosRealm, site: Site) -> None:
    service = "HTTP/rolled.test.example"
    kerberos_realm.add_service(service)
    site.put_keytab(kerberos_realm.keytab(service).read_bytes())
    held = kerberos_realm.kinit("alice")
    with site.serving() as server:
        statuses = [ask(server, kerberos_realm.token(service, held))]

        kerberos_realm.rotate(service, keep_old=True)
        site.put_keytab(kerberos_realm.keytab(service).read_bytes())
        fresh = kerberos_realm.kinit("alice")
        statuses += [ask(server, kerberos_realm.token(service, ccache)) for ccache in (held, fresh)]
        kerberos_realm.rotate(service)
        site.put_keytab(kerberos_realm.keytab(service).read_bytes())
        newest = kerberos_realm.kinit("alice")
        mark = server.mark()
        statuses += [ask(server, kerberos_realm.token(service, ccache)) for ccache in (newest, held)]
        server.until_logged("WARNING negotiate_mw: refused with 401: no-key: ", mark=mark)

    assert statuses == [200, 200, 200, 200, 401]


def ask(server: Server, token: bytes) -> int:
    with Wire(server.port) as wire:
        return wire.get(token=token).status


# The realm and its configuration


def test_without_a_kdc_who_has_a_ticket_logs_in(kerberos_realm: KerberosRealm, site: Site, alice: User) -> None:
    with site.serving() as server:
        kerberos_realm.stop_kdc()
        try:
            answers = [log_in(server, alice) for _ in range(3)]
        finally:
            kerberos_realm.start_kdc()

    assert [answer.status for answer in answers] == [200] * 3


def test_krb5_conf_is_not_needed(site: Site, alice: User) -> None:
    with site.serving() as server:
        site.krb5_conf.unlink()
        taken_away = log_in(server, alice)
    with site.serving() as server:
        never_there = log_in(server, alice)

    assert (taken_away.status, never_there.status) == (200, 200)


BROKEN_CONF = "[libdefaults\n  realms = {\n"


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda site: site.krb5_conf.write_text(BROKEN_CONF), "Improper format of Kerberos configuration file"),
        (lambda site: site.krb5_conf.chmod(0), "Permission denied"),
    ],
    ids=["broken", "unreadable"],
)
def test_a_krb5_conf_that_cannot_be_read_is_503_and_its_repair_is_enough(
    site: Site, alice: User, harm: Harm, words: str
) -> None:
    good = site.krb5_conf.read_text()
    with site.serving() as server:
        before = log_in(server, alice)
        mark = server.mark()

        harm(site)
        broken = log_in(server, alice)
        server.until_logged("refused with ", mark=mark)
        said = server.since(mark)
        site.krb5_conf.chmod(0o644)
        site.krb5_conf.write_text(good)
        repaired = log_in(server, alice)

    assert [answer.status for answer in (before, broken, repaired)] == [200, 503, 200]
    assert_one_error_line(broken, said, "library", words, str(site.krb5_conf))


def test_a_broken_krb5_conf_stops_the_start_with_one_sentence(site: Site) -> None:
    site.krb5_conf.write_text(BROKEN_CONF)

    with pytest.raises(ServerEnded) as ended, site.serving():
        pass

    (line,) = re.findall(r"^ERROR: +negotiate-mw: (.*)$", ended.value.log, re.M)
    assert "Improper format of Kerberos configuration file" in line
    assert str(site.krb5_conf) in line
    assert "Traceback" not in ended.value.log


# Clocks


@pytest.fixture
def clock(site: Site) -> Callable[[timedelta], None]:
    """Sets the server's clock, however much it is off."""
    file = site.directory / "clock"

    def set_to(off: timedelta) -> None:
        fresh = file.with_suffix(".fresh")
        fresh.write_text(f"{off.total_seconds():+.0f}")
        fresh.chmod(0o644)
        fresh.replace(file)

    set_to(timedelta())
    return set_to


@contextmanager
def serving_by(site: Site) -> Iterator[Server]:
    """The site's server by that clock."""
    faked = {
        "LD_PRELOAD": tickets.at(timedelta(), site.env)["LD_PRELOAD"],
        "FAKETIME_TIMESTAMP_FILE": str(site.directory / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with site.serving(env=faked) as server:
        yield server
    # a process that ends by a signal leaves these
    for name in ("faketime_shm_{}", "sem.faketime_sem_{}"):
        Path("/dev/shm", name.format(server.process.pid)).unlink(missing_ok=True)


def test_clocks_may_differ_by_five_minutes_and_a_wrong_one_is_401_until_it_is_set_right(
    site: Site, alice: User, clock: Callable[[timedelta], None]
) -> None:
    statuses: dict[int, int] = {}
    with serving_by(site) as server:
        for minutes in (-4, +4, -6, +6, -60, +60):
            clock(timedelta(minutes=minutes))
            mark = server.mark()
            statuses[minutes] = log_in(server, alice).status
            if abs(minutes) > 5:
                server.until_logged("WARNING negotiate_mw: refused with 401: clock-skew: ", mark=mark)
            clock(timedelta())
            assert log_in(server, alice).status == 200

    assert statuses == {-4: 200, +4: 200, -6: 401, +6: 401, -60: 401, +60: 401}


# The machine's limits


def test_too_many_open_files_are_503_and_the_first_request_after_gets_in(site: Site, alice: User) -> None:
    with site.serving() as server, Wire(server.port) as wire:
        pid = server.process.pid
        assert wire.get(token=ONE_LEG.begin(alice).step()).status == 200
        mark = server.mark()

        limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), limit[1]))
        broken = wire.get(token=ONE_LEG.begin(alice).step())
        server.until_logged("refused with ", mark=mark)
        said = server.since(mark)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
        repaired = wire.get(token=ONE_LEG.begin(alice).step())

    assert (broken.status, repaired.status) == (503, 200)
    assert_one_error_line(broken, said, "keytab", "Too many open files")


def fill(path: Path) -> None:
    """Write until nothing fits any more."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk_is_503_and_the_first_request_after_gets_in(site: Site, alice: User) -> None:
    needs_root("a disk of its own")
    mount = f'mount -t tmpfs -o size=64k,mode=700 none {site.rcache} && exec "$@"'
    with site.serving(under=(*APART, "sh", "-c", mount, "sh", *UNPRIVILEGED)) as server:
        filling = Path(f"/proc/{server.process.pid}/root{site.rcache}/filling")
        mark = server.mark()

        fill(filling)
        broken = log_in(server, alice)
        server.until_logged("refused with ", mark=mark)
        said = server.since(mark)
        filling.unlink()
        repaired = log_in(server, alice)

    assert (broken.status, repaired.status) == (503, 200)
    assert_one_error_line(broken, said, "library", "No space left on device")


# Start


def test_a_replay_cache_made_by_another_user_stops_the_start_with_one_sentence(site: Site) -> None:
    needs_root("another user's file")
    make_elses(site.replay_file)

    with pytest.raises(ServerEnded) as ended, site.serving():
        pass

    (line,) = re.findall(r"^ERROR: +negotiate-mw: (.*)$", ended.value.log, re.M)
    assert f"the replay cache '{site.replay_file}' is not ours (it belongs to uid {ELSE})" in line
    assert "Traceback" not in ended.value.log


# $1: a user; $2: what they may write to
READ_ONLY = """
awk '{ print $2 }' /proc/self/mounts | sort -r | while read -r place; do
  mount -o remount,bind,ro "$place" 2>/dev/null || true
done
mount -t tmpfs -o size=1m,mode=700,uid=$1 none "$2"
shift 2
exec "$@"
"""


def test_on_a_read_only_system_an_unknown_uid_with_one_writable_directory_is_enough(site: Site, alice: User) -> None:
    needs_root("a read-only system")
    nobody = (f"--reuid={ELSE}", f"--regid={ELSE}", "--clear-groups", "--no-new-privs")
    # it may read what it runs, wherever that is, and the keytab
    reading = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search")
    script = (*APART, "sh", "-c", READ_ONLY, "sh", str(ELSE), str(site.rcache))
    env = {"KRB5RCACHEDIR": "", "RUNTIME_DIRECTORY": str(site.rcache), "HOME": "/nonexistent"}
    with site.serving(under=(*script, "setpriv", *nobody, *reading, "--"), env=env) as server:
        root = Path(f"/proc/{server.process.pid}/root")

        answers = [log_in(server, alice) for _ in range(2)]

        status = Path(f"/proc/{server.process.pid}/status").read_text()
        places = [root / place.lstrip("/") for place in ("/", "/tmp", "/var/tmp", "/dev/shm")]
        written = [path.name for path in (root / site.rcache.relative_to("/")).iterdir()]
        can_be_written = [place for place in places if not os.statvfs(place).f_flag & os.ST_RDONLY]

    assert [answer.status for answer in answers] == [200, 200]
    assert f"Uid:\t{ELSE}\t{ELSE}\t" in status
    assert written == [f"krb5_{ELSE}.rcache2"]
    assert can_be_written == []
