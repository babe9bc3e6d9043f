"""docs/delegation.md does what it says: every block in it is run, and every reason is told."""

import json
import re
from pathlib import Path
from typing import get_type_hints

import pytest

import negotiate_mw.errors
from negotiate_mw.testing import KerberosRealm
from tests.integration.samba_ad import SambaAD
from tests.integration.serving import ROOT, get, serve

PAGE = (ROOT / "docs" / "delegation.md").read_text()
BLOCKS = dict(re.findall(r"<!-- test: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL))
HTTP = "HTTP/localhost"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, block in BLOCKS.items():
        (tmp_path / name).write_text(block)
    return tmp_path


def test_every_block_is_run() -> None:
    assert set(BLOCKS) == {"forwarded.py", "constrained.py"}
    assert PAGE.count("```") == 2 * len(BLOCKS)


def test_dangers_come_first() -> None:
    assert re.findall("^## (.*)", PAGE, re.MULTILINE)[0] == "Dangers first"


def test_every_reason_is_in_the_table() -> None:
    told = set(re.findall('``"([a-z-]+)"``', negotiate_mw.errors.DelegationError.__doc__ or ""))

    assert get_type_hints(negotiate_mw.errors.DelegationError.__init__)["reason"] is str
    assert told
    assert all(f"`{reason}`" in PAGE for reason in told)


def test_the_forwarded_block_lists_the_users_ticket(
    folder: Path, service_env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path
) -> None:
    with kerberos_realm.apply(alice):
        token = kerberos_realm.initiator(HTTP, alice, delegate=True).step()

    with serve("forwarded:app", "--app-dir", str(folder), env=service_env) as server:
        printed = get(server, token=token).body.decode()

    assert "Default principal: alice@TEST.EXAMPLE" in printed
    assert "krbtgt/TEST.EXAMPLE@TEST.EXAMPLE" in printed


def test_the_constrained_block_calls_the_second_service_as_the_user(folder: Path, domain: SambaAD) -> None:
    envs = [domain.environ() | {"KRB5_KTNAME": str(keytab)} for keytab in (domain.keytab(HTTP), any_keytab(domain))]

    with serve("tests.delegation.apps:back", env=envs[0]) as back:
        block = folder / "constrained.py"
        ours = block.read_text().replace("https://back.corp.example/report", back.url)
        block.write_text(ours.replace("HTTP/back.corp.example", HTTP))
        with serve("constrained:app", "--app-dir", str(folder), env=envs[1]) as front:
            answer = get(front, token=domain.token("HTTP/any.test.example", domain.kinit("alice")))

    assert json.loads(answer.body)["principal"] == "alice@AD.TEST.EXAMPLE"


def any_keytab(domain: SambaAD) -> Path:
    return domain.keytab("svc-any", "HTTP/any.test.example")
