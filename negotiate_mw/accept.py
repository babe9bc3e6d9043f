"""The acceptor: establishes security contexts asynchronously, leg by leg, over any transport.

Law: one step at a time on one context, and its lock is held until the step has really ended; any outcome but
``OK`` and ``CONTINUE_NEEDED`` is an ``AcceptError`` and deletes the context, once. What cannot block runs on the
event loop, since a thread hop costs more than a Kerberos step; what can runs in a bounded pool with a deadline.
"""

import os
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from time import perf_counter
from types import TracebackType
from typing import Literal, Protocol

from negotiate_mw import telemetry
from negotiate_mw.backends import Backend, Context, Holdings
from negotiate_mw.delegation import CacheFiles, ServiceTickets
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.identity import AcceptResult, Identity
from negotiate_mw.policy import Limits
from negotiate_mw.pool import PoolFull, StepPool
from negotiate_mw.replay import ReplayCache, authenticator_in, unreadable
from negotiate_mw.status import NO_FLAGS, ContextFlag, SecStatus
from negotiate_mw.wire import spnego
from negotiate_mw.wire.errors import Incomplete, WireError

__all__ = ["AcceptError", "AcceptResult", "Acceptor", "ContextFlag", "Limits", "SecStatus"]

MECHANISMS = ("kerberos", "ntlm")
HOST_OF_REQUEST = "{host}"
_KERBEROS_OIDS = frozenset({spnego.KRB5, spnego.MS_KRB5})
_NAMES = {
    spnego.KRB5: "Kerberos",
    spnego.MS_KRB5: "Kerberos",
    spnego.NTLM: "NTLM",
    spnego.NEGOEX: "NegoEx",
    spnego.KRB5_U2U: "Kerberos user-to-user",
}

# "auto" goes to the pool while this many of the last eight steps were slow: one may be the scheduler's doing.
_SLOW_SECONDS = 0.005
_SLOW_STEPS = 3


class Accepts(Protocol):
    """What the middleware asks of an acceptor: ``Acceptor``, which tells more, or one of ``negotiate_mw.testing``."""

    limits: Limits
    mechanisms: frozenset[str]
    asks_host: bool
    presumed: Identity | None
    acquired: bool
    realms: frozenset[str] | None
    ntlm_domains: frozenset[str] | None

    def look(self) -> None:
        """Bring ``realms`` and ``ntlm_domains`` up to date; asked twice a second, and returns at once."""

    async def acquire(self) -> None:
        """Get ready, or raise ``ConfigurationError``; idempotent."""

    async def aclose(self) -> None:
        """Let go of everything; ``acquire()`` begins anew."""

    async def accept(
        self, context: object, token: bytes, *, bindings: bytes | None = None, host: str | None = None
    ) -> AcceptResult:
        """Take one leg, or raise ``AcceptError``, after which its context is gone."""

    def discard(self, context: object) -> None:
        """Delete a context whose handshake won't go on; idempotent."""


