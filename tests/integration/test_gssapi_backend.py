"""The Kerberos library's own answers, held against our rules: which names we answer to, and what an error means."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gssapi
import pytest

from negotiate_mw import AcceptError, Acceptor, ConfigurationError, SecStatus
from negotiate_mw.backends import Context
from negotiate_mw.backends.gssapi import GssapiBackend
from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire.spnego import KRB5

HTTP, WWW = "HTTP/localhost", "HTTP/www.test.example"


@pytest.fixture
def backend(kerberos_realm: KerberosRealm, tmp_path: Path) -> GssapiBackend:
    return GssapiBackend(service="HTTP", hosts=(), keytab=kerberos_realm.keytab(HTTP), rcache=tmp_path)


def accept(acceptor: Acceptor, token: bytes) -> str:
    """Who got in."""

    async def run() -> str:
        async with acceptor:
            result = await acceptor.accept(None, token)
        assert result.identity is not None
        return result.identity.principal

    return asyncio.run(run())


def test_of_several_keys_those_of_the_named_hosts_alone_are_ours(
    kerberos_realm: KerberosRealm, alice: Path, tmp_path: Path
) -> None:
    kerberos_realm.add_service("HTTP/third.test.example")
    keytab = kerberos_realm.keytab(HTTP, WWW, "HTTP/third.test.example")

    def acceptor() -> Acceptor:
        return Acceptor(keytab=keytab, rcache=tmp_path, hostname=["localhost", "www.test.example"])

    assert accept(acceptor(), kerberos_realm.token(WWW, alice)) == "alice@TEST.EXAMPLE"
    with pytest.raises(AcceptError) as refused:
        accept(acceptor(), kerberos_realm.token("HTTP/third.test.example", alice))

    assert (refused.value.status, refused.value.reason) == (SecStatus.WRONG_PRINCIPAL, "wrong-principal")


def test_a_host_that_the_keytab_has_no_key_of_stops_the_start(kerberos_realm: KerberosRealm, tmp_path: Path) -> None:
    acceptor = Acceptor(keytab=kerberos_realm.keytab(HTTP), rcache=tmp_path, hostname="www.test.example")

    with pytest.raises(ConfigurationError, match=r"holds no key of HTTP/www\.test\.example"):
        asyncio.run(acceptor.acquire())


def test_what_the_library_refuses_stops_the_start(backend: GssapiBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise gssapi.raw.GSSError(13 << 16, 0)

    monkeypatch.setattr("negotiate_mw.backends.gssapi.raw.acquire_cred_from", refuses)

    with pytest.raises(ConfigurationError, match="the Kerberos library refuses"):
        backend.acquire()


def test_a_context_of_another_mechanism_proves_nobody(backend: GssapiBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    done = SimpleNamespace(more_steps=False, context=object(), mech=gssapi.OID.from_int_seq("1.3.6.1.4.1.311.2.2.10"))
    monkeypatch.setattr("negotiate_mw.backends.gssapi.raw.accept_sec_context", lambda *_: done)

    with pytest.raises(AcceptError) as refused:
        backend.step(Context(backend), b"token", None)

    assert str(done.mech) != KRB5
    assert (refused.value.status, refused.value.reason) == (SecStatus.LOGON_DENIED, "mechanism-not-allowed")


@pytest.mark.parametrize(
    ("raised", "status", "reason"),
    [
        (MemoryError(), SecStatus.INSUFFICIENT_MEMORY, "memory"),
        (ValueError("of the binding's own"), SecStatus.INTERNAL_ERROR, "internal"),
    ],
)
def test_what_the_binding_raises_is_our_own_error(
    backend: GssapiBackend, monkeypatch: pytest.MonkeyPatch, raised: Exception, status: SecStatus, reason: str
) -> None:
    def raises(*_: Any) -> None:
        raise raised

    monkeypatch.setattr("negotiate_mw.backends.gssapi.raw.accept_sec_context", raises)

    with pytest.raises(AcceptError) as refused:
        backend.step(Context(backend), b"token", None)

    assert (refused.value.status, refused.value.reason) == (status, reason)


def test_a_keytab_that_is_empty_or_a_replay_cache_that_is_gone_is_ours_to_answer_for(
    kerberos_realm: KerberosRealm, alice: Path, tmp_path: Path
) -> None:
    keytab, rcache = kerberos_realm.keytab(HTTP), tmp_path / "rcache"
    keys = keytab.read_bytes()
    rcache.mkdir(mode=0o700)

    async def run() -> list[tuple[SecStatus, str]]:
        reasons = []
        async with Acceptor(keytab=keytab, rcache=rcache) as acceptor:
            for breaks in (lambda: keytab.write_bytes(keys[:2]), lambda: rcache.rename(tmp_path / "elsewhere")):
                keytab.write_bytes(keys)
                breaks()
                with pytest.raises(AcceptError) as refused:
                    await acceptor.accept(None, kerberos_realm.token(HTTP, alice))
                reasons.append((refused.value.status, refused.value.reason))
        return reasons

    assert asyncio.run(run()) == [
        (SecStatus.NO_CREDENTIALS, "keytab"),
        (SecStatus.INTERNAL_ERROR, "replay-cache"),
    ]
