"""The initiator of Kerberos: raw calls of python-gssapi, with SPNEGO around them.

Law: a token is made with the named credentials or not at all; only Kerberos is ever offered, whatever other mechanisms
the machine's library has. SPNEGO is ours, since the library's own can't use a forwarded ticket. Everything may block:
the library asks the KDC.
"""

import secrets
import threading
from pathlib import Path
from typing import Any

from gssapi import raw

from negotiate_mw.client.errors import CredentialError
from negotiate_mw.client.flow import Leg, StepFailed
from negotiate_mw.wire import der, spnego
from negotiate_mw.wire.errors import WireError

_KRB5 = raw.OID(elements=der.encode_oid(spnego.KRB5))
_MECH_LIST = der.encode(der.SEQUENCE, der.encode(der.OID, der.encode_oid(spnego.KRB5)))
_SPNEGO = der.encode(der.OID, der.encode_oid(spnego.SPNEGO))
_ACCEPT_COMPLETED, _REJECT = 0, 2  # RFC 4178 4.2.2
_FRESH_SECONDS = 300  # of a password's ticket, before another is got: the clock skew that Kerberos allows


class Kerberos:
    """Whose tickets to use: exactly what NegotiateAuth was given.

    Args:
        username: the principal; with a keytab, None is the keytab's first.
        password: its password, for a ticket of its own, in memory.
        keytab: its keys, for the same.
        ccache: a credential cache's name, such as ``FILE:/run/me/krb5cc``.
        delegated: an object with ``credentials``, python-gssapi's.
        delegate: forward the user's own ticket to the server.
        mutual: ask the server to prove who it is.
    """

    def __init__(
        self,
        *,
        username: str | None,
        password: str | None,
        keytab: str | Path | None,
        ccache: str | Path | None,
        delegated: Any,
        delegate: bool,
        mutual: bool,
    ) -> None:
        self._username = username
        self._password = password
        self._delegated = delegated
        self._flags = raw.RequirementFlag.integrity | raw.RequirementFlag.out_of_sequence_detection
        if mutual:
            self._flags |= raw.RequirementFlag.mutual_authentication
        if delegate:
            self._flags |= raw.RequirementFlag.delegate_to_peer
        self._store: dict[bytes | str, bytes | str] | None = None
        if keytab is not None:
            # a cache of its own, which the library fills from the keytab, and refills in time
            cache = f"MEMORY:negotiate-mw-{secrets.token_hex(16)}"
            self._store = {b"client_keytab": str(keytab).encode(), b"ccache": cache.encode()}
        elif ccache is not None:
            self._store = {b"ccache": str(ccache).encode()}
        self._lock = threading.Lock()
        self._of_password: Any = None

    def open(self, hostname: str, bindings: bytes | None) -> "KerberosInitiator":
        """A handshake with HTTP at that host.

        Raises:
            CredentialError: there is no ticket, and none to be had.
        """
        try:
            return KerberosInitiator(self._credentials(), hostname, bindings, self._flags)
        except raw.GSSError as error:
            raise CredentialError(f"no Kerberos credentials: {_said(error)}; {self._cure()}") from error

    def _credentials(self) -> Any:
        if self._delegated is not None:
            if self._delegated.credentials is None:  # which the library would take for our own
                raise CredentialError("delegated= has no credentials any more, or never had: nothing was forwarded")
            return self._delegated.credentials
        name = None
        if self._username is not None:
            name = raw.import_name(self._username.encode(), raw.NameType.user)
        if self._password is None or name is None:
            # each time anew: a renewed cache is to be seen
            return raw.acquire_cred_from(self._store, name, mechs=[_KRB5], usage="initiate").creds
        with self._lock:
            if self._of_password is None or not _fresh(self._of_password):
                self._of_password = raw.acquire_cred_with_password(
                    name, self._password.encode(), mechs=[_KRB5], usage="initiate"
                ).creds
            return self._of_password

    def _cure(self) -> str:
        if self._password is not None:
            return "are name and password right, and is the KDC reachable?"
        if self._store is not None:
            return "are the named file and its principal right, and can this process read it?"
        return "get a ticket with kinit, or give NegotiateAuth a keytab"


