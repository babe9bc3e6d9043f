"""The initiator of what pyspnego does: NTLM with a password, and on Windows whatever SSPI has for the logged-in user.

Law: NTLMv2 or nothing; tokens never reach pyspnego's log. NTLM never proves the server, so it never says so.
"""

import logging
import sys

import spnego
from spnego.channel_bindings import GssChannelBindings

from negotiate_mw.client.errors import CredentialError
from negotiate_mw.client.flow import Leg, StepFailed

logging.getLogger("spnego").setLevel(logging.INFO)  # it writes whole tokens at DEBUG


class Pyspnego:
    """Who logs in, by which protocol.

    Args:
        protocol: ``"ntlm"``; ``"kerberos"``: by SSPI, on Windows, without SPNEGO, so that it can't fall back to NTLM.
        username: such as ``CORP\\bob``; None on Windows: who is logged in.
        password: theirs.
        delegate: forward the user's own ticket.
        mutual: ask the server to prove who it is.
    """

    def __init__(
        self, protocol: str, *, username: str | None, password: str | None, delegate: bool = False, mutual: bool = False
    ) -> None:
        self._protocol = protocol
        self._username = username
        self._password = password
        self._request = spnego.ContextReq.integrity | spnego.ContextReq.sequence_detect
        if mutual:
            self._request |= spnego.ContextReq.mutual_auth
        if delegate:
            self._request |= spnego.ContextReq.delegate

    def open(self, hostname: str, bindings: bytes | None) -> "PyspnegoInitiator":
        """A handshake with HTTP at that host.

        Raises:
            CredentialError: there is nothing to log in with.
        """
        ntlm = self._protocol == "ntlm"
        try:
            context = spnego.client(
                self._username,
                self._password,
                hostname=hostname,
                service="HTTP",
                protocol=self._protocol,
                context_req=self._request,
                channel_bindings=None if bindings is None else GssChannelBindings(application_data=bindings),
                options=spnego.NegotiateOptions.use_ntlm
                if ntlm and sys.platform != "win32"
                else spnego.NegotiateOptions.none,
            )
        except Exception as error:
            raise CredentialError(f"no credentials for {self._protocol}: {error}") from error
        return PyspnegoInitiator(context, ntlm)


class PyspnegoInitiator:
    """One handshake. As ``flow.Initiator``."""

    def __init__(self, context: "spnego.ContextProxy", ntlm: bool) -> None:
        self._context = context
        self._ntlm = ntlm

    def step(self, token: bytes | None) -> Leg:
        """The next token.

        Raises:
            CredentialError: there is nothing to log in with.
            StepFailed: the server's token can't be used.
        """
        try:
            answer = self._context.step(token)
        except Exception as error:
            raise (CredentialError if token is None else StepFailed)(f"{type(error).__name__}: {error}") from error
        complete = self._context.complete
        return Leg(
            token=answer,
            complete=complete,
            mutual=complete and not self._ntlm and bool(self._context.context_attr & spnego.ContextReq.mutual_auth),
            more=self._ntlm and not complete,
        )
