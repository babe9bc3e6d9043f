from dataclasses import replace
from itertools import product

import pytest

from negotiate_mw import handshake
from negotiate_mw.errors import AcceptError
from negotiate_mw.handshake import (
    IDLE,
    TRANSITIONS,
    Challenge,
    Event,
    Handshake,
    IllegalTransition,
    Pass,
    Refuse,
    Remembered,
    State,
    admit,
    conclude,
    decide,
    event_of,
    without_token,
)
from negotiate_mw.identity import AcceptResult
from negotiate_mw.policy import Policy, Rules
from negotiate_mw.status import ContextFlag, SecStatus

from .building import finished, unfinished, user

OPENING, LATER = b"\x60first", b"\xa1later"
HALF_OPEN = Handshake(state=State.HALF_OPEN, context="context", legs=1, begun=7.0)
STEPPING = Handshake(state=State.STEPPING, context="context", legs=1, begun=7.0)
RULES = Policy().rules(["EXAMPLE.COM"])

# the whole table once more, in the order in which a handshake goes through it
LEGAL = [
    (State.IDLE, Event.NOTHING, State.IDLE),
    (State.IDLE, Event.OPENING, State.STEPPING),
    (State.IDLE, Event.CONTINUATION, State.FAILED),
    (State.HALF_OPEN, Event.NOTHING, State.IDLE),
    (State.HALF_OPEN, Event.OPENING, State.STEPPING),
    (State.HALF_OPEN, Event.CONTINUATION, State.STEPPING),
    (State.STEPPING, Event.MORE, State.HALF_OPEN),
    (State.STEPPING, Event.DONE, State.ESTABLISHED),
    (State.STEPPING, Event.ERROR, State.FAILED),
]
ILLEGAL = [
    pair for pair in product(State, Event) if pair not in [(state, event) for state, event, _ in LEGAL]
]  # fmt: skip


def in_state(state: State) -> Handshake:
    return Handshake(state=state, context="context", legs=1, begun=7.0)


def decided(
    token: bytes | None, pending: Handshake = IDLE, *, required: bool = True, max_legs: int = 8
) -> Challenge | Refuse | Pass | Handshake:
    if token is None:
        return without_token(pending, None, required=required)
    return decide(token, pending, max_legs=max_legs)


def concluded(outcome: AcceptResult | AcceptError, rules: Rules = RULES, *, can_continue: bool = True) -> object:
    return conclude(STEPPING, outcome, rules, can_continue=can_continue, now=9.0)


@pytest.mark.parametrize(("state", "event", "then"), LEGAL)
def test_a_legal_event_leads_where_the_table_says(state: State, event: Event, then: State) -> None:
    assert in_state(state).after(event) is then


def test_the_table_has_these_transitions_and_no_other() -> None:
    assert [(s, e, then) for s, row in TRANSITIONS.items() for e, then in row.items()] == LEGAL
    assert set(TRANSITIONS) == set(State)


@pytest.mark.parametrize(("state", "event"), ILLEGAL)
def test_an_illegal_event_raises_and_changes_nothing(state: State, event: Event) -> None:
    handshake, untouched = in_state(state), in_state(state)

    with pytest.raises(IllegalTransition, match=f"{event.name} in state {state.name}"):
        handshake.after(event)

    assert handshake == untouched


@pytest.mark.parametrize("token", [None, OPENING, LATER])
@pytest.mark.parametrize("state", [State.STEPPING, State.ESTABLISHED, State.FAILED])
def test_a_request_for_a_handshake_that_is_not_between_two_legs_raises(state: State, token: bytes | None) -> None:
    handshake = in_state(state)

    with pytest.raises(IllegalTransition):
        decided(token, handshake)

    assert handshake == in_state(state)


@pytest.mark.parametrize("outcome", [finished(), unfinished(), AcceptError(SecStatus.LOGON_DENIED, "replay")])
@pytest.mark.parametrize("state", [State.IDLE, State.HALF_OPEN, State.ESTABLISHED, State.FAILED])
def test_an_outcome_for_a_handshake_that_is_not_stepping_raises(
    state: State, outcome: AcceptResult | AcceptError
) -> None:
    handshake = in_state(state)

    with pytest.raises(IllegalTransition):
        conclude(handshake, outcome, RULES, can_continue=True, now=9.0)

    assert handshake == in_state(state)


@pytest.mark.parametrize(
    ("token", "event"),
    [
        (b"", Event.OPENING),
        (b"\x60", Event.OPENING),
        (b"\xa1", Event.CONTINUATION),
        (b"\xa0", Event.OPENING),
        (b"NTLMSSP\0\x01\0\0\0", Event.OPENING),
        (b"NTLMSSP\0\x03\0\0\0", Event.CONTINUATION),
        (b"NTLMSSP\0\x03", Event.OPENING),
        (b"\0\xa1", Event.OPENING),
    ],
)
def test_a_tokens_first_bytes_say_which_event_it_is(token: bytes | None, event: Event) -> None:
    assert event_of(token) is event


