"""``negotiate-mw forward-auth``: the service that a proxy asks, on uvicorn.

Law: it listens for the proxy alone, so on this machine unless told otherwise; keys come from files.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from negotiate_mw.accept import Acceptor
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.forward_auth import PROXIES, ForwardAuth
from negotiate_mw.policy import Policy
from negotiate_mw.sessions.command import URL_VARIABLE

_HEAD_BYTES = 131072  # of a request; a ticket of many groups alone may take half of that


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows ``negotiate-mw forward-auth``."""
    parser.add_argument("--proxy", required=True, choices=sorted(PROXIES), help="who asks")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at, which clients must not reach")
    parser.add_argument("--port", type=int, default=9000, help="port to listen at; 0: a free one (default: 9000)")
    parser.add_argument("--uds", metavar="PATH", help="listen at this unix socket instead")
    parser.add_argument("--keytab", metavar="FILE", help="our keys (default: $KRB5_KTNAME, else /etc/krb5.keytab)")
    parser.add_argument("--realm", metavar="REALM", action="append", help="who may log in (default: the keytab's)")
    parser.add_argument("--pac", choices=["when_present", "required"], default="when_present", help="see Policy(pac=…)")
    parser.add_argument("--groups", choices=["pac"], help="answer with the ticket's groups, by SID")
    parser.add_argument("--trusted-origin", metavar="ORIGIN", action="append", default=[], help="see Policy")
    parser.add_argument("--session-keys", metavar="FILE", type=Path, help="keep sessions; keys, one per line")
    in_redis = f"keep them in Redis, not in the cookie; default: ${URL_VARIABLE}, where `ps` doesn't show a password"
    parser.add_argument("--redis", metavar="URL", help=in_redis)
    parser.add_argument("--max-age", metavar="SECONDS", type=int, default=3600, help="of a session (default: 3600)")
    parser.add_argument("--plain-http", action="store_true", help="clients reach the proxy without TLS")


def make_app(options: argparse.Namespace) -> ForwardAuth:
    """The app that the options describe.

    Raises:
        ConfigurationError: an option is wrong.
    """
    more: dict[str, Any] = {} if options.groups is None else {"groups": options.groups}
    if options.session_keys is not None:
        more["sessions"] = _sessions(options)
    elif options.redis is not None:
        raise ConfigurationError("--redis needs --session-keys FILE, whose lines seal what Redis keeps")
    policy = Policy(
        realms=options.realm,
        pac=options.pac,
        trusted_origins=options.trusted_origin,
        tls_terminated_by_proxy=not options.plain_http,
    )
    return ForwardAuth(options.proxy, acceptor=Acceptor(keytab=options.keytab), policy=policy, **more)


def run(options: argparse.Namespace) -> int:
    """Serve until stopped; the exit status is the server's."""
    app = make_app(options)
    try:
        import uvicorn
    except ImportError as error:
        raise ConfigurationError("forward-auth needs uvicorn: pip install 'negotiate-mw[server]'") from error
    listen: dict[str, Any] = {"uds": options.uds} if options.uds else {"host": options.host, "port": options.port}
    # a client's own X-Forwarded-* must not become the peer's address in our log
    config = uvicorn.Config(
        app, **listen, proxy_headers=False, access_log=False, lifespan="on", h11_max_incomplete_event_size=_HEAD_BYTES
    )
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else 3


def _sessions(options: argparse.Namespace) -> object:
    try:
        keys = options.session_keys.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--session-keys {options.session_keys}: can't be read ({error})") from error
    url = options.redis or os.environ.get(URL_VARIABLE)
    if not url:
        from negotiate_mw.sessions.cookie import CookieSessions

        return CookieSessions(keys=keys, max_age=options.max_age)
    from negotiate_mw.sessions.redis import RedisSessions

    return RedisSessions(url, keys=keys, max_age=options.max_age)
