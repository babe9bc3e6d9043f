"""The Windows backend, against a stand-in: what it asks of SSPI, and what it makes of the answers."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

from negotiate_mw.accept import AcceptError, AcceptResult, ContextFlag, SecStatus
from negotiate_mw.backends import Context
from negotiate_mw.errors import ConfigurationError

from .windows import Leg, Windows, WindowsError

CONTINUE, COMPLETE, COMPLETE_AND_CONTINUE = 0x00090312, 0x00090313, 0x00090314
ALLOW_MISSING_BINDINGS = 0x1000_0000
Backend = Any
Install = Callable[..., Backend]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes a backend on the given Windows."""

    def make(windows: Windows, *mechanisms: str) -> Backend:
        package = ModuleType("sspilib")
        package.raw = windows.module()  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "sspilib", package)
        monkeypatch.setitem(sys.modules, "sspilib.raw", package.raw)
        monkeypatch.delitem(sys.modules, "negotiate_mw.backends.sspi", raising=False)
        backend = import_module("negotiate_mw.backends.sspi").SspiBackend(mechanisms=mechanisms or ("kerberos", "ntlm"))
        monkeypatch.delitem(sys.modules, "negotiate_mw.backends.sspi")
        backend.acquire()
        return backend

    return make


def stepped(install: Install, windows: Windows, *mechanisms: str, bindings: bytes | None = None) -> AcceptResult:
    backend = install(windows, *mechanisms)
    result = backend.step(Context(backend), b"token", bindings)
    assert isinstance(result, AcceptResult)
    return result


def refused(install: Install, windows: Windows, *mechanisms: str) -> AcceptError:
    with pytest.raises(AcceptError) as caught:
        stepped(install, windows, *mechanisms)
    return caught.value


def test_one_inbound_credential_is_shared(install: Install) -> None:
    windows = Windows([Leg(), Leg()])
    backend = install(windows)

    backend.step(Context(backend), b"one", None)
    backend.step(Context(backend), b"two", None)

    assert windows.acquired == [(None, "Negotiate", 1, None)]
    assert backend.problem() is None
    assert backend.may_block
    assert backend.realms == {"*"}


def test_legs_go_on_with_the_same_context(install: Install) -> None:
    windows = Windows([Leg(CONTINUE, b"challenge"), Leg(0, b"final")])
    backend = install(windows)
    context = Context(backend)

    first = backend.step(context, b"negotiate", None)
    handle = context.handle
    second = backend.step(context, b"authenticate", None)

    assert (first.status, first.token, first.identity) == (SecStatus.CONTINUE_NEEDED, b"challenge", None)
    assert (second.status, second.token) == (SecStatus.OK, b"final")
    assert [call["context"] for call in windows.calls] == [None, handle]
    assert [call["buffers"] for call in windows.calls] == [[(2, b"negotiate")], [(2, b"authenticate")]]
    assert {call["drep"] for call in windows.calls} == {0}


def test_nothing_to_send_is_no_token(install: Install) -> None:
    assert stepped(install, Windows([Leg()])).token is None


@pytest.mark.parametrize(
    ("status", "becomes"), [(COMPLETE, SecStatus.OK), (COMPLETE_AND_CONTINUE, SecStatus.CONTINUE_NEEDED)]
)
def test_complete_needed_is_completed_before_the_token_is_sent(
    install: Install, status: int, becomes: SecStatus
) -> None:
    windows = Windows([Leg(status, b"token to complete")])

    result = stepped(install, windows)

    assert result.status is becomes
    assert result.token == b"token to complete"
    assert [token for _, token in windows.completed] == [b"token to complete"]


@pytest.mark.parametrize("status", [0, CONTINUE])
def test_other_statuses_are_not_completed(install: Install, status: int) -> None:
    windows = Windows([Leg(status)])

    stepped(install, windows)

    assert windows.completed == []


def test_success_that_nobody_documents_is_no_success(install: Install) -> None:
    assert refused(install, Windows([Leg(0x00090399)])).status is SecStatus.LOGON_DENIED


