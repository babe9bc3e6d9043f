"""By which names will clients ask for this host? Most ask DNS first, and then for what DNS calls it."""

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

from negotiate_mw.doctor.deployed import Deployed
from negotiate_mw.doctor.krb5conf import Unreadable, profile
from negotiate_mw.doctor.report import Line, ok, skipped, warning

_MAX_HOSTS = 8


class Names(NamedTuple):
    """What DNS calls a host: by CNAME, and by its first address's reverse record; None: it doesn't say."""

    canonical: str
    reverse: str | None


def resolve(host: str) -> Names | None:
    """Ask this machine's resolver; None if it doesn't know the host."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    except OSError:
        return None
    reverse = None
    with suppress(OSError):
        reverse = socket.getnameinfo(found[0][4], socket.NI_NAMEREQD)[0]
    return Names(found[0][3] or host, reverse)


def examine(deployed: Deployed, resolve: Callable[[str], Names | None] = resolve) -> Iterator[Line]:
    """Hold what DNS says of each host against the keytab."""
    held = {entry.components[1].lower() for entry in deployed.keytab.entries if len(entry.components) == 2}
    if not held:
        yield skipped("no names to look up")
        return
    try:
        conf = profile()
    except Unreadable:
        return
    mode = conf.get("libdefaults", "dns_canonicalize_hostname", default="true").lower()
    canonicalises = mode not in ("false", "no", "n", "0", "off", "nil", "fallback")
    by_reverse = canonicalises and conf.is_on("libdefaults", "rdns", default=True)
    for host in deployed.names_hosts[:_MAX_HOSTS]:
        names = resolve(host)
        if names is None:
            yield skipped(f"{host} isn't known to this machine's DNS")
            continue
        canonical = names.canonical.rstrip(".").lower()
        if canonical != host.lower() and canonical not in held:
            yield _unheld(deployed, host, canonical, "browsers follow its CNAME")
            continue
        reverse = (names.reverse or "").rstrip(".").lower()
        if by_reverse and reverse and reverse not in held:
            yield _unheld(deployed, host, reverse, "this machine's krb5.conf has clients ask for its reverse name")
            continue
        also = f", a CNAME of {canonical}" if canonical != host.lower() else ""
        yield ok(f"{host}{also}: clients ask for a name that the keytab has a key of")


def _unheld(deployed: Deployed, host: str, name: str, why: str) -> Line:
    service = deployed.service
    return warning("canonical-name", host=host, asked=f"{service}/{name}", why=why, keytab=str(deployed.keytab.path))
