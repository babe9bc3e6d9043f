"""Asks the KDC whether a password is right, and brings back a token that no false KDC can make.

Law: the KDC's word is not believed here. What comes of a right password is a first token for this very service, and
only accepting that, with the keytab's key, proves who it is. The ticket-granting ticket lives in a memory cache of its
own and goes with the call; no environment, file or default cache is touched or asked.
"""

from typing import Any

from gssapi import raw
from gssapi.raw.misc import GSSError

from negotiate_mw.errors import AcceptError
from negotiate_mw.status import SecStatus
from negotiate_mw.wire import der
from negotiate_mw.wire.spnego import KRB5

_KRB5 = raw.OID(elements=der.encode_oid(KRB5))
_TABLE = (-1765328384) % 2**32  # where the library's codes begin (krb5.h, ERROR_TABLE_BASE_krb5)
_GENERIC_PREAUTH_FAILED = 210  # KRB5_PREAUTH_FAILED, the library's own: it had nothing more to try

# RFC 4120 7.5.9, codes by which a KDC turns down a user: expired, unknown, policy, no key of any good type, revoked,
# not yet valid, password expired, pre-authentication failed or more of it needed; and, where the KDC asks for none, a
# reply that the password doesn't open
_TURNED_DOWN = frozenset({1, 6, 12, 14, 18, 21, 23, 24, 25, 31, _GENERIC_PREAUTH_FAILED})
_TURNED_DOWN_LATER = frozenset({1, 12, 18, 23})  # for the service's ticket, after the password was right
_UNREACHABLE = frozenset({29, 154, 156})  # KDC_ERR_SVC_UNAVAILABLE; KRB5_REALM_UNKNOWN, KRB5_KDC_UNREACH


def first_token(principal: str, password: str, target: str) -> bytes:
    """Log in at the KDC and return a first token for ``target``; it blocks while the KDC doesn't answer.

    Args:
        principal: such as ``"alice@EXAMPLE.COM"``, without anything that needs quoting.
        password: without a NUL, where the C library would take it to end.
        target: our own name, ``"HTTP/www.example.com@EXAMPLE.COM"``.

    Raises:
        AcceptError: LOGON_DENIED, ``"password-refused"``: the KDC turns the user down, for whatever reason;
            NO_AUTHENTICATING_AUTHORITY or INTERNAL_ERROR: it can't be asked, or gives no ticket for ``target``.
    """
    try:
        credential = _log_in(principal, password)
    except GSSError as error:
        raise _translate(error, _TURNED_DOWN, f"the KDC turns {principal!r} down") from None
    try:
        name = raw.import_name(target.encode(), raw.NameType.kerberos_principal)
        token = raw.init_sec_context(name, creds=credential, mech=_KRB5, flags=0).token
    except GSSError as error:
        raise _translate(error, _TURNED_DOWN_LATER, f"the KDC gives no ticket for {target!r}") from None
    assert token is not None  # the mechanism begins with the initiator
    return token


def _log_in(principal: str, password: str) -> Any:
    name = raw.import_name(principal.encode(), raw.NameType.kerberos_principal)
    return raw.acquire_cred_with_password(name, password.encode(), mechs=[_KRB5], usage="initiate").creds


def _translate(error: GSSError, turned_down: frozenset[int], what: str) -> AcceptError:
    code = error.min_code % 2**32 - _TABLE
    words = ", ".join(error.get_all_statuses(error.min_code, False))
    status, reason = SecStatus.INTERNAL_ERROR, "kdc-failed"
    if code in turned_down:
        status, reason = SecStatus.LOGON_DENIED, "password-refused"
    elif code in _UNREACHABLE:
        status, reason = SecStatus.NO_AUTHENTICATING_AUTHORITY, "kdc-unreachable"
    return AcceptError(status, reason, detail=f"{what} ({words})", mechanism="basic")