@pytest.mark.parametrize(
    ("name", "package", "realm", "mechanism", "service"),
    [
        ("CORP\\alice", "Kerberos", "CORP", "kerberos", False),
        ("CORP\\alice", "NTLM", "CORP", "ntlm", False),
        ("alice@OTHER.EXAMPLE", "Kerberos", "OTHER.EXAMPLE", "kerberos", False),
        ("CORP\\PC1$", "Kerberos", "CORP", "kerberos", True),
    ],
)
def test_identity_is_the_contexts(
    install: Install, name: str, package: str, realm: str, mechanism: str, service: bool
) -> None:
    identity = stepped(install, Windows([Leg()], name=name, package=package)).identity

    assert identity is not None
    assert (identity.principal, identity.account_id, identity.realm) == (name, name, realm)
    assert (identity.mechanism, identity.is_service) == (mechanism, service)


@pytest.mark.parametrize("name", ["", "alice", "CORP\\", "\\alice", "alice@", "A\\B\\c", "CORP\\al\nice"])
def test_name_that_is_none_is_nobodys(install: Install, name: str) -> None:
    assert refused(install, Windows([Leg()], name=name)).reason == "name-unusable"


@pytest.mark.parametrize("name", ["PC1\\Guest", "pc1\\GUEST", "NT AUTHORITY\\ANONYMOUS LOGON"])
def test_guest_is_refused(install: Install, name: str) -> None:
    error = refused(install, Windows([Leg()], name=name))

    assert (error.status, error.reason) == (SecStatus.LOGON_DENIED, "anonymous")


def test_null_session_is_refused(install: Install) -> None:
    assert refused(install, Windows([Leg(attributes=0x100000)])).reason == "anonymous"


@pytest.mark.parametrize(("package", "allowed"), [("NTLM", "kerberos"), ("Kerberos", "ntlm"), ("CloudAP", "kerberos")])
def test_package_that_is_not_allowed_is_refused(install: Install, package: str, allowed: str) -> None:
    assert refused(install, Windows([Leg()], package=package), allowed).reason == "mechanism-not-allowed"


def test_attributes_are_windows_own(install: Install) -> None:
    result = stepped(install, Windows([Leg(attributes=0x2 | 0x4 | 0x8 | 0x10 | 0x20000 | 0x100)]))

    assert result.attributes == (
        ContextFlag.MUTUAL_AUTH
        | ContextFlag.REPLAY_DETECT
        | ContextFlag.SEQUENCE_DETECT
        | ContextFlag.CONFIDENTIALITY
        | ContextFlag.INTEGRITY
    )
    assert result.identity is not None
    assert result.identity.attributes == result.attributes


def test_bindings_are_handed_on_and_never_taken_for_proven(install: Install) -> None:
    windows = Windows([Leg(attributes=ALLOW_MISSING_BINDINGS)])

    result = stepped(install, windows, bindings=b"tls-server-end-point:hash")

    assert windows.calls[0]["buffers"] == [(2, b"token"), (14, b"tls-server-end-point:hash")]
    assert windows.calls[0]["request"] & ALLOW_MISSING_BINDINGS
    assert result.attributes == ContextFlag(0)
    assert result.identity is not None
    assert not result.identity.channel_bound


