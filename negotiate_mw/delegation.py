"""Acting for the user: with the ticket-granting ticket that they forwarded, or with tickets for named services that the
KDC gives to a service (S4U2Proxy and S4U2Self, [MS-SFU]).

Law: nothing here tells who anybody is. What asks the KDC or writes files runs in threads with a deadline. The
service's own ticket-granting ticket is in files only while a KDC is asked, and in no cache that the app gets; the
credential that accepts has no part in any of it.
"""

import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from negotiate_mw.errors import DelegationError
from negotiate_mw.pool import PoolFull, StepPool
from negotiate_mw.private_files import PrivateFiles
from negotiate_mw.wire import der
from negotiate_mw.wire.ccache import Entry, Principal, impersonator_note, read_ccache, ticket_entry, write_ccache
from negotiate_mw.wire.errors import WireError
from negotiate_mw.wire.spnego import KRB5, SPNEGO

if TYPE_CHECKING:
    import gssapi

T = TypeVar("T")

_FORWARDABLE = 0x4000_0000  # RFC 4120 5.3; what the ticket itself says, the KDC alone can read
_FRESH_SECONDS = 300  # that our own ticket has to be good for, to be used again
_KDC_UNREACH = "Cannot contact any KDC"  # SPNEGO renumbers minor codes; the words stay
_SPN = re.compile(r"([\w.-]+)/([^\s/@\\]+)(@[^\s/@\\]+)?", re.ASCII)


