"""Which names of groups are believed. Law: pure; a name says one thing only, whoever may create groups.

A name is the group's own, unique in its directory (``sAMAccountName``; elsewhere the one ``cn`` of a child of the one
container), qualified by the directory's ``domain``: ``CORP\\HR``. It is spelt as the directory spells it and compared
exactly: no directory has two that differ in case only.
"""

import re

# S-1-5-21-<domain>-RID, MS-DTYP 2.4.2.4: only there is this the name. Who may create groups may also take the English
# name of one that is called otherwise here, in a German domain for example.
_RIDS = {
    "enterprise read-only domain controllers": 498,
    "domain admins": 512,
    "domain users": 513,
    "domain guests": 514,
    "domain computers": 515,
    "domain controllers": 516,
    "cert publishers": 517,
    "schema admins": 518,
    "enterprise admins": 519,
    "group policy creator owners": 520,
    "read-only domain controllers": 521,
    "cloneable domain controllers": 522,
    "protected users": 525,
    "key admins": 526,
    "enterprise key admins": 527,
    "ras and ias servers": 553,
    "allowed rodc password replication group": 571,
    "denied rodc password replication group": 572,
}
# Of the domain BUILTIN (S-1-5-32) and of no domain (S-1-1, S-1-3, S-1-5): never a group of a directory.
_OF_NO_DOMAIN = frozenset(
    """
    administrators|users|guests|power users|account operators|server operators|print operators|backup operators
    |replicator|pre-windows 2000 compatible access|remote desktop users|network configuration operators
    |incoming forest trust builders|performance monitor users|performance log users|distributed com users
    |windows authorization access group|terminal server license servers|iis_iusrs|cryptographic operators
    |event log readers|certificate service dcom access|rds remote access servers|rds endpoint servers
    |rds management servers|hyper-v administrators|access control assistance operators|remote management users
    |storage replica administrators|everyone|creator owner|creator group|owner rights|network|batch|interactive|service
    |anonymous logon|self|authenticated users|restricted|system|local system|local service|network service
    |this organization
    """.replace("\n    ", "").strip().split("|")
)  # fmt: skip
_SID = re.compile("s-1-", re.IGNORECASE)
AUTHORITIES = frozenset({"builtin", "nt authority", "nt service", "everyone", "local", "."})
"""What qualifies the names of machines, and so can't be a directory's."""


def qualified(domain: str, name: str, sid: str | None) -> str | None:
    """``name`` as apps see it; None if it looks like what it isn't.

    Args:
        domain: what qualifies the directory's names, such as ``"CORP"``.
        name: the group's.
        sid: the group's; None where groups have none.
    """
    folded = name.strip().casefold()
    is_plain = bool(folded) and name == name.strip() and name.isprintable() and "\\" not in name
    if not is_plain or _SID.match(folded) or folded in _OF_NO_DOMAIN:
        return None
    rid = _RIDS.get(folded)
    if rid is not None and (sid is None or not sid.endswith(f"-{rid}")):
        return None
    return f"{domain}\\{name}"
