"""One log-in, leg by leg: what to send next, given what the server said.

Law: pure; no httpx, no socket, no thread. The flow yields what it wants done (``Send``, ``Open``, ``Go``) and is sent
what came of it (``Answer``, ``Leg``). A token after the first goes where the server's token came from, or nowhere; when
that connection is gone, or the first token turns out to have been bound to another channel, it starts over with a new
context, never with the old token. What the server has refused on the right connection is not tried again.
"""

import binascii
import re
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from negotiate_mw.client.errors import AuthenticationError, ChannelError, MutualAuthenticationError

Mutual = Literal["required", "optional", "off"]
Binding = Literal["required", "when_possible", "off"]

LEGS = 8  # tokens of ours in one log-in, as our acceptor has it; Kerberos takes one, NTLM two
STARTS = 3  # log-ins begun for one request; only where the connection was gone, or another, and none was refused

_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
# RFC 9110 11.6.1, as far as it is ours: the scheme alone, or one token68 behind it
_NEGOTIATE = re.compile(r"(?:^|,)[ \t]*negotiate(?:[ \t]+([^\s,]+))?[ \t]*(?=,|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a log-in has to keep to."""

    mutual: Mutual
    binding: Binding
    preemptive: bool
    once: bool  # the request's body can be sent only once


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send the request.

    ``token`` is None for one without; ``last``: the server may take it for good, so it is the request itself and not
    only a question; ``on``: the connection that it must go out on, where that can be had; None: any.
    """

    token: bytes | None = field(default=None, repr=False)
    last: bool = True
    on: object | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Begin a security context for the channel with these bindings."""

    bindings: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """Go on with the context that was opened last, by the server's token."""

    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """What a context says after a step: the token to send, if any; whether it is ``complete``; whether the server has
    proved who it is; whether ``more`` is sure to come after this token."""

    token: bytes | None = field(repr=False)
    complete: bool
    mutual: bool
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server said, and over which connection.

    ``channel`` is the connection, compared by identity; None: not to be seen. ``trusted``: its origin may have our
    tokens. ``tls``: it came over TLS. ``bindings``: those of its certificate.
    """

    status: int
    asks: bool
    token: bytes | None = field(default=None, repr=False)
    broken: bool = False
    channel: object | None = None
    pinned: bool = False
    trusted: bool = True
    tls: bool = False
    bindings: bytes | None = None


class Initiator(Protocol):
    """The user's half of one handshake; ``step`` may block, and raises AuthenticationError."""

    def step(self, token: bytes | None) -> Leg: ...


Flow = Generator[Send | Open | Go, "Answer | Leg | None", None]


class StepFailed(AuthenticationError):
    """A context couldn't take the server's token; never leaves this package."""


def challenge(headers: Iterable[str]) -> tuple[bool, bytes | None, bool]:
    """What WWW-Authenticate ``headers`` say about Negotiate: whether they do, the token, whether it is broken."""
    found = [match[1] for header in headers for match in _NEGOTIATE.finditer(_QUOTED.sub('""', header))]
    tokens = [token for token in found if token]
    if not tokens:
        return bool(found), None, False
    try:
        (token,) = tokens
        return True, binascii.a2b_base64(token, strict_mode=True), False
    except ValueError:  # two, or no base64
        return True, None, True


def handshake(rules: Rules, heard: Answer | None = None) -> Flow:
    """The dialogue for one request; it ends when the answer sent in last is the one to give.

    Args:
        rules: what it has to keep to.
        heard: the 401 to begin with, where it is known already.

    Raises:
        MutualAuthenticationError: the server didn't prove who it is, as ``rules`` want it.
        ChannelError: a TLS channel or connection isn't what the log-in needs.
    """
    if heard is None and (not rules.preemptive or rules.binding == "required"):
        heard = yield from _ask(rules)
        if not _may_begin(heard):
            return
    for _ in range(STARTS):
        if heard is not None:
            _check_channel(rules, heard)
        heard = yield from _login(rules, heard)
        if heard is None:
            return
        if not heard.asks:
            heard = yield from _ask(rules)
        if not _may_begin(heard):
            return
    raise ChannelError(
        f"{STARTS} log-ins in a row came apart: before one was through, the connection had ended, or was another one"
    )


def _ask(rules: Rules) -> Generator[Send | Open | Go, "Answer | Leg | None", Answer]:
    """Send it without a token. A body that is good for one time only stays at home while a 401 is to be expected."""
    heard = yield Send(last=not rules.once)
    assert isinstance(heard, Answer)
    if rules.once and heard.status not in (401, 407):
        heard = yield Send()
        assert isinstance(heard, Answer)
    return heard


def _may_begin(heard: Answer) -> bool:
    return heard.status == 401 and heard.asks and heard.trusted


def _check_channel(rules: Rules, heard: Answer) -> None:
    if rules.binding != "required":
        return
    if heard.bindings is None:
        raise ChannelError(
            'channel_binding="required" can\'t be kept: '
            + ("nothing can be bound to this server's certificate" if heard.tls else "the server was asked without TLS")
        )
    if not heard.pinned:
        raise ChannelError(
            'channel_binding="required" needs a transport that never sends a token over another connection than it is '
            "bound to: httpx.Client(transport=PinnedTransport(), auth=…)"
        )


def _login(rules: Rules, heard: Answer | None) -> Generator[Send | Open | Go, "Answer | Leg | None", Answer | None]:
    """One context, from its first token on. The answer by which to start over; None: the last answer stands."""
    bindings = None if heard is None or rules.binding == "off" else heard.bindings
    leg = yield Open(bindings=bindings)
    channel = heard.channel if heard is not None and bindings is not None else None
    assert isinstance(leg, Leg)
    for sent in range(LEGS):
        answer = yield Send(token=leg.token, last=not leg.more, on=channel)
        if answer is None:  # the connection was gone, and nothing was sent
            return Answer(status=401, asks=False, pinned=True)
        assert isinstance(answer, Answer)
        moved = channel is not None and answer.channel is not channel
        elsewhere = moved and bindings is not None and answer.bindings != bindings
        if answer.status == 407:  # a proxy's, not the server's
            return None
        if answer.status != 401:
            if elsewhere:
                raise ChannelError("the answer came over another TLS channel than the log-in was bound to")
            yield from _verify(rules, leg, answer)
            return None
        # the first token is good for any connection; a later one only where the server's token before it came from
        if elsewhere or (moved and sent):
            return answer
        if bindings is None and rules.binding != "off" and answer.bindings is not None and heard is None:
            return answer  # the first token went ahead of the connection; now it is known what to bind to
        if answer.token is None:
            return None
        channel = answer.channel
        try:
            leg = yield Go(token=answer.token)
        except StepFailed:
            return None
        assert isinstance(leg, Leg)
        if leg.token is None:
            return None
        if not answer.pinned:
            raise ChannelError(
                "this log-in takes several legs on one connection, as NTLM's do, and httpx's pool may give each "
                "another one; a transport keeps them together: httpx.Client(transport=PinnedTransport(), auth=…)"
            )
    return None


def _verify(rules: Rules, leg: Leg, answer: Answer) -> Generator[Send | Open | Go, "Answer | Leg | None", None]:
    if rules.mutual == "off":
        return
    if not leg.complete and answer.token is not None:
        try:
            said = yield Go(token=answer.token)
        except StepFailed as error:
            raise MutualAuthenticationError(f"{_WRONG}: its token is not that of the service ({error})") from error
        assert isinstance(said, Leg)
        leg = said
        if not leg.complete:
            raise MutualAuthenticationError(f"{_WRONG}: it left off in the middle")
    elif answer.broken:
        raise MutualAuthenticationError(f"{_WRONG}: its token can't be read")
    if rules.mutual == "required" and not (leg.complete and leg.mutual):
        raise MutualAuthenticationError(
            f"{_WRONG}: it answered {answer.status} without a token that proves it; "
            'where that is known and fine: NegotiateAuth(mutual="optional")'
        )


_WRONG = "the server didn't prove who it is"
