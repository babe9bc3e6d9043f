"""Alice's client, which makes tokens by the thousand: one credential, no program started, no KDC asked.

Law: the credential cache of ``KRB5CCNAME`` has the services' tickets already.
"""

import gssapi
from gssapi import raw

from negotiate_mw.wire import der
from negotiate_mw.wire.spnego import KRB5, SPNEGO

from .child import SERVICE

_KRB5 = raw.OID(elements=der.encode_oid(KRB5))
_SPNEGO = raw.OID(elements=der.encode_oid(SPNEGO))
_FLAGS = gssapi.RequirementFlag.mutual_authentication | gssapi.RequirementFlag.integrity


class Tickets:
    """``spnego()`` and ``kerberos()`` make a first token each, with an authenticator of its own."""

    def __init__(self, service: str = SERVICE) -> None:
        self._name = raw.import_name(f"{service}@TEST.EXAMPLE".encode(), raw.NameType.kerberos_principal)
        self._credential = raw.acquire_cred(None, usage="initiate", mechs=[_KRB5, _SPNEGO]).creds
        raw.set_neg_mechs(self._credential, [_KRB5])

    def spnego(self) -> bytes:
        return self._first(_SPNEGO)

    def kerberos(self) -> bytes:
        return self._first(_KRB5)

    def _first(self, mechanism: raw.OID) -> bytes:
        return raw.init_sec_context(self._name, self._credential, mech=mechanism, flags=_FLAGS).token or b""
