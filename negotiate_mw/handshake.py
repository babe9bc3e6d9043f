"""The core: what a request means for its handshake, and what a step's outcome means for its request.

Law: everything that affects the state of a handshake is in this file, as a table; no await, clock, logger, socket
or file. Values come in, a decision goes out, and an illegal event raises and changes nothing.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache

from negotiate_mw.errors import AcceptError
from negotiate_mw.identity import AcceptResult, Identity
from negotiate_mw.policy import Rules
from negotiate_mw.status import SecStatus
from negotiate_mw.wire import ntlm


class State(StrEnum):
    """Where one handshake stands."""

    IDLE = "idle"  # nothing is known of this client
    HALF_OPEN = "half-open"  # we sent a continuation token and wait for the next leg
    STEPPING = "stepping"  # a token is being accepted
    ESTABLISHED = "established"
    FAILED = "failed"

    __hash__ = str.__hash__  # Enum's own is written in Python, and each request looks things up in the table


class Event(StrEnum):
    """What happens to it."""

    NOTHING = "request without a token"
    OPENING = "first token of a handshake"
    CONTINUATION = "continuation token"
    MORE = "step: continue needed"
    DONE = "step: complete"
    ERROR = "step: failed"

    __hash__ = str.__hash__


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.IDLE: {
        Event.NOTHING: State.IDLE,
        Event.OPENING: State.STEPPING,
        Event.CONTINUATION: State.FAILED,  # a second leg without a first
    },
    State.HALF_OPEN: {
        Event.NOTHING: State.IDLE,  # the client gave up, or another page of it asks: served as what it is
        Event.OPENING: State.STEPPING,  # the client starts over; the old context is dropped
        Event.CONTINUATION: State.STEPPING,
    },
    State.STEPPING: {
        Event.MORE: State.HALF_OPEN,
        Event.DONE: State.ESTABLISHED,
        Event.ERROR: State.FAILED,
    },
    State.ESTABLISHED: {},
    State.FAILED: {},
}


# Members that most requests meet: Python 3.11 takes 0.2 µs to look one up.
_NOTHING, _OPENING, _CONTINUATION, _DONE = Event.NOTHING, Event.OPENING, Event.CONTINUATION, Event.DONE
_FAILED = State.FAILED


class IllegalTransition(RuntimeError):
    """An event came that the table doesn't have for this state: a bug of the caller, never of a client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """One handshake between two requests.

    Attributes:
        state: where it stands.
        context: the acceptor's handle; None before the first step.
        legs: tokens received so far.
        begun: when the first came, in seconds of the caller's clock; 0.0 until that has been stepped.
        scheme: the HTTP scheme that its tokens come under: "negotiate", "ntlm" or "basic".
    """

    state: State = State.IDLE
    context: object = None
    legs: int = 0
    begun: float = 0.0
    scheme: str = "negotiate"

    def after(self, event: Event) -> State:
        """The state that ``event`` leads to.

        Raises:
            IllegalTransition: the table has no such row.
        """
        try:
            return TRANSITIONS[self.state][event]
        except KeyError:
            raise IllegalTransition(f"{event.name} in state {self.state.name}") from None


IDLE = Handshake()


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """Answer 401; with a token, keep ``handshake`` for the next leg."""

    token: bytes | None = field(default=None, repr=False)
    handshake: Handshake | None = None
    scheme: str = "negotiate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Answer ``status``; ``reason`` and ``detail`` are for the log alone, ``token`` proves us to the client.

    ``retry`` False: a 401 that asks for no further token, since the next would be as bad: whoever has nothing but NTLM
    to offer would be asked for a password again and again.
    """

    status: int
    reason: str
    detail: str = ""
    token: bytes | None = field(default=None, repr=False)
    scheme: str = "negotiate"
    retry: bool = True


@dataclass(slots=True, kw_only=True)  # as AcceptResult
class Pass:
    """Let the request through; ``identity`` None is nobody."""

    identity: Identity | None = None
    token: bytes | None = field(default=None, repr=False)
    scheme: str = "negotiate"


