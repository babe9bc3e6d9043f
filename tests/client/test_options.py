"""Options are refused at construction; secrets are in no repr."""

from types import SimpleNamespace
from typing import Any

import pytest

import negotiate_mw.client
from negotiate_mw.client import CredentialError, NegotiateAuth
from negotiate_mw.errors import ConfigurationError


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mutual": "yes"}, 'mutual="required" or mutual="optional" or mutual="off"'),
        ({"channel_binding": True}, 'channel_binding="required"'),
        ({"mechanisms": "kerberos"}, r'mechanisms=\("kerberos",\)'),
        ({"mechanisms": ()}, r'mechanisms=\("kerberos",\)'),
        ({"mechanisms": ("digest",)}, r'mechanisms=\("kerberos",\)'),
        ({"password": "x"}, "add username="),
        ({"username": "a", "password": "x", "keytab": "k"}, "password and keytab; give one"),
        ({"ccache": "c", "delegated": SimpleNamespace(credentials=1)}, "ccache and delegated; give one"),
        ({"delegated": object()}, "request.user.delegated"),
        ({"mechanisms": ("ntlm",), "username": "a", "password": "x"}, 'mutual="optional"'),
        ({"mechanisms": ("ntlm",), "mutual": "optional"}, "needs a password"),
        ({"hosts": "www.corp.example"}, r'hosts=\["www.corp.example"\]'),
        ({"hosts": ["http://www.corp.example"]}, r'hosts=\["www.corp.example"\]'),
        ({"hosts": ["*"]}, "all below"),
        ({"hostname": "HTTP/www"}, 'hostname="www.corp.example"'),
        ({"hostname": "*.corp.example"}, 'hostname="www.corp.example"'),
    ],
)
def test_a_bad_option_says_what_to_type(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        NegotiateAuth(**options)


def test_a_user_without_a_forwarded_ticket_is_not_taken_for_ourselves() -> None:
    with pytest.raises(CredentialError, match="forwarded no ticket"):
        NegotiateAuth(delegated=None)


def test_no_repr_has_the_password() -> None:
    auth = NegotiateAuth(username="alice", password="hunter2")

    assert repr(auth) == "<NegotiateAuth kerberos by password of 'alice'>"
    assert "hunter2" not in repr(vars(auth))


def test_every_exported_name_is_there_and_no_other() -> None:
    assert all(getattr(negotiate_mw.client, name) for name in negotiate_mw.client.__all__)
    with pytest.raises(AttributeError):
        negotiate_mw.client.Unknown  # noqa: B018


# Windows, against a stand-in: what is asked of pyspnego, and what is made of its answers


class _Sspi:
    """A context of pyspnego's, as it is with SSPI."""

    def __init__(self) -> None:
        self.complete = False
        self.context_attr = 0

    def step(self, token: bytes | None = None) -> bytes | None:
        if token == b"broken":
            raise OSError("SEC_E_INVALID_TOKEN")
        self.complete = token is not None
        self.context_attr = 2 if self.complete else 0  # mutual
        return None if self.complete else b"ticket"


def test_on_windows_the_logged_in_user_s_kerberos_is_sspi_s(monkeypatch: pytest.MonkeyPatch) -> None:
    import spnego

    from negotiate_mw.client import options as module
    from negotiate_mw.client.flow import Leg, StepFailed

    asked: list[dict[str, Any]] = []

    def client(username: str | None, password: str | None, **options: Any) -> _Sspi:
        asked.append({"username": username, "password": password, **options})
        return _Sspi()

    monkeypatch.setattr(module, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr(spnego, "client", client)

    leg, initiator = NegotiateAuth(delegate=True)._begin("www.corp.example", b"tls-server-end-point:x")

    assert leg == Leg(token=b"ticket", complete=False, mutual=False, more=False)
    assert (asked[0]["username"], asked[0]["protocol"], asked[0]["hostname"]) == (None, "kerberos", "www.corp.example")
    assert asked[0]["channel_bindings"].application_data == b"tls-server-end-point:x"
    assert asked[0]["context_req"] & spnego.ContextReq.mutual_auth
    assert asked[0]["context_req"] & spnego.ContextReq.delegate
    with pytest.raises(StepFailed):
        initiator.step(b"broken")
    assert initiator.step(b"proof") == Leg(token=None, complete=True, mutual=True, more=False)


def test_on_windows_a_keytab_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from negotiate_mw.client import options as module

    monkeypatch.setattr(module, "sys", SimpleNamespace(platform="win32"))

    with pytest.raises(ConfigurationError, match="leave it out"):
        NegotiateAuth(keytab="http.keytab")
