"""An Apache with mod_auth_gssapi, as an operator has it who comes to us: each setting at a path of its own.

Law: a path's lines are what ``docs/migration.md`` translates; ``apps.py`` has the translation under the same path.
"""

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.client.web_servers import APACHE, MODULES, PAGE, _directory, _in
from tests.proxies.running import _program, _running, free_ports

MORE_MODULES = ("headers", "setenvif", "session", "session_cookie")
# what was asked for, and who is said to have asked
SAYS = """\
  Header always set X-User "expr=%{REMOTE_USER}"
  Header always set X-Mechanism "expr=%{reqenv:GSS_MECH}"
"""
PROXY = """\
LoadModule proxy_module modules/mod_proxy.so
LoadModule proxy_http_module modules/mod_proxy_http.so
ProxyPass /behind/ http://127.0.0.1:{port}/
"""
SETTINGS = {
    "plain": "GssapiPublishMech On",
    "krb5": "GssapiAllowedMech krb5",
    "one-name": "GssapiAcceptorName HTTP@localhost",
    "host": "GssapiAcceptorName {HOSTNAME}",
    "local": "GssapiLocalName On",
    "once": "GssapiNegotiateOnce On",
    "tls": "GssapiSSLonly On",
    "basic": "GssapiBasicAuth On",
    "session": "GssapiUseSessions On\nSession On\nSessionCookieName gssapi path=/session;httponly",
    "indicators": 'GssapiRequiredNameAttributes "auth-indicators=pkinit"',
    "delegation": "GssapiDelegCcacheDir {directory}/ccaches",
    "connection": "GssapiConnectionBound On\nGssapiSignalPersistentAuth On",
}


class Apache:
    """One that listens.

    Attributes:
        port: where.
        ccaches: where it writes forwarded tickets.
    """

    def __init__(self, port: int, directory: Path) -> None:
        self.port = port
        self.ccaches = directory / "ccaches"


@contextmanager
def apache(keytab: Path, env: Mapping[str, str], behind: int | None = None) -> Iterator[Apache]:
    """All of ``SETTINGS``, for a ``with`` block; ``behind``: the port that ``/behind/`` is passed on to."""
    with _directory(keytab) as directory:
        (port,) = free_ports(1)
        www = directory / "www"
        owner = www.stat()
        (directory / "ccaches").mkdir()
        for name in SETTINGS:
            (www / name).write_text(PAGE)
        if os.geteuid() == 0:
            for path in (directory / "ccaches", *www.iterdir()):
                os.chown(path, owner.st_uid, owner.st_gid)
        config = directory / "httpd.conf"
        config.write_text(_config(directory, port) + ("" if behind is None else PROXY.format(port=behind)))
        with _in(directory, env), _running([_program("apache2"), "-X", "-f", str(config)], [port], directory):
            yield Apache(port, directory)


def _config(directory: Path, port: int) -> str:
    user = pwd.getpwuid((directory / "www").stat().st_uid).pw_name
    head, _, _ = APACHE.format(modules=MODULES, directory=directory, port=port, user=user).partition("<Location />")
    modules = "".join(f"LoadModule {name}_module modules/mod_{name}.so\n" for name in MORE_MODULES)
    return (
        head
        + modules
        + "BrowserMatch ^Old gssapi-no-negotiate\n"
        + "".join(
            f"<Location /{name}>\n  AuthType GSSAPI\n  AuthName realm\n"
            f"  GssapiCredStore keytab:{directory}/http.keytab\n  Require valid-user\n"
            f"{lines.replace('{directory}', str(directory))}\n{SAYS}</Location>\n"
            for name, lines in SETTINGS.items()
        )
    )
