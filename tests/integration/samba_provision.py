"""Fill a freshly provisioned Samba domain; run by the system's Python, which has Samba's modules.

Usage: samba_provision.py SMB_CONF SAM_LDB < JSON, a list of accounts: name, password, computer, and more attributes.
"""

import json
import sys

import ldb  # type: ignore[import-not-found]
from samba.auth import system_session  # type: ignore[import-not-found]
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
for group, members in plan["groups"].items():
    db.newgroup(group)
    db.add_remove_group_members(group, members)
