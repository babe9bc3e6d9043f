"""The commands ``check`` and ``whoami``: their words, and how they end."""

import argparse
import logging
import shutil
import sys
from typing import TYPE_CHECKING

from negotiate_mw.errors import ConfigurationError
from negotiate_mw.extras import to_install
from negotiate_mw.telemetry import plain

if TYPE_CHECKING:
    from negotiate_mw.doctor.deployed import Deployed

SECONDS = 15.0  # for all checks, which run at once; a library that asks three dead KDCs gives up after about ten
_CANNOT = 3  # the exit status of monitoring plugins for "unknown"


def add_check_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows ``negotiate-mw check``."""
    parser.add_argument(
        "app", metavar="APP", nargs="?", help="module:attribute, as servers take it, to check its own options"
    )
    parser.add_argument("--keytab", metavar="FILE", help="without APP: the keytab; default: $KRB5_KTNAME")
    parser.add_argument("--service", default="HTTP", help="without APP: first component of the names; default: HTTP")
    parser.add_argument(
        "--hostname",
        metavar="HOST",
        action="append",
        default=[],
        help="without APP: a name that users type; again for more",
    )
    parser.add_argument("--rcache", metavar="DIRECTORY", help="without APP: the replay cache's directory")
    parser.add_argument("--server", metavar="COMMAND", help="the server's command line, in quotes")
    parser.add_argument("--url", help="log in to the running server too, with the ticket of `kinit`")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help=f"how long the checks may take together; default: {SECONDS:g}"
    )


def check(options: argparse.Namespace) -> int:
    """Run every check that can be run; 0 ok, 1 warnings, 2 problems, 3 it can't be told."""
    from negotiate_mw.doctor import deployed as deployments
    from negotiate_mw.doctor import report, server
    from negotiate_mw.doctor.checks import examine

    # what the acceptor would log, the table says
    logging.getLogger("negotiate_mw").addHandler(logging.NullHandler())
    try:
        command = server.read(options.server) if options.server else None
        path = options.app or (command.app if command is not None else None)
        if options.app and (options.keytab or options.hostname or options.rcache):
            raise ConfigurationError(
                "--keytab, --hostname and --rcache are the app's own options: leave them or APP out"
            )
        deployed = deployments.of_app(deployments.load(path)) if path else [_of_options(options)]
    except ConfigurationError as error:
        print(f"negotiate-mw: {error}", file=sys.stderr)
        return _CANNOT
    lines = examine(deployed, command, options.url, options.seconds)
    width = shutil.get_terminal_size((120, 24)).columns
    print(report.as_json(lines) if options.json else report.as_table(lines, width))
    return report.status(lines)


def _of_options(options: argparse.Namespace) -> "Deployed":
    from negotiate_mw.doctor import deployed as deployments

    return deployments.of_options(
        keytab=options.keytab, service=options.service, hostname=tuple(options.hostname), rcache=options.rcache
    )


def add_whoami_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows ``negotiate-mw whoami``."""
    parser.add_argument("url", metavar="URL", help="where to log in, with the ticket of `kinit`")


def whoami(options: argparse.Namespace) -> int:
    """Log in and tell each leg; 0 if that worked."""
    try:
        from negotiate_mw.doctor.url import whoami as tell
    except ImportError as error:
        raise ConfigurationError(f"whoami needs python-gssapi ({error}): {to_install('kerberos')}") from error
    lines = tell(options.url)
    print("\n".join(plain(line, 1000) for line in lines))
    return 0 if "logged in: yes" in lines else 1
