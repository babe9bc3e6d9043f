"""docs/active-directory.md does what it says: its commands are typed into a shell, for a Samba domain controller."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from negotiate_mw.wire.keytab import read_keytab
from tests.proxies.running import free_ports

from .domain import ADMIN, PASSWORD, AdministeredAD
from .page import BIN, Page, serving, shell

PAGE = Page(
    "active-directory.md",
    {"CORP.EXAMPLE": "AD.TEST.EXAMPLE", "corp.example": "ad.test.example", "administrator": ADMIN},
)
SITE = "www.ad.test.example"
AES = {17, 18}  # RFC 3962
RC4 = 23  # RFC 4757


def keys(keytab: Path) -> dict[str, set[tuple[int, int]]]:
    """Versions and types of each principal's keys."""
    found: dict[str, set[tuple[int, int]]] = {}
    for entry in read_keytab(keytab.read_bytes()):
        found.setdefault(entry.principal, set()).add((entry.kvno, entry.enctype))
    return found


def near(domain: AdministeredAD) -> str:
    """What msktutil finds by DNS elsewhere."""
    return f"--server {domain.address} --no-reverse-lookups"


def environ(domain: AdministeredAD, folder: Path) -> dict[str, str]:
    return domain.environ(folder / "ccache")


def opens(domain: AdministeredAD, folder: Path, host: str) -> bool:
    """Whether the keytab opens a ticket that the domain makes now."""
    env = domain.environ(domain.kinit("alice"))
    command = ["kvno", "-q", "-k", str(folder / "http.keytab"), f"HTTP/{host}@{domain.name}"]
    return subprocess.run(command, env=env, capture_output=True).returncode == 0


def telling(start: str) -> str:
    """A command that the page's prose or table has in backticks."""
    (found,) = set(re.findall(f"`({re.escape(start)}[^`]*)`", PAGE.text))
    return str(found)


