"""Asks the machine's winbind who a SID is, and of which domain the machine is a member (libwbclient, by ctypes).

Law: each call has a context of its own, so that threads share nothing; a call blocks as long as winbind does.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from negotiate_mw.errors import ConfigurationError

_LIBRARY = "libwbclient.so.0"
_MOST_AUTHORITIES = 15


class WinbindError(Exception):
    """winbind can't be asked, or doesn't know."""


class _Sid(ctypes.Structure):  # wbclient.h, struct wbcDomainSid
    _fields_ = (
        ("sid_rev_num", ctypes.c_uint8),
        ("num_auths", ctypes.c_uint8),
        ("id_auth", ctypes.c_uint8 * 6),
        ("sub_auths", ctypes.c_uint32 * _MOST_AUTHORITIES),
    )


class _Details(ctypes.Structure):  # wbclient.h, struct wbcInterfaceDetails
    _fields_ = (
        ("interface_version", ctypes.c_uint32),
        ("winbind_version", ctypes.c_char_p),
        ("winbind_separator", ctypes.c_char),
        ("netbios_name", ctypes.c_char_p),
        ("netbios_domain", ctypes.c_char_p),
        ("dns_domain", ctypes.c_char_p),
    )


class Winbind:
    """The winbind of this machine.

    Raises:
        ConfigurationError: its library isn't installed.
    """

    def __init__(self) -> None:
        try:
            self._library: Any = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            raise ConfigurationError(f"{_LIBRARY} can't be loaded ({error}); apt-get install winbind") from error
        pointer = ctypes.c_void_p
        self._library.wbcCtxCreate.restype = pointer
        self._library.wbcCtxFree.argtypes = [pointer]
        self._library.wbcCtxInterfaceDetails.argtypes = [pointer, pointer]
        self._library.wbcCtxLookupSid.argtypes = [pointer, pointer, pointer, pointer, pointer]
        self._library.wbcFreeMemory.argtypes = [pointer]
        self._library.wbcErrorString.restype = ctypes.c_char_p

    def domain(self) -> str:
        """The NetBIOS name of the domain that this machine is a member of.

        Raises:
            WinbindError: winbindd doesn't run, or isn't ready.
        """
        found = ctypes.POINTER(_Details)()
        with self._context() as context:
            self._check(self._library.wbcCtxInterfaceDetails(context, ctypes.byref(found)))
        with self._freeing(found):
            return _text(found.contents.netbios_domain)

    def account(self, sid: str) -> tuple[str, str]:
        """The domain and the name of the account that has a SID.

        Raises:
            WinbindError: there is none, or winbind can't tell now.
        """
        raw = _Sid()
        domain, name, kind = ctypes.c_char_p(), ctypes.c_char_p(), ctypes.c_int()
        self._check(self._library.wbcStringToSid(sid.encode(), ctypes.byref(raw)))
        with self._context() as context:
            into = map(ctypes.byref, (domain, name, kind))
            self._check(self._library.wbcCtxLookupSid(context, ctypes.byref(raw), *into))
        with self._freeing(domain), self._freeing(name):
            return _text(domain.value), _text(name.value)

    @contextmanager
    def _context(self) -> "Iterator[int]":
        context = self._library.wbcCtxCreate()
        if not context:
            raise WinbindError("out of memory")
        try:
            yield context
        finally:
            self._library.wbcCtxFree(context)

    @contextmanager
    def _freeing(self, memory: Any) -> "Iterator[None]":
        free = partial(self._library.wbcFreeMemory, ctypes.cast(memory, ctypes.c_void_p))
        try:
            yield
        finally:
            free()

    def _check(self, code: int) -> None:
        if code:
            raise WinbindError(self._library.wbcErrorString(code).decode(errors="replace"))


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "surrogateescape")