class Acceptor:
    """A server's side of the handshake: its names, its keys, and how its steps are run.

    ::

        async with Acceptor(keytab="http.keytab") as acceptor:
            result = await acceptor.accept(None, token)
            while result.status is SecStatus.CONTINUE_NEEDED:
                result = await acceptor.accept(result.context, await exchange(result.token))

    Args:
        mechanisms: what clients may use: ``"kerberos"``, ``"ntlm"``, or both.
        service: first component of our principals.
        hostname: the host part of our names: one, a list, or None for any host that the keytab has a key for. With
            ``"{host}"`` in a list, a ticket for one of the others is taken only where its request asks for that
            very host, as in ``("{host}", "www.corp.example", "wiki.corp.example")``. Names whose keys are the same,
            as those of one account in Active Directory, are told apart by what the ticket says, which nobody vouches
            for: whoever steals a ticket for one can change it into one for the other.
        keytab: path of the keytab; None: ``KRB5_KTNAME``, else ``/etc/krb5.keytab``.
        ntlm_users: path of the user file for NTLM, whose lines ``negotiate-mw ntlm-hash`` makes; None: winbind, on a
            machine that is a member of a domain.
        rcache: directory for the replay cache; None: ``KRB5RCACHENAME`` or ``KRB5RCACHEDIR``, else systemd's
            ``RUNTIME_DIRECTORY``, else ``TMPDIR``, else ``/var/tmp``. ``"none"`` accepts a stolen token again and
            again, for as long as its clock allows: only where another check of ours finds replays.
        replay: ``RedisReplayCache(…)``: a log-in that another node accepted is refused; None: each node knows of its
            own alone.
        delegation: keep the ticket-granting ticket that a client forwards, as ``Identity.delegated``: with it, this
            process can do whatever the user can, towards every service.
        constrained_delegation: get tickets to other services for our users, as ``Identity.service_tickets``, where the
            KDC allows it: with the keys of the keytab, which then have to be those of an account.
        offload: ``"auto"``: Kerberos steps, local and about 0.1 ms long, run on the event loop, and in the pool while
            several of the last took over 5 ms; ``"always"`` or ``"never"`` in the pool. A step on the event loop
            has no deadline.
        limits: bounds.

    Attributes:
        acquired: it is between ``acquire()`` and ``aclose()``.
        realms: those that the keytab had keys of when it was last looked at; None: no Kerberos. The same object as long
            as they stay the same.
        ntlm_domains: those of the user file, or the one that this machine is in, likewise; None: no NTLM.
        mechanisms: what clients may use.
        limits: bounds.
        asks_host: ``"{host}"`` is among the host names, so each step has to be told the request's host.
        presumed: who a client without a token is taken for: nobody, ever.

    Raises:
        ConfigurationError: an option is wrong.
    """

    # who a client without a token is taken for: nobody, ever
    presumed: Identity | None = None

    def __init__(
        self,
        *,
        mechanisms: Sequence[str] = ("kerberos",),
        service: str = "HTTP",
        hostname: str | Sequence[str] | None = None,
        keytab: str | os.PathLike[str] | None = None,
        ntlm_users: str | os.PathLike[str] | None = None,
        rcache: str | os.PathLike[str] | None = None,
        replay: ReplayCache | None = None,
        delegation: bool = False,
        constrained_delegation: bool = False,
        offload: Literal["auto", "always", "never"] = "auto",
        limits: Limits | None = None,
    ) -> None:
        if isinstance(mechanisms, str) or not mechanisms or not set(mechanisms) <= set(MECHANISMS):
            raise ConfigurationError(f"Acceptor(mechanisms={mechanisms!r}): give a tuple of {', '.join(MECHANISMS)}")
        if ntlm_users is not None and "ntlm" not in mechanisms and sys.platform != "win32":
            raise ConfigurationError(
                'Acceptor: ntlm_users="users.txt" takes mechanisms=("kerberos", "ntlm") too; its lines '
                "`negotiate-mw ntlm-hash DOMAIN USER` makes"
            )
        if not _is_service(service):
            raise ConfigurationError(f'Acceptor(service={service!r}): give the name alone, such as "HTTP"')
        if offload not in ("auto", "always", "never"):
            raise ConfigurationError(f'Acceptor(offload={offload!r}): give "auto", "always" or "never"')
        names = (hostname,) if isinstance(hostname, str) else tuple(hostname or ())
        hosts = tuple(name for name in names if name != HOST_OF_REQUEST)
        if not all(map(_is_host, hosts)) or (hostname is not None and not hosts):
            raise ConfigurationError(
                f'Acceptor(hostname={hostname!r}): give names such as "www.corp.example", '
                f'with "{HOST_OF_REQUEST}" in their list or without'
            )
        if hosts and sys.platform == "win32":
            raise ConfigurationError(
                f"Acceptor(hostname={hostname!r}): on Windows the SPNs of the account say who we are; leave it out"
            )
        if limits is not None and not isinstance(limits, Limits):
            raise ConfigurationError(f"Acceptor(limits={limits!r}): give Limits(…), such as Limits(legs=4)")
        if replay is not None and not callable(getattr(replay, "spend", None)):
            # it may be a URL with a password
            what = type(replay).__name__
            raise ConfigurationError(f"Acceptor(replay=…), a {what}: give RedisReplayCache(url, when_down=…)")
        if rcache == "none" and getattr(replay, "relies_on_nodes", False):
            raise ConfigurationError(
                'Acceptor(rcache="none"): RedisReplayCache(when_down="local") relies on this node\'s own replay cache; '
                "name its directory, or leave rcache= out"
            )
        for option, value in (("delegation", delegation), ("constrained_delegation", constrained_delegation)):
            if not isinstance(value, bool):
                raise ConfigurationError(f"Acceptor({option}={value!r}): give True or False")
            if value and ("kerberos" not in mechanisms or sys.platform == "win32"):
                raise ConfigurationError(f"Acceptor({option}=True): that takes Kerberos, and isn't there on Windows")
        self.limits: Limits = limits or Limits()
        self._delegation = self._cache_files() if delegation else None
        self._constrained = self._cache_files() if constrained_delegation else None
        self.asks_host: bool = HOST_OF_REQUEST in names
        self._options: dict[str, object] = {
            "service": service,
            "hosts": hosts,
            "of_request": self.asks_host,
            "keytab": keytab,
            "rcache": rcache,
            "delegation": self._delegation,
            "constrained_delegation": self._constrained,
        }
        self._offload = offload
        self._recent_slow = 0  # the last eight steps, one bit each: was it slow?
        self.mechanisms: frozenset[str] = frozenset(mechanisms)
        self._ntlm_users = ntlm_users
        self._replay = replay
        self.acquired: bool = False
        self.realms: frozenset[str] | None = None
        self.ntlm_domains: frozenset[str] | None = None
        self._kerberos: Backend | None = None
        self._ntlm: Backend | None = None
        # one for each, so that a domain controller that hangs holds up nobody's Kerberos
        self._pool, self._ntlm_pool = (StepPool(self.limits.threads, self.limits.queue) for _ in range(2))
        for name, pool in (("kerberos", self._pool), ("ntlm", self._ntlm_pool)):
            telemetry.watch_pool(name, pool, self.limits.threads + self.limits.queue)

    async def __aenter__(self) -> "Acceptor":
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def acquire(self) -> None:
        """Acquire the credential that all handshakes share (``AcquireCredentialsHandle``, INBOUND); idempotent.

        Raises:
            ConfigurationError: keytab, names or replay cache can't be used; says what to type.
        """
        if not self.acquired:
            self._check_replay()
            windows = _windows_backend(self.mechanisms) if sys.platform == "win32" else None
            kerberos = ntlm = None
            if "kerberos" in self.mechanisms:
                kerberos = windows or _kerberos_backend(self._options)
            if "ntlm" in self.mechanisms:
                ntlm = windows or _ntlm_backend(self._ntlm_users)
            for files in (self._delegation, self._constrained):
                if files is not None:
                    files.open()
            self._kerberos, self._ntlm = kerberos, ntlm
            self.look()
            self.acquired = True

    def _check_replay(self) -> None:
        if self._options["rcache"] is None and getattr(self._replay, "relies_on_nodes", False):
            name = os.environ.get("KRB5RCACHENAME", "")
            if name.startswith("none:"):
                raise ConfigurationError(
                    f'KRB5RCACHENAME={name}: RedisReplayCache(when_down="local") relies on this node\'s own replay '
                    "cache; leave the variable out, or name a directory with Acceptor(rcache=…)"
                )

    async def aclose(self) -> None:
        """Give the credential back (``FreeCredentialsHandle``); steps under way end in their threads. Idempotent."""
        self.acquired = False
        self._kerberos = self._ntlm = None
        self.look()
        self._pool.close()
        self._ntlm_pool.close()
        for files in (self._delegation, self._constrained):
            if files is not None:
                files.close()
        if self._replay is not None:
            await self._replay.aclose()

    def ready(self) -> bool:
        """True if a log-in could succeed now: acquired; keytab, replay cache and user file usable. For probes."""
        backends = [backend for backend in (self._kerberos, self._ntlm) if backend is not None]
        return bool(backends) and all(backend.problem() is None for backend in backends)

    def look(self) -> None:
        """Have ``realms`` and ``ntlm_domains`` follow keytab and user file, which are read when they have changed."""
        self.realms = None if self._kerberos is None else self._kerberos.realms
        self.ntlm_domains = None if self._ntlm is None else self._ntlm.realms

    def holdings(self) -> Holdings | None:
        """What Kerberos is accepted with, to explain a refusal by; None where that isn't known. May block."""
        ask: Callable[[], Holdings] | None = getattr(self._kerberos, "holdings", None)
        return None if ask is None else ask()

    def token_by_password(self, principal: str, password: str, host: str | None = None) -> bytes:
        """Log a user in at the KDC and return a first token for this very service; accepting it proves who it is.

        It blocks until the KDC has answered, so call it in a thread.

        Args:
            principal: ``"alice@EXAMPLE.COM"``.
            password: theirs.
            host: as for ``accept``.

        Raises:
            AcceptError: LOGON_DENIED: the KDC turns the user down; NO_AUTHENTICATING_AUTHORITY, INTERNAL_ERROR or
                NO_CREDENTIALS: it, or our own keys, can't be asked.
        """
        problem = None if self._kerberos is None else self._kerberos.problem()  # which looks at the keytab
        holdings = self.holdings()
        if holdings is None:
            detail = "no Kerberos was acquired whose keys could prove the KDC's answer"
            raise AcceptError(SecStatus.NO_CREDENTIALS, "not-acquired", detail=detail)
        if problem is not None and not holdings.entries:
            raise AcceptError(SecStatus.NO_CREDENTIALS, "keytab", detail=problem)
        from negotiate_mw.backends.password import first_token

        realm = principal.rpartition("@")[2]
        ours = [
            entry
            for entry in holdings.entries
            if entry.components[0] == holdings.service
            and (not holdings.hosts or entry.principal in holdings.hosts)
            and (not self.asks_host or entry.principal.partition("/")[2].lower() == host)
        ]
        if not ours:
            detail = f"the keytab {holdings.keytab!r} has no key that the request's host, {host!r}, may use"
            raise AcceptError(SecStatus.WRONG_PRINCIPAL, "wrong-host", detail=detail)
        entry = next((entry for entry in ours if entry.realm == realm), ours[0])
        return first_token(principal, password, f"{entry.principal}@{entry.realm}")

    async def accept(
        self,
        context: object,
        token: bytes,
        *,
        bindings: bytes | None = None,
        required: ContextFlag = NO_FLAGS,
        host: str | None = None,
    ) -> AcceptResult:
        """Take one leg of a handshake (``SspiAcceptSecurityContextAsync``; the awaitable is the pending call).

        Cancelling is safe: a step that runs in a thread ends there, and then its context is deleted.

        Args:
            context: None for the first leg, then the last result's ``context``.
            token: what the initiator sent, never empty.
            bindings: application data of the channel bindings that the client must match if it sends any,
                such as ``b"tls-server-end-point:" + hash`` (RFC 5929); None: not checked.
            required: attributes that the finished context must have.
            host: where ``hostname`` has ``"{host}"``: the host that the client asks for, in small letters and without
                a port; None: that isn't known, and no ticket is taken.

        Returns:
            ``CONTINUE_NEEDED`` with a token to send, or ``OK`` with an identity.

        Raises:
            AcceptError: every other outcome; the context is deleted by then. INVALID_HANDLE: the context was
                deleted before, is finished, isn't ours, or is being stepped right now (that step goes on).
                UNSUPPORTED_FUNCTION: ``required`` isn't met, or the mechanism isn't allowed.
        """
        if not self.acquired:
            if context is not None:
                self.discard(context)
            raise AcceptError(SecStatus.NO_CREDENTIALS, "not-acquired", detail="call acquire() before accept()")
        stepped = self._open(token) if context is None else _ours(context)
        if not stepped.lock.acquire(blocking=False):
            raise AcceptError(SecStatus.INVALID_HANDLE, "context-in-use", detail="two legs at once on one context")
        if not stepped.open:
            stepped.lock.release()
            raise AcceptError(SecStatus.INVALID_HANDLE, "context-deleted", detail="a leg on a context that has ended")
        stepped.host = host
        if self._inline(stepped.backend):
            try:
                result = self._step(stepped, token, bindings)
            except BaseException:
                _end(stepped)
                raise
        else:
            result = await self._step_in_pool(stepped, token, bindings)
        if self._replay is not None:
            try:
                await self._spend(self._replay, stepped, token, result)
            except BaseException:
                _end(stepped)
                raise
        return _finish(stepped, result, required)

    async def impersonate(self, principal: str) -> ServiceTickets:
        """Tickets for a user who never came here (S4U2Self, [MS-SFU]): whoever may call this is anybody.

        Args:
            principal: ``"bob@CORP.EXAMPLE"``.

        Raises:
            ConfigurationError: ``Acceptor(constrained_delegation=True)`` isn't said, or ``acquire()`` wasn't called.
            DelegationError: there is no such user, or the KDC doesn't let us.
        """
        impersonate: Callable[[str], Awaitable[ServiceTickets]] | None = getattr(self._kerberos, "impersonate", None)
        if impersonate is None or self._constrained is None:
            raise ConfigurationError("impersonate(): say Acceptor(constrained_delegation=True), and acquire() before")
        return await impersonate(principal)

    async def delete(self, context: object) -> None:
        """Delete a context whose handshake won't go on (``DeleteSecurityContext``); idempotent."""
        self.discard(context)

    def discard(self, context: object) -> None:
        """``delete()`` for callers that can't await. A step under way ends first, then the context is deleted."""
        ours = _ours(context)
        ours.open = False
        if ours.lock.acquire(blocking=False):
            _end(ours)

    def _cache_files(self) -> CacheFiles:
        # threads of its own for each: a KDC that doesn't answer keeps nobody else waiting
        limits = self.limits
        return CacheFiles(threads=limits.threads, queue=limits.queue, seconds=limits.step_seconds)

    def _open(self, token: bytes) -> Context:
        try:
            opening = spnego.opens(token)
        except Incomplete as error:
            raise AcceptError(SecStatus.INCOMPLETE_MESSAGE, "incomplete", detail=str(error)) from error
        except WireError as error:
            raise AcceptError(SecStatus.INVALID_TOKEN, "malformed", detail=str(error)) from error
        if opening is None:
            raise AcceptError(SecStatus.INVALID_TOKEN, "no-handshake", detail="a later leg came without its first one")
        mechanisms = opening.mechanisms
        if self._kerberos is not None and not _KERBEROS_OIDS.isdisjoint(mechanisms):
            return Context(self._kerberos, opening)
        if self._ntlm is not None and spnego.NTLM in mechanisms:
            return Context(self._ntlm, opening)
        raise AcceptError(
            SecStatus.UNSUPPORTED_FUNCTION,
            "mechanism-not-allowed",
            detail=f"the client offers {', '.join(_NAMES.get(oid, oid) for oid in mechanisms)}, "
            f"and {' and '.join(sorted(self.mechanisms))} alone may be used",
            mechanism="ntlm" if spnego.NTLM in mechanisms else None,
        )

    async def _spend(self, replay: ReplayCache, context: Context, token: bytes, result: AcceptResult) -> None:
        """Have a verified leg's authenticator remembered by all nodes; nobody is let in by one that wasn't."""
        try:
            authenticator = authenticator_in(token)
        except WireError as error:
            raise unreadable(error) from error
        if authenticator is not None:
            await replay.spend(authenticator)
            context.spent = True
        if result.identity is not None and result.identity.mechanism == "kerberos" and not context.spent:
            raise AcceptError(
                SecStatus.INVALID_TOKEN, "malformed", detail="no leg had an authenticator to tell a replay by"
            )

    def _inline(self, backend: Backend) -> bool:
        if self._offload == "auto":
            return not backend.may_block and (not self._recent_slow or self._recent_slow.bit_count() < _SLOW_STEPS)
        return self._offload == "never"

    def _step(self, context: Context, token: bytes, bindings: bytes | None) -> AcceptResult:
        begun = perf_counter()
        try:
            return context.backend.step(context, token, bindings)
        finally:
            seconds = perf_counter() - begun
            if self._recent_slow or seconds > _SLOW_SECONDS:
                self._recent_slow = (self._recent_slow << 1 | (seconds > _SLOW_SECONDS)) & 0xFF
            telemetry.stepped("kerberos" if context.backend is self._kerberos else "ntlm", seconds)

    async def _step_in_pool(self, context: Context, token: bytes, bindings: bytes | None) -> AcceptResult:
        end = partial(_end, context)
        pool = self._pool if context.backend is self._kerberos else self._ntlm_pool
        try:
            return await pool.run(
                partial(self._step, context, token, bindings), seconds=self.limits.step_seconds, abandoned=end
            )
        except PoolFull:
            end()
            raise AcceptError(SecStatus.BUSY, "busy", detail="all threads are busy and the queue is full") from None
        except TimeoutError:  # the pool calls end() once the step has really ended; likewise if we are cancelled
            raise AcceptError(
                SecStatus.TIMEOUT, "timeout", detail=f"a step took over {self.limits.step_seconds} s"
            ) from None
        except Exception:
            end()
            raise


