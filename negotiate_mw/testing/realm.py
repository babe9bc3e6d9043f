"""A throwaway Kerberos realm: a real MIT KDC on 127.0.0.1, up in about 0.2 s, gone without a trace at the end.

Law: it touches nothing but its own temporary directory and the processes it started, and this process's environment
only inside ``apply``. Only the standard library is imported; python-gssapi where a token is made.

::

    with KerberosRealm() as realm:
        realm.add_user("alice")
        realm.add_service("HTTP/localhost")
        acceptor = Acceptor(keytab=str(realm.keytab("HTTP/localhost")))
        ticket = realm.kinit("alice")
        subprocess.run(["curl", "--negotiate", "-u", ":", url], env=realm.environ(ticket))
"""

import itertools
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from negotiate_mw.testing import tickets
from negotiate_mw.testing.tickets import RealmError, Wrapping

if TYPE_CHECKING:
    import gssapi

PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit", "kvno")

INSTALL = (
    "sudo apt-get install --no-install-recommends krb5-kdc krb5-admin-server krb5-user",
    "sudo dnf install krb5-server krb5-workstation",
    "brew install krb5",
)

START_SECONDS = 15.0  # the KDC answers after 0.03 s; a loaded CI machine may take a hundred times as long

KRB5_CONF = """\
[libdefaults]
  default_realm = {name}
  dns_lookup_realm = false
  dns_lookup_kdc = false
  dns_canonicalize_hostname = false
  rdns = false
  udp_preference_limit = 1
  forwardable = true
[realms]
  {name} = {{
    kdc = 127.0.0.1:{port}
  }}
[domain_realm]
  localhost = {name}
  .{domain} = {name}
  {hostname} = {name}
"""

FOREIGN_REALM = """\
[realms]
  {name} = {{
    kdc = 127.0.0.1:{port}
  }}
"""

KDC_CONF = """\
[kdcdefaults]
  kdc_listen = 127.0.0.1:{port}
  kdc_tcp_listen = 127.0.0.1:{port}
[realms]
  {name} = {{
    database_name = {directory}/principal
    key_stash_file = {directory}/stash
    acl_file = {directory}/kadm5.acl
    max_life = 10h
    max_renewable_life = 7d
    supported_enctypes = aes256-cts:normal aes128-cts:normal
  }}
[logging]
  kdc = FILE:{directory}/kdc.log
"""


class RealmUnavailable(RealmError):
    """This machine has no KDC programs; the message says what to type."""


