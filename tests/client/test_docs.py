"""Every Python block of docs/client.md runs, in the order of the page."""

import re
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import Server

PAGE = Path(__file__).parents[2] / "docs" / "client.md"


def test_the_blocks_run(
    ours: Server, kerberos_realm: KerberosRealm, alice: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, object] = {"URL": ours.url}

    with kerberos_realm.apply(alice):
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), names)

    assert len(blocks) == 4
    assert "alice@TEST.EXAMPLE" in capsys.readouterr().out