def check(env: dict[str, str], folder: Path) -> tuple[int, str]:
    command = [str(BIN / "negotiate-mw"), "check", "--keytab", "http.keytab"]
    done = subprocess.run(command, cwd=folder, env=env | {"COLUMNS": "200"}, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


@pytest.fixture(scope="module")
def made(domain: AdministeredAD, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory after step 2, by msktutil, and step 4."""
    folder = tmp_path_factory.mktemp("site")
    instead = {"msktutil create": f"msktutil create {near(domain)}"}
    PAGE.run("msktutil", folder, environ(domain, folder), instead=instead, stdin=f"{PASSWORD}\n")
    PAGE.write(folder, "app.py")
    return folder


@contextmanager
def site(folder: Path, app: str, domain: AdministeredAD) -> Iterator[int]:
    """The page's server, with that app; its port."""
    (port,) = free_ports(1)
    command = PAGE.block("run", {"app:app": f"{app}:app", "0.0.0.0": "127.0.0.1", "8000": str(port)})
    with serving(command, folder, domain.environ(), port):
        yield port


def test_every_block_is_run() -> None:
    assert PAGE.blocks == {
        *("msktutil", "samba", "salt", "ktutil", "adcli", "another-name"),
        *("app.py", "hr.py", "run", "check", "curl", "purge"),
    }


# Step 2


def test_msktutil_makes_account_spn_and_aes_keys(domain: AdministeredAD, made: Path) -> None:
    held = keys(made / "http.keytab")

    assert held.keys() == {"svc-web", f"HTTP/{SITE}"}
    assert {enctype for both in held.values() for _, enctype in both} == AES
    assert opens(domain, made, SITE)
    assert (made / "http.keytab").stat().st_mode & 0o777 == 0o600


def test_msktutil_refuses_an_spn_that_another_account_has(domain: AdministeredAD, made: Path, folder: Path) -> None:
    instead = {"msktutil create": f"msktutil create {near(domain)}", "svc-web": "svc-second"}
    command = PAGE.block("msktutil", instead)
    env = environ(domain, folder)

    done = subprocess.run(
        ["bash", "-euc", command], cwd=folder, env=env, input=f"{PASSWORD}\n", capture_output=True, text=True
    )

    assert "another computer account (CN=svc-web" in done.stderr
    assert f"HTTP/{SITE}" not in keys(folder / "http.keytab")


def test_samba_tool_exports_aes_keys(domain: AdministeredAD, folder: Path) -> None:
    samba(domain, folder, "samba")

    (held,) = keys(folder / "http.keytab").values()
    assert {enctype for _, enctype in held} == AES
    assert opens(domain, folder, "samba.ad.test.example")


def test_without_the_line_about_encryption_samba_tool_exports_rc4_alone(domain: AdministeredAD, folder: Path) -> None:
    samba(domain, folder, "weak", without="net ads enctypes")

    (held,) = keys(folder / "http.keytab").values()
    assert {enctype for _, enctype in held} == {RC4}


def samba(domain: AdministeredAD, folder: Path, host: str, *, without: str = "no line") -> None:
    instead = {
        "www.corp.example": f"{host}.corp.example",
        "svc-web": f"svc-{host}",
        "-U administrator": f"-S {domain.address} --use-kerberos=required",
    }
    lines = PAGE.block("samba", instead).splitlines()
    env = domain.environ(domain.kinit(ADMIN, PASSWORD))
    shell("\n".join(f"{line} -s {domain.smb_conf}" for line in lines if without not in line), folder, env)


@pytest.mark.parametrize("upn", [None, "HTTP/upn.ad.test.example@AD.TEST.EXAMPLE"], ids=["no UPN", "UPN as by ktpass"])
def test_the_key_is_made_from_the_password_with_the_salt_that_the_domain_tells(
    domain: AdministeredAD, folder: Path, upn: str | None
) -> None:
    host, account, password = ("upn", "svc-upn", "Pw-1-upn") if upn else ("kept", "svc-kept", "Pw-1-kept")
    domain.add({account: {"msDS-SupportedEncryptionTypes": "24", **({"userPrincipalName": upn} if upn else {})}})
    domain.tool("user", "setpassword", account, f"--newpassword={password}")
    domain.tool("spn", "add", f"HTTP/{host}.ad.test.example", account)
    ours = {"www.corp.example": f"{host}.corp.example", "svc-web": account}
    env = domain.environ(folder / "ccache") | {"KRB5CCNAME": f"FILE:{domain.kinit('alice')}"}

    told = PAGE.run("salt", folder, env, instead=ours, stdin=f"{password}\n")
    found = re.search(r'kvno = (\d+)\nsalt "(.+)"', told)
    assert found, told
    said = {"-k 2": f"-k {found[1]}", "-s CORP.EXAMPLEsvc-web": f"-s {found[2]}"}
    typed = PAGE.block("ktutil", said | {"www.corp.example": f"{host}.corp.example"})
    first, rest = typed.split("\n", 1)
    subprocess.run(
        ["ktutil"],
        cwd=folder,
        env=env,
        input=f"{first}\n{password}\n{rest}",
        text=True,
        check=True,
        capture_output=True,
    )

    assert found[2] == ("AD.TEST.EXAMPLEHTTPupn.ad.test.example" if upn else "AD.TEST.EXAMPLEsvc-kept")
    assert opens(domain, folder, f"{host}.ad.test.example")


def test_adcli_gives_the_machines_account_the_name_and_check_warns_of_rc4(domain: AdministeredAD, folder: Path) -> None:
    joined(domain, folder, "machine")

    status, printed = check(environ(domain, folder), folder)

    assert opens(domain, folder, "machine.ad.test.example")
    assert status == 1
    assert "keytab-weak-too" in printed


def test_adcli_writes_a_key_for_a_name_that_the_machine_may_not_have_and_check_finds_it(
    domain: AdministeredAD, folder: Path
) -> None:
    joined(domain, folder, "second")
    command = re.sub(r"\s+", " ", telling("adcli update")).replace("intranet.corp.example", "elsewhere.ad.test.example")
    common = f"-D {domain.name} -S {domain.address} -H second.ad.test.example -N SECOND -K http.keytab"

    shell(f"{command} {common}", folder, domain.environ())
    status, printed = check(domain.environ(domain.kinit("alice")), folder)

    assert "HTTP/elsewhere.ad.test.example" in keys(folder / "http.keytab")
    assert status == 2
    assert "knows no HTTP/elsewhere.ad.test.example" in printed
    assert "[spn-missing]" in printed


def test_adcli_changes_the_password_when_it_is_old_and_keeps_the_keys(domain: AdministeredAD, folder: Path) -> None:
    joined(domain, folder, "third")
    before = keys(folder / "http.keytab")["HTTP/third.ad.test.example"]
    common = f"-D {domain.name} -S {domain.address} -H third.ad.test.example -N THIRD -K http.keytab"

    shell(f"adcli update {common}", folder, domain.environ())
    young = keys(folder / "http.keytab")["HTTP/third.ad.test.example"]
    shell(f"adcli update {common} --computer-password-lifetime=0", folder, domain.environ())
    old = keys(folder / "http.keytab")["HTTP/third.ad.test.example"]

    assert young == before
    assert old == before | {(kvno + 1, enctype) for kvno, enctype in before}
    assert opens(domain, folder, "third.ad.test.example")


def joined(domain: AdministeredAD, folder: Path, host: str) -> None:
    nearby = f"adcli join --domain-controller {domain.address} --computer-name {host.upper()}"
    instead = {"adcli join": nearby, "www.corp.example": f"{host}.corp.example"}
    PAGE.run(
        "adcli",
        folder,
        environ(domain, folder),
        instead=instead | {"--login-user": "--stdin-password --login-user"},
        stdin=PASSWORD,
    )


# Steps 4 to 7


def test_check_finds_nothing_wrong_and_curl_logs_alice_in(domain: AdministeredAD, made: Path) -> None:
    env = environ(domain, made)

    with site(made, "app", domain) as port:
        printed = PAGE.run("check", made, env, instead={"8000": str(port)}, stdin=f"{domain.password('alice')}\n")
        direct = f"curl -sS --resolve {SITE}:{port}:127.0.0.1 --noproxy '*'"
        answer = PAGE.run("curl", made, env, instead={"8000": str(port), "curl": direct})

    assert ", 0 warning, 0 problem" in printed
    assert f"a ticket for HTTP/{SITE} opens" in printed
    assert answer == '"Hello alice"'


def test_the_app_refuses_a_ticket_that_came_without_a_pac(domain: AdministeredAD, made: Path) -> None:
    env = domain.environ(domain.kinit("alice", options=["--no-request-pac"]))

    with site(made, "app", domain) as port:  # it has seen no ticket with one
        options = f"-sS --resolve {SITE}:{port}:127.0.0.1 --noproxy '*' -o /dev/null -w '%{{http_code}}'"
        status = shell(f"curl {options} --negotiate -u : http://{SITE}:{port}/", made, env)

    assert status == "403"


def test_a_new_group_counts_once_the_tickets_are_purged(domain: AdministeredAD, made: Path) -> None:
    domain.tool("group", "add", "HR")
    shown = shell(f"samba-tool group show HR --attributes=objectSid -s {domain.smb_conf}", made, domain.environ())
    (sid,) = re.findall(r"objectSid: (\S+)", shown)
    PAGE.write(made, "hr.py", instead={"S-1-5-21-1004336348-1177238915-682003330-1106": sid})
    env = domain.environ(domain.kinit("alice"))

    with site(made, "hr", domain) as port:

        def status() -> str:
            options = f"-sS --resolve {SITE}:{port}:127.0.0.1 --noproxy '*' -o /dev/null -w '%{{http_code}}'"
            return shell(f"curl {options} --negotiate -u : http://{SITE}:{port}/salaries", made, env)

        outside = status()
        domain.tool("group", "addmembers", "HR", "alice")
        with_old_tickets = status()
        PAGE.run("purge", made, env, stdin=f"{domain.password('alice')}\n")
        with_new_tickets = status()

    assert (outside, with_old_tickets, with_new_tickets) == ("403", "403", "200")


# Step 8


def test_another_name_takes_no_new_password(domain: AdministeredAD, made: Path) -> None:
    before = keys(made / "http.keytab")
    env = domain.environ(domain.kinit(ADMIN, PASSWORD))

    PAGE.run("another-name", made, env, instead={"msktutil update": f"msktutil update {near(domain)}"})

    after = keys(made / "http.keytab")
    assert after == before | {"HTTP/intranet.ad.test.example": before["svc-web"]}
    assert opens(domain, made, "intranet.ad.test.example")


def test_a_new_password_keeps_the_old_keys_and_the_app_takes_it_without_a_restart(
    domain: AdministeredAD, made: Path
) -> None:
    env = domain.environ(domain.kinit(ADMIN, PASSWORD))
    old, _ = max(keys(made / "http.keytab")[f"HTTP/{SITE}"])
    tickets = [domain.kinit("alice")]

    with site(made, "app", domain) as port:

        def hello(ticket: Path) -> str:
            options = f"-sS --resolve {SITE}:{port}:127.0.0.1 --noproxy '*'"
            return shell(f"curl {options} --negotiate -u : http://{SITE}:{port}/", made, domain.environ(ticket))

        first = hello(tickets[0])
        command = next(cell for cell in re.findall("`(msktutil update --use[^`]*)`", PAGE.text) if "keytab" in cell)
        shell(command.replace("msktutil update", f"msktutil update {near(domain)}"), made, env)
        tickets.append(domain.kinit("alice"))
        answers = [hello(ticket) for ticket in tickets]

    assert first == '"Hello alice"'
    assert answers == ['"Hello alice"'] * 2
    assert {kvno for kvno, _ in keys(made / "http.keytab")[f"HTTP/{SITE}"]} == {old, old + 1}


def test_the_nightly_command_needs_no_other_right_and_leaves_a_young_password_alone(
    domain: AdministeredAD, made: Path
) -> None:
    before = keys(made / "http.keytab")
    command = next(cell for cell in re.findall("`(msktutil auto-update [^`]*)`", PAGE.text))
    nightly = command.replace("auto-update", f"auto-update {near(domain)}")

    shell(nightly, made, domain.environ())
    young = keys(made / "http.keytab")
    shell(f"{nightly} --auto-update-interval -1", made, domain.environ())
    old = keys(made / "http.keytab")

    assert young == before
    assert max(old["svc-web"])[0] == max(before["svc-web"])[0] + 1
    assert opens(domain, made, SITE)
