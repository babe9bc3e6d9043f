"""A forwarded ticket: the user's and nothing else, in private files that are gone, and only where it is asked for."""

import asyncio
import contextlib
import gc
import os
import pickle
import signal
import stat
import subprocess
import sys
import threading
import weakref
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gssapi
import pytest
from gssapi import raw

from negotiate_mw import AcceptError, Acceptor, ContextFlag, Identity, Limits
from negotiate_mw.delegation import Delegated
from negotiate_mw.errors import DelegationError
from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire.ccache import read_ccache
from tests.integration.serving import ROOT

HTTP, WWW = "HTTP/localhost", "HTTP/www.test.example"


@pytest.fixture
def realm(kerberos_realm: KerberosRealm, alice: Path) -> Iterator[KerberosRealm]:
    """The realm, and this process in it."""
    with kerberos_realm.apply(alice):
        yield kerberos_realm


@pytest.fixture
def keytab(kerberos_realm: KerberosRealm) -> Path:
    return kerberos_realm.keytab(HTTP)


def token(realm: KerberosRealm, ccache: Path, *, wrapping: Any = "spnego", delegate: bool = True) -> bytes:
    return realm.initiator(HTTP, ccache, wrapping=wrapping, delegate=delegate).step() or b""


async def log_in(acceptor: Acceptor, token: bytes) -> Identity:
    identity = (await acceptor.accept(None, token)).identity
    assert identity is not None
    return identity


def accepted(keytab: Path, token: bytes, **options: Any) -> Identity:
    async def run() -> Identity:
        async with Acceptor(keytab=keytab, **options) as acceptor:
            return await log_in(acceptor, token)

    return asyncio.run(run())


@asynccontextmanager
async def forwarded(keytab: Path, token: bytes, **options: Any) -> AsyncIterator[Delegated]:
    """What a client forwarded, for as long as the acceptor lives."""
    async with Acceptor(keytab=keytab, delegation=True, **options) as acceptor:
        yield (await log_in(acceptor, token)).need_delegated()


def files(private: Path) -> list[Path]:
    return [path for path in private.rglob("*") if not path.is_dir()]


def file_of(name: str) -> Path:
    return Path(name.removeprefix("FILE:"))


@pytest.mark.parametrize("wrapping", ["spnego", "kerberos"])
def test_the_cache_has_the_users_ticket_granting_ticket_and_nothing_else(
    realm: KerberosRealm, alice: Path, keytab: Path, private: Path, wrapping: str
) -> None:
    async def run() -> bytes:
        async with forwarded(keytab, token(realm, alice, wrapping=wrapping)) as delegated:
            async with delegated.ccache() as name:
                return file_of(name).read_bytes()

    entries = [entry for entry in read_ccache(asyncio.run(run())) if not entry.is_note]

    names = [(b"/".join(name.components), name.realm) for entry in entries for name in (entry.client, entry.server)]
    assert names == [(b"alice", b"TEST.EXAMPLE"), (b"krbtgt/TEST.EXAMPLE", b"TEST.EXAMPLE")]


def test_the_cache_is_private_and_gone_at_the_end(
    realm: KerberosRealm, alice: Path, keytab: Path, private: Path
) -> None:
    async def run() -> list[int]:
        async with forwarded(keytab, token(realm, alice)) as delegated:
            async with delegated.ccache() as name:
                path = file_of(name)
                modes = [stat.S_IMODE(place.stat().st_mode) for place in (path, path.parent)]
            assert not path.exists()
            return modes

    assert asyncio.run(run()) == [0o600, 0o700]
    assert not list(private.iterdir())


def test_a_program_logs_in_as_the_user_with_it(realm: KerberosRealm, alice: Path, keytab: Path, private: Path) -> None:
    async def run() -> str:
        async with forwarded(keytab, token(realm, alice)) as delegated:
            async with delegated.ccache() as name:
                env = {**realm.environ(), "KRB5CCNAME": name}
                done = subprocess.run(["kvno", WWW], env=env, capture_output=True, text=True, check=True)
                listed = subprocess.run(["klist"], env=env, capture_output=True, text=True, check=True)
        return done.stdout + listed.stdout

    said = asyncio.run(run())

    assert f"{WWW}@TEST.EXAMPLE: kvno" in said
    assert "Default principal: alice@TEST.EXAMPLE" in said


def test_python_gssapi_logs_in_as_the_user_with_it(
    realm: KerberosRealm, alice: Path, keytab: Path, private: Path
) -> None:
    target = gssapi.Name("HTTP@www.test.example", gssapi.NameType.hostbased_service)

    async def run() -> bytes:
        async with forwarded(keytab, token(realm, alice)) as delegated:
            context = gssapi.SecurityContext(name=target, creds=delegated.credentials, usage="initiate")
            return await asyncio.to_thread(context.step) or b""

    assert accepted(realm.keytab(WWW), asyncio.run(run())).principal == "alice@TEST.EXAMPLE"