# decide()


@pytest.mark.parametrize("pending", [IDLE, HALF_OPEN])
def test_no_token_where_one_is_required_is_challenged(pending: Handshake) -> None:
    assert decided(None, pending) == Challenge(token=None, handshake=None)


@pytest.mark.parametrize("pending", [IDLE, HALF_OPEN])
def test_no_token_where_none_is_required_passes_as_nobody(pending: Handshake) -> None:
    assert decided(None, pending, required=False) == Pass(identity=None, token=None)


@pytest.mark.parametrize("required", [True, False])
def test_no_token_from_someone_remembered_passes_as_them(required: bool) -> None:
    decision = without_token(IDLE, Pass(identity=user()), required=required)

    assert decision == Pass(identity=user())


def test_a_later_leg_without_a_first_is_refused() -> None:
    decision = decided(LATER)

    assert isinstance(decision, Refuse)
    assert (decision.status, decision.reason) == (401, "no-handshake")


def test_a_first_token_begins_a_handshake_of_its_own() -> None:
    decision = decided(OPENING)

    assert decision == Handshake(state=State.STEPPING, context=None, legs=1)


def test_a_continuation_steps_the_context_that_was_kept() -> None:
    decision = decided(LATER, HALF_OPEN)

    assert decision == replace(HALF_OPEN, state=State.STEPPING, legs=2)


def test_a_first_token_in_mid_handshake_starts_over_without_the_old_context() -> None:
    decision = decided(OPENING, replace(HALF_OPEN, legs=8))

    assert decision == Handshake(state=State.STEPPING, context=None, legs=1)


@pytest.mark.parametrize(("legs", "goes_on"), [(1, True), (2, True), (3, False), (4, False)])
def test_a_handshake_takes_as_many_legs_as_the_limit_says(legs: int, goes_on: bool) -> None:
    decision = decided(LATER, replace(HALF_OPEN, legs=legs), max_legs=3)

    assert isinstance(decision, Handshake) is goes_on
    if not goes_on:
        assert isinstance(decision, Refuse)
        assert (decision.status, decision.reason) == (401, "too-many-legs")


@pytest.mark.parametrize(("scheme", "token"), [("negotiate", OPENING), ("ntlm", b"NTLMSSP\0\1\0\0\0")])
def test_a_handshake_keeps_the_scheme_that_it_began_under(scheme: str, token: bytes) -> None:
    step = decide(token, IDLE, max_legs=8, scheme=scheme)
    assert isinstance(step, Handshake)

    more = conclude(step, unfinished(), RULES, can_continue=True, now=9.0)
    last = conclude(step, finished(), RULES, can_continue=True, now=9.0)

    assert isinstance(more, Challenge)
    assert more.handshake is not None
    assert isinstance(last, Pass)
    assert {more.scheme, more.handshake.scheme, last.scheme} == {scheme}


def test_the_ntlm_scheme_carries_bare_ntlm_alone() -> None:
    decision = decide(OPENING, IDLE, max_legs=8, scheme="ntlm")

    assert isinstance(decision, Refuse)
    assert (decision.status, decision.reason) == (401, "malformed")


def test_a_later_leg_under_another_scheme_is_refused() -> None:
    decision = decide(LATER, HALF_OPEN, max_legs=8, scheme="ntlm")

    assert isinstance(decision, Refuse)
    assert (decision.status, decision.reason) == (401, "no-handshake")


# conclude()


def test_a_finished_step_passes_with_the_last_token() -> None:
    assert concluded(finished(token=b"last")) == Pass(identity=replace(user(), username="alice"), token=b"last")


@pytest.mark.parametrize(("legs", "begun"), [(1, 9.0), (2, 7.0)])
def test_an_unfinished_step_is_challenged_and_kept_with_when_its_first_leg_came(legs: int, begun: float) -> None:
    stepping = replace(STEPPING, legs=legs)

    decision = conclude(stepping, unfinished(b"more", "handle"), RULES, can_continue=True, now=9.0)

    kept = Handshake(state=State.HALF_OPEN, context="handle", legs=legs, begun=begun)
    assert decision == Challenge(token=b"more", handshake=kept)


def test_an_unfinished_step_on_no_connection_is_refused_without_a_token() -> None:
    decision = concluded(unfinished(b"more"), can_continue=False)

    assert isinstance(decision, Refuse)
    assert (decision.status, decision.reason, decision.token) == (401, "needs-connection", None)


def test_a_finished_step_needs_no_connection() -> None:
    assert isinstance(concluded(finished(), can_continue=False), Pass)


OURS = {"BUSY", "TIMEOUT", "INTERNAL_ERROR", "INSUFFICIENT_MEMORY", "NO_CREDENTIALS", "NO_AUTHENTICATING_AUTHORITY"}


