"""Files that krb5.conf includes count, though the library doesn't read them again for each log-in."""

import asyncio
import time
from pathlib import Path

import pytest

from negotiate_mw import AcceptError, Acceptor
from negotiate_mw.testing import KerberosRealm


def test_a_file_that_krb5_conf_includes_counts_within_a_second(
    kerberos_realm: KerberosRealm, alice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = [kerberos_realm.token("HTTP/localhost", alice) for _ in range(3)]
    keytab = kerberos_realm.keytab("HTTP/localhost")
    included = tmp_path / "conf.d" / "crypto-policies"
    included.parent.mkdir()
    included.write_text("[libdefaults]\n")
    (tmp_path / "krb5.conf").write_text(f"includedir {included.parent}\n[libdefaults]\n default_realm = TEST.EXAMPLE\n")
    monkeypatch.setenv("KRB5_CONFIG", str(tmp_path / "krb5.conf"))

    async def run() -> str:
        async with Acceptor(keytab=keytab, rcache="none") as idle, Acceptor(keytab=keytab, rcache="none") as acceptor:
            await idle.accept(None, tokens[0])  # and keeps nothing of its own
            await acceptor.accept(None, tokens[1])
            included.write_text("[libdefaults]\n permitted_enctypes = aes128-cts-hmac-sha1-96\n")
            time.sleep(1.1)
            with pytest.raises(AcceptError) as refused:
                await acceptor.accept(None, tokens[2])
        return refused.value.reason

    assert asyncio.run(run()) == "wrong-key"
