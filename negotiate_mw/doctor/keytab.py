"""The keytab: is it there, who may read it, which names, versions and types does it hold?

Law: labels and file modes are read here, never keys.
"""

import grp
import os
import stat
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime

from negotiate_mw.doctor.deployed import Deployed
from negotiate_mw.doctor.report import Line, ok, problem, told, warning
from negotiate_mw.wire.kerberos import enctype_name
from negotiate_mw.wire.keytab import KeytabEntry

MANY_KEYS = 50  # a log-in takes 0.05 ms with a few keys, 0.6 with 100: the library tries them in turn
_WEAK = frozenset({1, 2, 3, 16, 23, 24})  # DES, 3DES and RC4 (RFC 6649, RFC 8429)
_SHOWN = 8


def examine(deployed: Deployed) -> Iterator[Line]:
    """What the acceptor would say of it at start, and what it wouldn't."""
    keytab = deployed.keytab
    if sentence := keytab.problem():
        yield told("keytab", sentence)
        return
    path = str(keytab.path)
    ours = [entry for entry in keytab.entries if entry.components[0] == deployed.service]
    yield from _mode(path, keytab.path.stat())
    for host in deployed.hosts:
        if all(entry.components != (deployed.service, host) for entry in ours):
            held = ", ".join(sorted({entry.principal for entry in ours})[:_SHOWN])
            yield problem("hostname-without-key", spn=f"{deployed.service}/{host}", keytab=path, held=held)
    by_name: dict[str, list[KeytabEntry]] = defaultdict(list)
    for entry in ours:
        by_name[f"{entry.principal}@{entry.realm}"].append(entry)
    for name, entries in sorted(by_name.items())[:_SHOWN]:
        yield from _keys(name, entries)
    if len(by_name) > _SHOWN:
        yield ok(f"{len(by_name) - _SHOWN} more names")
    if len(keytab.entries) > MANY_KEYS:
        yield warning("keytab-large", keytab=path, number=str(len(keytab.entries)))
    policy = deployed.policy
    allowed = None if policy is None or policy.realms is None or policy.realms == "*" else set(policy.realms)
    if allowed is not None and not keytab.realms & allowed:
        yield warning(
            "keytab-realm-not-allowed", realm=", ".join(sorted(keytab.realms)), realms=", ".join(sorted(allowed))
        )


def _mode(path: str, found: os.stat_result) -> Iterator[Line]:
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o007 or mode & 0o020:
        who = "every user of this machine can read" if mode & 0o004 else "others than its owner can change"
        yield problem("keytab-exposed", keytab=path, mode=f"{mode:04o}", who=who)
        return
    group = f", and by the members of group {_group(found.st_gid)}" if mode & 0o040 else ""
    yield ok(f"{path} can be read by us, by its owner (uid {found.st_uid}){group}, mode {mode:04o}")


def _keys(name: str, entries: list[KeytabEntry]) -> Iterator[Line]:
    newest = max(entry.kvno for entry in entries)
    enctypes = sorted({entry.enctype for entry in entries if entry.kvno == newest}, reverse=True)
    types = ", ".join(map(enctype_name, enctypes))
    if set(enctypes) <= _WEAK:
        yield problem("keytab-weak", spn=name.partition("@")[0], enctypes=types)
        return
    written = max(entry.timestamp for entry in entries)
    when = f", written {datetime.fromtimestamp(written, UTC):%Y-%m-%d}" if written else ""
    older = sorted({entry.kvno for entry in entries} - {newest})
    also = f", and of kvno {', '.join(map(str, older))}" if older else ""
    yield ok(f"{name}: kvno {newest}, {types}{also}{when}")
    if weak := [enctype_name(enctype) for enctype in enctypes if enctype in _WEAK]:
        yield warning("keytab-weak-too", spn=name.partition("@")[0], enctypes=", ".join(weak))


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:  # a container's fsGroup has no name there
        return str(gid)
