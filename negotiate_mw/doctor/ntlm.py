"""The user file of NTLM, where there is one."""

from collections.abc import Iterator

from negotiate_mw.doctor.deployed import Deployed
from negotiate_mw.doctor.report import Line, ok, skipped, told


def examine(deployed: Deployed) -> Iterator[Line]:
    """What the acceptor would say of it at start."""
    if deployed.ntlm_users is None:
        yield skipped("NTLM without a user file is for the system to decide, which wasn't asked")
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
