"""docs/laptop.md does what it says, with whatever this machine has."""

import re
import subprocess
from pathlib import Path

from negotiate_mw.testing import KerberosRealm
from tests.proxies.running import free_ports

from .page import ROOT, Page, serving, shell

PAGE = Page("laptop.md", {})
README = (ROOT / "README.md").read_text()


def test_every_block_is_run() -> None:
    assert PAGE.blocks == {
        *("demo", "realm.py", "ntlm.py", "ntlm-users", "ntlm-run", "ntlm-curl"),
        *("dev.py", "dev-run"),
    }


def test_the_demo_logs_in(kerberos_realm: KerberosRealm) -> None:
    command = PAGE.block("demo", {"scripts/demo": "scripts/demo --once"})

    printed = shell(command, ROOT, kerberos_realm.environ())

    assert "the app sees alice@TEST.EXAMPLE" in printed


def test_in_the_realms_shell_one_is_alice_and_the_app_finds_its_keytab(
    kerberos_realm: KerberosRealm, folder: Path
) -> None:
    (port,) = free_ports(1)
    (folder / "app.py").write_text(ten_lines())
    PAGE.write(folder, "realm.py")
    typed = re.findall(r"^\$ (uvicorn .*|curl .*)$", PAGE.text, re.MULTILINE)
    serve, ask = (line.replace("8000", str(port)) for line in typed)
    wait = f"until (: </dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.1; done"
    lines = f"{serve.replace('&', '>log 2>&1 &')}\n{wait}\n{ask}\nkill $!\nwait\nexit\n"

    printed = shell("SHELL=bash python realm.py", folder, kerberos_realm.environ(), stdin=lines)

    assert printed == '"Hello alice"'
    assert f"{printed}\n$ chromium" in PAGE.text


def ten_lines() -> str:
    (block,) = re.findall(r"## Ten lines that run\n.*?```python\n(.*?)```", README, re.DOTALL)
    return str(block)


def test_ntlm_from_a_file_logs_alice_in(folder: Path, kerberos_realm: KerberosRealm) -> None:
    (port,) = free_ports(1)
    env = kerberos_realm.environ()
    PAGE.write(folder, "ntlm.py")

    PAGE.run("ntlm-users", folder, env)
    with serving(PAGE.block("ntlm-run", {"8000": str(port)}), folder, env, port):
        instead = {"8000": str(port), "curl": "curl -sS --noproxy '*'"}
        answer = PAGE.run("ntlm-curl", folder, env, instead=instead)

    assert (folder / "users.txt").stat().st_mode & 0o777 == 0o600
    assert answer == '"Hello alice"'


def test_the_acceptor_for_laptops_takes_everybody_for_alice(folder: Path, kerberos_realm: KerberosRealm) -> None:
    (port,) = free_ports(1)
    PAGE.write(folder, "dev.py")
    command = PAGE.block("dev-run", {"8000": str(port), "NEGOTIATE": "env NEGOTIATE"})

    with serving(command, folder, kerberos_realm.environ(), port):
        ask = ["curl", "-sS", "--noproxy", "*", f"http://localhost:{port}/"]
        answer = subprocess.run(ask, capture_output=True, text=True, check=True).stdout

    assert answer == '"Hello alice"'
