"""Whoever lacks an extra is told what to type, and whoever has it needs nothing more."""

import re
import secrets
from pathlib import Path

import pytest

from negotiate_mw.extras import to_install

from .building import Environment

APT = "apt-get install gcc python3-dev libkrb5-dev"
DNF = "dnf install gcc python3-devel krb5-devel"
KERBEROS = [APT, DNF, "pip install 'negotiate-mw[kerberos]'"]
LDAP = ["libldap2-dev libsasl2-dev", "openldap-devel cyrus-sasl-devel", "pip install 'negotiate-mw[ldap]'"]

DIRECTORY = """LdapGroups(LdapDirectory(
    realm="CORP.EXAMPLE", domain="CORP", servers=["ldap://127.0.0.1:1"], base="dc=corp,dc=example",
    principal="web@CORP.EXAMPLE", keytab="http.keytab"
))"""
KEY = secrets.token_urlsafe(32)
# what uses the extra, and what is said without it
LACKING = {
    "Kerberos": ("asyncio.run(Acceptor(keytab='http.keytab').acquire())", KERBEROS),
    "NTLM of a domain": ("asyncio.run(Acceptor(mechanisms=('ntlm',)).acquire())", KERBEROS),
    "sessions in Redis": (f"RedisSessions('redis://127.0.0.1:1', keys=['{KEY}'])", ["'negotiate-mw[redis]'"]),
    "replays in Redis": (
        "RedisReplayCache('redis://127.0.0.1:1', when_down='refuse')",
        ["pip install 'negotiate-mw[redis]'"],
    ),
    "groups by LDAP": (f"asyncio.run({DIRECTORY}.start())", LDAP),
    "metrics": ("import negotiate_mw.metrics", ["pip install 'negotiate-mw[otel]'"]),
    "the client": ("from negotiate_mw.client import NegotiateAuth", ["pip install 'negotiate-mw[client,kerberos]'"]),
}
# the extra, what uses it, and what is said instead of asking for it once more
HAVING = {
    "kerberos": ("asyncio.run(Acceptor(keytab='http.keytab').acquire())", "ConfigurationError: .*http.keytab"),
    "redis": (f"print(RedisSessions('redis://127.0.0.1:1', keys=['{KEY}']))", ""),
    "ldap": (f"print({DIRECTORY})", ""),
    "otel": ("import negotiate_mw.metrics", ""),
    "client": ("from negotiate_mw.client import NegotiateAuth", ""),
    "server": ("import negotiate_mw.servers.uvicorn", ""),
}


def last_line(installed: Environment, folder: Path, line: str) -> str:
    names = sorted(set(re.findall(r"\b(?:Acceptor|Ldap\w+|Redis\w+)\b", line)))
    program = f"import asyncio\n{'from negotiate_mw import ' + ', '.join(names) if names else ''}\n{line}\n"
    said = installed.run("python", "-c", program, cwd=folder).stderr.strip()
    return said.splitlines()[-1] if said else ""


@pytest.mark.parametrize("what", LACKING)
def test_what_lacks_its_extra_says_which_lines_to_type(installed: Environment, tmp_path: Path, what: str) -> None:
    line, wanted = LACKING[what]

    said = last_line(installed, tmp_path, line)

    assert all(part in said for part in wanted), said


@pytest.mark.parametrize("extra", HAVING)
def test_an_extra_brings_all_that_its_part_needs(installed: Environment, tmp_path: Path, extra: str) -> None:
    line, wanted = HAVING[extra]

    with installed.having(extra):
        said = last_line(installed, tmp_path, line)

    assert re.match(wanted, said.rpartition("errors.")[2]) if wanted else said == "", said


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("whoami http://127.0.0.1:1/", KERBEROS),
        ("check", KERBEROS),
        ("sessions --url redis://127.0.0.1:1 list", ["pip install 'negotiate-mw[redis]'"]),
        ("forward-auth --proxy nginx", ["pip install 'negotiate-mw[server]'"]),
    ],
)
def test_a_command_that_lacks_its_extra_says_which_lines_to_type(
    installed: Environment, tmp_path: Path, command: str, wanted: list[str]
) -> None:
    done = installed.run("negotiate-mw", *command.split(), cwd=tmp_path, COLUMNS="200")

    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode != 0
    assert all(part in said for part in wanted), said
    assert "Traceback" not in said


def test_without_any_extra_ntlm_from_a_file_and_signed_cookies_work(installed: Environment, tmp_path: Path) -> None:
    made = installed.run("negotiate-mw", "ntlm-hash", "CORP", "alice", "-", cwd=tmp_path, text="secret\n")
    (tmp_path / "users.txt").write_text(made.stdout)
    (tmp_path / "users.txt").chmod(0o600)
    program = f"""
import asyncio
from negotiate_mw import Acceptor, CookieSessions, NegotiateMiddleware

async def app(scope, receive, send): ...

acceptor = Acceptor(mechanisms=("ntlm",), ntlm_users="users.txt")
NegotiateMiddleware(app, acceptor=acceptor, sessions=CookieSessions(keys=["{KEY}"]), groups="pac")
asyncio.run(acceptor.acquire())
print(acceptor.ready())
"""

    done = installed.run("python", "-W", "error", "-c", program, cwd=tmp_path)

    assert done.stdout == "True\n", done.stderr


def test_headers_are_named_only_for_what_is_compiled() -> None:
    assert to_install("redis") == "pip install 'negotiate-mw[redis]'"
    assert to_install("kerberos").endswith("; brew install krb5), then pip install 'negotiate-mw[kerberos]'")
