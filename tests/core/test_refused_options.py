"""Wrong options say what to type, and what can't be proven or loaded gets nobody in."""

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from negotiate_mw import AcceptError, Acceptor, ChannelBinding, ConfigurationError, Policy, SecStatus
from negotiate_mw.backends import Context
from negotiate_mw.handshake import Handshake, Refuse, State, conclude

from .building import KERBEROS, FakeBackend, finished, unfinished, user


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ChannelBinding(mode="always"), r"use ChannelBinding\.off\(\), \.when_present\(\) or \.required\(\)"),
        (lambda: ChannelBinding(mode="off", certfile="proxy.pem"), r'as in \.required\(certfile="proxy\.pem"\)'),
        (lambda: ChannelBinding.required(certfile=1), "give a path"),  # type: ignore[arg-type]
        (lambda: Policy(ntlm_domains="CORP"), r'give a list, \["CORP"\]'),
        (lambda: Policy(ntlm_domains=[]), "name at least one domain"),
        (lambda: Policy(channel_binding="required"), r"give ChannelBinding\.off\(\)"),  # type: ignore[arg-type]
        (lambda: Policy(required_indicators="pkinit"), r"give a list of names"),
        (lambda: Policy(username="alice"), "give a function"),  # type: ignore[arg-type]
        (lambda: Policy(trusted_origins="https://a.example"), r'give a list, \["https://a\.example"\]'),
    ],
)
def test_a_wrong_option_says_what_to_type(make: Any, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        make()


@pytest.mark.parametrize(("mechanism", "retry"), [("kerberos", True), ("ntlm", False)])
def test_where_the_channel_has_to_be_proven_a_log_in_that_did_not_is_refused(mechanism: str, retry: bool) -> None:
    rules = Policy(realms="*", channel_binding=ChannelBinding.required()).rules({"EXAMPLE.COM"}, {"*"})
    stepping = Handshake(state=State.STEPPING, legs=1)

    decision = conclude(stepping, finished(user(mechanism=mechanism)), rules, can_continue=True, now=9.0)
    proven = conclude(
        stepping, finished(user(mechanism=mechanism, channel_bound=True)), rules, can_continue=True, now=9.0
    )

    assert isinstance(decision, Refuse)
    assert (decision.status, decision.reason, decision.retry, decision.token) == (401, "not-bound", retry, None)
    assert not isinstance(proven, Refuse)


def test_on_windows_the_account_says_which_hosts_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("negotiate_mw.accept.sys", SimpleNamespace(platform="win32"))

    with pytest.raises(ConfigurationError, match="the SPNs of the account say who we are"):
        Acceptor(hostname="www.example.com")


def test_without_pyspnego_ntlm_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in ("negotiate_mw.backends.pyspnego", "negotiate_mw.backends.ntlmv2"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr("negotiate_mw.backends.ntlmv2", raising=False)
    monkeypatch.setitem(sys.modules, "spnego._ntlm_raw.crypto", None)
    acceptor = Acceptor(mechanisms=("ntlm",), ntlm_users=tmp_path / "users")

    with pytest.raises(ConfigurationError, match="pip install 'pyspnego"):
        asyncio.run(acceptor.acquire())


def test_an_acceptor_that_was_closed_in_mid_handshake_deletes_the_context_and_says_so() -> None:
    backend = FakeBackend(unfinished())
    acceptor = Acceptor()
    acceptor._kerberos = backend
    acceptor.acquired = True

    async def run() -> Context:
        half = (await acceptor.accept(None, KERBEROS)).context
        context = backend.steps[0][0]
        assert half is not None
        await acceptor.aclose()
        with pytest.raises(AcceptError) as refused:
            await acceptor.accept(context, b"\xa1")
        assert (refused.value.status, refused.value.reason) == (SecStatus.NO_CREDENTIALS, "not-acquired")
        return context

    context = asyncio.run(run())

    assert not context.open
    assert repr(context).startswith("<Context ended at ")