def test_without_delegation_a_forwarded_ticket_is_dropped(
    realm: KerberosRealm, alice: Path, keytab: Path, private: Path
) -> None:
    identity = accepted(keytab, token(realm, alice))

    assert ContextFlag.DELEGATE in identity.attributes
    assert identity.delegated is None
    assert not list(private.iterdir())


def test_where_the_client_forwards_nothing_there_is_nothing_and_the_error_says_what_may_be_missing(
    realm: KerberosRealm, alice: Path, keytab: Path, private: Path
) -> None:
    identity = accepted(keytab, token(realm, alice, delegate=False), delegation=True)

    assert identity.delegated is None
    with pytest.raises(DelegationError, match=r"alice@TEST\.EXAMPLE forwarded no ticket .*session") as missing:
        identity.need_delegated()
    assert missing.value.reason == "not-delegated"


def test_a_ticket_under_another_name_than_the_clients_is_dropped(
    realm: KerberosRealm, alice: Path, bob_credential: Any, keytab: Path, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = raw.accept_sec_context

    def with_bobs(*arguments: Any) -> Any:
        done = accept(*arguments)
        known = {name: getattr(done, name) for name in done._fields}
        return SimpleNamespace(**known | {"delegated_creds": bob_credential, "more_steps": False})

    monkeypatch.setattr("negotiate_mw.backends.gssapi.raw.accept_sec_context", with_bobs)

    identity = accepted(keytab, token(realm, alice), delegation=True)

    assert identity.principal == "alice@TEST.EXAMPLE"
    assert identity.delegated is None


@pytest.fixture
def bob_credential(kerberos_realm: KerberosRealm) -> Any:
    store: dict[bytes | str, bytes | str] = {"ccache": f"FILE:{kerberos_realm.kinit('bob')}"}
    return raw.acquire_cred_from(store, usage="initiate").creds


def test_it_is_in_no_repr_no_comparison_and_no_pickle(
    realm: KerberosRealm, alice: Path, keytab: Path, private: Path
) -> None:
    identity = accepted(keytab, token(realm, alice), delegation=True)

    assert identity.delegated is not None
    assert identity == replace(identity, delegated=None)
    assert "delegated" not in repr(identity)
    with pytest.raises(TypeError):
        pickle.dumps(identity.delegated)


class Stop(Exception):
    pass


def test_the_cache_goes_when_the_block_raises(realm: KerberosRealm, alice: Path, keytab: Path, private: Path) -> None:
    async def run() -> list[Path]:
        async with forwarded(keytab, token(realm, alice)) as delegated:
            with contextlib.suppress(Stop):
                async with delegated.ccache():
                    assert files(private)
                    raise Stop
            return files(private)

    assert asyncio.run(run()) == []


def test_the_cache_goes_when_the_request_is_cancelled(
    realm: KerberosRealm, alice: Path, keytab: Path, private: Path
) -> None:
    async def run() -> list[Path]:
        async with forwarded(keytab, token(realm, alice)) as delegated:
            there = asyncio.Event()

            async def use() -> None:
                async with delegated.ccache():
                    there.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(use())
            await there.wait()
            assert files(private)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            return files(private)

    assert asyncio.run(run()) == []


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """Writing a cache waits until it may go on; ``began`` and ``ended`` tell how far it is."""
    store = raw.store_cred_into
    disk = SimpleNamespace(began=threading.Event(), may_go_on=threading.Event(), ended=threading.Event())

    def slowly(*arguments: Any, **options: Any) -> Any:
        disk.began.set()
        assert disk.may_go_on.wait(30)
        try:
            return store(*arguments, **options)
        finally:
            disk.ended.set()

    monkeypatch.setattr("gssapi.raw.store_cred_into", slowly)
    yield disk
    disk.may_go_on.set()


def test_a_cache_that_is_written_when_nobody_waits_any_more_goes_as_well(
    realm: KerberosRealm, alice: Path, keytab: Path, private: Path, slow_disk: SimpleNamespace
) -> None:
    async def run() -> tuple[list[Path], list[Path]]:
        async with forwarded(keytab, token(realm, alice)) as delegated:
            task = asyncio.create_task(delegated.ccache().__aenter__())
            while not slow_disk.began.is_set():
                await asyncio.sleep(0.01)  # the loop isn't held up
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            before = files(private)
            slow_disk.may_go_on.set()
            await asyncio.to_thread(slow_disk.ended.wait)
            for _ in range(500):
                if not files(private):
                    break
                await asyncio.sleep(0.01)
            return before, files(private)

    assert asyncio.run(run()) == ([], [])
    assert slow_disk.ended.is_set()


def test_a_disk_that_hangs_is_not_waited_for_without_end(
    realm: KerberosRealm, alice: Path, keytab: Path, private: Path, slow_disk: SimpleNamespace
) -> None:
    async def run() -> DelegationError:
        limits = Limits(threads=1, queue=1, step_seconds=0.2)
        async with forwarded(keytab, token(realm, alice), limits=limits) as delegated:
            with pytest.raises(DelegationError) as late:
                async with delegated.ccache():
                    pass
            return late.value

    assert asyncio.run(run()).reason == "timeout"


def test_more_at_once_than_the_queue_holds_are_told_so(
    realm: KerberosRealm, alice: Path, keytab: Path, private: Path, slow_disk: SimpleNamespace
) -> None:
    async def run() -> list[str]:
        async with forwarded(keytab, token(realm, alice), limits=Limits(threads=1, queue=1)) as delegated:
            tasks = [asyncio.create_task(delegated.ccache().__aenter__()) for _ in range(3)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            refused = [
                error.reason for task in tasks if task.done() and isinstance(error := task.exception(), DelegationError)
            ]
            slow_disk.may_go_on.set()
            await asyncio.wait(tasks)
            return refused

    assert asyncio.run(run()) == ["busy"]


def test_a_link_under_the_caches_name_is_not_followed(
    realm: KerberosRealm, alice: Path, keytab: Path, private: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"kept")
    monkeypatch.setattr("negotiate_mw.private_files.secrets.token_hex", lambda _: "known")

    async def run() -> None:
        async with forwarded(keytab, token(realm, alice)) as delegated:
            (directory,) = private.iterdir()
            (directory / "known").symlink_to(other)
            async with delegated.ccache() as name:
                assert not file_of(name).is_symlink()

    asyncio.run(run())

    assert other.read_bytes() == b"kept"


def test_after_the_acceptor_is_closed_there_are_no_caches(
    realm: KerberosRealm, alice: Path, keytab: Path, private: Path
) -> None:
    identity = accepted(keytab, token(realm, alice), delegation=True)

    async def run() -> None:
        async with identity.need_delegated().ccache():
            pass

    with pytest.raises(DelegationError, match="closed"):
        asyncio.run(run())


def test_a_directory_that_is_gone_is_an_error_of_ours(
    realm: KerberosRealm, alice: Path, keytab: Path, private: Path
) -> None:
    async def run() -> None:
        async with forwarded(keytab, token(realm, alice)) as delegated:
            (directory,) = private.iterdir()
            directory.rmdir()
            async with delegated.ccache():
                pass

    with pytest.raises(DelegationError, match="Kerberos library"):
        asyncio.run(run())


def test_the_ticket_is_freed_with_the_identity(realm: KerberosRealm, alice: Path, keytab: Path, private: Path) -> None:
    identity = accepted(keytab, token(realm, alice), delegation=True)
    watched = weakref.ref(identity.need_delegated())

    del identity
    gc.collect()

    assert watched() is None


def test_the_librarys_memory_is_freed_with_the_identity(realm: KerberosRealm, keytab: Path, private: Path) -> None:
    command = [sys.executable, "-m", "tests.delegation.remembering", str(keytab)]
    env = realm.environ() | {"RUNTIME_DIRECTORY": str(private)}

    done = subprocess.run(command, cwd=ROOT, env=env, input=many_lines(realm), stdout=subprocess.PIPE, check=True)

    freed, kept, count = map(int, done.stdout.split())
    assert count == MANY
    assert kept > MANY  # KiB, at least one each; else this couldn't tell
    assert freed < kept / 3


def test_a_ticket_that_fails_brings_nobody_in(realm: KerberosRealm, alice: Path, keytab: Path, private: Path) -> None:
    used = token(realm, alice)
    accepted(keytab, used, delegation=True)

    with pytest.raises(AcceptError, match="replay"):
        accepted(keytab, used, delegation=True)


MANY = 1000


def test_of_a_thousand_caches_of_a_killed_process_none_is_left_after_the_next_start(
    realm: KerberosRealm, alice: Path, keytab: Path, private: Path
) -> None:
    command = [sys.executable, "-m", "tests.delegation.holding", str(keytab)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=realm.environ() | {"RUNTIME_DIRECTORY": str(private)}, stdin=-1, stdout=-1
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(many_lines(realm))
    process.stdin.close()
    said = process.stdout.readline()
    held = len(files(private))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()

    async def run() -> list[Path]:
        async with Acceptor(keytab=keytab, delegation=True):
            return files(private)

    assert (said, held) == (b"ready\n", MANY)
    assert len(files(private)) == MANY
    assert asyncio.run(run()) == []
    assert not list(private.iterdir())


def many_lines(realm: KerberosRealm) -> bytes:
    """So many of alice's tokens, each with a ticket that she forwards."""
    mech, flag = gssapi.OID.from_int_seq("1.3.6.1.5.5.2"), gssapi.RequirementFlag
    name = gssapi.Name(f"{HTTP}@{realm.name}", gssapi.NameType.kerberos_principal)
    lines = []
    for _ in range(MANY):
        context = gssapi.SecurityContext(
            name=name, mech=mech, usage="initiate", flags=flag.integrity | flag.delegate_to_peer
        )
        lines.append(b64encode(context.step() or b"") + b"\n")
    return b"".join(lines)