# The operator's fault or ours: 503 and an ERROR line, never a loop of 401s.
_OURS = frozenset(
    {
        SecStatus.BUSY,
        SecStatus.TIMEOUT,
        SecStatus.INTERNAL_ERROR,
        SecStatus.INSUFFICIENT_MEMORY,
        SecStatus.NO_CREDENTIALS,
        SecStatus.NO_AUTHENTICATING_AUTHORITY,
    }
)
_MOST_KNOWN = 256  # a few KiB each, with a thousand groups 0.1 MiB
# Authenticated, but under a name that nobody may use.
_FORBIDDEN = frozenset({"name-mismatch", "name-forbidden", "name-unusable", "pac-missing", "groups-missing"})


def event_of(token: bytes, scheme: str = "negotiate") -> Event:
    """What a token brings, by its first bytes (RFC 4178 4.2, [MS-NLMP] 2.2.1); the acceptor reads the rest."""
    if scheme == "basic":  # a user's name may begin with whatever it likes
        return _OPENING
    return _CONTINUATION if token.startswith((b"\xa1", b"NTLMSSP\0\x03\0\0\0")) else _OPENING


def without_token(pending: Handshake, remembered: Pass | None, *, required: bool) -> Challenge | Pass:
    """What to answer to a request without a token, which ends its connection's half-open handshake.

    Args:
        pending: the connection's half-open handshake, or ``IDLE``.
        remembered: how the policy in force lets in who the request is known to be.
        required: False lets it pass as nobody.

    Raises:
        IllegalTransition: ``pending`` is neither idle nor half-open.
    """
    pending.after(_NOTHING)
    if remembered is not None:
        return remembered
    return Challenge() if required else Pass()


def decide(token: bytes, pending: Handshake, *, max_legs: int, scheme: str = "negotiate") -> Refuse | Handshake:
    """What to do with a token, by what its connection remembers: accept it on the returned handshake's context.

    Args:
        token: what the client sent.
        pending: the connection's half-open handshake, or ``IDLE``.
        max_legs: ``Limits.legs``.
        scheme: the HTTP scheme that ``token`` came under.

    Raises:
        IllegalTransition: ``pending`` is neither idle nor half-open.
    """
    event = event_of(token, scheme)
    state = pending.after(event)
    if state is _FAILED or (event is _CONTINUATION and scheme != pending.scheme):
        detail = "a later leg came without its first one"
        return Refuse(status=401, reason="no-handshake", detail=detail, retry=not _is_ntlm(token))
    if scheme == "ntlm" and not token.startswith(ntlm.SIGNATURE):
        detail = "the NTLM scheme carries bare NTLM messages alone"
        return Refuse(status=401, reason="malformed", detail=detail, retry=False)
    if event is _OPENING:
        return _first_leg(state, scheme)
    if pending.legs >= max_legs:
        detail = f"more than {max_legs} legs"
        return Refuse(status=401, reason="too-many-legs", detail=detail, retry=not _is_ntlm(token))
    return replace(pending, state=state, legs=pending.legs + 1)


def conclude(
    handshake: Handshake, outcome: AcceptResult | AcceptError, rules: Rules, *, can_continue: bool, now: float
) -> Challenge | Refuse | Pass:
    """What to answer, by what came of the step.

    Args:
        handshake: the one that ``decide`` gave to step.
        outcome: what the acceptor returned or raised.
        rules: who may in.
        can_continue: the connection has an identity that a next leg can be found by.
        now: the time, in seconds of the caller's clock.

    Raises:
        IllegalTransition: ``handshake`` wasn't stepping.
    """
    if isinstance(outcome, AcceptError):
        handshake.after(Event.ERROR)
        retry = "ntlm" not in (outcome.mechanism, handshake.scheme)
        return Refuse(status=_status_of(outcome), reason=outcome.reason, detail=outcome.detail, retry=retry)
    if outcome.identity is None:
        return _continue(handshake, outcome, can_continue, now)
    handshake.after(_DONE)
    return admit(outcome.identity, rules, outcome.token, handshake.scheme)


