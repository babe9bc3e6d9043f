"""Groups from a directory: ``NegotiateMiddleware(groups=LdapGroups(LdapDirectory(…)))``.

Law: a user is looked up in their own realm's directory and in no other; what isn't known is refused; what is known is
kept for ``ttl`` seconds, whatever happens to the directory meanwhile, and not a moment longer.
"""

import asyncio
import os
import re
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from urllib.parse import urlsplit

from negotiate_mw import telemetry
from negotiate_mw.directory.names import AUTHORITIES, qualified
from negotiate_mw.directory.process import LookUps, Trouble
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.extras import to_install
from negotiate_mw.identity import AcceptResult, Identity, parse_principal
from negotiate_mw.status import SecStatus

_DN = re.compile(r"\s*[A-Za-z0-9][A-Za-z0-9.-]*\s*=.+", re.DOTALL)
_DOMAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TEXTS = ("realm", "domain", "base", "users", "groups", "principal", "bind_dn")
_FILES = ("keytab", "password_file", "ca_file")

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LdapDirectory:
    r"""The directory of one realm.

    ::

        LdapDirectory(realm="CORP.EXAMPLE", domain="CORP", servers=["ldap://dc1.corp.example"],
                      base="dc=corp,dc=example", principal="svc-web@CORP.EXAMPLE", keytab="/etc/web.keytab")

    Args:
        realm: the Kerberos realm whose users it has, in capitals.
        domain: what qualifies its groups' names, ``CORP\HR``; also the NTLM domain whose users it has.
        servers: LDAP URLs, asked in this order until one answers.
        base: of an Active Directory: where accounts and groups are found.
        users: of FreeIPA, 389 Directory Server, OpenLDAP: where users are found, by ``uid``; with ``groups``.
        groups: the one container whose direct children are the groups, named by ``cn``.
        principal: who binds by Kerberos, such as ``"HTTP/www.ipa.example@IPA.EXAMPLE"``; with ``keytab``.
        keytab: path of the keytab with its keys.
        bind_dn: who binds by password instead, over ``ldaps://`` only; with ``password_file``.
        password_file: path of the file that holds nothing but the password.
        ca_file: path of the certificates that vouch for ``ldaps://`` servers; None: the system's.

    Raises:
        ConfigurationError: an option is wrong.
    """

    realm: str
    domain: str
    servers: Sequence[str]
    base: str | None = None
    users: str | None = None
    groups: str | None = None
    principal: str | None = None
    keytab: str | os.PathLike[str] | None = None
    bind_dn: str | None = None
    password_file: str | os.PathLike[str] | None = None
    ca_file: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        for name in _TEXTS:
            text = getattr(self, name)
            if text is not None and not (isinstance(text, str) and text.strip() and text.isprintable()):
                raise ConfigurationError(f"LdapDirectory({name}={text!r}): give a text, or leave it out")
        if not self.realm or "@" in self.realm or "\\" in self.realm:
            raise ConfigurationError(f'LdapDirectory(realm={self.realm!r}): give the realm, such as "CORP.EXAMPLE"')
        if not self.domain or not _DOMAIN.fullmatch(self.domain) or self.domain.casefold() in AUTHORITIES:
            raise ConfigurationError(f'LdapDirectory(domain={self.domain!r}): give a name of its own, such as "CORP"')
        if isinstance(self.servers, str) or not self.servers or not all(map(_is_server, self.servers)):
            raise ConfigurationError(
                f'LdapDirectory(servers={self.servers!r}): give a list of URLs, such as ["ldap://dc1.corp.example"]'
            )
        object.__setattr__(self, "servers", tuple(self.servers))
        for name in _FILES:
            path = getattr(self, name)
            if path is not None:
                if not isinstance(path, str | os.PathLike) or not os.fspath(path):
                    raise ConfigurationError(f"LdapDirectory({name}={path!r}): give a path")
                object.__setattr__(self, name, os.path.abspath(os.fspath(path)))
        self._check_places()
        self._check_binding()

    def _check_places(self) -> None:
        places = (self.base is not None, self.users is not None, self.groups is not None)
        if places not in ((True, False, False), (False, True, True)):
            raise ConfigurationError(
                'LdapDirectory: give base="dc=corp,dc=example" for an Active Directory, or both users="…" and '
                'groups="…", as in groups="cn=groups,cn=accounts,dc=ipa,dc=example", for any other'
            )
        for name in ("base", "users", "groups", "bind_dn"):
            text = getattr(self, name)
            if text is not None and not _DN.fullmatch(text):
                raise ConfigurationError(
                    f'LdapDirectory({name}={text!r}): give a distinguished name, such as "dc=corp,dc=example"'
                )

    def _check_binding(self) -> None:
        by_ticket = (self.principal is not None, self.keytab is not None)
        by_password = (self.bind_dn is not None, self.password_file is not None)
        if {by_ticket, by_password} != {(True, True), (False, False)}:
            raise ConfigurationError(
                'LdapDirectory: give principal="svc-web@CORP.EXAMPLE" and keytab="/etc/web.keytab", '
                "or bind_dn=… and password_file=…"
            )
        if self.principal is not None and not all(self.principal.rpartition("@")):
            raise ConfigurationError(
                f'LdapDirectory(principal={self.principal!r}): give it with its realm, "svc-web@CORP.EXAMPLE"'
            )
        clear = [server for server in self.servers if not server.startswith("ldaps://")]
        if self.bind_dn is not None and clear:
            raise ConfigurationError(
                f"LdapDirectory(servers=…): a password goes over TLS only; give ldaps:// instead of {clear[0]!r}"
            )


