"""What the middleware makes of a name and a password, by a scripted KDC."""

import asyncio
import logging
import threading
import time
from base64 import b64encode
from itertools import pairwise
from typing import Any

import pytest

from negotiate_mw import ChannelBinding, NegotiateMiddleware, Policy
from negotiate_mw import basic as module
from negotiate_mw.basic import (
    ACCOUNT_SECONDS,
    ACCOUNT_TRIES,
    CHALLENGE,
    MAX_COUNTED,
    PEER_TRIES,
    WINDOW_SECONDS,
    Tries,
    account_key,
    network_of,
    principal_of,
)
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.policy import Limits
from negotiate_mw.status import ContextFlag, SecStatus
from negotiate_mw.testing.dev import SWITCH, DevAcceptor
from negotiate_mw.testing.scripted import LATER, ScriptedAcceptor, user
from tests.shell.driving import Answer, Client, Site, on_a_loop

CORP = frozenset({"EXAMPLE.COM"})
BOTH = ["Negotiate", CHALLENGE.decode()]
ALICE = user("alice@EXAMPLE.COM", attributes=ContextFlag.INTEGRITY, channel_bound=True)


def basic(name: str, password: str) -> tuple[bytes, bytes]:
    return b"authorization", b"Basic " + b64encode(f"{name}:{password}".encode())