class KerberosInitiator:
    """One handshake. As ``flow.Initiator``."""

    def __init__(self, credentials: Any, hostname: str, bindings: bytes | None, flags: int) -> None:
        self._credentials = credentials
        self._service = f"HTTP@{hostname}"
        self._name = raw.import_name(self._service.encode(), raw.NameType.hostbased_service)
        self._bindings = None if bindings is None else raw.ChannelBindings(application_data=bindings)
        self._flags = flags
        self._context: Any = None
        self._complete = False
        self._mutual = False

    def step(self, token: bytes | None) -> Leg:
        """The next token, in SPNEGO.

        Raises:
            CredentialError: the KDC gives no ticket for this service.
            StepFailed: the server's token is not that of this service, or nothing that can be read.
        """
        if token is None:
            try:
                return self._leg(_init(self._inner(None)))
            except raw.GSSError as error:
                raise CredentialError(
                    f"no Kerberos ticket for {self._service}: {_said(error)}; "
                    "if the service goes by another name, say so: NegotiateAuth(hostname=…)"
                ) from error
        try:
            return self._answer(token)
        except raw.GSSError as error:
            raise StepFailed(_said(error)) from error
        except WireError as error:
            raise StepFailed(str(error)) from error

    def _answer(self, token: bytes) -> Leg:
        said = spnego.read(token)
        if not isinstance(said, spnego.Continuation) or said.wrapping is not spnego.Wrapping.SPNEGO:
            raise StepFailed("no answer in SPNEGO")
        if said.state == _REJECT or said.mechanism not in (None, spnego.KRB5, spnego.MS_KRB5):
            raise StepFailed("it doesn't take Kerberos")
        inner = None
        if not self._complete:
            if said.mech_token is None:
                raise StepFailed("it has no token of Kerberos in it")
            inner = self._inner(said.mech_token)
        if self._complete and said.mic is not None:
            raw.verify_mic(self._context, _MECH_LIST, said.mic)
        if said.state in (None, _ACCEPT_COMPLETED):
            return self._leg(inner)
        # RFC 4178 5: it wants the list of mechanisms under our signature
        mic = raw.get_mic(self._context, _MECH_LIST) if self._complete else None
        return self._leg(spnego.response(state=_ACCEPT_COMPLETED if mic else 1, token=inner, mic=mic))

    def _inner(self, token: bytes | None) -> bytes | None:
        result = raw.init_sec_context(
            self._name,
            creds=self._credentials,
            context=self._context,
            mech=_KRB5,
            flags=self._flags,
            channel_bindings=self._bindings,
            input_token=token,
        )
        self._context = result.context
        self._complete = not result.more_steps
        self._mutual = self._complete and bool(result.flags & raw.RequirementFlag.mutual_authentication)
        return result.token

    def _leg(self, token: bytes | None) -> Leg:
        return Leg(token=token, complete=self._complete, mutual=self._mutual, more=False)


def _init(mech_token: bytes | None) -> bytes:
    """A NegTokenInit with Kerberos alone (RFC 4178 4.2.1)."""
    assert mech_token is not None
    fields = der.encode(0xA0, _MECH_LIST), der.encode(0xA2, der.encode(der.OCTET_STRING, mech_token))
    return der.encode(0x60, _SPNEGO, der.encode(0xA0, der.encode(der.SEQUENCE, *fields)))


def _fresh(credentials: Any) -> bool:
    try:
        left = raw.inquire_cred(credentials, name=False, usage=False, mechs=False).lifetime
    except raw.ExpiredCredentialsError:
        return False
    return left is None or left > _FRESH_SECONDS


def _said(error: raw.GSSError) -> str:
    """The mechanism's own words; the major code's only where there are no others."""
    mechanism = str(error).partition(", Minor (")[2].partition("): ")[2]
    return mechanism if error.min_code and mechanism else str(error)
