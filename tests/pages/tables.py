"""The tables of the pages that the code knows better than anyone: made here, from the code.

Law: what a number is called comes from winerror.h and sspi.h; what becomes of it is asked of the code, here and now. A
number, state or flag that nobody has put into words yet stops the writing.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from unittest.mock import patch

from negotiate_mw import NegotiateMiddleware
from negotiate_mw.errors import AcceptError
from negotiate_mw.handshake import TRANSITIONS
from negotiate_mw.status import ContextFlag, SecStatus
from negotiate_mw.testing.scripted import ScriptedAcceptor
from tests.ntlm.windows import Windows
from tests.shell.driving import Client, Site

# when the acceptor says so: on Linux by its own code and the Kerberos library, on Windows as SSPI does
WHEN = {
    SecStatus.OK: "the context is finished; the result has an `identity`",
    SecStatus.CONTINUE_NEEDED: "send `token`, and step `context` with what comes back",
    SecStatus.INSUFFICIENT_MEMORY: "out of memory",
    SecStatus.INVALID_HANDLE: "the context has ended, isn't ours, or is being stepped right now",
    SecStatus.UNSUPPORTED_FUNCTION: "`required` isn't met, or the mechanism isn't allowed",
    SecStatus.INTERNAL_ERROR: "a library did what it doesn't document; the replay cache can't be used",
    SecStatus.INVALID_TOKEN: "the token is malformed, or a later leg without its first one",
    SecStatus.LOGON_DENIED: "a replay, a name that isn't the account's, a wrong password, no key for the ticket",
    SecStatus.NO_CREDENTIALS: "`acquire()` wasn't called; the keytab is missing, unreadable or empty",
    SecStatus.NO_AUTHENTICATING_AUTHORITY: "a KDC, domain controller or Redis that has to be asked doesn't answer",
    SecStatus.CONTEXT_EXPIRED: "the ticket has ended",
    SecStatus.INCOMPLETE_MESSAGE: "the token's own lengths say that more is to come",
    SecStatus.WRONG_PRINCIPAL: "the ticket is for a name that isn't ours",
    SecStatus.TIME_SKEW: "the clocks of client and server differ too much",
    SecStatus.BAD_BINDINGS: "the client is on another TLS channel",
    SecStatus.BUSY: "all threads are busy and the queue is full",
    SecStatus.TIMEOUT: "a step took longer than `Limits(step_seconds=…)`",
}
OURS = {SecStatus.BUSY, SecStatus.TIMEOUT}
# what SSPI gives beside those (winerror.h)
OTHERS = {
    0x80090305: "SEC_E_SECPKG_NOT_FOUND",
    0x8009030D: "SEC_E_UNKNOWN_CREDENTIALS",
    0x8009030F: "SEC_E_MESSAGE_ALTERED",
    0x80090310: "SEC_E_OUT_OF_SEQUENCE",
    0x80090326: "SEC_E_ILLEGAL_MESSAGE",
    0x80090348: "SEC_E_NO_KERB_KEY",
}
FLAGS = {
    ContextFlag.DELEGATE: "the client forwarded a ticket: `Acceptor(delegation=True)` keeps it",
    ContextFlag.MUTUAL_AUTH: "the client wants our proof: it is in the last token",
    ContextFlag.REPLAY_DETECT: "of messages after the log-in; HTTP has none",
    ContextFlag.SEQUENCE_DETECT: "likewise",
    ContextFlag.CONFIDENTIALITY: "likewise: TLS encrypts, not the context",
    ContextFlag.INTEGRITY: "likewise",
    ContextFlag.IDENTIFY: "the client lets us know who it is, and no more",
    ContextFlag.CHANNEL_BOUND: "ours: the library proved one TLS channel; SSPI has no such flag",
}


def transitions() -> str:
    """Every row of the handshake's table."""
    lines = [
        (f"**{state}**" if number == 0 else "", str(event), str(then))
        for state, row in TRANSITIONS.items()
        for number, (event, then) in enumerate(row.items())
    ]
    last = [(f"**{state}**", "nothing more: it has ended", "") for state, row in TRANSITIONS.items() if not row]
    return _table(("state", "what happens", "then it is"), [*lines, *last])


def answer_to(status: SecStatus) -> str:
    """What a browser gets when the acceptor says ``status``."""
    if status is SecStatus.OK:
        return "the app's own, or 403 by the policy"
    if status is SecStatus.CONTINUE_NEEDED:
        return "401 with the next token"
    acceptor = ScriptedAcceptor({b"token": AcceptError(status, "said")})
    site = Client(NegotiateMiddleware(Site(), acceptor=acceptor))
    return str(asyncio.run(site.get(b"token")).status)


def statuses() -> str:
    """Every status of ours, and what comes of it."""
    lines = []
    for status in SecStatus:
        theirs = f"`SEC_{'I' if status is SecStatus.CONTINUE_NEEDED else 'E'}_{status.name}`"
        name = "—" if status in OURS else theirs
        how = "returned" if status in (SecStatus.OK, SecStatus.CONTINUE_NEEDED) else "raised"
        lines.append((name, f"`0x{status:08X}`", f"`{status.name}`, {how}", WHEN[status], answer_to(status)))
    return _table(("Windows", "number", "`SecStatus`", "when", "HTTP answer"), lines)


def other_codes() -> str:
    """What the Windows backend makes of codes that ``SecStatus`` doesn't have."""
    windows = Windows([]).module()
    package = type(sys)("sspilib")
    package.raw = windows  # type: ignore[attr-defined]
    name = "negotiate_mw.backends.sspi"
    with patch.dict(sys.modules, {"sspilib": package, "sspilib.raw": windows}):
        sys.modules.pop(name, None)
        found = import_module(name)._OTHERS
    lines = [
        (f"`{OTHERS[code]}`", f"`0x{code:08X}`", f"`{status.name}`", f"`{reason}`", answer_to(status))
        for code, (status, reason) in found.items()
    ]
    return _table(("Windows", "number", "`SecStatus`", "`reason`", "HTTP answer"), lines)


def flags() -> str:
    """Every attribute of a finished context."""
    lines = []
    for flag in ContextFlag:
        theirs = "—" if flag is ContextFlag.CHANNEL_BOUND else f"`ASC_RET_{flag.name}`"
        lines.append((theirs, f"`0x{flag:X}`", f"`ContextFlag.{flag.name}`", FLAGS[flag]))
    return _table(("Windows", "number", "here", "what it means"), lines)


def _table(heads: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    rows = [heads, ("---",) * len(heads), *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


TABLES: dict[tuple[str, str], Callable[[], str]] = {
    ("how-it-works.md", "transitions"): transitions,
    ("sspi.md", "statuses"): statuses,
    ("sspi.md", "codes"): other_codes,
    ("sspi.md", "flags"): flags,
}
