"""Kerberos tokens without GSS-API's checksum, as ``krb5_mk_req`` makes them; a process, which has its own environment.

Law: one token for each run, in base64 on standard output::

    python -m tests.parity.no_checksum HTTP localhost
"""

import ctypes
import ctypes.util
import sys
from base64 import b64encode

from negotiate_mw.wire import der
from negotiate_mw.wire.spnego import KRB5


class _Data(ctypes.Structure):
    _fields_ = (("magic", ctypes.c_int32), ("length", ctypes.c_uint), ("data", ctypes.POINTER(ctypes.c_char)))


def token(service: str, host: str) -> bytes:
    """A raw Kerberos token for a service, by the default credential cache."""
    krb5 = ctypes.CDLL(ctypes.util.find_library("krb5"))
    context, cache, auth, out = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p(), _Data()
    steps = [
        krb5.krb5_init_context(ctypes.byref(context)),
        krb5.krb5_cc_default(context, ctypes.byref(cache)),
        krb5.krb5_mk_req(
            context, ctypes.byref(auth), 0, service.encode(), host.encode(), None, cache, ctypes.byref(out)
        ),
    ]  # fmt: skip
    if any(steps):
        raise SystemExit(f"the library said {steps}")
    ap_req = ctypes.string_at(out.data, out.length)
    return der.encode(0x60, der.encode(der.OID, der.encode_oid(KRB5)) + b"\x01\x00" + ap_req)


if __name__ == "__main__":
    print(b64encode(token(sys.argv[1], sys.argv[2])).decode())
