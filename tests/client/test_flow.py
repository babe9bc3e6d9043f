"""The flow of a log-in, as a dialogue in memory."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw.client.errors import ChannelError, MutualAuthenticationError
from negotiate_mw.client.flow import LEGS, STARTS, Answer, Go, Leg, Open, Rules, Send, StepFailed, challenge, handshake

HERE, THERE = object(), object()  # connections
CERT, OTHER_CERT = b"tls-server-end-point:one", b"tls-server-end-point:two"

ASKED = Answer(status=401, asks=True, channel=HERE)
OVER_TLS = Answer(status=401, asks=True, channel=HERE, tls=True, bindings=CERT)
PINNED = Answer(status=401, asks=True, channel=HERE, pinned=True)
CONTINUED = Answer(status=401, asks=True, token=b"challenge", channel=HERE, pinned=True)
PROVED = Answer(status=200, asks=True, token=b"proof", channel=HERE)

ONE = Leg(token=b"ticket", complete=False, mutual=False, more=False)
FIRST = Leg(token=b"negotiate", complete=False, mutual=False, more=True)
SECOND = Leg(token=b"authenticate", complete=True, mutual=False, more=False)
DONE = Leg(token=None, complete=True, mutual=True, more=False)


def rules(**options: Any) -> Rules:
    return Rules(**{"mutual": "required", "binding": "when_possible", "preemptive": False, "once": False, **options})


def play(rules: Rules, *replies: Answer | Leg | Exception | None, heard: Answer | None = None) -> list[Any]:
    """What the flow wants, given these replies; the last one must end it."""
    flow = handshake(rules, heard)
    wanted = [next(flow)]
    for reply in replies[:-1]:
        wanted.append(flow.throw(reply) if isinstance(reply, Exception) else flow.send(reply))
    with pytest.raises(StopIteration):
        flow.throw(replies[-1]) if isinstance(replies[-1], Exception) else flow.send(replies[-1])
    return wanted


def failing(rules: Rules, *replies: Answer | Leg | Exception | None) -> list[Any]:
    """The same, where the last reply makes the flow raise, which is passed on."""
    flow = handshake(rules)
    wanted = [next(flow)]
    for reply in replies:
        wanted.append(flow.throw(reply) if isinstance(reply, Exception) else flow.send(reply))
    return wanted


def test_a_server_that_does_not_ask_gets_no_token() -> None:
    assert play(rules(), Answer(status=200, asks=False)) == [Send()]


def test_a_server_that_asks_for_something_else_gets_no_token() -> None:
    assert play(rules(), Answer(status=401, asks=False)) == [Send()]


def test_an_origin_that_may_have_none_gets_no_token() -> None:
    assert play(rules(), Answer(status=401, asks=True, trusted=False)) == [Send()]


def test_one_leg_and_the_server_proves_itself() -> None:
    wanted = play(rules(), ASKED, ONE, PROVED, DONE)

    assert wanted == [Send(), Open(bindings=None), Send(token=b"ticket"), Go(token=b"proof")]


def test_two_legs_the_second_where_the_challenge_came_from() -> None:
    wanted = play(rules(mutual="optional"), PINNED, FIRST, CONTINUED, SECOND, Answer(status=200, asks=False))

    assert wanted[2] == Send(token=b"negotiate", last=False)
    assert wanted[4].token == b"authenticate"
    assert wanted[4].on is HERE


def test_a_second_leg_without_a_pinned_connection_is_an_error() -> None:
    unpinned = Answer(status=401, asks=True, token=b"challenge", channel=HERE)

    with pytest.raises(ChannelError, match="PinnedTransport"):
        failing(rules(mutual="optional"), ASKED, FIRST, unpinned, SECOND)


def test_a_refused_token_is_not_followed_by_another() -> None:
    assert len(play(rules(), ASKED, ONE, ASKED)) == 3
    assert len(play(rules(mutual="optional"), PINNED, FIRST, CONTINUED, SECOND, PINNED)) == 5


def test_a_refusal_with_an_error_token_is_not_followed_by_another() -> None:
    assert len(play(rules(), ASKED, ONE, CONTINUED, StepFailed("an error token"))) == 4


def test_a_server_that_never_ends_is_left_after_so_many_legs() -> None:
    endless = [reply for _ in range(LEGS) for reply in (CONTINUED, FIRST)]

    wanted = play(rules(), PINNED, FIRST, *endless)

    assert sum(isinstance(one, Send) for one in wanted) == LEGS + 1


def test_a_second_leg_answered_on_another_connection_starts_over_with_a_new_context() -> None:
    moved = Answer(status=401, asks=True, channel=THERE, pinned=True)

    wanted = play(rules(mutual="optional"), PINNED, FIRST, CONTINUED, SECOND, moved, FIRST, PINNED)

    assert wanted[5:] == [Open(bindings=None), Send(token=b"negotiate", last=False)]


def test_a_connection_that_is_gone_starts_over_by_asking_and_not_for_ever() -> None:
    again: list[Any] = [ONE, None, Answer(status=401, asks=True, tls=True, bindings=CERT, channel=HERE, pinned=True)]

    with pytest.raises(ChannelError, match=f"{STARTS} log-ins"):
        failing(rules(), again[2], *(again * STARTS))


# --- channel binding


def test_over_tls_it_is_bound_to_the_certificate_of_the_connection_that_asked() -> None:
    wanted = play(rules(), OVER_TLS, ONE, PROVED, DONE)

    assert wanted[1] == Open(bindings=CERT)
    assert wanted[2].on is HERE


def test_binding_off_is_not_bound() -> None:
    assert play(rules(binding="off"), OVER_TLS, ONE, PROVED, DONE)[1] == Open(bindings=None)


def test_an_unasked_token_is_unbound_and_refused_it_is_bound_in_the_second_try_and_no_third() -> None:
    wanted = play(rules(preemptive=True), ONE, OVER_TLS, ONE, OVER_TLS)

    assert [one.bindings for one in wanted if isinstance(one, Open)] == [None, CERT]


def test_required_binding_sends_nothing_unasked() -> None:
    assert play(rules(preemptive=True, binding="required"), Answer(status=200, asks=False)) == [Send()]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (ASKED, "without TLS"),
        (Answer(status=401, asks=True, tls=True, pinned=True), "certificate"),
        (OVER_TLS, "PinnedTransport"),
    ],
)
def test_required_binding_that_cannot_be_kept_is_an_error_before_any_token(asked: Answer, said: str) -> None:
    with pytest.raises(ChannelError, match=said):
        failing(rules(binding="required"), asked)


def test_a_bound_token_answered_over_another_channel_is_an_error() -> None:
    elsewhere = Answer(status=200, asks=True, token=b"proof", channel=THERE, tls=True, bindings=OTHER_CERT)

    with pytest.raises(ChannelError, match="another TLS channel"):
        failing(rules(mutual="off"), OVER_TLS, ONE, elsewhere)


def test_a_bound_token_refused_over_another_channel_is_made_anew_for_that() -> None:
    elsewhere = Answer(status=401, asks=True, channel=THERE, tls=True, bindings=OTHER_CERT)

    wanted = play(rules(), OVER_TLS, ONE, elsewhere, ONE, Answer(status=401, asks=True, channel=THERE))

    assert [one.bindings for one in wanted if isinstance(one, Open)] == [CERT, OTHER_CERT]


def test_a_bound_token_refused_over_another_connection_of_the_same_certificate_stays_refused() -> None:
    elsewhere = Answer(status=401, asks=True, channel=THERE, tls=True, bindings=CERT)

    assert len(play(rules(), OVER_TLS, ONE, elsewhere)) == 3


# --- the server's proof


@pytest.mark.parametrize("status", [200, 204, 302, 404, 500])
def test_an_answer_without_proof_is_an_error_where_it_is_required(status: int) -> None:
    with pytest.raises(MutualAuthenticationError, match="without a token"):
        failing(rules(), ASKED, ONE, Answer(status=status, asks=False))


@pytest.mark.parametrize("mutual", ["required", "optional"])
@pytest.mark.parametrize(
    "said", [StepFailed("wrong"), Leg(token=b"more", complete=False, mutual=False, more=False)], ids=["wrong", "half"]
)
def test_a_wrong_proof_is_an_error_even_where_it_is_optional(mutual: Any, said: Any) -> None:
    with pytest.raises(MutualAuthenticationError):
        failing(rules(mutual=mutual), ASKED, ONE, PROVED, said)


@pytest.mark.parametrize("mutual", ["required", "optional"])
def test_a_proof_that_cannot_be_read_is_an_error(mutual: Any) -> None:
    with pytest.raises(MutualAuthenticationError, match="can't be read"):
        failing(rules(mutual=mutual), ASKED, ONE, Answer(status=200, asks=True, broken=True))


def test_a_finished_context_that_proves_nothing_is_an_error_where_proof_is_required() -> None:
    with pytest.raises(MutualAuthenticationError):
        failing(rules(), ASKED, ONE, PROVED, Leg(token=None, complete=True, mutual=False, more=False))


def test_no_proof_is_fine_where_it_is_optional_and_a_wrong_one_where_it_is_off() -> None:
    assert len(play(rules(mutual="optional"), ASKED, ONE, Answer(status=200, asks=False))) == 3
    assert len(play(rules(mutual="off"), ASKED, ONE, PROVED)) == 3


def test_a_proxy_s_407_is_given_as_it_is() -> None:
    assert len(play(rules(preemptive=True), ONE, Answer(status=407, asks=True))) == 2


# --- a body that can be sent once


def test_a_body_for_one_time_goes_with_the_token_that_may_be_the_last() -> None:
    wanted = play(rules(once=True, mutual="optional"), PINNED, FIRST, CONTINUED, SECOND, Answer(status=200, asks=False))

    assert [one.last for one in wanted if isinstance(one, Send)] == [False, False, True]


def test_a_body_for_one_time_goes_out_where_nobody_asks_for_a_token() -> None:
    wanted = play(rules(once=True), Answer(status=200, asks=False), Answer(status=200, asks=False))

    assert wanted == [Send(last=False), Send()]


# --- WWW-Authenticate


@pytest.mark.parametrize(
    ("headers", "read"),
    [
        ([], (False, None, False)),
        (["Negotiate"], (True, None, False)),
        (["negotiate YQ=="], (True, b"a", False)),
        (['Basic realm="x"', "Negotiate YQ=="], (True, b"a", False)),
        (['Basic realm="a, Negotiate YQ==", Negotiate'], (True, None, False)),
        (['Negotiate YQ==, Basic realm="x"'], (True, b"a", False)),
        (["NegotiateX YQ=="], (False, None, False)),
        (["Basic Negotiate"], (False, None, False)),
        (["Negotiate YQ"], (True, None, True)),
        (["Negotiate ?"], (True, None, True)),
        (["Negotiate YQ==", "Negotiate Yg=="], (True, None, True)),
    ],
)
def test_a_challenge_is_read_strictly(headers: list[str], read: tuple[bool, bytes | None, bool]) -> None:
    assert challenge(headers) == read


@given(st.lists(st.text() | st.text('Negotiate =,"\\ \tYQ'), max_size=3))
def test_a_challenge_of_any_kind_is_no_error(headers: list[str]) -> None:
    asks, token, broken = challenge(headers)

    assert asks or (token is None and not broken)