def test_no_bindings_are_none_to_miss(install: Install) -> None:
    windows = Windows([Leg()])

    stepped(install, windows)

    assert windows.calls[0]["request"] == 0x4 | 0x8 | 0x10 | 0x100 | 0x20000


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_expiry_is_the_earlier_of_its_two_readings(
    install: Install, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    import time

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        when = datetime(2030, 1, 1, 12, tzinfo=UTC)
        filetime = (when - datetime(1601, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10

        expires_at = stepped(install, Windows([Leg(expiry=filetime)])).expires_at

        ahead = {"UTC": 0, "Asia/Tokyo": 9, "America/New_York": 0}[zone]
        assert expires_at == when - timedelta(hours=ahead)
        assert expires_at.tzinfo is UTC
    finally:
        monkeypatch.undo()
        time.tzset()


def test_expiry_of_never_is_none(install: Install) -> None:
    assert stepped(install, Windows([Leg()])).expires_at is None


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        (0x80090300, SecStatus.INSUFFICIENT_MEMORY, "memory"),
        (0x80090301, SecStatus.INVALID_HANDLE, "context-deleted"),
        (0x80090302, SecStatus.UNSUPPORTED_FUNCTION, "unsupported"),
        (0x80090304, SecStatus.INTERNAL_ERROR, "internal"),
        (0x80090308, SecStatus.INVALID_TOKEN, "malformed"),
        (0x8009030C, SecStatus.LOGON_DENIED, "refused"),
        (0x8009030E, SecStatus.NO_CREDENTIALS, "credentials"),
        (0x80090311, SecStatus.NO_AUTHENTICATING_AUTHORITY, "no-authority"),
        (0x80090317, SecStatus.CONTEXT_EXPIRED, "ticket-expired"),
        (0x80090318, SecStatus.INCOMPLETE_MESSAGE, "incomplete"),
        (0x80090322, SecStatus.WRONG_PRINCIPAL, "wrong-principal"),
        (0x80090324, SecStatus.TIME_SKEW, "clock-skew"),
        (0x80090346, SecStatus.BAD_BINDINGS, "bad-bindings"),
        (0x80090326, SecStatus.INVALID_TOKEN, "malformed"),
        (0x80090348, SecStatus.LOGON_DENIED, "no-key"),
        (0x80090399, SecStatus.LOGON_DENIED, "refused"),
        (5, SecStatus.LOGON_DENIED, "refused"),
        (0, SecStatus.INTERNAL_ERROR, "internal"),
    ],
)
def test_error_keeps_its_number(install: Install, code: int, status: SecStatus, reason: str) -> None:
    error = refused(install, Windows([Leg(error=WindowsError(code))]))

    assert (error.status, error.reason) == (status, reason)
    assert f"0x{code:08X}" in error.detail


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (StopIteration(), SecStatus.INTERNAL_ERROR),
        (OSError("no winerror"), SecStatus.INTERNAL_ERROR),
        (MemoryError(), SecStatus.INSUFFICIENT_MEMORY),
    ],
)
def test_foreign_exception_becomes_ours(install: Install, raised: Exception, status: SecStatus) -> None:
    assert refused(install, Windows([Leg(error=raised)])).status is status


@pytest.mark.parametrize(
    ("token", "mechanism"), [(b"NTLMSSP\0\3...", "ntlm"), (b"\xa1...NTLMSSP\0\3", "ntlm"), (b"\x60...", None)]
)
@pytest.mark.parametrize("leg", [Leg(error=WindowsError(0x8009030C)), Leg(0x00090399)])
def test_refusal_says_if_it_was_ntlm(install: Install, token: bytes, mechanism: str | None, leg: Leg) -> None:
    backend = install(Windows([leg]))

    with pytest.raises(AcceptError) as caught:
        backend.step(Context(backend), token, None)

    assert caught.value.mechanism == mechanism


def test_credential_that_windows_refuses_is_said_at_start(install: Install) -> None:
    with pytest.raises(ConfigurationError, match="no credential of the Negotiate package"):
        install(Windows([], acquire_error=WindowsError(0x8009030E)))


def test_backend_without_credential_says_so(install: Install) -> None:
    backend = install(Windows([]))

    assert type(backend)(mechanisms=("ntlm",)).problem() == "no credential was acquired"


def test_elsewhere_than_on_windows_the_import_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "negotiate_mw.backends.sspi", raising=False)
    monkeypatch.setitem(sys.modules, "sspilib", None)

    with pytest.raises(ImportError, match="pip install sspilib"):
        import_module("negotiate_mw.backends.sspi")
