"""The Kerberos library's own answers, held against our rules: which names we answer to, and what an error means."""

import asyncio
import gc
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gssapi
import pytest

from negotiate_mw import AcceptError, Acceptor, AcceptResult, ConfigurationError, DelegationError, SecStatus
from negotiate_mw.backends import Context
from negotiate_mw.backends.gssapi import GssapiBackend
from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire.spnego import KRB5

from .writing import Service

HTTP, WWW = "HTTP/localhost", "HTTP/www.test.example"


@pytest.fixture
def backend(kerberos_realm: KerberosRealm, tmp_path: Path) -> GssapiBackend:
    return GssapiBackend(service="HTTP", hosts=(), keytab=kerberos_realm.keytab(HTTP), rcache=tmp_path)


@pytest.fixture(scope="module")
def password(kerberos_realm: KerberosRealm) -> str:
    """Pia's."""
    return kerberos_realm.add_user("pia")


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


AAA, BBB, CCC = (f"{name}.test.example" for name in ("aaa", "bbb", "ccc"))


@pytest.fixture(scope="module")
def of_one_account(kerberos_realm: KerberosRealm) -> Path:
    """A keytab as Active Directory's accounts have it: of several names, and one key. The KDC knows the first alone."""
    kerberos_realm.add_service(f"HTTP/{AAA}")
    path = kerberos_realm.keytab(f"HTTP/{AAA}")
    data = path.read_bytes()
    path.write_bytes(data + b"".join(data[2:].replace(b"aaa", other) for other in (b"bbb", b"ccc")))
    return path


@pytest.mark.parametrize(
    ("hostname", "outcomes"),
    [
        ([AAA, BBB, CCC], ["let in"] * 3),
        ([BBB, CCC], ["wrong-principal", "let in", "let in"]),
        (["{host}", CCC, BBB, AAA], ["let in"] * 3),
    ],
)
def test_of_the_names_of_one_account_a_ticket_is_for_the_one_that_it_says(
    kerberos_realm: KerberosRealm,
    alice: Path,
    of_one_account: Path,
    tmp_path: Path,
    hostname: list[str],
    outcomes: list[str],
) -> None:
    """Whose key is the same: the library goes by the keytab's order, and would take each for the first."""

    async def run() -> list[str]:
        found = []
        async with Acceptor(keytab=of_one_account, rcache=tmp_path, hostname=hostname) as acceptor:
            for host in (AAA, BBB, CCC):
                token = kerberos_realm.token(f"HTTP/{AAA}", alice).replace(AAA.encode(), host.encode())
                try:
                    await acceptor.accept(None, token, host=host)
                    found.append("let in")
                except AcceptError as error:
                    found.append(error.reason)
        return found

    assert asyncio.run(run()) == outcomes


def test_a_ticket_for_one_name_of_an_account_gets_nobody_into_the_site_of_another(
    kerberos_realm: KerberosRealm, alice: Path, of_one_account: Path, tmp_path: Path
) -> None:
    async def run() -> None:
        async with Acceptor(keytab=of_one_account, rcache=tmp_path, hostname=["{host}", AAA, BBB]) as acceptor:
            token = kerberos_realm.token(f"HTTP/{AAA}", alice).replace(AAA.encode(), BBB.encode())
            await acceptor.accept(None, token, host=AAA)

    with pytest.raises(AcceptError) as refused:
        asyncio.run(run())

    assert (refused.value.status, refused.value.reason) == (SecStatus.WRONG_PRINCIPAL, "wrong-host")
    assert repr(f"HTTP/{BBB}") in refused.value.detail


@pytest.mark.parametrize(("message", "reason"), [("0501", "malformed"), ("0209", "malformed"), ("0100", "refused")])
def test_a_bare_kerberos_message_that_is_no_ap_req_is_refused_at_its_first_leg(
    kerberos_realm: KerberosRealm, tmp_path: Path, message: str, reason: str
) -> None:
    """The library would wait for more; a half-open handshake of nothing isn't kept."""
    token = bytes.fromhex(f"601006092a864886f712010202{message}616263")

    with pytest.raises(AcceptError) as refused:
        accept(Acceptor(keytab=kerberos_realm.keytab(HTTP), rcache=tmp_path), token)

    assert refused.value.reason == reason


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


