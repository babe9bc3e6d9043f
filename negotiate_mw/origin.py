"""May the page that caused this request use the user's ambient credentials?

Browsers send tickets (and cookies) by themselves, also with requests that a page of another origin made. Law: a
request that can change something, and every websocket, passes only if it comes from our own origin, from none, from
no browser, or from an origin that the operator trusts. The rules are those of Go's ``CrossOriginProtection``.
"""

from collections.abc import Collection, MutableMapping
from enum import Enum
from typing import Any

_SAFE_METHODS = frozenset({"GET", "HEAD"})
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class Verdict(Enum):
    """What to do with a request, by its origin."""

    ALLOWED = "allowed"
    PREFLIGHT = "preflight"  # asks on behalf of a trusted page, and carries no ticket by design
    REFUSED = "refused"


def is_safe(scope: MutableMapping[str, Any]) -> bool:
    """True for a request that can change nothing, wherever it comes from: ``judge`` allows it."""
    # a websocket opens a channel that no further check sees, whatever its server says of a method
    return scope["type"] == "http" and scope["method"] in _SAFE_METHODS


def judge(scope: MutableMapping[str, Any], trusted: Collection[str]) -> Verdict:
    """Say what a request's origin allows.

    Args:
        scope: an http or websocket scope.
        trusted: origins as browsers write them, ``"https://portal.corp.example"``.
    """
    if is_safe(scope):
        return Verdict.ALLOWED
    headers = scope["headers"]
    origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
    is_trusted = len(origins) == 1 and origins[0] in trusted
    if scope["type"] == "http" and scope["method"] == "OPTIONS":
        if not any(name == b"access-control-request-method" for name, _ in headers):
            return Verdict.ALLOWED
        return Verdict.PREFLIGHT if is_trusted else Verdict.REFUSED
    sites = [value for name, value in headers if name == b"sec-fetch-site"]
    if is_trusted:
        return Verdict.ALLOWED
    if sites:
        return Verdict.ALLOWED if all(site in (b"same-origin", b"none") for site in sites) else Verdict.REFUSED
    hosts = [value.decode("latin-1").lower() for name, value in headers if name == b"host"]
    same = all(len(hosts) == 1 and _is_host_of(origin, hosts[0]) for origin in origins)
    return Verdict.ALLOWED if same else Verdict.REFUSED


def explain(scope: MutableMapping[str, Any]) -> str:
    """For the log: why the request was refused, and what to type if it should pass."""
    origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
    what = "a preflight" if scope.get("method") == "OPTIONS" else "a request that may change something"
    return (
        f"{what} came from a page of {origins[0] if origins else 'another origin'!r}; to let that page use the "
        f"user's credentials, Policy(trusted_origins=[{origins[0] if origins else 'https://…'!r}])"
    )


def _is_host_of(origin: str, host: str) -> bool:
    scheme, separator, name = origin.partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    return bool(separator) and port is not None and host in (name, name + port)