class LdapGroups:
    r"""The names of a user's groups, nested ones too, from the directory of the user's realm.

    ::

        app = NegotiateMiddleware(app, groups=LdapGroups(LdapDirectory(realm="CORP.EXAMPLE", domain="CORP", …)))

        @requires(r"group:CORP\HR")

    Args:
        directories: one for each realm; users of any other have no groups (``"groups-missing"``).
        ttl: for how many seconds an answer is good.
        cache_size: of how many users answers are kept.
        timeout: seconds for one look-up, after which it is ``"directory-down"``.

    Raises:
        ConfigurationError: an option is wrong.
    """

    def __init__(
        self, *directories: LdapDirectory, ttl: float = 300.0, cache_size: int = 10_000, timeout: float = 5.0
    ) -> None:
        if not directories or not all(isinstance(directory, LdapDirectory) for directory in directories):
            raise ConfigurationError('LdapGroups: give at least one LdapDirectory(realm="CORP.EXAMPLE", …)')
        for name in ("realm", "domain"):
            values = [getattr(directory, name).casefold() for directory in directories]
            if len(set(values)) < len(values):
                raise ConfigurationError(f"LdapGroups: two directories have the same {name}; give each its own")
        if not _is_number(ttl) or ttl < 0:
            raise ConfigurationError(f"LdapGroups(ttl={ttl!r}): give seconds, such as 300")
        if not _is_number(cache_size) or int(cache_size) != cache_size or cache_size < 1:
            raise ConfigurationError(f"LdapGroups(cache_size={cache_size!r}): give a number of users, such as 10_000")
        if not _is_number(timeout) or not 0 < timeout <= 60:
            raise ConfigurationError(f"LdapGroups(timeout={timeout!r}): give seconds, more than 0, at most 60")
        self._ttl = ttl
        self._cache_size = cache_size
        look_ups = [
            (directory, LookUps(asdict(directory), tuple(directory.servers), timeout)) for directory in directories
        ]
        self._by_realm = {directory.realm: (directory, asks) for directory, asks in look_ups}
        self._by_domain = {directory.domain.casefold(): (directory, asks) for directory, asks in look_ups}
        self._known: dict[Key, tuple[float, frozenset[str]]] = {}  # oldest first: all live equally long
        self._keeping = threading.Lock()
        # a task is its own event loop's, and one process may run several
        self._under_way: dict[tuple[asyncio.AbstractEventLoop, Key], asyncio.Task[frozenset[str]]] = {}

    async def start(self) -> None:
        """See that each directory can be asked.

        Raises:
            ConfigurationError: a library or a file is missing, or the directory doesn't want us. One that doesn't
                answer doesn't stop the start: there is a warning, and log-ins get 503 until it does.
        """
        needed = ["bonsai"] + ["gssapi"] * any(directory.principal for directory, _ in self._by_realm.values())
        missing = [library for library in needed if find_spec(library) is None]
        if missing or sys.platform == "win32":
            why = f"{', '.join(missing)} is missing: {to_install('ldap')}" if missing else "not on Windows"
            raise ConfigurationError(f"LdapGroups: {why}")
        for directory, asks in self._by_realm.values():
            for path in (directory.keytab, directory.password_file, directory.ca_file):
                if path is not None and not os.access(path, os.R_OK):
                    raise ConfigurationError(f"LdapGroups: can't read {path}: give a file that this process may read")
            try:
                await asks.probe()
            except Trouble as error:
                if error.is_refusal:
                    raise ConfigurationError(
                        f"LdapGroups: {telemetry.plain(error, 1000)}. {_cure(directory)}"
                    ) from error
                telemetry.warned(
                    "directory-down", f"no groups for {directory.realm} yet: {telemetry.plain(error, 1000)}"
                )

    async def stop(self) -> None:
        """End the look-up processes and forget what they said. Idempotent."""
        with self._keeping:
            self._known.clear()
        for _, asks in self._by_realm.values():
            asks.close()

    async def of(self, identity: Identity, result: AcceptResult | None) -> frozenset[str]:
        """The qualified names of the user's groups, nested ones too.

        Raises:
            AcceptError: LOGON_DENIED, ``"groups-missing"``: no directory is the user's, or it knows no such user;
                NO_AUTHENTICATING_AUTHORITY, ``"directory-down"``, or BUSY: it can't be asked now.
        """
        key = (identity.mechanism, identity.realm, identity.account_id)
        known = self._known.get(key)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        here = (asyncio.get_running_loop(), key)
        task = self._under_way.get(here)
        if task is None:
            task = self._under_way[here] = asyncio.create_task(self._look_up(key, identity, result))
            task.add_done_callback(partial(self._landed, here))
        return await asyncio.shield(task)  # it is everybody's: one who goes away doesn't end it

    def _landed(self, here: tuple[asyncio.AbstractEventLoop, Key], task: "asyncio.Task[frozenset[str]]") -> None:
        del self._under_way[here]
        if not task.cancelled():
            task.exception()  # whoever would have asked may be gone

    async def _look_up(self, key: Key, identity: Identity, result: AcceptResult | None) -> frozenset[str]:
        directory, asks = self._directory_of(identity)
        name = _name_of(identity, directory)
        question = {"sids": _sids_in_ticket(directory, result), "sid": identity.sid, "name": name}
        found = {group: qualified(directory.domain, *group) for group in await asks.ask(question)}
        for group, sid in [group for group, believed in found.items() if believed is None]:
            what = telemetry.plain(f"{group!r}{f' ({sid})' if sid else ''}")
            telemetry.warned(
                "group-dropped", f"a group of {directory.domain} is called {what}, and so counts for nothing"
            )
        names = frozenset(name for name in found.values() if name is not None)
        with self._keeping:
            self._known.pop(key, None)
            while len(self._known) >= self._cache_size:
                del self._known[next(iter(self._known))]
            self._known[key] = (time.monotonic() + self._ttl, names)
        return names

    def _directory_of(self, identity: Identity) -> tuple[LdapDirectory, LookUps]:
        if identity.mechanism == "ntlm":
            found = self._by_domain.get(identity.realm.casefold())
        else:
            found = self._by_realm.get(identity.realm)
        if found is None:
            ours = ", ".join(self._by_realm)
            raise _missing(f"no LdapDirectory has the users of {identity.realm!r}, only of {ours}")
        return found


