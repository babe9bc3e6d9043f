"""Who checks NTLM log-ins: the user file, or the domain by winbind."""

import sys
from collections.abc import Iterator

from negotiate_mw.doctor.deployed import Deployed
from negotiate_mw.doctor.report import Line, ok, skipped, told
from negotiate_mw.errors import ConfigurationError


def examine(deployed: Deployed) -> Iterator[Line]:
    """What the acceptor would say of it at start."""
    if deployed.ntlm_users is None:
        yield _of_domain()
        return
    try:
        from negotiate_mw.backends.ntlm_user_file import NtlmUserFile
        from negotiate_mw.backends.ntlmv2 import nt_hash
    except ImportError as error:
        yield told("not-acquired", str(error))
        return
    if sentence := NtlmUserFile(deployed.ntlm_users, nt_hash).problem():
        yield told("not-acquired", sentence)
    else:
        yield ok(f"the NTLM user file {deployed.ntlm_users} can be read, and has users")


def _of_domain() -> Line:
    if sys.platform == "win32":
        return skipped("NTLM on Windows is for the system to check, which wasn't asked")
    try:
        from negotiate_mw.backends.winbind import WinbindBackend

        backend = WinbindBackend()
        backend.acquire()
    except (ImportError, ConfigurationError) as error:
        return told("not-acquired", str(error))
    return ok(f"winbind answers: NTLM log-ins of {', '.join(sorted(backend.realms))} are checked by the domain")
