"""Fill a Samba domain with what makes groups hard; the second half runs in the system's Python, with Samba's own."""

import sys
from pathlib import Path

MANY = 1600  # more than one page, more than one query, more than Active Directory answers at once

if __name__ != "__main__":
    from negotiate_mw.testing import tickets
    from tests.integration.samba_ad import SYSTEM_PYTHON, SambaAD

    def fill(ad: SambaAD) -> None:
        """Accounts and groups, as the tests name them."""
        ad.add({"dora": {}})
        files = (ad.directory / "etc" / "smb.conf", ad.directory / "private" / "sam.ldb")
        tickets.run(ad.environ(), SYSTEM_PYTHON, str(Path(__file__)), *map(str, files))

else:
    import ldb  # type: ignore[import-not-found]
    from samba.auth import system_session  # type: ignore[import-not-found]
    from samba.param import LoadParm  # type: ignore[import-not-found]
    from samba.samdb import SamDB  # type: ignore[import-not-found]

    conf = LoadParm()
    conf.load(sys.argv[1])
    db = SamDB(url=sys.argv[2], session_info=system_session(), lp=conf)
    base = str(db.domain_dn())

    def dn_of(name: str) -> str:
        return str(db.search(base, expression=f"(sAMAccountName={ldb.binary_encode(name)})", attrs=[])[0].dn)

    def add(cn: str, container: str, name: str, *members: str) -> str:
        dn = f"CN={cn},{container}"
        db.add({"dn": dn, "objectClass": "group", "sAMAccountName": name})
        for member in members:
            join(dn, member)
        return dn

    def join(group: str, member: str) -> None:
        message = ldb.Message(ldb.Dn(db, group))
        message["member"] = ldb.MessageElement([member], ldb.FLAG_MOD_ADD, "member")
        db.modify(message)

    def rename(old: str, new: str) -> None:
        message = ldb.Message(ldb.Dn(db, dn_of(old)))
        message["sAMAccountName"] = ldb.MessageElement([new], ldb.FLAG_MOD_REPLACE, "sAMAccountName")
        db.modify(message)

    db.transaction_start()
    for name in ("many", "al(ice)", "Zoë", "eve"):
        db.newuser(name, "Pw-1-that-nobody-knows")
    hr, it = f"OU=HR,{base}", f"OU=IT,{base}"
    for ou in (hr, it):
        db.add({"dn": ou, "objectClass": "organizationalUnit"})
    dora = dn_of("dora")
    # one CN in two OUs, and a CN that is another group's name
    add("admins", hr, "hr-admins", dora)
    add("admins", it, "it-admins", dn_of("bob"))
    add("Domain Admins", it, "harmless", dora)
    # a circle
    first = add("circle-1", it, "circle-1", dora)
    second = add("circle-2", it, "circle-2", first)
    join(first, add("circle-3", it, "circle-3", second))
    # a domain that calls Enterprise Admins otherwise, and somebody who took the name
    genuine = dn_of("Enterprise Admins")
    rename("Enterprise Admins", "Organisations-Admins")
    add("innocent", it, "Enterprise Admins", dora)
    join(genuine, dn_of("eve"))
    add("sid-like", it, "S-1-5-21-1-2-3-512", dora)
    add("umlaut", it, "Büro München", dora)
    add("odd", it, "odd-names", dn_of("al(ice)"), dn_of("Zoë"))
    many = dn_of("many")
    for number in range(MANY):
        name = f"many-{number:04}"
        db.add({"dn": f"CN={name},{it}", "objectClass": "group", "sAMAccountName": name, "member": many})
    db.transaction_commit()
