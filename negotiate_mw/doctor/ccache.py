"""A client's tickets for the checks: the operator's own ticket-granting ticket, or else one by the keytab.

Law: nothing is left behind, on disk or in the operator's own cache: what is got is got in memory. Of that cache only
the ticket-granting tickets are taken, for a service's ticket in it may be older than the service's key.
"""

import itertools
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import gssapi
from gssapi.raw import GSSError

from negotiate_mw.wire.ccache import read_ccache, write_ccache
from negotiate_mw.wire.errors import WireError

_KRB5 = gssapi.MechType.kerberos
_BASE = 2529638912  # ERROR_TABLE_BASE_krb5, unsigned: RFC 4120's error codes begin there
_numbers = itertools.count(1)


class Failed(Exception):
    """The library or the KDC gave no ticket.

    Attributes:
        code: RFC 4120's number of the KDC's refusal, or the library's own beyond 127; None: another's.
        sentence: the library's words.
    """

    def __init__(self, error: GSSError) -> None:
        code = error.min_code - _BASE
        self.code: int | None = code if 0 <= code < 256 else None
        self.sentence: str = str(error)
        super().__init__(self.sentence)


class Client(NamedTuple):
    """Somebody with a ticket-granting ticket, in memory."""

    principal: str
    ccache: str

    @property
    def realm(self) -> str:
        return self.principal.rpartition("@")[2]

    def credentials(self) -> gssapi.Credentials:
        return gssapi.Credentials(usage="initiate", mechs=[_KRB5], store={"ccache": self.ccache})

    def token(self, service: str) -> bytes:
        """A first token for a service, ``"HTTP/www.corp.example@CORP.EXAMPLE"``, without SPNEGO.

        Raises:
            Failed: the KDC refuses.
        """
        try:
            name = gssapi.Name(service, gssapi.NameType.kerberos_principal)
            flags = gssapi.RequirementFlag.mutual_authentication
            begun = gssapi.raw.init_sec_context(name, self.credentials(), mech=_KRB5, flags=flags)
        except GSSError as error:
            raise Failed(error) from error
        return begun.token or b""


def operator() -> Client | None:
    """Whoever ran ``kinit`` here; None if nobody did, or it can't be copied."""
    try:
        theirs = gssapi.Credentials(usage="initiate", mechs=[_KRB5])
        if not theirs.lifetime:
            return None
        principal = str(theirs.name)
        with tempfile.TemporaryDirectory(prefix="negotiate-mw-") as directory:
            copy = Path(directory, "ccache")
            theirs.store(store={"ccache": f"FILE:{copy}"}, usage="initiate", mech=_KRB5, overwrite=True)
            tgts = [entry for entry in read_ccache(copy.read_bytes()) if entry.grants_tickets]
            if not tgts:
                return None
            copy.write_bytes(write_ccache(tgts[0].client, *(entry.octets for entry in tgts)))
            ccache = _fresh()
            chosen = gssapi.Credentials(usage="initiate", mechs=[_KRB5], store={"ccache": f"FILE:{copy}"})
            chosen.store(store={"ccache": ccache}, usage="initiate", mech=_KRB5, overwrite=True)
    except (GSSError, OSError, WireError):
        return None
    return Client(principal, ccache)


def by_keytab(principal: str, keytab: str) -> Client:
    """Log in with a key of the keytab.

    Raises:
        Failed: the KDC refuses, or there is none.
    """
    ccache = _fresh()
    store: dict[bytes | str, bytes | str] = {"ccache": ccache, "client_keytab": os.fspath(keytab)}
    try:
        name = gssapi.Name(principal, gssapi.NameType.kerberos_principal)
        _ = gssapi.Credentials(name=name, usage="initiate", mechs=[_KRB5], store=store).lifetime
    except GSSError as error:
        raise Failed(error) from error
    return Client(principal, ccache)


def _fresh() -> str:
    return f"MEMORY:negotiate-mw-{os.getpid()}-{next(_numbers)}"
