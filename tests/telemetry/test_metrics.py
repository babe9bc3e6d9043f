"""What is counted, by the real SDK: each event once, under bounded attributes, and nothing where nobody listens."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from weakref import WeakKeyDictionary

import opentelemetry.metrics._internal as api
import pytest
from opentelemetry.metrics import get_meter_provider, set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.util._once import Once

from negotiate_mw import AcceptError, CookieSessions, Limits, NegotiateMiddleware, Policy, SecStatus, telemetry
from negotiate_mw.metrics import OTHER, Metrics, mechanism_tried
from negotiate_mw.pool import StepPool
from negotiate_mw.redis_store import RedisStore, StoreDown
from negotiate_mw.refusal import Refusal
from negotiate_mw.testing import ScriptedAcceptor, user
from negotiate_mw.testing.scripted import LATER
from negotiate_mw.wire.spnego import KRB5, NTLM
from tests.integration.tokens import NTLM_NEGOTIATE, neg_token_init
from tests.sessions.browsing import Browser
from tests.shell.driving import Client, Site, negotiate, on_a_loop

HELLO, MORE, BAD, DOWN = b"hello", b"more", b"bad", b"down"
Attributes = frozenset[tuple[str, object]]


class Reader:
    """Reads what was counted since the provider began."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def points(self, name: str) -> dict[Attributes, NumberDataPoint | HistogramDataPoint]:
        data = self._reader.get_metrics_data()
        found: dict[Attributes, NumberDataPoint | HistogramDataPoint] = {}
        for metric in (m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics) if data else ():
            if metric.name == f"negotiate_mw.{name}":
                for point in metric.data.data_points:
                    assert isinstance(point, NumberDataPoint | HistogramDataPoint)
                    found[frozenset((point.attributes or {}).items())] = point
        return found

    def counts(self, name: str) -> dict[Attributes, int | float]:
        return {key: point.value for key, point in self.points(name).items() if isinstance(point, NumberDataPoint)}

    def value(self, name: str) -> int | float:
        return sum(self.counts(name).values())


