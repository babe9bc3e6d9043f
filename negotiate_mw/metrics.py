"""OpenTelemetry metrics: what dashboards draw and alerts watch. ``docs/telemetry.md`` says what each one means.

Law: every attribute has few values, all of them ours: no name, peer, path or header of a client ever becomes one. The
instruments are the process's, however many middlewares and acceptors there are in it.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sized
from typing import Protocol

try:
    from opentelemetry.metrics import CallbackOptions, Observation, get_meter_provider
except ImportError as _error:
    raise ImportError("metrics need OpenTelemetry: pip install 'negotiate-mw[otel]'") from _error

from negotiate_mw.wire import http, ntlm, spnego
from negotiate_mw.wire.errors import WireError

MECHANISM = "negotiate_mw.mechanism"
OUTCOME = "negotiate_mw.outcome"
ERROR_TYPE = "error.type"
RESULT = "negotiate_mw.session.result"
STORE = "negotiate_mw.store"
POOL = "negotiate_mw.pool"

OTHER = "_OTHER"  # OpenTelemetry's own word, for what is out of bounds
_MECHANISMS = frozenset({"kerberos", "ntlm", "basic", "dev", "none", "unknown"})
_SCHEMES = frozenset({b"negotiate", b"ntlm", b"basic"})
_MOST_TYPES = 100  # kinds of error; the package has about 50, and an app's own acceptor may bring more
_MOST_BYTES = 65_536  # of a token that is read once more to see what it is
# seconds: a Kerberos step takes about 0.1 ms, one of NTLM 1 ms, and the default deadline ends one after 10 s
_BUCKETS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)


class Pool(Protocol):
    """What has a number of jobs, queued or running."""

    load: int


class Metrics:
    """The instruments, on whatever provider this process has; make it once.

    Args:
        stores: half-open handshakes, each with the most it may hold; read at each collection.
        pools: steps in threads, likewise, by a name that pools may share.
    """

    def __init__(self, stores: Mapping[Sized, int], pools: Mapping[Pool, tuple[str, int]]) -> None:
        meter = get_meter_provider().get_meter("negotiate_mw")
        self._types: set[str] = set()
        self._handshakes = meter.create_counter(
            "negotiate_mw.handshakes", unit="{handshake}", description="Log-ins that ended, by mechanism and outcome"
        )
        self._steps = meter.create_histogram(
            "negotiate_mw.step.duration",
            unit="s",
            description="Duration of accept steps",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._sessions = meter.create_counter(
            "negotiate_mw.session.lookups", unit="{lookup}", description="Requests that were held against a session"
        )
        self._store_errors = meter.create_counter(
            "negotiate_mw.store.errors", unit="{error}", description="Questions that a shared store didn't answer"
        )
        sums: tuple[tuple[str, str, str, Callable[[], Iterable[Observation]]], ...] = (
            ("half_open.count", "{handshake}", "Handshakes between two legs", lambda: _sum(map(len, list(stores)))),
            ("half_open.limit", "{handshake}", "Most of them", lambda: _sum(list(stores.values()))),
            ("pool.jobs", "{job}", "Steps that wait or run in threads", lambda: _jobs(pools)),
            ("pool.limit", "{job}", "Most of them", lambda: _by_pool(list(pools.values()))),
        )
        for name, unit, description, read in sums:
            meter.create_observable_up_down_counter(
                f"negotiate_mw.{name}", [_observing(read)], unit=unit, description=description
            )

    def accepted(self, mechanism: str) -> None:
        self._handshakes.add(1, {MECHANISM: _known(mechanism), OUTCOME: "accepted"})

    def refused(self, headers: Collection[tuple[bytes, bytes]], status: int, reason: str) -> None:
        """Count a refusal: ``failed`` where it is ours or the operator's to mend, else ``refused``."""
        outcome = "failed" if status >= 500 else "refused"
        attributes = {MECHANISM: mechanism_tried(headers), OUTCOME: outcome, ERROR_TYPE: self._type(reason)}
        self._handshakes.add(1, attributes)

    def stepped(self, mechanism: str, seconds: float) -> None:
        self._steps.record(seconds, {MECHANISM: _known(mechanism)})

    def session(self, *, found: bool) -> None:
        self._sessions.add(1, {RESULT: "hit" if found else "miss"})

    def store_failed(self, store: str) -> None:
        self._store_errors.add(1, {STORE: store})

    def _type(self, reason: str) -> str:
        if reason not in self._types:
            if len(self._types) >= _MOST_TYPES:
                return OTHER
            self._types.add(reason)
        return reason


def is_wanted() -> bool:
    """True if this process has a provider that keeps what it is told; the API's own ones don't."""
    return not type(get_meter_provider()).__module__.startswith("opentelemetry.metrics")


def mechanism_tried(headers: Collection[tuple[bytes, bytes]]) -> str:
    """What a request's token is for; read once more, so that no request that succeeds has to carry it here.

    ``"kerberos"``, ``"ntlm"``, ``"basic"``, ``"unknown"``, or ``"none"`` without a token.
    """
    try:
        credentials = http.parse(headers, schemes=_SCHEMES, max_bytes=_MOST_BYTES)
        if credentials is None:
            return "none"
        if credentials.scheme == "basic":
            return "basic"
        if ntlm.SIGNATURE in credentials.token:
            return "ntlm"
        first = spnego.read(credentials.token)
    except WireError:
        return "unknown"
    offered = () if isinstance(first, spnego.Continuation) else first.mechanisms
    return "kerberos" if {spnego.KRB5, spnego.MS_KRB5} & set(offered) else "unknown"


def _known(mechanism: str) -> str:
    return mechanism if mechanism in _MECHANISMS else OTHER


def _observing(read: Callable[[], Iterable[Observation]]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    return lambda _: read()


def _sum(numbers: Iterable[int]) -> Iterable[Observation]:
    return [Observation(sum(numbers))]


def _jobs(pools: Mapping[Pool, tuple[str, int]]) -> Iterable[Observation]:
    return _by_pool([(name, pool.load) for pool, (name, _) in list(pools.items())])


def _by_pool(numbers: Iterable[tuple[str, int]]) -> Iterable[Observation]:
    sums: Counter[str] = Counter()
    for name, number in numbers:
        sums[name] += number
    return [Observation(number, {POOL: name}) for name, number in sums.items()]