@pytest.mark.parametrize("status", [s for s in SecStatus if s not in (SecStatus.OK, SecStatus.CONTINUE_NEEDED)])
def test_an_error_is_answered_by_whose_fault_it_is(status: SecStatus) -> None:
    decision = concluded(AcceptError(status, "some-reason", detail="why", token=b"error token"))

    assert decision == Refuse(
        status=503 if status.name in OURS else 401, reason="some-reason", detail="why", token=None
    )


@pytest.mark.parametrize(("mechanism", "retry"), [(None, True), ("kerberos", True), ("ntlm", False)])
def test_a_refused_ntlm_token_is_not_asked_for_again(mechanism: str | None, retry: bool) -> None:
    decision = concluded(AcceptError(SecStatus.LOGON_DENIED, "refused", mechanism=mechanism))

    assert isinstance(decision, Refuse)
    assert (decision.status, decision.retry) == (401, retry)


def test_whatever_fails_under_the_ntlm_scheme_is_not_asked_for_again() -> None:
    # what is cut off is refused before anybody knows of which mechanism it is
    cut_off = AcceptError(SecStatus.INCOMPLETE_MESSAGE, "incomplete")

    decision = conclude(replace(STEPPING, scheme="ntlm"), cut_off, RULES, can_continue=True, now=9.0)

    assert isinstance(decision, Refuse)
    assert (decision.status, decision.retry) == (401, False)


@pytest.mark.parametrize(
    "reason", ["name-mismatch", "name-forbidden", "name-unusable", "pac-missing", "groups-missing"]
)
def test_an_authenticated_name_that_nobody_may_use_is_forbidden(reason: str) -> None:
    decision = concluded(AcceptError(SecStatus.LOGON_DENIED, reason, token=b"error token"))

    assert decision == Refuse(status=403, reason=reason, token=None)


@pytest.mark.parametrize("name", ["¡hola".encode("latin-1"), b"NTLMSSP\0\3\0\0\0"])
def test_a_users_name_is_no_message_whatever_it_begins_with(name: bytes) -> None:
    step = decide(name + b":password", IDLE, max_legs=8, scheme="basic")

    assert isinstance(step, Handshake)
    assert step.scheme == "basic"


# admit()


def test_someone_of_another_realm_is_forbidden_and_gets_our_proof() -> None:
    decision = concluded(finished(user("mallory@EVIL.EXAMPLE"), b"last"))

    assert isinstance(decision, Refuse)
    assert (decision.status, decision.reason, decision.token) == (403, "realm-not-allowed", b"last")


def test_a_context_without_a_required_flag_is_forbidden() -> None:
    rules = Policy(required_flags=ContextFlag.MUTUAL_AUTH).rules(["EXAMPLE.COM"])

    decision = admit(user(), rules)

    assert isinstance(decision, Refuse)
    assert (decision.status, decision.reason) == (403, "flags-missing")


def test_a_username_function_that_fails_is_our_fault_and_lets_nobody_in() -> None:
    rules = Policy(username=lambda _: "").rules(["EXAMPLE.COM"])

    decision = admit(user(), rules, b"last")

    assert isinstance(decision, Refuse)
    assert (decision.status, decision.reason) == (503, "username-failed")


def test_an_admitted_identity_bears_the_name_that_the_policy_gives() -> None:
    rules = Policy(username=lambda identity: identity.principal.upper()).rules(["EXAMPLE.COM"])

    assert admit(user(), rules, b"last") == Pass(identity=replace(user(), username="ALICE@EXAMPLE.COM"), token=b"last")


def test_what_is_known_of_many_is_bounded_and_stays_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "_MOST_KNOWN", 3)
    rules = Policy().rules(["EXAMPLE.COM"])
    users = [user(f"user{number}@EXAMPLE.COM") for number in range(5)]

    admitted = [[admit(each, rules) for each in users] for _ in range(2)]

    assert admitted == [[Pass(identity=replace(each, username=each.bare_name)) for each in users]] * 2
    assert len(rules.known) == 3


def test_who_is_remembered_is_judged_once_by_the_same_rules_and_anew_by_others() -> None:
    alice = Remembered(user(), 0.0)

    first, second = alice.admitted(RULES), alice.admitted(RULES)
    elsewhere = alice.admitted(Policy(realms=["OTHER.EXAMPLE"]).rules(["EXAMPLE.COM"]))

    assert first is second
    assert isinstance(elsewhere, Refuse)
    assert elsewhere.reason == "realm-not-allowed"
    assert alice.admitted(RULES) == first


def test_an_apps_own_naming_of_who_is_remembered_is_asked_each_time() -> None:
    names = iter(["first", "second"])
    rules, alice = Policy(username=lambda _: next(names)).rules(["EXAMPLE.COM"]), Remembered(user(), 0.0)

    said = [alice.admitted(rules) for _ in range(2)]

    assert said == [Pass(identity=replace(user(), username=name)) for name in ("first", "second")]
