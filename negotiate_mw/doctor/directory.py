"""Groups: where they come from, and of LDAP directories, whether they can be asked."""

import asyncio
from collections.abc import Iterator
from importlib.util import find_spec

from negotiate_mw.directory.process import LookUps, Trouble
from negotiate_mw.doctor.deployed import Deployed
from negotiate_mw.doctor.report import Line, ok, problem, told
from negotiate_mw.groups import PacGroups
from negotiate_mw.ldap import LdapGroups


def examine(deployed: Deployed) -> Iterator[Line]:
    """Bind to each directory as the server would, and ask for its bases; nobody's groups are looked up."""
    if isinstance(deployed.groups, PacGroups):
        yield ok("groups come with the ticket; no directory is asked")
    elif isinstance(deployed.groups, LdapGroups):
        if find_spec("bonsai") is None:
            yield problem("package-missing", package="bonsai", extra="ldap")
            return
        for realm, (_, asks) in deployed.groups._by_realm.items():
            yield asyncio.run(_ask(realm, asks))


async def _ask(realm: str, asks: LookUps) -> Line:
    try:
        await asks.probe()
    except Trouble as error:
        if error.is_refusal:
            return problem("directory-refused", realm=realm, said=str(error))
        return told("directory-down", f"the directory of {realm} can't be asked: {error}")
    finally:
        asks.close()
    return ok(f"the directory of {realm} lets us in, and has the bases that it should have")
