"""The options of NegotiateAuth: what they mean together, and what is wrong with them.

Law: an option fails at construction, in one sentence that says what to type; no option that was given is left aside.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from negotiate_mw.client.errors import CredentialError
from negotiate_mw.client.flow import Binding, Initiator, Mutual
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.extras import to_install

Mechanism = Literal["kerberos", "ntlm"]

_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|[0-9A-Fa-f:.]+")


class Delegated(Protocol):
    """Whoever has a user's forwarded ticket: ``Identity.delegated`` is one."""

    @property
    def credentials(self) -> Any:
        """python-gssapi's."""
        ...


class Unset(Enum):
    UNSET = "unset"


UNSET = Unset.UNSET


class Source(Protocol):
    def open(self, hostname: str, bindings: bytes | None) -> Initiator: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """As NegotiateAuth documents them.

    Raises:
        ConfigurationError: an option makes no sense.
        CredentialError: ``delegated`` is None.
    """

    mechanisms: Sequence[Mechanism]
    username: str | None
    password: str | None = field(repr=False)
    keytab: str | Path | None
    ccache: str | Path | None
    delegated: Delegated | Unset | None
    hostname: str | None
    hosts: Sequence[str] | None
    mutual: Mutual
    channel_binding: Binding
    delegate: bool

    @property
    def named(self) -> list[str]:
        """Whose credentials: the names of those options that say so; empty for the default cache."""
        given = {
            "password": self.password is not None,
            "keytab": self.keytab is not None,
            "ccache": self.ccache is not None,
            "delegated": self.delegated is not UNSET,
        }
        return [name for name, is_given in given.items() if is_given]

    def __post_init__(self) -> None:
        _one_of("mutual", self.mutual, get_args(Mutual))
        _one_of("channel_binding", self.channel_binding, get_args(Binding))
        if isinstance(self.mechanisms, str) or not self.mechanisms or set(self.mechanisms) - set(get_args(Mechanism)):
            raise ConfigurationError(
                f'NegotiateAuth(mechanisms={self.mechanisms!r}) is no list of "kerberos" and "ntlm"; '
                'type mechanisms=("kerberos",) or mechanisms=("kerberos", "ntlm")'
            )
        if self.delegated is None:
            # not to be taken for "no option": the caller would log in as itself where it meant to be the user
            raise CredentialError(
                "NegotiateAuth(delegated=None): this user has forwarded no ticket; is the acceptor made with "
                "delegation=True, does the client forward its ticket, and did this request log in by it?"
            )
        named = self.named
        if len(named) > 1:
            raise ConfigurationError(f"NegotiateAuth has {' and '.join(named)}; give one of them, or none for kinit's")
        if self.password is not None and self.username is None:
            raise ConfigurationError('NegotiateAuth(password=…) needs a name to it; add username="app@CORP.EXAMPLE"')
        if self.delegated is not UNSET and not hasattr(self.delegated, "credentials"):
            raise ConfigurationError(
                f"NegotiateAuth(delegated=…) has no credentials, being a {type(self.delegated).__name__}; give it "
                "request.user.delegated, of a middleware with Acceptor(delegation=True)"
            )
        if "ntlm" in self.mechanisms:
            if self.mutual == "required":
                raise ConfigurationError(
                    'NegotiateAuth(mutual="required") and NTLM exclude each other, as NTLM can\'t prove the server; '
                    'type mutual="optional"'
                )
            if self.password is None and sys.platform != "win32":
                raise ConfigurationError('NTLM needs a password; add username="CORP\\\\bob", password=…')
        if self.hosts is not None and (isinstance(self.hosts, str) or not all(map(_is_host, self.hosts))):
            raise ConfigurationError(
                f"NegotiateAuth(hosts={self.hosts!r}) is no list of host names; "
                'type hosts=["www.corp.example"], or hosts=["*.corp.example"] for all below'
            )
        if self.hostname is not None and (not _is_host(self.hostname) or "*" in self.hostname):
            raise ConfigurationError(
                f'NegotiateAuth(hostname={self.hostname!r}) is no host name; type hostname="www.corp.example"'
            )

    def source(self, mechanism: Mechanism) -> Source:
        """Where the handshakes of one mechanism come from.

        Raises:
            ConfigurationError: it doesn't take these credentials, or its library isn't installed.
        """
        mutual = self.mutual != "off"
        if mechanism == "ntlm" or sys.platform == "win32":
            if set(self.named) - {"password"}:
                raise ConfigurationError(
                    f"{'NTLM' if mechanism == 'ntlm' else 'Kerberos on Windows'} takes a password or the logged-in "
                    "user's credentials, no keytab, ccache or delegated ticket; leave it out"
                )
            from negotiate_mw.client.ntlm import Pyspnego

            return Pyspnego(
                mechanism, username=self.username, password=self.password, delegate=self.delegate, mutual=mutual
            )
        try:
            from negotiate_mw.client.kerberos import Kerberos
        except ModuleNotFoundError as error:
            raise ConfigurationError(f"Kerberos needs python-gssapi: {to_install('kerberos')}") from error

        return Kerberos(
            username=self.username,
            password=self.password,
            keytab=self.keytab,
            ccache=self.ccache,
            delegated=None if isinstance(self.delegated, Unset) else self.delegated,
            delegate=self.delegate,
            mutual=mutual,
        )


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        choices = " or ".join(f'{name}="{choice}"' for choice in allowed)
        raise ConfigurationError(f"NegotiateAuth({name}={value!r}) is unknown; type {choices}")


def _is_host(name: object) -> bool:
    return isinstance(name, str) and _HOST.fullmatch(name) is not None