@pytest.mark.parametrize(("value", "waits"), [("", False), ("0", False), ("1", True), ("yes", True)])
def test_a_step_that_gssproxy_may_answer_is_waited_for_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, waits: bool
) -> None:
    monkeypatch.setenv(
        "GSS_USE_PROXY", value
    )  # without its mechanism, which isn't installed, the library goes on alone
    service = Service()

    async def run() -> bool:
        async with Acceptor(keytab=service.keytab(tmp_path / "http.keytab"), rcache=tmp_path) as acceptor:
            step = asyncio.create_task(acceptor.accept(None, service.token("alice@TEST.EXAMPLE")))
            await asyncio.sleep(0)
            is_under_way = not step.done()
            await step
        return is_under_way

    assert asyncio.run(run()) is waits


def test_an_error_token_that_cannot_be_read_is_a_refusal_like_any_other(
    backend: GssapiBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any) -> None:
        raise gssapi.raw.GSSError(13 << 16, 0, token=b"\x60\x84\xff\xff\xff\xff")

    monkeypatch.setattr("negotiate_mw.backends.gssapi.raw.accept_sec_context", refuses)

    with pytest.raises(AcceptError) as refused:
        backend.step(Context(backend), b"token", None)

    assert (refused.value.status, refused.value.reason) == (SecStatus.LOGON_DENIED, "refused")


def test_readiness_and_acting_for_users_end_with_the_keytab(kerberos_realm: KerberosRealm, tmp_path: Path) -> None:
    keytab = kerberos_realm.keytab(HTTP)

    async def run() -> tuple[bool, bool]:
        async with Acceptor(keytab=keytab, rcache=tmp_path, constrained_delegation=True) as acceptor:
            before = acceptor.ready()
            keytab.unlink()
            await asyncio.sleep(1.1)  # it is looked at once a second
            after = acceptor.ready()
            with pytest.raises(DelegationError, match="can't be read"):
                await acceptor.impersonate("alice@TEST.EXAMPLE")
        return before, after

    assert asyncio.run(run()) == (True, False)


def test_a_password_proves_nobody_before_there_are_keys_to_prove_it_with() -> None:
    with pytest.raises(AcceptError) as refused:
        Acceptor().token_by_password("alice@TEST.EXAMPLE", "password")

    assert (refused.value.status, refused.value.reason) == (SecStatus.NO_CREDENTIALS, "not-acquired")


def test_a_keytab_that_is_gone_is_ours_to_answer_for_and_no_fault_of_a_password(
    kerberos_realm: KerberosRealm, tmp_path: Path
) -> None:
    async def run() -> None:
        keytab = kerberos_realm.keytab(HTTP)
        async with Acceptor(keytab=keytab, rcache=tmp_path) as acceptor:
            keytab.unlink()
            await asyncio.sleep(0.6)  # it is looked at twice a second
            await asyncio.to_thread(acceptor.token_by_password, "alice@TEST.EXAMPLE", "password", None)

    with pytest.raises(AcceptError) as refused:
        asyncio.run(run())

    assert (refused.value.status, refused.value.reason) == (SecStatus.NO_CREDENTIALS, "keytab")


def test_a_replay_cache_that_is_gone_is_not_called_a_keytab(
    kerberos_realm: KerberosRealm, password: str, tmp_path: Path
) -> None:
    """Accepting the ticket says what is wrong with it."""

    async def run() -> None:
        rcache = tmp_path / "rcache"
        rcache.mkdir(mode=0o700)
        async with Acceptor(keytab=kerberos_realm.keytab(HTTP), rcache=rcache) as acceptor:
            shutil.rmtree(rcache)
            with kerberos_realm.apply():
                token = acceptor.token_by_password("pia@TEST.EXAMPLE", password)
            await acceptor.accept(None, token)

    with pytest.raises(AcceptError) as refused:
        asyncio.run(run())

    assert (refused.value.status, refused.value.reason) == (SecStatus.INTERNAL_ERROR, "replay-cache")