class Kdc(ScriptedAcceptor):
    """A scripted acceptor that writes down who was asked for."""

    def __init__(self, **options: Any) -> None:
        script: dict[bytes, Any] = {
            b"AlicesTicket": (ALICE, b"NoOnesProof"),
            b"BobsTicket": (user("bob@EXAMPLE.COM"), None),
            b"MadeElsewhere": AcceptError(SecStatus.LOGON_DENIED, "wrong-key"),
            b"OneLeg": (user("alice@EXAMPLE.COM"), None),
            b"ClientBlob1": b"ServerBlob1",
        }
        passwords: dict[tuple[str, str], Any] = {
            ("alice@EXAMPLE.COM", "secret"): b"AlicesTicket",
            ("bob@EXAMPLE.COM", "secret"): b"BobsTicket",
            ("spoofed@EXAMPLE.COM", "secret"): b"MadeElsewhere",
            ("down@EXAMPLE.COM", "x"): AcceptError(SecStatus.NO_AUTHENTICATING_AUTHORITY, "kdc-unreachable"),
            ("\u00a1@EXAMPLE.COM", "secret"): b"AlicesTicket",
        }
        super().__init__(script, passwords=passwords, **options)
        self.asked: list[str] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def token_by_password(self, principal: str, password: str, host: str | None = None) -> bytes:
        self.asked.append(principal)
        assert self.go_on.wait(20)
        return super().token_by_password(principal, password, host)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals as quick as can be, but for the tests that are about that."""
    monkeypatch.setattr(module, "REFUSED_SECONDS", 0.0)


def made(kdc: Kdc | None = None, **options: Any) -> tuple[Client, Kdc, Site]:
    site, kdc = Site(), kdc or Kdc()
    app = NegotiateMiddleware(site, acceptor=kdc, basic=True, **options)
    return Client(app, scheme="https"), kdc, site


async def log_in(client: Client, name: str, password: str, **fields: Any) -> Answer:
    return await client.get(headers=[basic(name, password)], **fields)


# Who gets in


@on_a_loop
async def test_the_right_password_logs_in_as_a_ticket_would_have() -> None:
    client, _, site = made()

    answer = await log_in(client, "alice", "secret")

    assert (answer.status, answer.text, answer.all("www-authenticate")) == (200, "alice", [])
    (scope,) = site.scopes
    assert scope["user"].principal == "alice@EXAMPLE.COM"
    assert (scope["user"].mechanism, "basic" in scope["auth"].scopes) == ("basic", True)


@on_a_loop
async def test_what_our_own_handshake_established_is_not_said_of_the_client() -> None:
    client, _, site = made()

    await log_in(client, "alice", "secret")

    assert (site.scopes[0]["user"].channel_bound, site.scopes[0]["user"].attributes) == (False, ContextFlag(0))


@on_a_loop
async def test_a_password_never_reaches_the_app() -> None:
    client, _, site = made()

    await log_in(client, "alice", "secret")

    assert [name for name, _ in site.scopes[0]["headers"]] == [b"host"]


@on_a_loop
async def test_a_password_never_reaches_the_page_that_refuses_it() -> None:
    seen: list[Any] = []

    def page(scope: Any, refusal: Any) -> Any:
        seen.append(dict(scope))
        return Site(401)

    client, _, _ = made(on_refused=page)

    await log_in(client, "alice", "wrong")

    assert [name for name, _ in seen[0]["headers"]] == [b"host"]


@on_a_loop
async def test_without_the_option_a_password_is_no_token_and_the_apps_own() -> None:
    site = Site()
    client = Client(NegotiateMiddleware(site, acceptor=Kdc(), required=False), scheme="https")

    answer = await log_in(client, "alice", "secret")

    assert answer.text == "nobody"
    assert basic("alice", "secret") in site.scopes[0]["headers"]


@on_a_loop
async def test_a_failed_password_is_never_taken_for_no_token() -> None:
    client, _, site = made(required=False)

    answer = await log_in(client, "alice", "wrong")

    assert (answer.status, site.asked) == (401, 0)


@on_a_loop
async def test_the_policy_holds_for_passwords_too() -> None:
    client, _, _ = made(policy=Policy(pac="required"))

    assert (await log_in(client, "alice", "secret")).status == 403


@on_a_loop
async def test_a_ticket_that_our_own_key_does_not_open_is_a_refusal_and_a_try() -> None:
    client, kdc, site = made()

    answers = [await log_in(client, "spoofed", "secret") for _ in range(ACCOUNT_TRIES + 2)]

    assert {answer.status for answer in answers} == {401}
    assert (site.asked, len(kdc.asked)) == (0, ACCOUNT_TRIES)


@on_a_loop
async def test_a_password_in_mid_handshake_drops_the_handshake() -> None:
    client, kdc, _ = made()
    await client.get(b"ClientBlob1")

    answer = await log_in(client, "alice", "secret")

    assert (answer.status, kdc.open) == (200, set())


@on_a_loop
async def test_a_name_that_begins_like_a_later_leg_is_a_name() -> None:
    client, _, _ = made()

    assert (await client.get(headers=[(b"authorization", b"Basic " + b64encode("¡:secret".encode()))])).status == 200
    ntlm_like = b"Basic " + b64encode(b"NTLMSSP\0\3\0\0\0:x")
    assert (await client.get(headers=[(b"authorization", ntlm_like)])).all("www-authenticate") == BOTH


# What is offered, and to whom


@on_a_loop
async def test_tickets_are_offered_before_passwords() -> None:
    client, _, _ = made()

    assert (await client.get()).all("www-authenticate") == BOTH
    assert (await log_in(client, "alice", "wrong")).all("www-authenticate") == BOTH


@on_a_loop
async def test_over_plain_http_no_password_is_asked_for_and_none_is_looked_at() -> None:
    site, kdc = Site(), Kdc()
    client = Client(NegotiateMiddleware(site, acceptor=kdc, basic=True, required=False))

    answer = await log_in(client, "alice", "secret")

    assert (answer.status, answer.all("www-authenticate"), site.asked, kdc.asked) == (403, [], 0, [])
    required = Client(NegotiateMiddleware(site, acceptor=kdc, basic=True))
    assert (await required.get()).all("www-authenticate") == ["Negotiate"]


@on_a_loop
async def test_a_header_that_says_https_is_no_tls() -> None:
    client, kdc, _ = made()

    forwarded = await client.get(headers=[basic("alice", "secret"), (b"x-forwarded-proto", b"https")])

    assert (forwarded.status, kdc.asked) == (403, [])


@on_a_loop
async def test_where_the_operator_says_that_a_proxy_ends_tls_a_password_is_taken() -> None:
    site, kdc = Site(), Kdc()
    policy = Policy(tls_terminated_by_proxy=True)

    answer = await log_in(Client(NegotiateMiddleware(site, acceptor=kdc, basic=True, policy=policy)), "alice", "secret")

    assert answer.status == 200


@on_a_loop
async def test_a_client_on_this_machine_needs_no_tls() -> None:
    client = Client(
        NegotiateMiddleware(Site(), acceptor=Kdc(), basic=True), peer=("127.0.0.1", 50000), host="localhost"
    )

    assert (await log_in(client, "alice", "secret")).status == 200


@on_a_loop
async def test_where_negotiate_is_left_out_a_password_is_still_asked_for() -> None:
    client, _, _ = made(challenge=lambda scope: False)

    assert (await client.get()).challenge == CHALLENGE.decode()


@on_a_loop
async def test_a_page_of_another_origin_does_not_get_to_use_a_browsers_password() -> None:
    client, kdc, _ = made()

    answer = await client.get(method="POST", headers=[basic("alice", "secret"), (b"sec-fetch-site", b"same-site")])

    assert (answer.status, kdc.asked) == (403, [])


# Refusals


@on_a_loop
async def test_refusals_for_whatever_reason_are_the_same() -> None:
    client, _, _ = made()
    for _ in range(ACCOUNT_TRIES):
        await log_in(client, "bob", "wrong")

    answers = [
        await log_in(client, "alice", "wrong"),
        await log_in(client, "nobody", "wrong"),
        await log_in(client, "nobody@ELSEWHERE.EXAMPLE", "wrong"),
        await log_in(client, "spoofed", "secret"),
        await log_in(client, "bob", "secret"),  # too many tries
        await client.get(headers=[(b"authorization", b"Basic YWxpY2U=")]),  # no colon
    ]

    bodies = {answer.text.partition("Reference:")[0] for answer in answers}
    assert ({answer.status for answer in answers}, len(bodies)) == ({401}, 1)
    assert len({tuple(answer.headers) for answer in answers}) == 1


@on_a_loop
async def test_a_refusal_takes_its_time_whatever_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFUSED_SECONDS", 0.2)
    client, _, _ = made()

    begun = time.monotonic()
    for name in ("nobody", "nobody@ELSEWHERE.EXAMPLE"):
        await log_in(client, name, "wrong")

    assert time.monotonic() - begun >= 0.4
    begun = time.monotonic()
    await log_in(client, "alice", "secret")
    assert time.monotonic() - begun < 0.2


@on_a_loop
async def test_a_kdc_that_is_down_is_ours_and_costs_nobody_a_try() -> None:
    client, kdc, _ = made()

    answers = [await log_in(client, "down", "x") for _ in range(ACCOUNT_TRIES + 2)]

    assert {(answer.status, *answer.all("retry-after")) for answer in answers} == {(503, "5")}
    assert len(kdc.asked) == ACCOUNT_TRIES + 2


@on_a_loop
async def test_no_password_is_in_any_log_or_repr(caplog: pytest.LogCaptureFixture) -> None:
    client, _, site = made()
    caplog.set_level(logging.DEBUG)

    for password in ("secret", "wr0ng-pw"):
        await log_in(client, "alice", password)

    seen = caplog.text + repr([record.__dict__ for record in caplog.records]) + repr(site.scopes)
    assert "alice" in seen
    assert "wr0ng-pw" not in seen
    assert basic("alice", "wr0ng-pw")[1].decode().split()[1] not in seen
    assert basic("alice", "secret")[1].decode().split()[1] not in seen


# Tries


@on_a_loop
async def test_after_three_wrong_passwords_not_even_the_right_one_is_asked_about() -> None:
    client, kdc, _ = made()
    for _ in range(ACCOUNT_TRIES):
        await log_in(client, "alice", "wrong")

    answers = [await log_in(client, name, "secret") for name in ("alice", "ALICE", "Alicé@example.com")]

    assert ([answer.status for answer in answers], len(kdc.asked)) == ([401] * 3, ACCOUNT_TRIES)
    assert (await log_in(client, "bob", "secret")).status == 200


@on_a_loop
async def test_many_at_once_are_as_many_tries_as_one_after_the_other() -> None:
    client, kdc, _ = made()

    await asyncio.gather(*(log_in(client, "alice", f"guess {number}") for number in range(40)))

    assert len(kdc.asked) == ACCOUNT_TRIES


@on_a_loop
async def test_many_right_ones_at_once_all_get_in() -> None:
    client, _, _ = made()

    answers = await asyncio.gather(*(log_in(client, "alice", "secret") for _ in range(40)))

    assert {answer.status for answer in answers} == {200}


@on_a_loop
async def test_the_right_password_starts_the_count_anew() -> None:
    client, kdc, _ = made()
    for _ in range(4):
        for _ in range(ACCOUNT_TRIES - 1):
            await log_in(client, "alice", "wrong")
        assert (await log_in(client, "alice", "secret")).status == 200

    assert len(kdc.asked) == 4 * ACCOUNT_TRIES


@on_a_loop
async def test_one_peer_does_not_get_to_try_a_password_on_everybody() -> None:
    client, kdc, _ = made()
    for number in range(PEER_TRIES + 10):
        await log_in(client, f"user{number}", "Spring2026!")

    assert len(kdc.asked) == PEER_TRIES
    elsewhere = Client(client.app, scheme="https", peer=("198.51.100.1", 1))
    assert (await log_in(elsewhere, "alice", "secret")).status == 200


@on_a_loop
async def test_nor_by_trying_it_on_all_at_once() -> None:
    client, kdc, _ = made()
    for number in range(PEER_TRIES - 1):
        await log_in(client, f"user{number}", "Spring2026!")

    crowd = (log_in(client, f"more{number}", "Spring2026!") for number in range(60))
    statuses = {answer.status for answer in await asyncio.gather(*crowd)}

    assert len(kdc.asked) == PEER_TRIES
    assert statuses == {401, 503}


@on_a_loop
async def test_a_try_that_was_given_up_counts_once_the_kdc_has_said_no() -> None:
    client, kdc, _ = made()

    for number in range(ACCOUNT_TRIES):
        kdc.go_on.clear()
        task = asyncio.create_task(log_in(client, "alice", "wrong"))
        while len(kdc.asked) == number:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        kdc.go_on.set()
    answer = await log_in(client, "alice", "secret")

    assert (answer.status, len(kdc.asked)) == (401, ACCOUNT_TRIES)


@on_a_loop
async def test_a_kdc_that_hangs_ends_in_503_and_holds_up_no_ticket() -> None:
    kdc = Kdc(limits=Limits(threads=2, queue=2, step_seconds=0.2))
    client, kdc, _ = made(kdc)
    kdc.go_on.clear()
    hanging = [asyncio.create_task(log_in(client, f"user{number}", "x")) for number in range(6)]
    await asyncio.sleep(0.05)

    ticket = await client.get(b"OneLeg")

    assert ticket.status == 200
    assert {answer.status for answer in await asyncio.gather(*hanging)} == {503}
    kdc.go_on.set()
    while (await log_in(client, "alice", "secret")).status != 200:
        await asyncio.sleep(0.01)


def test_old_tries_are_forgotten() -> None:
    tries = Tries(2, WINDOW_SECONDS)
    tries.add("alice", 0.0)
    tries.add("alice", 10.0)

    assert tries.are_spent("alice", WINDOW_SECONDS - 0.1)
    assert not tries.are_spent("alice", WINDOW_SECONDS)
    tries.add("alice", WINDOW_SECONDS)
    assert tries.are_spent("alice", WINDOW_SECONDS + 9)
    assert not tries.are_spent("alice", WINDOW_SECONDS + 10)


def test_patience_gets_no_more_tries_of_an_account_before_its_domain_has_forgotten_the_last() -> None:
    tries, failed = Tries(ACCOUNT_TRIES, ACCOUNT_SECONDS, together=True), []
    for second in range(0, 2 * int(ACCOUNT_SECONDS), 10):
        if not tries.are_spent("alice", float(second)):
            tries.add("alice", float(second))
            failed.append(second)

    pauses = [later - earlier for earlier, later in pairwise(failed)]
    assert len(failed) == 2 * ACCOUNT_TRIES
    assert pauses[ACCOUNT_TRIES - 1] >= ACCOUNT_SECONDS


def test_what_is_remembered_of_strangers_is_bounded_and_the_oldest_goes_first() -> None:
    tries = Tries(1, WINDOW_SECONDS)
    for number in range(MAX_COUNTED + 10):
        tries.add(str(number), 0.0)

    assert len(tries) == MAX_COUNTED
    assert not tries.are_spent("9", 1.0)
    assert tries.are_spent("10", 1.0)


@pytest.mark.parametrize(
    "one_account",
    [
        ("alice@R", "ALICE@R"),
        ("alicé@R", "alice@R"),
        ("\uff41lice@R", "alice@R"),
        ("straße@R", "STRASSE@R"),
        ("  alice @R", "alice@R"),
    ],
)
def test_spellings_that_a_directory_may_take_for_one_account_count_as_one(one_account: tuple[str, str]) -> None:
    assert len(set(map(account_key, one_account))) == 1


def test_a_client_counts_as_one_in_all_the_addresses_it_may_choose() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8:0:0:ffff::9%eth0") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") != network_of("192.0.2.2")
    assert network_of(None) == network_of("")


# Names


@pytest.mark.parametrize("name", ["alice", "alice@EXAMPLE.COM", "alice@example.com"])
def test_a_name_is_of_the_realm_that_may_log_in(name: str) -> None:
    assert principal_of(name, CORP) == "alice@EXAMPLE.COM"


@pytest.mark.parametrize(
    ("name", "realms"),
    [
        ("alice", frozenset({"A.EXAMPLE", "B.EXAMPLE"})),
        ("alice", frozenset()),
        ("alice@EVIL.EXAMPLE", CORP),
        ("alice@", CORP),
        ("@EXAMPLE.COM", CORP),
        ("alice@evil@EXAMPLE.COM", CORP),
        ("CORP\\alice", CORP),
        ("host/www", CORP),
        ("al\u2028ice", CORP),
        ("al\\@ice@EXAMPLE.COM", CORP),
    ],
)
def test_a_name_that_is_not_clear_is_asked_of_no_kdc(name: str, realms: frozenset[str]) -> None:
    with pytest.raises(AcceptError) as caught:
        principal_of(name, realms)

    assert (caught.value.status, caught.value.reason) == (SecStatus.LOGON_DENIED, "name-unknown")


# Options


def test_an_acceptor_that_can_ask_no_kdc_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "1")

    with pytest.raises(ConfigurationError, match="Kerberos KDC"):
        NegotiateMiddleware(Site(), acceptor=DevAcceptor("alice@DEV"), basic=True)


def test_channel_binding_cannot_be_required_of_passwords() -> None:
    with pytest.raises(ConfigurationError, match="never proves a TLS channel"):
        NegotiateMiddleware(Site(), basic=True, policy=Policy(channel_binding=ChannelBinding.required()))
    with pytest.raises(ConfigurationError, match="True or False"):
        NegotiateMiddleware(Site(), basic="yes")  # type: ignore[arg-type]


def test_later_legs_are_still_told_by_their_first_byte() -> None:
    assert "\u00a1".encode("latin-1") == LATER
