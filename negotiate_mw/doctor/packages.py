"""Packages, the C library under them, and the mechanisms that it has loaded."""

import platform
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from negotiate_mw.doctor.deployed import Deployed
from negotiate_mw.doctor.report import Line, ok, problem, skipped, warning
from negotiate_mw.wire import spnego

_SAFE_WITH_NEGOEX = (1, 22, 3)
_NEGOEX = "1.2.840.113554.1.2.2.5.18"  # GSS_C_MA_NEGOEX_AND_SPNEGO: the mechanism is negotiated by NegoEx
_BRAND = re.compile(rb"KRB5_BRAND: \S+ ([0-9]+(?:\.[0-9]+)+)")
_SHOWN = ("gssapi", "pyspnego", "cryptography", "starlette", "uvicorn", "redis", "bonsai")


def examine(deployed: Deployed) -> Iterator[Line]:
    """Whether what the options need is installed, and whether it is known to be sound."""
    versions = {name: version for name in _SHOWN if (version := _version(name))}
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    yield ok(f"negotiate-mw {_version('negotiate-mw')} on Python {platform.python_version()}, with {listed}")
    if "kerberos" not in deployed.mechanisms or not deployed.accepts:
        return
    try:
        import gssapi
    except ImportError:
        yield problem("package-missing", package="gssapi", extra="kerberos")
        return
    krb5 = library_version()
    if krb5 is None:
        yield skipped("which krb5 library it is can't be told")
    else:
        yield ok(f"MIT krb5 {'.'.join(map(str, krb5))}")
    mechanisms = {oid.dotted_form: oid for oid in gssapi.raw.indicate_mechs()}
    attributes = (gssapi.raw.inquire_attrs_for_mech(oid).mech_attrs or () for oid in mechanisms.values())
    has_negoex = any(each.dotted_form == _NEGOEX for found in attributes for each in found)
    yield from about(
        krb5, has_negoex=has_negoex, has_stray_ntlmssp=spnego.NTLM in mechanisms and "ntlm" not in deployed.mechanisms
    )


def about(version: tuple[int, ...] | None, *, has_negoex: bool, has_stray_ntlmssp: bool) -> Iterator[Line]:
    """What to say of a library of this version with these mechanisms."""
    if has_negoex and (version is None or version < _SAFE_WITH_NEGOEX):
        known = ".".join(map(str, version)) if version else "an unknown version"
        yield warning("negoex-old-krb5", version=known)
    if has_stray_ntlmssp:
        yield ok("gss-ntlmssp is installed; log-ins here never use it, but other programs of this machine may")


def library_version() -> tuple[int, ...] | None:
    """The version of the krb5 library that this process has loaded, by the brand inside its file; on Linux."""
    try:
        with open("/proc/self/maps") as maps:
            paths = {line.split()[-1] for line in maps if "/libkrb5.so" in line}
        brand = _BRAND.search(Path(paths.pop()).read_bytes()) if paths else None
    except OSError:
        return None
    return tuple(map(int, brand[1].split(b"."))) if brand else None


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
