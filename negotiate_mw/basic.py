"""Log-ins by password (RFC 7617): asked of the KDC, proven with our own key, and never tried too often.

Law: the password goes to the KDC and nowhere else. No more tries reach the KDC than the bounds here allow, whatever is
sent at once, given up or cancelled; and whoever is turned down learns neither why nor, by the time that it takes,
whether there is such a user.
"""

import asyncio
import unicodedata
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection
from dataclasses import replace
from ipaddress import IPv6Address, ip_address
from time import monotonic
from weakref import WeakValueDictionary

from negotiate_mw import telemetry
from negotiate_mw.accept import Accepts
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.identity import AcceptResult
from negotiate_mw.pool import PoolFull, StepPool
from negotiate_mw.status import NO_FLAGS, SecStatus
from negotiate_mw.wire import http
from negotiate_mw.wire.errors import HeaderError

# Of one account, until so long after the last of them: Active Directory's usual lockout comes after 5 to 10,
# Microsoft's baseline says 10. A domain forgets failed tries once its "reset account lockout counter after", often 10
# to 30 minutes, has passed without another, so a window that slides would add up to any threshold.
ACCOUNT_TRIES = 3
ACCOUNT_SECONDS = 1800.0
WINDOW_SECONDS = 300.0
# of one peer in a window, over all accounts: against one password for many users; behind a proxy all are one peer
PEER_TRIES = 30
MAX_COUNTED = 10_000  # accounts, and as many peers, whose failed tries are remembered, about 0.5 KiB each
# A refusal takes this long at least: a KDC knows an unknown user at once, and a wrong password after some work.
REFUSED_SECONDS = 0.5
CHALLENGE = b'Basic realm="Domain account", charset="UTF-8"'

Ask = Callable[[str, str, str | None], bytes]


class Tries:
    """Counts failed tries by account or peer. No clock: it is told.

    Args:
        limit: so many, and no more tries are allowed.
        seconds: for which a try counts.
        together: all of a key count until so long after its last.
    """

    def __init__(self, limit: int, seconds: float, *, together: bool = False) -> None:
        self._limit = limit
        self._seconds = seconds
        self._together = together
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()  # whoever failed last is last

    def __len__(self) -> int:
        return len(self._failed)

    def are_spent(self, key: str, now: float, *, asking: int = 0) -> bool:
        """True if nothing more may be tried for now; ``asking``: tries under way, each of which may fail."""
        times = self._failed.get(key)
        while times and now - times[-1 if self._together else 0] >= self._seconds:
            times.popleft()
        return len(times or ()) + asking >= self._limit

    def add(self, key: str, now: float) -> None:
        """One more has failed."""
        self._failed.setdefault(key, deque(maxlen=self._limit)).append(now)
        self._failed.move_to_end(key)
        if len(self._failed) > MAX_COUNTED:
            self._failed.popitem(last=False)

    def forget(self, key: str) -> None:
        """One has succeeded, so that a KDC counts from nought too."""
        self._failed.pop(key, None)


class _Try:
    """One try of one account, which no other is made of at the same time; ended exactly once."""

    def __init__(self, ask: Callable[[], bytes], ended: Callable[[bool], None]) -> None:
        self._ask = ask
        self._ended = ended
        self.is_refused = False

    def ask(self) -> bytes:
        """Ask the KDC, in a thread; what it said counts, though whoever waited may be gone."""
        try:
            return self._ask()
        except AcceptError as error:
            self.is_refused = error.status is SecStatus.LOGON_DENIED
            raise

    def end(self) -> None:
        """It is over, whoever still waits: let the next one try."""
        self._ended(self.is_refused)