def set_provider(monkeypatch: pytest.MonkeyPatch, provider: object) -> None:
    """As at the start of a process; OpenTelemetry itself lets it be set once."""
    monkeypatch.setattr(api, "_METER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(api, "_METER_PROVIDER", None)
    monkeypatch.setattr(telemetry, "_metrics", None)
    if isinstance(provider, MeterProvider):
        set_meter_provider(provider)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """Reads what this test makes: what earlier tests left would be counted until the collector of garbage takes it."""
    for watched in ("_half_open", "_pools"):
        monkeypatch.setattr(telemetry, watched, WeakKeyDictionary())
    reader = Reader()
    set_provider(monkeypatch, reader.provider)
    yield reader
    reader.provider.shutdown()


def handshake(mechanism: str, outcome: str, error: str | None = None) -> Attributes:
    attributes: dict[str, object] = {"negotiate_mw.mechanism": mechanism, "negotiate_mw.outcome": outcome}
    return frozenset((attributes | ({} if error is None else {"error.type": error})).items())


def middleware(**options: object) -> NegotiateMiddleware:
    acceptor = ScriptedAcceptor(
        {
            HELLO: (user("alice@EXAMPLE.COM"), None),
            MORE: b"and then?",
            LATER + HELLO: (user("alice@EXAMPLE.COM"), None),
            BAD: AcceptError(SecStatus.LOGON_DENIED, "replay"),
            DOWN: AcceptError(SecStatus.NO_CREDENTIALS, "keytab"),
        }
    )
    return NegotiateMiddleware(Site(), **({"acceptor": acceptor} | options))  # type: ignore[arg-type]


# handshakes


@on_a_loop
async def _log_in_twice(app: NegotiateMiddleware) -> None:
    for token in (HELLO, HELLO):
        assert (await Client(app).get(token)).status == 200


def test_each_log_in_is_counted_once(reader: Reader) -> None:
    _log_in_twice(middleware())

    assert reader.counts("handshakes") == {handshake("kerberos", "accepted"): 2}


def test_a_handshake_of_two_legs_is_one(reader: Reader) -> None:
    @on_a_loop
    async def run() -> None:
        client = Client(middleware())
        assert (await client.get(MORE)).status == 401
        assert (await client.get(LATER + HELLO)).status == 200

    run()

    assert reader.counts("handshakes") == {handshake("kerberos", "accepted"): 1}


@pytest.mark.parametrize(
    ("token", "status", "counted"),
    [
        (BAD, 401, handshake("unknown", "refused", "replay")),
        (DOWN, 503, handshake("unknown", "failed", "keytab")),
        (neg_token_init([NTLM], mech_token=NTLM_NEGOTIATE), 401, handshake("ntlm", "refused", "malformed")),
        (neg_token_init([KRB5], mech_token=b"x"), 401, handshake("kerberos", "refused", "malformed")),
    ],
)
def test_each_refusal_is_counted_by_whose_fault_it_is(
    reader: Reader, token: bytes, status: int, counted: Attributes
) -> None:
    @on_a_loop
    async def run() -> None:
        assert (await Client(middleware()).get(token)).status == status

    run()

    assert reader.counts("handshakes") == {counted: 1}


def test_who_is_not_allowed_is_refused(reader: Reader) -> None:
    @on_a_loop
    async def run() -> None:
        assert (await Client(middleware(policy=Policy(realms=["OTHER.EXAMPLE"]))).get(HELLO)).status == 403

    run()

    (counted,) = reader.counts("handshakes")
    assert dict(counted)["negotiate_mw.outcome"] == "refused"


def test_refusals_without_a_line_are_counted_all_the_same(reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    @on_a_loop
    async def run() -> None:
        app = middleware()
        for _ in range(50):
            await Client(app).get(BAD)

    run()

    assert len([r for r in caplog.records if r.getMessage().startswith("refused with")]) < 50
    assert reader.value("handshakes") == 50


def test_a_first_challenge_an_exempt_request_and_a_remembered_one_are_no_handshakes(reader: Reader) -> None:
    @on_a_loop
    async def run() -> None:
        client = Client(middleware(exempt=("/healthz",)))
        assert (await client.get()).status == 401
        assert (await client.get(path="/healthz")).status == 200

    run()

    assert not reader.counts("handshakes")


# bounds


def test_nothing_that_a_client_chose_is_an_attribute(reader: Reader) -> None:
    @on_a_loop
    async def run() -> None:
        app = middleware()
        for number in range(30):
            client = Client(app, peer=(f"192.0.2.{number}", 1), host=f"host{number}.example")
            await client.get(b"x%d" % number, path=f"/{number}", headers=[(b"user-agent", b"agent%d" % number)])

    run()

    assert reader.counts("handshakes") == {handshake("unknown", "refused", "malformed"): 30}


def test_reasons_of_an_apps_own_acceptor_are_bounded(reader: Reader) -> None:
    for number in range(500):
        telemetry.turned_away({"headers": []}, Refusal(status=401), f"reason-{number}")

    counts = reader.counts("handshakes")
    assert len(counts) == 101
    assert counts[handshake("none", "refused", OTHER)] == 400


def test_a_mechanism_that_nobody_knows_has_one_name(reader: Reader) -> None:
    for number in range(10):
        telemetry.logged_in({"type": "http"}, user("alice@EXAMPLE.COM", mechanism=f"mechanism-{number}"))

    assert reader.counts("handshakes") == {handshake(OTHER, "accepted"): 10}


@pytest.mark.parametrize(
    ("headers", "mechanism"),
    [
        ([], "none"),
        ([(b"authorization", b"Bearer x")], "none"),
        ([(b"authorization", b"Basic YTpi")], "basic"),
        ([(b"authorization", b"Negotiate !")], "unknown"),
        ([negotiate(b"\x60")], "unknown"),
        ([negotiate(LATER + b"\x00")], "unknown"),
        ([negotiate(NTLM_NEGOTIATE)], "ntlm"),
        ([negotiate(neg_token_init([KRB5, NTLM], mech_token=b"x"))], "kerberos"),
        ([negotiate(neg_token_init([KRB5, NTLM], mech_token=NTLM_NEGOTIATE))], "ntlm"),
    ],
)
def test_a_refused_token_is_named_by_what_it_is(headers: list[tuple[bytes, bytes]], mechanism: str) -> None:
    assert mechanism_tried(headers) == mechanism


# gauges, sessions, stores


def test_half_open_handshakes_are_read_when_they_are_collected(reader: Reader) -> None:
    @on_a_loop
    async def run() -> None:
        app = middleware()
        await Client(app).get(HELLO)
        assert reader.value("half_open.limit") == Limits().half_open
        assert reader.value("half_open.count") == 0
        client = Client(app)
        await client.get(MORE)
        assert reader.value("half_open.count") == 1
        client.close()
        assert reader.value("half_open.count") == 0

    run()


def test_pools_of_one_name_are_summed_and_others_kept_apart(reader: Reader) -> None:
    """One that is full mustn't hide behind an empty one."""
    pools = [StepPool(threads=1, queue=1) for _ in range(3)]
    for name, pool, load in zip(("kerberos", "kerberos", "ntlm"), pools, (1, 2, 0), strict=True):
        pool.load = load
        telemetry.watch_pool(name, pool, 2)
    telemetry.stepped("kerberos", 0.1)

    jobs, limits = reader.counts("pool.jobs"), reader.counts("pool.limit")

    kerberos, ntlm = (frozenset({("negotiate_mw.pool", name)}) for name in ("kerberos", "ntlm"))
    assert jobs == {kerberos: 3, ntlm: 0}
    assert limits == {kerberos: 4, ntlm: 2}


def test_a_middleware_that_is_gone_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Store(list[int]):
        __hash__ = object.__hash__  # type: ignore[assignment]

    monkeypatch.setattr(telemetry, "_half_open", WeakKeyDictionary())
    store = Store([1, 2])

    telemetry.watch_half_open(store, 10)
    watched = dict(telemetry._half_open)
    del store, watched

    assert not telemetry._half_open


def test_sessions_are_hits_or_misses_and_a_hit_is_no_handshake(reader: Reader) -> None:
    @on_a_loop
    async def run() -> None:
        browser = Browser(middleware(sessions=CookieSessions(keys=[secrets.token_urlsafe(32)])))
        for token, status in ((None, 401), (HELLO, 200), (None, 200), (None, 200)):
            assert (await browser.get(token)).status == status

    run()

    hit, miss = (frozenset({("negotiate_mw.session.result", result)}) for result in ("hit", "miss"))
    assert reader.counts("session.lookups") == {miss: 1, hit: 2}
    assert reader.value("handshakes") == 1


def test_store_errors_are_counted_by_store(reader: Reader) -> None:
    store = RedisStore("redis://127.0.0.1:1/0", option="RedisSessions")  # nobody listens there

    @on_a_loop
    async def run() -> None:
        for _ in range(2):
            with pytest.raises(StoreDown):
                await store.ask(lambda client: client.ping())
        await store.aclose()

    run()

    assert reader.counts("store.errors") == {frozenset({("negotiate_mw.store", "RedisSessions")}): 2}


# no provider


@pytest.mark.parametrize("provider", ["none", "no-op"])
def test_without_a_provider_that_keeps_them_nothing_is_made(monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    set_provider(monkeypatch, None)
    if provider == "no-op":
        set_meter_provider(api.NoOpMeterProvider())
    monkeypatch.setattr(Metrics, "__init__", lambda *_: pytest.fail("somebody makes instruments"))

    _log_in_twice(middleware())

    assert telemetry._metrics is False
    assert not isinstance(get_meter_provider(), MeterProvider)


def test_a_provider_that_comes_with_the_apps_lifespan_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is after the middleware was made and has started."""
    set_provider(monkeypatch, None)
    app, reader = middleware(), Reader()

    set_meter_provider(reader.provider)
    _log_in_twice(app)

    assert reader.value("handshakes") == 2


def test_where_nobody_uses_opentelemetry_it_is_not_even_loaded() -> None:
    program = """
import asyncio, sys
from negotiate_mw.testing import ScriptedAcceptor, user
from negotiate_mw import NegotiateMiddleware
from tests.shell.driving import Client, Site
app = NegotiateMiddleware(Site(), acceptor=ScriptedAcceptor({b"hello": (user("alice@EXAMPLE.COM"), None)}))
assert asyncio.run(Client(app).get(b"hello")).status == 200
sys.exit(any(name.startswith(("opentelemetry", "negotiate_mw.metrics")) for name in sys.modules))
"""

    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