class CacheFiles:
    """Credential caches in files, made in threads of their own.

    Args:
        threads: most threads.
        queue: most calls that may wait for one.
        seconds: the deadline of each call, the wait for a thread included.
    """

    def __init__(self, *, threads: int, queue: int, seconds: float) -> None:
        self._files = PrivateFiles()
        self._pool = StepPool(threads, queue)
        self._seconds = seconds

    def open(self) -> None:
        """See ``PrivateFiles.open``."""
        self._files.open()

    def close(self) -> None:
        """Remove every file; calls under way end in their threads."""
        self._files.close()
        self._pool.close()

    @asynccontextmanager
    async def ccache(self, write: Callable[[Path], None]) -> AsyncIterator[str]:
        """A cache that ``write`` makes under the name that it gets, for an ``async with`` block."""
        path = self._files.path()
        remove = partial(path.unlink, missing_ok=True)
        try:
            await self.run(partial(write, path), abandoned=remove)
            yield f"FILE:{path}"
        finally:
            remove()  # here and not in a thread: it takes 10 µs, and nothing can cancel it

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A name for a file that is gone at the end; for threads."""
        path = self._files.path()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    async def run(self, call: Callable[[], T], *, abandoned: Callable[[], None] = lambda: None) -> T:
        """Run ``call`` in a thread, and ``abandoned`` after it if nobody waits any more."""
        try:
            return await self._pool.run(call, seconds=self._seconds, abandoned=abandoned)
        except PoolFull:
            raise DelegationError("busy", "all threads are busy and the queue is full") from None
        except TimeoutError:
            raise DelegationError("timeout", f"it took over {self._seconds} s; is the KDC reachable?") from None


class Delegated:
    """The ticket-granting ticket that a user forwarded: whoever has it *is* the user, towards every service.

    ::

        async with user.delegated.ccache() as name:
            await run_program(env={**os.environ, "KRB5CCNAME": name})

    Attributes:
        credentials: the ticket for python-gssapi; getting a service's ticket with it asks the KDC, so in a thread.
    """

    __slots__ = ("__weakref__", "_files", "credentials")

    def __init__(self, credentials: "gssapi.Credentials", files: CacheFiles) -> None:
        self.credentials: gssapi.Credentials = credentials
        self._files = files

    def ccache(self) -> AbstractAsyncContextManager[str]:
        """A credential cache with the ticket and nothing else, as a value for ``KRB5CCNAME``; gone after the block.

        Raises:
            DelegationError: it can't be written.
        """
        return self._files.ccache(self._write)

    def _write(self, path: Path) -> None:
        from gssapi import raw

        with _translated():
            store: dict[bytes | str, bytes | str] = {b"ccache": _file(path)}
            raw.store_cred_into(store, self.credentials, usage="initiate", mech=_oid(KRB5), overwrite=True)


class ServiceTickets:
    """A user's tickets for services that the KDC lets this service get them for (S4U2Proxy, [MS-SFU] 3.2.5.2.2)."""

    __slots__ = ("_evidence", "_service", "_user", "_we")

    def __init__(self, service: "ServiceAccount", *, we: str, user: Principal, evidence: bytes) -> None:
        self._service = service
        self._we = we
        self._user = user
        self._evidence = evidence

    async def token(self, spn: str) -> bytes:
        """A token for ``Authorization: Negotiate``, with which the service sees the user; not mutually authenticated.

        Args:
            spn: the service, ``"HTTP/back.corp.example"``; ``"HTTP/back.corp.example@CORP.EXAMPLE"`` names its realm.

        Raises:
            DelegationError: there is no such ticket for us.
        """
        return (await self._service.files.run(partial(self._initiate, _service_name(spn))))[0]

    def ccache(self, spn: str) -> AbstractAsyncContextManager[str]:
        """A credential cache with the user's ticket for that one service, as a value for ``KRB5CCNAME``.

        Args:
            spn: as in ``token``; a program finds the ticket under the name that it was asked for by.

        Raises:
            DelegationError: there is no such ticket for us.
        """
        return self._service.files.ccache(partial(self._write, _service_name(spn)))

    def _initiate(self, spn: str) -> tuple[bytes, tuple[Entry, ...]]:
        """A first token for ``spn``, and what the library has got for it besides what it had."""
        from gssapi import raw

        note = impersonator_note(self._user, self._we)
        had = {*self._service.own_tickets(self._we), self._evidence}
        with _translated(), self._service.files.scratch() as path:
            _write(path, write_ccache(self._user, note, *had))
            kind = raw.NameType.kerberos_principal if "@" in spn else raw.NameType.hostbased_service
            target = raw.import_name((spn if "@" in spn else spn.replace("/", "@", 1)).encode(), kind)
            credential = raw.acquire_cred_from({b"ccache": _file(path)}, None, usage="initiate", mechs=_mechanisms())
            raw.set_neg_mechs(credential.creds, [_oid(KRB5)])
            flags = [raw.RequirementFlag.integrity]
            begun = raw.init_sec_context(target, credential.creds, mech=_oid(SPNEGO), flags=flags)
            got = tuple(entry for entry in read_ccache(path.read_bytes()) if entry.octets not in had)
        if not begun.token:
            raise DelegationError("failed", f"the library makes no token for {spn}")
        return begun.token, got

    def _write(self, spn: str, path: Path) -> None:
        _, got = self._initiate(spn)
        tickets = [entry for entry in got if entry.client == self._user]
        usable = [entry.octets for entry in tickets if not entry.is_note and not entry.grants_tickets]
        if not usable:
            raise DelegationError("failed", f"the library keeps no ticket for {spn}")
        with _translated():
            _write(path, write_ccache(self._user, *usable))


