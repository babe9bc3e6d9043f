"""The command ``negotiate-mw``.

Law: a subcommand is one row of ``_COMMANDS``: its words and a function from arguments to an exit status (0: done, 1:
not, 2: used wrongly; ``check`` has its own). What a subcommand needs is imported when it runs; secrets come from the
terminal or from standard input, never from the command line, which every user of the machine can read.
"""

import argparse
import getpass
import secrets
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from negotiate_mw.errors import ConfigurationError


class _Command(NamedTuple):
    name: str
    summary: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; ``arguments`` are those after the program's name, None for the process's own."""
    parser = argparse.ArgumentParser(prog="negotiate-mw", description="Tools for Windows and Kerberos single sign-on.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    given = sys.argv[1:] if arguments is None else arguments
    for command in _COMMANDS:
        subparser = subparsers.add_parser(command.name, help=command.summary, description=command.summary)
        if command.name in given[:1]:  # what the others need needn't be there
            command.arguments(subparser)
        subparser.set_defaults(run=command.run)
    options = parser.parse_args(given)
    try:
        return int(options.run(options))
    except ConfigurationError as error:
        print(f"negotiate-mw: {error}", file=sys.stderr)
        return 1


def _ntlm_hash_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("domain", metavar="DOMAIN", help='the NTLM domain, such as "CORP"')
    parser.add_argument("user", metavar="USER", help="the user's name, without the domain")
    parser.add_argument(
        "password", metavar="-", nargs="?", choices=["-"], help="read the password from standard input, one line"
    )


def _ntlm_hash(options: argparse.Namespace) -> int:
    from negotiate_mw.ntlm_users import hash_line

    try:
        from negotiate_mw.backends.ntlmv2 import nt_hash
    except ImportError as error:
        raise ConfigurationError(str(error)) from error

    if options.password == "-":  # noqa: S105 - the word for standard input
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass(f"Password of {options.domain}\\{options.user}: ")
        if getpass.getpass("Again: ") != password:
            raise ConfigurationError("the two passwords differ; run the same command again")
    try:
        digest = nt_hash(password)
    except UnicodeEncodeError:
        raise ConfigurationError("the password isn't text in this terminal's encoding") from None
    print(hash_line(options.domain, options.user, digest, secrets.token_bytes(16)))
    return 0


def _decode_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "token",
        metavar="TOKEN",
        nargs="+",
        help='a token or a whole header, such as "Authorization: Negotiate YII…"; -: read it from standard input. A '
        "client's token logs in whoever copies it for some minutes, so better give it by -",
    )


def _decode(options: argparse.Namespace) -> int:
    from negotiate_mw.decoding import describe

    text = sys.stdin.read(_MAX_DECODED) if options.token == ["-"] else " ".join(options.token)
    print("\n".join(describe(text)))
    return 0


_MAX_DECODED = 1 << 20  # characters; tokens end at 64 KiB


def _sessions_arguments(parser: argparse.ArgumentParser) -> None:
    from negotiate_mw.sessions.command import add_arguments

    add_arguments(parser)


def _sessions(options: argparse.Namespace) -> int:
    from negotiate_mw.sessions.command import run

    return run(options)


def _forward_auth_arguments(parser: argparse.ArgumentParser) -> None:
    from negotiate_mw.forward_auth.command import add_arguments

    add_arguments(parser)


def _forward_auth(options: argparse.Namespace) -> int:
    from negotiate_mw.forward_auth.command import run

    return run(options)


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    from negotiate_mw.doctor.command import add_check_arguments

    add_check_arguments(parser)


def _check(options: argparse.Namespace) -> int:
    from negotiate_mw.doctor.command import check

    return check(options)


def _whoami_arguments(parser: argparse.ArgumentParser) -> None:
    from negotiate_mw.doctor.command import add_whoami_arguments

    add_whoami_arguments(parser)


def _whoami(options: argparse.Namespace) -> int:
    from negotiate_mw.doctor.command import whoami

    return whoami(options)


_COMMANDS = (
    _Command("check", "Examine a deployment, and say what is wrong and what to type.", _check_arguments, _check),
    _Command("decode", "Say in plain words what a token or a whole header is.", _decode_arguments, _decode),
    _Command(
        "forward-auth",
        "Answer nginx, Traefik or Envoy, which ask who their client is.",
        _forward_auth_arguments,
        _forward_auth,
    ),
    _Command("ntlm-hash", "Print a user's line for Acceptor(ntlm_users=…).", _ntlm_hash_arguments, _ntlm_hash),
    _Command("sessions", "List and revoke the sessions that Redis keeps.", _sessions_arguments, _sessions),
    _Command("whoami", "Log in to a URL by Kerberos, and tell each leg.", _whoami_arguments, _whoami),
)

if __name__ == "__main__":
    sys.exit(main())