class KerberosRealm:
    """A Kerberos realm of one's own, for as long as a ``with`` block.

    Args:
        name: the realm, in capitals. Hosts under the same name in small letters belong to it, and so does localhost.

    Raises:
        RealmUnavailable: on entry, if the KDC's programs are missing.
        RealmError: by any method whose program fails; ``output`` has the program's own words.
    """

    def __init__(self, name: str = "TEST.EXAMPLE") -> None:
        self.name = name
        self._passwords: dict[str, str] = {}
        self._files = itertools.count(1)
        self._kdc: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None
        self._port = 0

    def __repr__(self) -> str:
        return f"<KerberosRealm {self.name} on 127.0.0.1:{self._port}>"

    # Its life

    def __enter__(self) -> Self:
        missing = [program for program in PROGRAMS if not shutil.which(program, path=tickets.search_path())]
        if missing:
            cures = "".join(f"\n  {line}" for line in INSTALL)
            raise RealmUnavailable("KerberosRealm", f"{', '.join(missing)}: not found. To install:{cures}")
        self._directory = Path(tempfile.mkdtemp(prefix="negotiate-mw-realm-"))
        try:
            (self.directory / "rcache").mkdir(mode=0o700)
            self._choose_port()
            self._run("kdb5_util", "create", "-s", "-r", self.name, "-P", secrets.token_hex(16))
            self.start_kdc()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the KDC and remove every file of the realm. Idempotent."""
        self.stop_kdc()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def start_kdc(self, *, clock: timedelta | None = None) -> None:
        """Start the KDC, and return when it answers. Nothing happens if it runs.

        Args:
            clock: how far its clock is off; needs the ``faketime`` package.
        """
        if self._kdc is not None:
            return
        log = self.directory / "kdc.out"
        with log.open("wb") as output:
            # a session of its own: Ctrl-C in the terminal ends the realm in order, by `close`
            self._kdc = subprocess.Popen(
                ["krb5kdc", "-n", "-r", self.name],
                env=tickets.at(clock, self.environ()),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._kdc.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
                return
            time.sleep(0.01)
        self.stop_kdc()
        raise RealmError("krb5kdc", f"does not answer on 127.0.0.1:{self._port}: {log.read_text()}")

    def stop_kdc(self) -> None:
        """Stop the KDC; tickets in use stay good. ``start_kdc`` brings it back, with the same principals and keys."""
        if self._kdc is None:
            return
        self._kdc.terminate()
        try:
            self._kdc.wait(5)
        except subprocess.TimeoutExpired:
            self._kdc.kill()
            self._kdc.wait()
        self._kdc = None

    # Its surroundings

    @property
    def directory(self) -> Path:
        """The realm's own directory, mode 700; it goes when the realm goes."""
        if self._directory is None:
            raise RealmError("KerberosRealm", "not running: use it as `with KerberosRealm() as realm:`")
        return self._directory

    @property
    def env(self) -> dict[str, str]:
        """What leads a program into this realm, to be merged into its environment: a client without a ticket."""
        return {
            "KRB5_CONFIG": str(self.directory / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(self.directory / "kdc.conf"),
            "KRB5CCNAME": f"FILE:{self.directory / 'no-ticket'}",
            "KRB5RCACHEDIR": str(self.directory / "rcache"),
            "PATH": tickets.search_path(),
        }

    def environ(self, ccache: Path | None = None) -> dict[str, str]:
        """A whole environment for a child process: this one's, free of other Kerberos settings, with ``env`` on top.

        Args:
            ccache: the tickets to use, from ``kinit``; None: a client without a ticket.
        """
        return tickets.environ(self.env, ccache)

    @contextmanager
    def apply(self, ccache: Path | None = None) -> Iterator[None]:
        """Lead *this process* into the realm for a ``with`` block, by ``os.environ``; for clients in a test's process.

        Args:
            ccache: the tickets to use, from ``kinit``; None: a client without a ticket.
        """
        before = dict(os.environ)
        inside = self.environ(ccache)
        try:
            for name in before.keys() - inside.keys():
                del os.environ[name]
            os.environ.update(inside)
            yield
        finally:
            for name in os.environ.keys() - before.keys():
                del os.environ[name]
            os.environ.update(before)

    # Its principals

    def add_user(self, name: str, password: str | None = None) -> str:
        """Add a principal with a password, and return the password (a random one by default)."""
        password = secrets.token_urlsafe(12) if password is None else password
        self._kadmin("addprinc", "-pw", password, name)
        self._passwords[name] = password
        return password

    def add_service(self, *names: str) -> None:
        """Add service principals, such as ``"HTTP/localhost"``, with random keys."""
        for name in names:
            self._kadmin("addprinc", "-randkey", name)

    def rotate(self, *names: str, keep_old: bool = False) -> None:
        """Give service principals new keys, under the next kvno; ``keytab`` then writes them.

        Args:
            names: the services, such as ``"HTTP/localhost"``.
            keep_old: keep the keys before too, as an operator does, so that tickets in use stay good.
        """
        for name in names:
            self._kadmin("cpw", "-randkey", *(["-keepold"] if keep_old else []), name)

    def trust(self, other: "KerberosRealm") -> None:
        """Let users of ``other``, another running realm, log in to this one's services, as in a one-way trust.

        Their tickets come from ``other.initiator("HTTP/localhost@THIS.REALM", ccache)``.
        """
        key = secrets.token_hex(16)
        for realm, foreign in ((self, other), (other, self)):
            realm._kadmin("addprinc", "-pw", key, f"krbtgt/{self.name}@{other.name}")
            with (realm.directory / "krb5.conf").open("a") as configuration:
                configuration.write(FOREIGN_REALM.format(name=foreign.name, port=foreign._port))

    def keytab(self, *names: str, path: Path | None = None) -> Path:
        """Write the keys of services to a keytab, and return its path.

        Args:
            names: the services, such as ``"HTTP/localhost"``.
            path: where to; replaced in one step if it is there. None: a new file in the realm's directory.
        """
        path = path or self._file("keytab")
        fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        for name in names:
            self._kadmin("ktadd", "-q", "-norandkey", "-k", str(fresh), name)
        return fresh.replace(path)

    # Its clients

    def kinit(
        self,
        user: str,
        password: str | None = None,
        *,
        ccache: Path | None = None,
        lifetime: timedelta | None = None,
        options: Sequence[str] = (),
    ) -> Path:
        """Log a user in and return the path of the credential cache, a file.

        Args:
            user: the principal; a bare name is in this realm.
            password: None: the one that ``add_user`` gave.
            ccache: where to; None: a new file in the realm's directory.
            lifetime: of the ticket; None: ten hours. Acceptors add a clock skew of five minutes to it.
            options: more of ``kinit``'s options, such as ``["-C"]``.
        """
        known = self._passwords.get(user, "") if password is None else password
        ccache = ccache or self._file("ccache")
        return tickets.kinit(self.environ(), ccache, user, known, lifetime=lifetime, options=options)

    def initiator(
        self,
        service: str,
        ccache: Path,
        *,
        wrapping: Wrapping = "spnego",
        mutual: bool = True,
        delegate: bool = False,
        bindings: bytes | None = None,
    ) -> "gssapi.SecurityContext":
        """The client's half of a handshake, as python-gssapi's SecurityContext at its beginning.

        Args:
            service: such as ``"HTTP/localhost"``.
            ccache: the client's tickets, from ``kinit``; the service's is added to it.
            wrapping: ``"kerberos"`` for a raw Kerberos token.
            mutual: ask for mutual authentication.
            delegate: forward the user's ticket; only inside ``apply``, since the library then asks the KDC.
            bindings: channel bindings, the application data: ``b"tls-server-end-point:" + hash``.
        """
        return tickets.initiator(
            self.env,
            ccache,
            self._full(service),
            wrapping=wrapping,
            mutual=mutual,
            delegate=delegate,
            bindings=bindings,
        )

    def token(
        self, service: str, ccache: Path, *, wrapping: Wrapping = "spnego", clock: timedelta | None = None
    ) -> bytes:
        """A client's first token for ``service``, fresh at each call.

        Args:
            service: such as ``"HTTP/localhost"``.
            ccache: the client's tickets, from ``kinit``.
            wrapping: ``"kerberos"`` for a raw Kerberos token.
            clock: how far the client's clock is off; needs the ``faketime`` package.
        """
        return tickets.token(self.env, ccache, self._full(service), wrapping=wrapping, clock=clock)

    def expired(self, user: str, service: str, password: str | None = None) -> Path:
        """A credential cache whose ticket for ``service`` ended an hour ago, though the cache says otherwise.

        So a client sends it all the same, with a fresh authenticator. Restarts the KDC, twice; needs the ``faketime``
        package. ``password`` as for ``kinit``.
        """
        ago = timedelta(hours=-2)
        self.stop_kdc()
        self.start_kdc(clock=ago)
        try:
            env = tickets.at(ago, self.environ())
            known = self._passwords.get(user, "") if password is None else password
            ccache = tickets.kinit(env, self._file("ccache"), user, known, lifetime=timedelta(hours=1))
            tickets.run(env, "kvno", "-q", "-c", f"FILE:{ccache}", self._full(service))
        finally:
            self.stop_kdc()
            self.start_kdc()
        return tickets.overdue(self._file("ccache"), ccache)

    def _full(self, principal: str) -> str:
        return principal if "@" in principal else f"{principal}@{self.name}"

    def _file(self, suffix: str) -> Path:
        return self.directory / f"{next(self._files)}.{suffix}"

    def _run(self, *command: str) -> str:
        return tickets.run(self.environ(), *command)

    def _kadmin(self, *command: str) -> None:
        said = self._run("kadmin.local", "-r", self.name, *command)
        if command[0] == "ktadd" and said:  # the only one that reports a failure and ends with 0
            raise RealmError(" ".join(command), said)

    def _choose_port(self) -> None:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            self._port = tcp.getsockname()[1]
            udp.bind(("127.0.0.1", self._port))
        values = {
            "name": self.name,
            "domain": self.name.lower(),
            "port": self._port,
            "hostname": socket.gethostname(),
            "directory": self.directory,
        }
        (self.directory / "krb5.conf").write_text(KRB5_CONF.format_map(values))
        (self.directory / "kdc.conf").write_text(KDC_CONF.format_map(values))