class PasswordLogins:
    """Checks what comes under ``Authorization: Basic``.

    Args:
        acceptor: asks the KDC, and accepts the token that comes of it; an ``Acceptor`` with Kerberos.

    Raises:
        ConfigurationError: the acceptor can't ask a KDC.
    """

    def __init__(self, acceptor: Accepts) -> None:
        ask: Ask | None = getattr(acceptor, "token_by_password", None)
        if ask is None or "kerberos" not in acceptor.mechanisms:
            raise ConfigurationError(
                "NegotiateMiddleware(basic=True): passwords are checked against a Kerberos KDC; give an Acceptor(…) "
                'whose mechanisms include "kerberos"'
            )
        self._ask = ask
        self._acceptor = acceptor
        self._seconds = acceptor.limits.step_seconds
        limits = acceptor.limits
        # its own: whoever waits for the KDC holds up nobody else
        self._pool = StepPool(limits.threads, limits.queue, name="negotiate-mw passwords")
        telemetry.watch_pool("basic", self._pool, limits.threads + limits.queue)
        self._of_account = Tries(ACCOUNT_TRIES, ACCOUNT_SECONDS, together=True)
        self._of_peer = Tries(PEER_TRIES, WINDOW_SECONDS)
        self._asking: Counter[str] = Counter()  # tries under way, by peer
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def log_in(
        self, token: bytes, *, peer: str | None, realms: Collection[str], host: str | None
    ) -> AcceptResult:
        """What accepting a ticket of the same user would have returned, but for its mechanism, ``"basic"``.

        Args:
            token: the header's decoded credentials.
            peer: the request's peer address.
            realms: those that may log in.
            host: the host that the request asks for, where the acceptor goes by that.

        Raises:
            AcceptError: the user is turned down, or can't be asked about.
        """
        begun = monotonic()
        try:
            return await self._log_in(token, network_of(peer), realms, host)
        except AcceptError as error:
            error.mechanism = "basic"
            await asyncio.sleep(begun + REFUSED_SECONDS - monotonic())
            raise

    def close(self) -> None:
        """Let the threads end."""
        self._pool.close()

    async def _log_in(self, token: bytes, peer: str, realms: Collection[str], host: str | None) -> AcceptResult:
        try:
            login = http.login(token)
        except HeaderError as error:
            raise AcceptError(SecStatus.INVALID_TOKEN, error.reason, detail=error.detail) from None
        principal = principal_of(login.user, realms)
        account = account_key(principal)
        deadline = monotonic() + self._seconds
        lock = self._locks.setdefault(account, asyncio.Lock())
        try:
            async with asyncio.timeout(self._seconds):
                await lock.acquire()
        except TimeoutError:
            raise _timeout() from None

        def ended(is_refused: bool) -> None:
            if is_refused:
                self._of_account.add(account, monotonic())
                self._of_peer.add(peer, monotonic())
            self._asking[peer] -= 1
            if not self._asking[peer]:
                del self._asking[peer]
            lock.release()

        under_way = self._asking[peer]
        self._asking[peer] += 1
        this = _Try(lambda: self._ask(principal, login.password, host), ended)
        now = monotonic()
        if self._of_account.are_spent(account, now) or self._of_peer.are_spent(peer, now):
            this.end()
            raise AcceptError(
                SecStatus.LOGON_DENIED,
                "too-many-tries",
                detail=f"{principal!r} isn't tried again now: {ACCOUNT_TRIES} tries of an account failed less than "
                f"{ACCOUNT_SECONDS:.0f} s ago, or {PEER_TRIES} of a peer within {WINDOW_SECONDS:.0f} s",
            )
        if self._of_peer.are_spent(peer, now, asking=under_way):
            this.end()
            detail = f"the KDC is asked for {under_way} others of this peer, which has few tries left"
            raise AcceptError(SecStatus.BUSY, "busy", detail=detail)
        try:
            first = await self._pool.run(this.ask, seconds=deadline - now, abandoned=this.end)
        except PoolFull:
            this.end()
            raise AcceptError(SecStatus.BUSY, "busy", detail="all threads wait for the KDC already") from None
        except TimeoutError:  # the pool ends the try once the KDC has answered it; likewise if we are cancelled
            raise _timeout() from None
        except Exception:
            this.end()
            raise
        try:
            result = await self._acceptor.accept(None, first, host=host)
        except AcceptError as error:
            this.is_refused = error.status is SecStatus.LOGON_DENIED
            detail = f"the KDC's ticket of {principal!r} for this service itself is refused: {error.detail}"
            raise AcceptError(error.status, error.reason, detail=detail) from None
        finally:
            this.end()
        self._of_account.forget(account)
        return _by_password(result)


def principal_of(user: str, realms: Collection[str]) -> str:
    """The principal that a user means by ``alice`` or ``alice@corp.example``.

    Only realms that may log in are ever asked, so that nobody chooses whom we ask; a bare name is of the one realm
    that may. ``CORP\\alice`` is nobody: a NetBIOS domain is no realm.

    Raises:
        AcceptError: LOGON_DENIED, ``"name-unknown"``: it means none, or nothing clear.
    """
    name, at, of = user.rpartition("@")
    if not at:
        name, of = user, next(iter(realms)) if len(realms) == 1 else ""
    realm = next((realm for realm in sorted(realms) if realm.casefold() == of.casefold()), None)
    if realm is None or not name or set(name) & set("/@\\") or not name.isprintable():
        known = ", ".join(sorted(realms))
        detail = f"{user!r} is no user's name here; write alice@REALM, of {known}, or alice where that is one alone"
        raise AcceptError(SecStatus.LOGON_DENIED, "name-unknown", detail=detail)
    return f"{name}@{realm}"


def account_key(principal: str) -> str:
    """What tries are counted by: the same for all spellings that a directory may take for the same account."""
    letters = unicodedata.normalize("NFKD", principal.casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter)).casefold()
    return "".join(plain.split())  # spaces at the ends, and how many there are within, are nothing to Active Directory


def network_of(peer: str | None) -> str:
    """What tries are counted by: an address, or the /64 of an IPv6 one, within which a client may choose."""
    try:
        address = ip_address((peer or "").partition("%")[0])
    except ValueError:
        return peer or ""
    if not isinstance(address, IPv6Address):
        return str(address)
    mapped = address.ipv4_mapped
    return str(mapped) if mapped else f"{int(address) >> 64:x}"


def _by_password(result: AcceptResult) -> AcceptResult:
    """The handshake was ours with ourselves: of what it established, only who the user is says anything."""
    assert result.identity is not None  # one leg, or no ticket at all
    identity = replace(result.identity, mechanism="basic", attributes=NO_FLAGS, channel_bound=False)
    return replace(result, token=None, attributes=NO_FLAGS, identity=identity)


def _timeout() -> AcceptError:
    return AcceptError(SecStatus.TIMEOUT, "timeout", detail="the KDC hasn't answered in time")