def _kerberos_backend(options: dict[str, object]) -> Backend:
    try:
        from negotiate_mw.backends.gssapi import GssapiBackend
    except ImportError as error:
        raise ConfigurationError(str(error)) from error
    backend = GssapiBackend(**options)  # type: ignore[arg-type]
    backend.acquire()
    return backend


def _windows_backend(mechanisms: Collection[str]) -> Backend:
    from negotiate_mw.backends.sspi import SspiBackend

    backend = SspiBackend(mechanisms=tuple(mechanisms))
    backend.acquire()
    return backend


def _ntlm_backend(users: str | os.PathLike[str] | None) -> Backend:
    backend: Backend
    try:
        if users is None:
            from negotiate_mw.backends.winbind import WinbindBackend

            backend = WinbindBackend()
        else:
            from negotiate_mw.backends.pyspnego import PyspnegoBackend

            backend = PyspnegoBackend(users=users)
    except ImportError as error:
        raise ConfigurationError(str(error)) from error
    backend.acquire()
    return backend


def _is_service(name: object) -> bool:
    return isinstance(name, str) and name.isascii() and name.isalnum()


def _is_host(name: object) -> bool:
    return isinstance(name, str) and bool(name) and name.isprintable() and not set(name) & set("/@: ")


def _ours(context: object) -> Context:
    if not isinstance(context, Context):
        raise AcceptError(SecStatus.INVALID_HANDLE, "not-a-context", detail="this is no context of an Acceptor")
    return context


def _end(context: Context) -> None:
    """Delete a context whose lock we hold. Only ever on the event loop, or after it ended: no two at once."""
    context.open = False
    context.handle = None
    context.lock.release()


def _finish(context: Context, result: AcceptResult, required: ContextFlag) -> AcceptResult:
    """Let go of a step that succeeded, unless what only the caller knows speaks against it."""
    if not context.open:
        _end(context)
        raise AcceptError(SecStatus.INVALID_HANDLE, "context-deleted", detail="deleted while its step ran")
    if result.identity is None:
        context.lock.release()
        return result
    _end(context)  # it takes no further leg, and nothing else is asked of it
    if required is not NO_FLAGS and (missing := required & ~result.attributes):
        raise AcceptError(SecStatus.UNSUPPORTED_FUNCTION, "flags-missing", detail=f"the context lacks {missing!r}")
    return result
