"""A throwaway Active Directory domain: Samba's domain controller on loopback, up in about 5 s, its KDC only.

Law: as for KerberosRealm, whose methods it mirrors: nothing outside its temporary directory, every process stopped by
its pid. It needs root, since a domain controller does.

Accounts, each the one in a case of "the name in the ticket is not the account":

- alice, a plain user; AD answers to ``ALICE`` just as well, and the ticket then says so.
- bob, whose UPN is ``carol@AD.TEST.EXAMPLE``: ``kinit carol`` with bob's password.
- boss$, a computer as any user may create ten of: ``kinit boss`` with its password.
- svc-http, the service, with the keys of HTTP/localhost and HTTP/www.test.example.
"""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import gssapi

from negotiate_mw.testing import tickets
from negotiate_mw.testing.realm import RealmUnavailable
from negotiate_mw.testing.tickets import RealmError, Wrapping

_NUMBERS = itertools.cycle(range(10, 250))  # of the domain controllers of one process: each has its own address

SYSTEM_PYTHON = "/usr/bin/python3"
PROGRAMS = ("samba", "samba-tool", "kinit", "kvno")
START_SECONDS = 60.0

ACCOUNTS: dict[str, dict[str, str | list[str]]] = {
    "alice": {},
    "bob": {"userPrincipalName": "carol@AD.TEST.EXAMPLE"},
    "boss$": {},
    "svc-http": {
        "servicePrincipalName": ["HTTP/localhost", "HTTP/www.test.example"],
        "msDS-SupportedEncryptionTypes": "24",  # AES, both
    },
}
GROUPS = {"web-admins": ["alice"], "web-users": ["alice", "bob"], "nested": ["web-users"]}

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
    kdc = {address}:{port}
  }}
[domain_realm]
  localhost = {name}
  .test.example = {name}
"""

SMB_CONF = """\
[global]
  netbios name = DC1
  realm = {name}
  workgroup = ADTEST
  server role = active directory domain controller
  server services = {services}
  interfaces = {address}/8
  bind interfaces only = yes
  disable netbios = yes
  krb5 port = {port}
  kpasswd port = 0
  private dir = {directory}/private
  state directory = {directory}/state
  cache directory = {directory}/cache
  lock directory = {directory}
  pid directory = {directory}
  binddns dir = {directory}/bind-dns
  ncalrpc dir = {directory}/ncalrpc
  log file = {directory}/log.%m
[sysvol]
  path = {directory}/state/sysvol
[netlogon]
  path = {directory}/state/sysvol/ad.test.example/scripts