def _sids_in_ticket(directory: LdapDirectory, result: AcceptResult | None) -> list[str] | None:
    """The groups that our own KDC vouches for; None: the directory has to say."""
    if directory.base is None or result is None or result.group_sids is None:
        return None
    try:
        return sorted(result.group_sids())
    except AcceptError as error:
        if error.reason != "groups-missing":
            raise
        return None  # another realm's KDC could claim any: its directory names its own groups only


def _name_of(identity: Identity, directory: LdapDirectory) -> str:
    """What the directory calls the user."""
    if identity.mechanism == "ntlm":
        return identity.bare_name
    components, _ = parse_principal(identity.principal)
    if len(components) > 1:
        raise _missing(f"{identity.principal!r} is a service, and no directory's user")
    if directory.base is not None and identity.sid is None and identity.upn is None:
        # any user may have an account whose ticket bears another's name
        raise _missing(f"the ticket of {identity.principal!r} has no PAC, so that it may be another account's")
    return components[0]


def _missing(detail: str) -> AcceptError:
    return AcceptError(SecStatus.LOGON_DENIED, "groups-missing", detail=detail)


def _cure(directory: LdapDirectory) -> str:
    if directory.bind_dn is not None:
        return f"Does {directory.password_file} have the password of {directory.bind_dn}, and may that read the bases?"
    return f"Try: kinit -k -t {directory.keytab} {directory.principal}. Its SASL module: libsasl2-modules-gssapi-mit"


def _is_server(url: object) -> bool:
    try:
        parts = urlsplit(url) if isinstance(url, str) and url.isprintable() else None
        return (
            parts is not None
            and parts.scheme in ("ldap", "ldaps")
            and bool(parts.hostname)
            and (parts.path in ("", "/") and not parts.query and "@" not in parts.netloc)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        return False


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
