"""``negotiate-mw sessions``: what an operator does with sessions that Redis keeps.

Law: it uses what an app would; keys, and a URL with a password in it, come from files or the environment.
"""

import argparse
import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from negotiate_mw.errors import ConfigurationError
from negotiate_mw.telemetry import plain

_MARK = ":"  # before an id, which may begin with what a shell command takes for an option
URL_VARIABLE, KEYS_VARIABLE = "NEGOTIATE_MW_REDIS_URL", "NEGOTIATE_MW_SESSION_KEYS"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows ``negotiate-mw sessions``."""
    parser.add_argument("--url", help=f"the server, as for RedisSessions; default: ${URL_VARIABLE}")
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    listing = actions.add_parser("list", help="print id, begin, account and name of every session")
    listing.add_argument(
        "--keys", metavar="FILE", type=Path, help=f"the keys, one per line; default: ${KEYS_VARIABLE}, spaces between"
    )
    listing.add_argument("--account", metavar="ACCOUNT_ID", help="only of this account: a SID, or alice@CORP.EXAMPLE")
    revoking = actions.add_parser("revoke", help="end sessions, on every node within a second")
    which = revoking.add_mutually_exclusive_group(required=True)
    which.add_argument("id", metavar="ID", nargs="?", help="the one that `list` printed this for")
    which.add_argument("--account", metavar="ACCOUNT_ID", help="all of an account: a SID, or alice@CORP.EXAMPLE")
    which.add_argument("--all", action="store_true", help="all that there are")


def run(options: argparse.Namespace) -> int:
    """Do it; the exit status is 1 if there was no such session."""
    url = options.url or os.environ.get(URL_VARIABLE)
    if not url:
        raise ConfigurationError(f"which Redis? give --url redis://host:6379/0, or set {URL_VARIABLE}")
    try:
        from negotiate_mw.redis_store import StoreDown
    except ImportError as error:
        raise ConfigurationError(str(error)) from error
    try:
        return asyncio.run(_list(url, options) if options.action == "list" else _revoke(url, options))
    except StoreDown as error:
        raise ConfigurationError(f"Redis can't be asked: {error}") from error


async def _list(url: str, options: argparse.Namespace) -> int:
    from negotiate_mw.sessions.ledger import MAX_AGE
    from negotiate_mw.sessions.redis import RedisSessions

    # when a session ends is Redis's to know here
    sessions = RedisSessions(url, keys=_keys(options.keys), max_age=MAX_AGE)
    try:
        async for record in sessions.active():
            identity = record.identity
            if options.account in (None, identity.account_id):
                begun = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                print(_MARK + record.id, begun, plain(identity.account_id), plain(identity.principal), sep="\t")
    finally:
        await sessions.stop()
    return 0


async def _revoke(url: str, options: argparse.Namespace) -> int:
    from negotiate_mw.sessions.ledger import Ledger

    ledger = Ledger(url, option="negotiate-mw sessions --url")
    try:
        if options.all:
            await ledger.revoke_all()
        elif options.account:
            account = options.account.strip()
            account = account.upper() if account[:4].lower() == "s-1-" else account
            await ledger.revoke_account(account)
            print(
                f"negotiate-mw: the sessions that the account {plain(account)} had have ended; where `list` shows a "
                "SID for somebody, only that ends theirs",
                file=sys.stderr,
            )
        elif not await ledger.revoke(options.id.removeprefix(_MARK)):
            print("negotiate-mw: there is no such session", file=sys.stderr)
            return 1
    finally:
        await ledger.aclose()
    return 0


def _keys(file: Path | None) -> list[str]:
    if file is None:
        return os.environ.get(KEYS_VARIABLE, "").split()
    try:
        return file.read_text().split()
    except OSError as error:
        raise ConfigurationError(f"the keys in {str(file)!r} can't be read ({error.strerror})") from error