"""


class SambaAD:
    """The domain AD.TEST.EXAMPLE (NetBIOS name ADTEST), for as long as a ``with`` block.

    Args:
        ldap: its directory too, on ports 389 and 636 of ``address``, with that address's SPN.
    """

    name = "AD.TEST.EXAMPLE"

    def __init__(self, *, ldap: bool = False) -> None:
        self._services = "ldap kdc" if ldap else "kdc"
        # an address of 127/8 to itself: the domain controller wants an interface that isn't lo's own
        self._address = f"127.{os.getpid() >> 8 & 127 | 64}.{os.getpid() & 255}.{next(_NUMBERS)}"
        self._port = 0
        self._files = itertools.count(1)
        self._passwords: dict[str, str] = {}
        self._samba: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None

    def __enter__(self) -> Self:
        missing = [program for program in PROGRAMS if not shutil.which(program, path=tickets.search_path())]
        if missing or os.geteuid() != 0:
            why = f"{', '.join(missing)}: not found" if missing else "a domain controller needs root"
            raise RealmUnavailable("SambaAD", f"{why}. To install it: scripts/setup test")
        self._directory = Path(tempfile.mkdtemp(prefix="negotiate-mw-samba-"))
        try:
            self._provision()
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the domain controller and remove every file of the domain. Idempotent."""
        if self._samba is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._samba.pid, signal.SIGTERM)  # its own session: it and its children
            try:
                self._samba.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._samba.pid, signal.SIGKILL)
                self._samba.wait()
            assert self._samba.stdin is not None
            self._samba.stdin.close()
            self._samba = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    @property
    def address(self) -> str:
        """Its address on loopback."""
        return self._address

    @property
    def pid(self) -> int:
        """The domain controller's process, to be held up by a signal; all of its services run in it."""
        assert self._samba is not None, "not running"
        return self._samba.pid

    @property
    def directory(self) -> Path:
        assert self._directory is not None, "not running: use it as `with SambaAD() as ad:`"
        return self._directory

    @property
    def env(self) -> dict[str, str]:
        """What leads a program into this domain: a client without a ticket."""
        return {
            "KRB5_CONFIG": str(self.directory / "krb5.conf"),
            "KRB5CCNAME": f"FILE:{self.directory / 'no-ticket'}",
            "KRB5RCACHEDIR": str(self.directory / "rcache"),
            "PATH": tickets.search_path(),
        }

    def environ(self, ccache: Path | None = None) -> dict[str, str]:
        """A whole environment for a child process, as KerberosRealm's."""
        return tickets.environ(self.env, ccache)

    def add(
        self,
        accounts: Mapping[str, Mapping[str, str | list[str]]] | None = None,
        *,
        groups: Mapping[str, Sequence[str]] | None = None,
        local_groups: Mapping[str, Sequence[str]] | None = None,
        primary_groups: Mapping[str, str] | None = None,
    ) -> None:
        """Add to the domain, running or not.

        Args:
            accounts: attributes of users, and of computers, whose names end in ``$``.
            groups: members of global groups, users or groups.
            local_groups: members of domain local groups.
            primary_groups: of accounts, which have to be members.
        """
        plan = []
        for account, attributes in (accounts or {}).items():
            self._passwords[account] = f"Pw-1-{account.strip('$')}-of-the-domain"
            plan.append({"name": account, "password": self._passwords[account], "attributes": attributes})
        script = Path(__file__).with_name("samba_provision.py")
        more = {"groups": groups or {}, "local_groups": local_groups or {}, "primary_groups": primary_groups or {}}
        tickets.run(
            self.environ(),
            *(SYSTEM_PYTHON, str(script), str(self._smb_conf), str(self.directory / "private" / "sam.ldb")),
            stdin=json.dumps({"accounts": plan, **more}),
        )

    def password(self, account: str) -> str:
        """The password of an account, such as ``"boss$"``."""
        return self._passwords[account]

    def keytab(self, *names: str) -> Path:
        """Write the keys of services to a new keytab, and return its path."""
        path = self._file("keytab")
        for name in names:
            self._tool("domain", "exportkeytab", str(path), f"--principal={name}", "-s", str(self._smb_conf))
        return path

    def kinit(
        self,
        user: str,
        password: str | None = None,
        *,
        lifetime: timedelta | None = None,
        options: Sequence[str] = (),
    ) -> Path:
        """Log in under whatever name, and return the path of the credential cache.

        Args:
            user: the name to ask for, which need not be an account's: that is what this class is for.
            password: None: that of the account of this very name.
            lifetime: of the ticket; None: ten hours.
            options: more of ``kinit``'s options: ``["-E"]`` for an enterprise name, ``["-C"]`` to get the real one.
        """
        password = self._passwords[user] if password is None else password
        return tickets.kinit(self.environ(), self._file("ccache"), user, password, lifetime=lifetime, options=options)

    def initiator(self, service: str, ccache: Path, *, wrapping: Wrapping = "spnego") -> gssapi.SecurityContext:
        """The client's half of a handshake, as KerberosRealm's."""
        return tickets.initiator(self.env, ccache, f"{service}@{self.name}", wrapping=wrapping)

    def token(self, service: str, ccache: Path, *, wrapping: Wrapping = "spnego") -> bytes:
        """A client's first token for ``service``, fresh at each call."""
        return tickets.token(self.env, ccache, f"{service}@{self.name}", wrapping=wrapping)

    @property
    def _smb_conf(self) -> Path:
        return self.directory / "etc" / "smb.conf"

    def _file(self, suffix: str) -> Path:
        return self.directory / f"{next(self._files)}.{suffix}"

    def _tool(self, *arguments: str) -> None:
        tickets.run(self.environ(), "samba-tool", *arguments)

    def _provision(self) -> None:
        (self.directory / "rcache").mkdir(mode=0o700)
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind((self._address, 0))
            self._port = tcp.getsockname()[1]
            udp.bind((self._address, self._port))
        values = {"name": self.name, "address": self._address, "port": self._port, "directory": self.directory}
        values["services"] = self._services
        (self.directory / "krb5.conf").write_text(KRB5_CONF.format_map(values))
        self._tool(
            *("domain", "provision", f"--targetdir={self.directory}", f"--realm={self.name}", "--domain=ADTEST"),
            *("--server-role=dc", "--host-name=dc1", f"--host-ip={self._address}", "--dns-backend=NONE"),
            *("--adminpass=Passw0rd!x", "--use-rfc2307", f"--option=interfaces={self._address}/8"),
            "--option=bind interfaces only=yes",
        )
        self._smb_conf.write_text(SMB_CONF.format_map(values))
        self.add(ACCOUNTS, groups=GROUPS)
        if "ldap" in self._services:
            self._tool("spn", "add", f"ldap/{self._address}", "DC1$", "-s", str(self._smb_conf))

    def _start(self) -> None:
        log = self.directory / "samba.log"
        with log.open("wb") as output:
            # it ends when a pipe that is its stdin does: not even our being killed leaves it running
            self._samba = subprocess.Popen(
                ["samba", "-i", "-M", "single", "-s", str(self._smb_conf)],
                env=self.environ(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._samba.poll() is None:
            with suppress(OSError), socket.create_connection((self._address, self._port), timeout=1):
                return
            time.sleep(0.02)
        raise RealmError("samba", f"does not answer on {self._address}:{self._port}: {log.read_text()[-2000:]}")
