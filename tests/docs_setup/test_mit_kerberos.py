"""docs/mit-kerberos.md does what it says: its commands are typed into a shell, for a real KDC."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire.keytab import read_keytab
from tests.proxies.running import free_ports

from .page import BIN, Page, needs_root, serving, shell

PAGE = Page("mit-kerberos.md", {})
SITE = "www.corp.example"
SPN = f"HTTP/{SITE}"
PASSWORD = "alice's password"

Hello = Callable[[Path], str]


@pytest.fixture
def realm(kerberos_realm: KerberosRealm) -> Iterator[KerberosRealm]:
    """The page's realm as it is before step 1; skipped where the plugin's is."""
    with KerberosRealm("CORP.EXAMPLE") as realm:
        realm.add_user("alice", PASSWORD)
        yield realm


@pytest.fixture
def made(realm: KerberosRealm, folder: Path) -> Path:
    """A directory after steps 1 and 2."""
    PAGE.run("keytab", folder, realm.environ())
    PAGE.write(folder, "app.py")
    return folder


@pytest.fixture
def hello(realm: KerberosRealm, made: Path) -> Iterator[Hello]:
    """What a client sees, by the page's server and the page's curl."""
    (port,) = free_ports(1)
    command = PAGE.block("run", {"0.0.0.0": "127.0.0.1", "8000": str(port)})

    def ask(ticket: Path) -> str:
        curl = f"curl -sS --resolve {SITE}:{port}:127.0.0.1 --noproxy '*'"
        return PAGE.run("curl", made, realm.environ(ticket), instead={"8000": str(port), "curl": curl})

    with serving(command, made, realm.environ(), port):
        yield ask


def versions(keytab: Path) -> list[int]:
    return sorted({entry.kvno for entry in read_keytab(keytab.read_bytes())})


def opens(realm: KerberosRealm, keytab: Path) -> bool:
    """Whether a keytab opens a ticket that the KDC makes now."""
    command = ["kvno", "-q", "-k", str(keytab), SPN]
    return subprocess.run(command, env=realm.environ(realm.kinit("alice")), capture_output=True).returncode == 0


def causes(realm: KerberosRealm, folder: Path) -> str:
    command = [str(BIN / "negotiate-mw"), "check", "--keytab", "http.keytab"]
    env = realm.environ(realm.kinit("alice"))
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60).stdout


def ticket(realm: KerberosRealm) -> Path:
    """Tickets of alice's, that for the site among them."""
    ccache = realm.kinit("alice")
    shell(f"kvno -q {SPN}", realm.directory, realm.environ(ccache))
    return ccache


def test_every_block_is_run() -> None:
    assert PAGE.blocks == {
        *("keytab", "second-copy", "app.py", "run", "check", "curl"),
        *("krb5.conf", "rotate", "purge"),
    }


def test_after_steps_1_and_2_check_finds_nothing_wrong_and_alice_logs_in(
    realm: KerberosRealm, made: Path, hello: Hello
) -> None:
    env = realm.environ(made / "alice")

    printed = PAGE.run("check", made, env, stdin=f"{PASSWORD}\n")

    assert ", 0 warning, 0 problem" in printed
    assert f"a ticket for {SPN} opens: kvno 2" in printed
    assert hello(made / "alice") == '"Hello alice"'


def test_ktadd_makes_other_copies_useless(realm: KerberosRealm, made: Path) -> None:
    PAGE.run("second-copy", made, realm.environ())
    again = PAGE.block("keytab").splitlines()[1]

    shell(again.replace("http.keytab", "third.keytab"), made, realm.environ())

    assert versions(made / "third.keytab") == [3]
    assert not opens(realm, made / "http.keytab")
    assert not opens(realm, made / "second.keytab")
    assert "[kvno-old]" in causes(realm, made)


def test_ktadd_into_the_same_file_keeps_its_older_keys(realm: KerberosRealm, made: Path, hello: Hello) -> None:
    old = ticket(realm)

    shell(PAGE.block("keytab").splitlines()[1], made, realm.environ())

    assert versions(made / "http.keytab") == [2, 3]
    assert hello(old) == hello(ticket(realm)) == '"Hello alice"'


def test_norandkey_leaves_every_copy_good(realm: KerberosRealm, made: Path) -> None:
    PAGE.run("second-copy", made, realm.environ())

    assert versions(made / "second.keytab") == versions(made / "http.keytab") == [2]
    assert opens(realm, made / "http.keytab")
    assert opens(realm, made / "second.keytab")


def test_a_new_key_is_not_noticed_by_who_has_a_ticket_nor_by_who_gets_one(
    realm: KerberosRealm, made: Path, hello: Hello
) -> None:
    old = ticket(realm)
    first = hello(old)

    PAGE.run("rotate", made, realm.environ())
    (made / "new.keytab").replace(made / "http.keytab")
    rotated = versions(made / "http.keytab")
    answers = [hello(old), hello(ticket(realm))]
    PAGE.run("purge", made, realm.environ())
    at_the_kdc = shell(f"kadmin.local -q 'getprinc {SPN}'", made, realm.environ())

    assert [first, *answers] == ['"Hello alice"'] * 3
    assert rotated == [2, 3]
    assert versions(made / "http.keytab") == [3]
    assert set(re.findall(r"^Key: vno (\d+)", at_the_kdc, re.MULTILINE)) == {"3"}
    assert hello(ticket(realm)) == '"Hello alice"'
    assert "Hello" not in hello(old)


@needs_root
@pytest.mark.parametrize(("without", "asked"), [(None, "www"), ("dns_canonicalize_hostname = false", "web1")])
def test_the_pages_krb5_conf_has_clients_ask_for_the_name_in_the_url(
    realm: KerberosRealm, folder: Path, without: str | None, asked: str
) -> None:
    """With an alias as /etc/hosts can make one, in a mount namespace: www is another name of web1."""
    kdc = next(line for line in (realm.directory / "krb5.conf").read_text().splitlines() if " kdc = " in line)
    text = PAGE.block("krb5.conf", {"        kdc = kdc.corp.example": kdc})
    (folder / "krb5.conf").write_text(text.replace(without or "no line", ""))
    (folder / "hosts").write_text(f"127.0.0.1 web1.corp.example {SITE} localhost\n")
    realm.add_service(SPN, "HTTP/web1.corp.example")
    env = realm.environ(realm.kinit("alice")) | {"KRB5_CONFIG": str(folder / "krb5.conf")}

    shell(
        f"unshare --mount bash -euc 'mount --bind hosts /etc/hosts; kvno -q -S HTTP {SITE}'",
        folder,
        env,
    )
    listed = shell("klist", folder, env)

    assert f"HTTP/{asked}.corp.example@CORP.EXAMPLE" in listed