class ServiceAccount:
    """This service as the KDC's client, with the keys of its keytab.

    Args:
        keytab: its path.
        files: for caches; its threads ask the KDC.
    """

    def __init__(self, keytab: Path, files: CacheFiles) -> None:
        self.files = files
        self._keytab = keytab
        self._tickets: dict[str, tuple[float, tuple[bytes, ...]]] = {}

    def proxy(self, ticket: bytes, *, we: str, user: Principal, end: int) -> ServiceTickets:
        """What an accepted log-in's ticket is good for.

        Args:
            ticket: the ticket to us that the user's AP-REQ brought, in DER.
            we: our principal, ``"svc-web@CORP.EXAMPLE"``.
            user: who it is a ticket of.
            end: of the ticket, in seconds since 1970.
        """
        # the library looks for a ticket to the name that got ours; which of our names the user's is for, the KDC knows
        evidence = ticket_entry(user, _principal(we), ticket, flags=_FORWARDABLE, end=end)
        return ServiceTickets(self, we=we, user=user, evidence=evidence)

    async def impersonate(self, principal: str, *, we: str) -> ServiceTickets:
        """S4U2Self ([MS-SFU] 3.1.5.1.1): see ``Acceptor.impersonate``."""
        return await self.files.run(partial(self._impersonate, principal, we))

    def own_tickets(self, we: str) -> tuple[bytes, ...]:
        """Our ticket-granting ticket, as a cache's entries: from memory, or by asking the KDC."""
        end, tickets = self._tickets.get(we, (0.0, ()))
        if time.time() + _FRESH_SECONDS > end:
            end, tickets = self._tickets[we] = self._log_in(we)
        return tickets

    def _log_in(self, we: str) -> tuple[float, tuple[bytes, ...]]:
        from gssapi import raw

        with _translated(), self.files.scratch() as path:
            name = raw.import_name(we.encode(), raw.NameType.kerberos_principal)
            store: dict[bytes | str, bytes | str] = {b"client_keytab": _file(self._keytab), b"ccache": _file(path)}
            credential = raw.acquire_cred_from(store, name, usage="initiate", mechs=[_oid(KRB5)]).creds
            lifetime = raw.inquire_cred(credential).lifetime or 0  # the library asks the KDC no earlier than here
            tickets = tuple(entry.octets for entry in read_ccache(path.read_bytes()) if entry.grants_tickets)
        return time.time() + lifetime, tickets

    def _impersonate(self, principal: str, we: str) -> ServiceTickets:
        from gssapi import raw

        us, own, krb5 = _principal(we), self.own_tickets(we), [_oid(KRB5)]
        with _translated(), self.files.scratch() as path, self.files.scratch() as answer:
            _write(path, write_ccache(us, *own))
            credential = raw.acquire_cred_from({b"ccache": _file(path)}, None, usage="initiate", mechs=krb5).creds
            user = raw.import_name(principal.encode(), raw.NameType.kerberos_principal)
            got = raw.acquire_cred_impersonate_name(credential, user, usage="initiate", mechs=krb5).creds
            raw.store_cred_into({b"ccache": _file(answer)}, got, usage="initiate", mech=krb5[0], overwrite=True)
            entries = read_ccache(answer.read_bytes())
        for entry in entries:
            if entry.server == us and entry.client != us and not entry.is_note:
                return ServiceTickets(self, we=we, user=entry.client, evidence=entry.octets)
        raise DelegationError("failed", f"the library keeps no ticket of {principal}")


@contextmanager
def _translated() -> Iterator[None]:
    """Every error of library and files, as ours."""
    from gssapi.raw import GSSError

    try:
        yield
    except DelegationError:
        raise
    except GSSError as error:
        reason = "kdc-unreachable" if _KDC_UNREACH in error.gen_message() else "refused"
        raise DelegationError(reason, f"the Kerberos library says: {error.gen_message()}") from error
    except (OSError, WireError) as error:
        raise DelegationError("failed", f"the credential cache: {error}") from error


def _service_name(spn: str) -> str:
    found = _SPN.fullmatch(spn)
    # with a ticket-granting ticket, whoever has it would get tickets for anything
    if found is None or found[1].lower() == "krbtgt":
        raise DelegationError("not-a-service", f'{spn!r}: give a service, such as "HTTP/www.corp.example"')
    return spn


def _principal(of_keytab: str) -> Principal:
    name, _, realm = of_keytab.rpartition("@")
    return Principal(realm.encode(), tuple(part.encode() for part in name.split("/")))


def _write(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        file.write(data)


def _file(path: Path) -> bytes:
    return b"FILE:" + os.fsencode(path)


def _oid(dotted: str) -> Any:
    from gssapi.raw import OID

    return OID(elements=der.encode_oid(dotted))


def _mechanisms() -> list[Any]:
    return [_oid(KRB5), _oid(SPNEGO)]
