"""Which checks are run: every one that the options leave room for."""

from collections.abc import Iterator
from functools import partial

from negotiate_mw.doctor import directory, dns, kdc, keytab, krb5conf, ntlm, packages, replay, server, store, tls
from negotiate_mw.doctor.command import SECONDS
from negotiate_mw.doctor.deployed import Deployed
from negotiate_mw.doctor.report import Check, Line, run, skipped
from negotiate_mw.extras import to_install

_THEMES = (
    "packages",
    "krb5.conf",
    "keytab",
    "ntlm",
    "ticket",
    "clock",
    "dns",
    "replay",
    "server",
    "tls",
    "sessions",
    "groups",
    "url",
)


def examine(
    deployed: list[Deployed], command: server.Command | None = None, url: str | None = None, seconds: float = SECONDS
) -> list[Line]:
    """Every check of every middleware.

    Args:
        deployed: the middlewares' options.
        command: the server's command line, if known.
        url: where the server runs, if it does.
        seconds: for all together.
    """
    checks: list[tuple[str, Check]] = []
    for each in deployed:
        checks += _checks(each, command)
    if url is not None:
        checks.append(("url", partial(_url, url, deployed[0] if len(deployed) == 1 else None)))
    checks.sort(key=lambda check: _THEMES.index(check[0]))
    return run(checks, seconds)


def _checks(deployed: Deployed, command: server.Command | None) -> list[tuple[str, Check]]:
    checks: list[tuple[str, Check]] = [
        ("packages", partial(packages.examine, deployed)),
        ("server", partial(server.examine, deployed, command)),
        ("tls", partial(tls.examine, deployed, command.certfile if command is not None else None)),
        ("sessions", partial(store.examine, deployed)),
        ("groups", partial(directory.examine, deployed)),
    ]
    if deployed.accepts and "ntlm" in deployed.mechanisms:
        checks.append(("ntlm", partial(ntlm.examine, deployed)))
    if deployed.accepts and "kerberos" in deployed.mechanisms:
        checks += [
            ("krb5.conf", partial(krb5conf.examine, deployed)),
            ("keytab", partial(keytab.examine, deployed)),
            ("ticket", partial(_ticket, deployed)),
            ("clock", partial(kdc.examine, deployed)),
            ("dns", partial(dns.examine, deployed)),
            ("replay", partial(replay.examine, deployed)),
        ]
    return checks


def _ticket(deployed: Deployed) -> Iterator[Line]:
    try:
        from negotiate_mw.doctor import tickets
    except ImportError as error:
        return iter([skipped(str(error))])
    return tickets.examine(deployed)


def _url(url: str, deployed: Deployed | None) -> Iterator[Line]:
    try:
        from negotiate_mw.doctor import url as checks
    except ImportError as error:
        return iter([skipped(f"the client needs python-gssapi ({error})", to_install("kerberos"))])
    return checks.examine(url, deployed)