def admit(identity: Identity, rules: Rules, token: bytes | None = None, scheme: str = "negotiate") -> Pass | Refuse:
    """Let a proven identity in under the name that the policy gives it, or say why not; ``token`` is our own proof."""
    known = rules.known.get(id(identity))
    if known is None or known[0] is not identity:
        known = identity, _judge(identity, rules)
        # an app's own function may say something else each time, and what ends with its request isn't kept
        if rules.policy.username is None and identity.is_lasting:
            if len(rules.known) >= _MOST_KNOWN:
                del rules.known[next(iter(rules.known))]  # one by one: all at once hold the loop up
            rules.known[id(identity)] = known  # which keeps it alive, so that no other gets its number
    verdict: Pass | Refuse = known[1]
    if token is None and scheme == "negotiate":
        return verdict
    if isinstance(verdict, Pass):
        return Pass(identity=verdict.identity, token=token, scheme=scheme)
    return replace(verdict, token=token, scheme=scheme) if verdict.status == 403 else verdict


def _judge(identity: Identity, rules: Rules) -> Pass | Refuse:
    if rules.is_unproven(identity):
        detail = f"{identity.principal!r} didn't prove the TLS channel that Policy(channel_binding=…) requires"
        return Refuse(status=401, reason="not-bound", detail=detail, retry=identity.mechanism != "ntlm")
    if refused := rules.refusal(identity):
        return Refuse(status=403, reason=refused[0], detail=refused[1])
    try:
        return Pass(identity=rules.named(identity))
    except AcceptError as error:
        return refusal_of(error)


@dataclass(slots=True, eq=False)
class Remembered:
    """A log-in that outlives its request: who it was, and what the rules in force say of them.

    Attributes:
        identity: as it was proven, without tickets.
        ends: when it ends, in seconds since 1970.
    """

    identity: Identity
    ends: float
    # in one piece, since another thread may have rules of its own
    _said: tuple[Rules | None, Pass | Refuse | None] = field(default=(None, None), init=False, repr=False)

    def admitted(self, rules: Rules) -> Pass | Refuse:
        """What ``admit`` says, worked out once for the same rules: of however many there are."""
        by, verdict = self._said
        if verdict is None or by is not rules:
            verdict = _judge(self.identity, rules)
            if rules.policy.username is None:  # an app's own function may say something else each time
                self._said = rules, verdict
        return verdict


def refusal_of(error: AcceptError) -> Refuse:
    """The answer to somebody who proved who they are, and can't be let in after all."""
    return Refuse(status=_status_of(error), reason=error.reason, detail=error.detail)


def _continue(handshake: Handshake, outcome: AcceptResult, can_continue: bool, now: float) -> Challenge | Refuse:
    state = handshake.after(Event.MORE)
    if not can_continue:
        return Refuse(
            status=401,
            reason="needs-connection",
            detail="the handshake takes more than one leg, and this server or protocol gives connections no identity",
            retry=not _is_ntlm(outcome.token or b""),
        )
    begun = now if handshake.legs == 1 else handshake.begun
    half_open = replace(handshake, state=state, context=outcome.context, begun=begun)
    return Challenge(token=outcome.token, handshake=half_open, scheme=handshake.scheme)


@lru_cache(maxsize=8)  # of as many as there are schemes
def _first_leg(state: State, scheme: str) -> Handshake:
    return Handshake(state=state, legs=1, scheme=scheme)


def _is_ntlm(token: bytes) -> bool:
    """True if it carries an NTLM message, in whatever wrapping; ciphertext has these eight bytes by a wild chance."""
    return ntlm.SIGNATURE in token


def _status_of(error: AcceptError) -> int:
    if error.status in _OURS:
        return 503
    return 403 if error.reason in _FORBIDDEN else 401
