"""Other people's acceptors: Apache with mod_auth_gssapi, lighttpd with mod_authn_gssapi.

Law: each listens on a free port of 127.0.0.1 and ends with the ``with`` block. Started by root, they run as another
user, as Apache insists, and own their directory.
"""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.proxies.running import _program, _running, free_ports

APACHE = """\
ServerRoot {modules}
PidFile {directory}/httpd.pid
DefaultRuntimeDir {directory}
Listen 127.0.0.1:{port}
ServerName localhost
User {user}
Group {user}
LoadModule mpm_event_module modules/mod_mpm_event.so
LoadModule authn_core_module modules/mod_authn_core.so
LoadModule authz_core_module modules/mod_authz_core.so
LoadModule authz_user_module modules/mod_authz_user.so
LoadModule mime_module modules/mod_mime.so
LoadModule auth_gssapi_module modules/mod_auth_gssapi.so
TypesConfig /dev/null
DocumentRoot {directory}/www
ErrorLog {directory}/log
StartServers 1
ServerLimit 1
ThreadsPerChild 25
MaxRequestWorkers 25
<Directory />
  Require all granted
</Directory>
<Location />
  AuthType GSSAPI
  AuthName realm
  GssapiCredStore keytab:{directory}/http.keytab
  Require user alice@TEST.EXAMPLE
</Location>
"""

LIGHTTPD = """\
server.modules = ("mod_auth", "mod_authn_gssapi")
server.document-root = "{directory}/www"
server.errorlog = "{directory}/log"
server.bind = "127.0.0.1"
server.port = {port}
auth.backend = "gssapi"
auth.backend.gssapi.keytab = "{directory}/http.keytab"
auth.backend.gssapi.store-creds = "disable"
auth.backend.gssapi.principal = "HTTP/localhost@TEST.EXAMPLE"
auth.require = ("" => ("method" => "gssapi", "realm" => "TEST.EXAMPLE", "require" => "user=alice@TEST.EXAMPLE"))
"""

PAGE = "the page"
MODULES = Path("/usr/lib/apache2")


@contextmanager
def apache(keytab: Path, env: Mapping[str, str]) -> Iterator[str]:
    """Apache's address, for a ``with`` block."""
    with _directory(keytab) as directory:
        (port,) = free_ports(1)
        user = pwd.getpwuid(os.stat(directory).st_uid).pw_name
        config = directory / "httpd.conf"
        config.write_text(APACHE.format(modules=MODULES, directory=directory, port=port, user=user))
        command = [_program("apache2"), "-X", "-f", str(config)]
        with _in(directory, env), _running(command, [port], directory):
            yield f"http://localhost:{port}/page"


@contextmanager
def lighttpd(keytab: Path, env: Mapping[str, str]) -> Iterator[str]:
    """lighttpd's address, for a ``with`` block."""
    with _directory(keytab) as directory:
        (port,) = free_ports(1)
        config = directory / "lighttpd.conf"
        config.write_text(LIGHTTPD.format(directory=directory, port=port))
        command = [_program("lighttpd"), "-D", "-f", str(config)]
        with _in(directory, env), _running(command, [port], directory):
            yield f"http://localhost:{port}/page"


@contextmanager
def _directory(keytab: Path) -> Iterator[Path]:
    # not pytest's: those are closed to the other user
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "www").mkdir()
        (directory / "www" / "page").write_text(PAGE)
        (directory / "rcache").mkdir()
        shutil.copy(keytab, directory / "http.keytab")
        if os.geteuid() == 0:
            for path in (directory, *directory.rglob("*")):
                shutil.chown(path, "www-data", "www-data")
        yield directory


@contextmanager
def _in(directory: Path, env: Mapping[str, str]) -> Iterator[None]:
    """The environment that the server inherits: in the realm, with a replay cache of its own."""
    before = dict(os.environ)
    config = directory / "krb5.conf"
    shutil.copy(env["KRB5_CONFIG"], config)
    config.chmod(0o644)
    os.environ.update({**env, "KRB5_CONFIG": str(config), "KRB5RCACHEDIR": str(directory / "rcache")})
    os.environ.pop("KRB5_KTNAME", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
