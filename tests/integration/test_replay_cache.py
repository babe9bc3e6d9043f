"""Nothing but our own option turns replay detection off without a word."""

import asyncio
from pathlib import Path

import pytest

from negotiate_mw import AcceptError, Acceptor
from negotiate_mw.testing import KerberosRealm

SERVICE = "HTTP/localhost"


def second_answer(realm: KerberosRealm, **options: str) -> str:
    """What becomes of a token that comes twice: the reason, or who it logs in."""
    keytab, ccache = realm.keytab(SERVICE), realm.kinit("alice")

    async def run() -> str:
        async with Acceptor(keytab=keytab, **options) as acceptor:  # type: ignore[arg-type]
            token = realm.token(SERVICE, ccache)
            await acceptor.accept(None, token)
            try:
                result = await acceptor.accept(None, token)
            except AcceptError as error:
                return error.reason
            assert result.identity is not None
            return result.identity.principal

    return asyncio.run(run())


@pytest.mark.parametrize("elsewhere", ["nothing", "KRB5RCACHETYPE", "krb5.conf"])
def test_a_replay_is_refused_whatever_is_said_elsewhere(
    kerberos_realm: KerberosRealm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, elsewhere: str
) -> None:
    monkeypatch.setenv("KRB5RCACHEDIR", str(tmp_path))
    if elsewhere == "KRB5RCACHETYPE":
        monkeypatch.setenv("KRB5RCACHETYPE", "none")
    if elsewhere == "krb5.conf":
        conf = Path(kerberos_realm.env["KRB5_CONFIG"]).read_text()
        (tmp_path / "krb5.conf").write_text(
            conf.replace("[libdefaults]", "[libdefaults]\n default_rcache_name = none:")
        )
        monkeypatch.setenv("KRB5_CONFIG", str(tmp_path / "krb5.conf"))

    assert second_answer(kerberos_realm) == "replay"


@pytest.mark.parametrize("how", ["option", "KRB5RCACHENAME"])
def test_an_operator_who_turns_it_off_is_told_so(
    kerberos_realm: KerberosRealm, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    if how == "KRB5RCACHENAME":
        monkeypatch.setenv("KRB5RCACHENAME", "none:")

    answer = second_answer(kerberos_realm, **({"rcache": "none"} if how == "option" else {}))

    assert answer == "alice@TEST.EXAMPLE"
    assert "whoever copies a token can log in with it again" in caplog.text