@pytest.mark.parametrize("host", ["third.test.example", None])
def test_a_password_gets_no_ticket_for_a_host_that_the_request_does_not_ask_for(
    kerberos_realm: KerberosRealm, tmp_path: Path, host: str | None
) -> None:
    async def run() -> None:
        hosts = ["{host}", "localhost", "www.test.example"]
        keytab = kerberos_realm.keytab(HTTP, WWW)
        async with Acceptor(keytab=keytab, rcache=tmp_path, hostname=hosts) as acceptor:
            await asyncio.to_thread(acceptor.token_by_password, "alice@TEST.EXAMPLE", "password", host)

    with pytest.raises(AcceptError) as refused:
        asyncio.run(run())

    assert (refused.value.status, refused.value.reason) == (SecStatus.WRONG_PRINCIPAL, "wrong-host")


@pytest.mark.parametrize("hostname", [None, "www.test.example", ["{host}", "localhost", "www.test.example"]])
def test_a_password_is_proven_by_a_ticket_for_this_very_service(
    kerberos_realm: KerberosRealm, password: str, tmp_path: Path, hostname: str | list[str] | None
) -> None:
    keytab = kerberos_realm.keytab("host/localhost", HTTP, WWW)

    async def run() -> AcceptResult:
        async with Acceptor(keytab=keytab, rcache=tmp_path, hostname=hostname) as acceptor:
            with kerberos_realm.apply():
                token = acceptor.token_by_password("pia@TEST.EXAMPLE", password, "www.test.example")
            return await acceptor.accept(None, token, host="www.test.example")

    identity = asyncio.run(run()).identity

    assert identity is not None
    assert identity.principal == "pia@TEST.EXAMPLE"


def test_a_ticket_for_one_host_gets_nobody_into_a_site_that_asks_for_another(
    kerberos_realm: KerberosRealm, alice: Path, tmp_path: Path
) -> None:
    keytab = kerberos_realm.keytab(HTTP, WWW)

    async def run() -> list[str]:
        outcomes = []
        hostname = ["{host}", "localhost", "www.test.example"]
        async with Acceptor(keytab=keytab, rcache=tmp_path, hostname=hostname) as acceptor:
            for host in ("www.test.example", "localhost", None):
                try:
                    await acceptor.accept(None, kerberos_realm.token(WWW, alice), host=host)
                    outcomes.append("let in")
                except AcceptError as error:
                    outcomes.append(error.reason)
        return outcomes

    assert asyncio.run(run()) == ["let in", "wrong-host", "wrong-host"]


def test_a_service_that_the_kdc_does_not_know_is_ours_to_answer_for(
    kerberos_realm: KerberosRealm, password: str, tmp_path: Path
) -> None:
    keytab = Service("HTTP/unknown.test.example").keytab(tmp_path / "http.keytab")

    async def run() -> None:
        async with Acceptor(keytab=keytab, rcache=tmp_path) as acceptor:
            with kerberos_realm.apply():
                acceptor.token_by_password("pia@TEST.EXAMPLE", password)

    with pytest.raises(AcceptError, match="gives no ticket for 'HTTP/unknown") as refused:
        asyncio.run(run())

    assert (refused.value.status, refused.value.reason) == (SecStatus.INTERNAL_ERROR, "kdc-failed")


def test_a_refused_token_leaves_nothing_for_the_garbage_collector(
    kerberos_realm: KerberosRealm, tmp_path: Path
) -> None:
    wrong = KerberosRealm.token(kerberos_realm, WWW, kerberos_realm.kinit("alice"))
    refusals = 20

    async def run() -> int:
        refused = 0
        async with Acceptor(keytab=kerberos_realm.keytab(HTTP), rcache=tmp_path) as acceptor:
            for _ in range(refusals + 1):
                if refused == 1:  # the first one fills what is kept
                    gc.collect()
                try:
                    await acceptor.accept(None, wrong)
                except AcceptError:
                    refused += 1
        return gc.collect() if refused == refusals + 1 else -1

    gc.disable()
    try:
        left = asyncio.run(run())
    finally:
        gc.enable()

    assert 0 <= left < refusals  # the event loop's own few
