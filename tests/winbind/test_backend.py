"""NTLM of a domain, where no domain is: what the library and winbind may say, and what becomes of it."""

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from gssapi import raw

from negotiate_mw.accept import AcceptError, Acceptor, SecStatus
from negotiate_mw.backends import Context, wbclient
from negotiate_mw.backends.winbind import WinbindBackend
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.wire.spnego import KRB5, NTLM
from tests.integration.tokens import neg_token_init

FIRST = neg_token_init([NTLM])
MESSAGE_OF_CLIENT = b"NTLMSSP\0\3\0\0\0"


def refusal(monkeypatch: pytest.MonkeyPatch, comes: Any, token: bytes = FIRST) -> AcceptError:
    """What a step makes of what the library gives or raises."""

    def accept_sec_context(*_: Any) -> Any:
        if isinstance(comes, Exception):
            raise comes
        return comes

    monkeypatch.setattr(raw, "accept_sec_context", accept_sec_context)
    backend = WinbindBackend()
    with pytest.raises(AcceptError) as refused:
        backend.step(Context(backend), token, None)
    return refused.value


def test_a_context_of_another_mechanism_proves_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    kerberos = raw.OID.from_int_seq(KRB5)
    done = SimpleNamespace(more_steps=False, context=object(), mech=kerberos, token=None)

    error = refusal(monkeypatch, done)

    assert (error.status, error.reason, error.mechanism) == (SecStatus.LOGON_DENIED, "mechanism-not-allowed", "ntlm")


@pytest.mark.parametrize(
    ("raised", "status", "reason"),
    [
        (MemoryError(), SecStatus.INSUFFICIENT_MEMORY, "memory"),
        (ValueError("of the binding's own"), SecStatus.INTERNAL_ERROR, "internal"),
        (raw.GSSError(9 << 16, 0), SecStatus.INVALID_TOKEN, "malformed"),
    ],
)
def test_what_the_binding_raises_is_our_own_error_and_ends_the_asking(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, status: SecStatus, reason: str
) -> None:
    error = refusal(monkeypatch, raised)

    assert (error.status, error.reason, error.mechanism) == (status, reason, "ntlm")


@pytest.mark.parametrize(
    ("token", "status", "reason"),
    [
        (MESSAGE_OF_CLIENT, SecStatus.INCOMPLETE_MESSAGE, "incomplete"),
        (b"\xff" * 100, SecStatus.INVALID_TOKEN, "malformed"),
    ],
)
def test_a_message_that_is_cut_off_or_nonsense_never_reaches_the_library(
    monkeypatch: pytest.MonkeyPatch, token: bytes, status: SecStatus, reason: str
) -> None:
    error = refusal(monkeypatch, AssertionError("it did"), token)

    assert (error.status, error.reason, error.mechanism) == (status, reason, "ntlm")


def test_a_machine_that_is_in_no_domain_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NTLM_USER_FILE", raising=False)
    monkeypatch.setattr(wbclient.Winbind, "domain", lambda self: "")
    monkeypatch.setattr(raw, "acquire_cred", lambda *_, **__: SimpleNamespace(creds=object()))
    monkeypatch.setattr(raw, "set_neg_mechs", lambda *_: None)

    with pytest.raises(ConfigurationError, match=r"winbind is of no domain.*net ads join"):
        asyncio.run(Acceptor(mechanisms=("ntlm",)).acquire())


def test_winbind_that_has_no_memory_is_out_of_order(monkeypatch: pytest.MonkeyPatch) -> None:
    winbind = wbclient.Winbind()
    monkeypatch.setattr(winbind._library, "wbcCtxCreate", lambda: None)

    with pytest.raises(wbclient.WinbindError, match="out of memory"):
        winbind.domain()


def test_without_python_gssapi_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "negotiate_mw.backends.winbind")
    monkeypatch.delattr("negotiate_mw.backends.winbind")
    monkeypatch.setitem(sys.modules, "gssapi", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'negotiate-mw\[kerberos\]'"):
        asyncio.run(Acceptor(mechanisms=("ntlm",)).acquire())
