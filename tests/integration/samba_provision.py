"""Add to a Samba domain; run by the system's Python, which has Samba's modules.

Usage: samba_provision.py SMB_CONF SAM_LDB < JSON: accounts (name, password, attributes), groups and local_groups (their
members), primary_groups (by account).
"""

import json
import sys

import ldb  # type: ignore[import-not-found]
from samba import dsdb  # type: ignore[import-not-found]
from samba.auth import system_session  # type: ignore[import-not-found]
from samba.dcerpc import security  # type: ignore[import-not-found]
from samba.ndr import ndr_unpack  # type: ignore[import-not-found]
from samba.param import LoadParm  # type: ignore[import-not-found]
from samba.samdb import SamDB  # type: ignore[import-not-found]

conf = LoadParm()
conf.load(sys.argv[1])
db = SamDB(url=sys.argv[2], session_info=system_session(), lp=conf)
plan = json.load(sys.stdin)
for account in plan["accounts"]:
    name, password = account["name"], account["password"]
    if name.endswith("$"):
        db.newcomputer(name)
        db.setpassword(f"(sAMAccountName={name})", password)
    else:
        db.newuser(name, password)
    message = ldb.Message(db.search(expression=f"(sAMAccountName={name})", attrs=[])[0].dn)
    for attribute, values in account["attributes"].items():
        message[attribute] = ldb.MessageElement(values, ldb.FLAG_MOD_REPLACE, attribute)
    if len(message):
        db.modify(message)
kinds = {"groups": dsdb.GTYPE_SECURITY_GLOBAL_GROUP, "local_groups": dsdb.GTYPE_SECURITY_DOMAIN_LOCAL_GROUP}
for kind, group_type in kinds.items():
    for group, members in plan.get(kind, {}).items():
        db.newgroup(group, grouptype=group_type)
        db.add_remove_group_members(group, members)
for account, group in plan.get("primary_groups", {}).items():
    (found,) = db.search(expression=f"(sAMAccountName={group})", attrs=["objectSid"])
    sid = ndr_unpack(security.dom_sid, found["objectSid"][0])
    message = ldb.Message(db.search(expression=f"(sAMAccountName={account})", attrs=[])[0].dn)
    message["primaryGroupID"] = ldb.MessageElement([str(sid.split()[1])], ldb.FLAG_MOD_REPLACE, "primaryGroupID")
    db.modify(message)
