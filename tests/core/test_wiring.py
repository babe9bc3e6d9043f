"""Which backend an acceptor makes, and which one a first token gets."""

import asyncio
import sys
from pathlib import Path
from types import ModuleType

import pytest

from negotiate_mw import Acceptor, Policy
from negotiate_mw.accept import AcceptError, AcceptResult, Limits, SecStatus
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.wire.spnego import KRB5, MS_KRB5, NEGOEX, NTLM

from .building import FakeBackend, finished, negotiate, user


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users.txt"
    path.touch(0o600)
    path.write_text("CORP:bob:secret\n")
    return path


def test_an_acceptor_of_ntlm_alone_needs_no_keytab(users: Path) -> None:
    acceptor = Acceptor(mechanisms=("ntlm",), ntlm_users=users, keytab="/nonexistent")

    asyncio.run(acceptor.acquire())

    assert acceptor.ready()
    assert acceptor.realms is None
    assert acceptor.ntlm_domains == {"CORP"}
    rules = Policy().rules(acceptor.realms, acceptor.ntlm_domains)
    assert rules.refusal(user("corp\\bob", mechanism="ntlm", realm="corp")) is None
    assert rules.named(user("CORP\\bob", mechanism="ntlm", realm="CORP")).username == "bob"


def test_a_broken_keytab_stops_an_acceptor_of_both(users: Path) -> None:
    acceptor = Acceptor(mechanisms=("kerberos", "ntlm"), ntlm_users=users, keytab="/nonexistent")

    with pytest.raises(ConfigurationError, match="keytab"):
        asyncio.run(acceptor.acquire())

    assert not acceptor.acquired
    assert not acceptor.ready()


def test_users_of_a_file_take_the_mechanism_too() -> None:
    with pytest.raises(ConfigurationError, match="negotiate-mw ntlm-hash"):
        Acceptor(ntlm_users="users.txt")


@pytest.mark.parametrize(
    ("allowed", "offered", "chosen"),
    [
        ("both", (KRB5,), "kerberos"),
        ("both", (NTLM, MS_KRB5), "kerberos"),
        ("both", (NEGOEX, NTLM), "ntlm"),
        ("kerberos", (NTLM,), None),
        ("kerberos", (NTLM, KRB5), "kerberos"),
        ("ntlm", (KRB5,), None),
        ("ntlm", (KRB5, NTLM), "ntlm"),
    ],
)
def test_the_first_token_decides(allowed: str, offered: tuple[str, ...], chosen: str | None, users: Path) -> None:
    mechanisms = ("kerberos", "ntlm") if allowed == "both" else (allowed,)
    acceptor = Acceptor(mechanisms=mechanisms, ntlm_users=users if "ntlm" in mechanisms else None)
    backends = {name: FakeBackend(finished()) for name in mechanisms}
    acceptor._kerberos, acceptor._ntlm = backends.get("kerberos"), backends.get("ntlm")
    acceptor.acquired = True

    if chosen is None:
        with pytest.raises(AcceptError) as refused:
            asyncio.run(acceptor.accept(None, negotiate(*offered)))
        assert refused.value.status is SecStatus.UNSUPPORTED_FUNCTION
        assert refused.value.reason == "mechanism-not-allowed"
    else:
        asyncio.run(acceptor.accept(None, negotiate(*offered)))

    assert {name for name, backend in backends.items() if backend.steps} == ({chosen} if chosen else set())


def test_windows_own_acceptor_serves_both_mechanisms_and_any_realm(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, ...]] = []

    class Sspi(FakeBackend):
        def __init__(self, *, mechanisms: tuple[str, ...]) -> None:
            super().__init__(finished())
            self.realms = frozenset({"*"})
            made.append(mechanisms)

    module = ModuleType("negotiate_mw.backends.sspi")
    module.SspiBackend = Sspi  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(sys, "platform", "win32")
    acceptor = Acceptor(mechanisms=("kerberos", "ntlm"))

    asyncio.run(acceptor.acquire())

    assert len(made) == 1
    assert acceptor._kerberos is acceptor._ntlm
    rules = Policy().rules(acceptor.realms, acceptor.ntlm_domains)
    assert rules.refusal(user("CORP\\bob", realm="CORP")) is None
    assert rules.refusal(user("CORP\\bob", mechanism="ntlm", realm="CORP")) is None
    assert rules.named(user("CORP\\bob", realm="CORP")).username == "CORP\\bob"


def test_ntlm_that_hangs_takes_no_thread_from_kerberos(users: Path) -> None:
    limits = Limits(threads=1, queue=1, step_seconds=0.3)
    acceptor = Acceptor(mechanisms=("kerberos", "ntlm"), ntlm_users=users, offload="always", limits=limits)
    kerberos, ntlm = FakeBackend(finished()), FakeBackend(finished())
    acceptor._kerberos, acceptor._ntlm = kerberos, ntlm
    acceptor.acquired = True
    ntlm.go_on.clear()

    async def both() -> AcceptResult:
        hanging = [asyncio.create_task(acceptor.accept(None, negotiate(NTLM))) for _ in range(3)]
        await asyncio.sleep(0.05)
        result = await acceptor.accept(None, negotiate(KRB5))
        outcomes = await asyncio.gather(*hanging, return_exceptions=True)
        assert all(isinstance(outcome, AcceptError) for outcome in outcomes)
        ntlm.go_on.set()
        return result

    assert asyncio.run(both()).status is SecStatus.OK
