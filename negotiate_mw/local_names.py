"""What this machine calls a Kerberos user: krb5.conf's ``auth_to_local`` rules, by the C library that reads them.

Law: whom the rules have no name for keeps the principal, which has an ``@`` in it and so is nobody's local name.
"""

import ctypes
import ctypes.util
from functools import lru_cache
from threading import Lock

from negotiate_mw.errors import ConfigurationError
from negotiate_mw.identity import Identity

_OCTETS = 256  # of a local name, and its NUL; Linux takes 32
_FUNCTIONS = ("krb5_init_context", "krb5_parse_name", "krb5_free_principal", "krb5_aname_to_localname")


def local_name(identity: Identity) -> str:
    """The local account's name that krb5.conf gives to a Kerberos user, else the principal.

    ::

        Policy(username=local_name)

    Without any rule, that is the bare name of the default realm's users. krb5.conf is read once.

    Raises:
        ConfigurationError: there is no libkrb5 of MIT's here, or it can't read its configuration.
    """
    if identity.mechanism != "kerberos":
        return identity.principal
    library, context, lock = _library()
    name, principal = ctypes.create_string_buffer(_OCTETS), ctypes.c_void_p()
    with lock:  # the library's contexts are one thread's at a time
        if library.krb5_parse_name(context, identity.principal.encode(), ctypes.byref(principal)):
            return identity.principal
        failed = library.krb5_aname_to_localname(context, principal, _OCTETS, name)
        library.krb5_free_principal(context, principal)
    try:
        local = "" if failed else name.value.decode()
    except UnicodeDecodeError:
        return identity.principal
    return local if local and "@" not in local else identity.principal


@lru_cache(maxsize=1)
def _library() -> tuple[ctypes.CDLL, ctypes.c_void_p, Lock]:
    path, context = ctypes.util.find_library("krb5"), ctypes.c_void_p()
    library = ctypes.CDLL(path) if path else None
    if library is None or not all(hasattr(library, name) for name in _FUNCTIONS):
        raise ConfigurationError("Policy(username=local_name) needs MIT's libkrb5: apt-get install libkrb5-3")
    library.krb5_free_principal.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.krb5_free_principal.restype = None
    library.krb5_parse_name.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    library.krb5_aname_to_localname.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p]
    if code := library.krb5_init_context(ctypes.byref(context)):
        raise ConfigurationError(f"the Kerberos library can't read its krb5.conf (error {code})")
    return library, context, Lock()
