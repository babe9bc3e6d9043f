"""A throwaway OpenLDAP server on 127.0.0.1, with the memberof overlay, Kerberos and TLS; up in about 0.3 s.

Law: nothing outside its temporary directory; stopped by its pid. It runs from a copy of the program, since AppArmor
keeps the installed one to /etc and /var.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from negotiate_mw.testing import tickets
from negotiate_mw.testing.realm import RealmUnavailable

SUFFIX = "dc=mit,dc=example"
USERS = f"ou=people,{SUFFIX}"
GROUPS = f"ou=groups,{SUFFIX}"
ADMIN = f"cn=admin,{SUFFIX}"
PASSWORD = "secret of the admin"

CONF = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
allow bind_anon_cred
sasl-host localhost
sasl-secprops {security}
TLSCertificateFile {directory}/cert.pem
TLSCertificateKeyFile {directory}/key.pem
sizelimit unlimited
database mdb
suffix "{suffix}"
rootdn "{admin}"
rootpw "{password}"
directory {directory}/db
maxsize 104857600
dbnosync
index objectClass,uid,cn,member,memberUid eq
limits * size.soft=100 size.hard=100 size.prtotal=unlimited
access to attrs=userPassword by anonymous auth
access to dn.base="cn=unseen,{groups}" attrs=member by * none
access to * by dn.regex="^uid=http/localhost.*,cn=gssapi,cn=auth$" read by dn.base="cn=web,{suffix}" read by * none
overlay memberof
memberof-refint true
memberof-dangling ignore
"""


class Slapd:
    """A directory with the suffix ``dc=mit,dc=example``, for as long as a ``with`` block.

    Args:
        env: leads it into its realm.
        keytab: the keys of ldap/localhost.
        security: what SASL may agree on, as slapd.conf's ``sasl-secprops`` says it.
    """

    def __init__(self, env: Mapping[str, str], keytab: Path, *, security: str = "noplain,noanonymous") -> None:
        self._security = security
        self._env = dict(env) | {"KRB5_KTNAME": str(keytab)}
        self._process: subprocess.Popen[bytes] | None = None
        self.directory = Path()

    def __enter__(self) -> Self:
        path = tickets.search_path() + os.pathsep + "/usr/sbin"
        found = {name: shutil.which(name, path=path) for name in ("slapd", "ldapadd", "openssl")}
        if None in found.values():
            raise RealmUnavailable("Slapd", f"{found}: not all there. To install: scripts/setup test")
        self.directory = Path(tempfile.mkdtemp(prefix="negotiate-mw-slapd-"))
        try:
            (self.directory / "db").mkdir()
            shutil.copy(str(found["slapd"]), self.directory / "slapd")
            self._certify()
            values = {"directory": self.directory, "suffix": SUFFIX, "admin": ADMIN, "password": PASSWORD}
            values |= {"groups": GROUPS, "security": self._security}
            (self.directory / "slapd.conf").write_text(CONF.format_map(values))
            with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
                self.port, self.tls_port = one.getsockname()[1], other.getsockname()[1]
            self.start()
            self.add(f"dn: {SUFFIX}\nobjectClass: domain\ndc: mit\n")
            for ou in ("people", "groups", "elsewhere"):
                self.add(f"dn: ou={ou},{SUFFIX}\nobjectClass: organizationalUnit\nou: {ou}\n")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop it and remove its files. Idempotent."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=self.directory != Path())

    @property
    def url(self) -> str:
        return f"ldap://localhost:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"ldaps://localhost:{self.tls_port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and return when it answers."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(self.directory / "slapd"), "-f", str(self.directory / "slapd.conf"), "-d", "stats"),
                    *("-h", f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"),
                ],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        raise AssertionError(f"slapd does not answer: {self.log[-2000:]}")

    def stop(self) -> None:
        """Stop it; ``start`` brings it back with all that it had."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGCONT)
                self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    @property
    def binds(self) -> int:
        """How many log-ins by Kerberos there were so far."""
        return self.log.count(" mech=GSSAPI bind_ssf=")

    @property
    def searches(self) -> int:
        """How many searches it was asked for so far."""
        return self.log.count(" SRCH base=")

    def add(self, ldif: str) -> None:
        """Add entries, one after the other, so that the overlay sees them."""
        url, login = f"ldap://127.0.0.1:{self.port}", ("-x", "-D", ADMIN, "-w", PASSWORD)
        done = subprocess.run(["ldapadd", "-H", url, *login], input=ldif.encode(), capture_output=True, env=self._env)
        assert done.returncode == 0, done.stderr.decode()

    def _certify(self) -> None:
        """A certificate that vouches for itself, and another that vouches for nothing here."""
        host = socket.gethostname()  # whom the LDAP library takes "localhost" for
        for name in ("cert", "other"):
            key = str(self.directory / ("key.pem" if name == "cert" else "other-key.pem"))
            names = (
                "-subj",
                "/CN=localhost",
                "-addext",
                f"subjectAltName=DNS:localhost,DNS:{host},DNS:{socket.getfqdn()}",
            )
            command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
            out = ("-keyout", key, "-out", str(self.directory / f"{name}.pem"))
            subprocess.run([*command, *out], check=True, capture_output=True)


def group(name: str, *members: str, base: str = GROUPS) -> str:
    """LDIF of a groupOfNames; members are DNs."""
    lines = [f"dn: cn={name},{base}", "objectClass: groupOfNames", f"cn: {name}", *(f"member: {dn}" for dn in members)]
    return "\n".join(lines) + "\n\n"


def user(name: str, base: str = USERS, *, rdn: str | None = None) -> str:
    """LDIF of an account; ``rdn`` where the name can't be one."""
    import base64

    coded = base64.b64encode(name.encode()).decode()
    lines = [f"dn: cn={rdn or name},{base}", "objectClass: inetOrgPerson", f"cn: {rdn or name}", "sn: -"]
    return "\n".join([*lines, f"uid:: {coded}"]) + "\n\n"


def dn(name: str, base: str = USERS) -> str:
    return f"cn={name},{base}"
