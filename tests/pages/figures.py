"""The pictures of ``docs/how-it-works.md``: the handshake's states, from the code's own table, and who says what.

Law: every state and every transition of ``negotiate_mw.handshake`` is in its picture, whatever they are; where each
one stands is said here.
"""

from dataclasses import dataclass

from negotiate_mw.handshake import TRANSITIONS, Event, State

from .svg import LINE, arrow, box, picture, words

# the handshake

# state -> where its middle is, and what a client sees meanwhile
PLACES = {
    State.IDLE: (85, 260, "nothing is known"),
    State.HALF_OPEN: (425, 60, "401 with our token"),
    State.STEPPING: (425, 260, "a token is accepted"),
    State.ESTABLISHED: (705, 260, "the policy decides"),
    State.FAILED: (705, 410, "401, 403 or 503"),
}
WIDE, HIGH = 150, 58
KINDS = {State.ESTABLISHED: "good", State.FAILED: "bad"}
# from, to -> the arrow's way, and its words: x, y of the first line, anchor
WAYS = {
    (State.IDLE, State.IDLE): ("M50 289C35 345 110 345 95 289", 85, 356, "middle"),
    (State.IDLE, State.STEPPING): ("M160 260H350", 255, 250, "middle"),
    (State.IDLE, State.FAILED): ("M140 289C200 380 300 410 630 410", 400, 430, "middle"),
    (State.HALF_OPEN, State.IDLE): ("M350 60C240 60 150 140 125 231", 222, 92, "end"),
    (State.HALF_OPEN, State.STEPPING): ("M455 89C472 130 472 190 455 231", 480, 156, "start"),
    (State.STEPPING, State.HALF_OPEN): ("M395 231C378 190 378 130 395 89", 370, 165, "end"),
    (State.STEPPING, State.ESTABLISHED): ("M500 260H630", 565, 250, "middle"),
    (State.STEPPING, State.FAILED): ("M480 289C530 350 560 380 630 395", 560, 336, "start"),
}


def handshake() -> str:
    """The state diagram."""
    events: dict[tuple[State, State], list[Event]] = {}
    for state, row in TRANSITIONS.items():
        for event, then in row.items():
            events.setdefault((state, then), []).append(event)
    parts = []
    for (state, then), causes in events.items():
        way, x, y, anchor = WAYS[state, then]
        parts += [arrow(way, KINDS.get(then, "line")), words(x, y, [*causes], "ink small", anchor)]
    for state in TRANSITIONS:
        x, y, note = PLACES[state]
        parts += [box(x, y, WIDE, HIGH), words(x, y - 4, state, "ink strong"), words(x, y + 16, note, "faint small")]
    said = "; ".join(f"{state}, {' or '.join(causes)}: {then}" for (state, then), causes in events.items())
    return picture(790, 460, "The states of one handshake", f"{said}.", parts)


# who says what to whom


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """One message; ``to`` None: what somebody does by themselves."""

    who: str
    to: str | None
    lines: tuple[str, ...]
    kind: str = "line"


GAP = 190


def _sequence(
    title: str, gap: int, actors: dict[str, str], messages: tuple[Says, ...], band: tuple[int, int, str] | None = None
) -> str:
    """Actors side by side, time downwards. ``band``: messages of one connection, from which to which, and its words."""
    left, top = 95, 44
    place = {actor: left + number * gap for number, actor in enumerate(actors)}
    width, parts, y, starts = 2 * left + gap * (len(actors) - 1), [], top + 56, []
    for message in messages:
        starts.append(y)
        height = LINE * len(message.lines)
        x = place[message.who]
        if message.to is None:
            parts.append(box(x, y + height / 2 - 4, 182, height + 12))
            parts.append(words(x, y + 9, message.lines, "ink small"))
            y += height + 34
            continue
        end = place[message.to]
        away = 1 if end > x else -1
        parts.append(words(x + away * gap / 2, y, message.lines, "ink small"))  # beside the line of who is in between
        parts.append(arrow(f"M{x + 4 * away} {y + height - 10}H{end - 4 * away}", message.kind))
        y += height + 28
    below = []
    if band is not None:
        first, last, said = band
        begin, finish = starts[first] - 20, starts[last + 1] - 18 if last + 1 < len(starts) else y
        ends = sorted((place[messages[first].who], place[messages[first].to or ""]))
        below.append(f'<rect class="band" x="{ends[0]}" y="{begin}" width="{ends[1] - ends[0]}" '
                     f'height="{finish - begin}"/>')  # fmt: skip
        parts.append(words(ends[0] + 10, finish - 8, said, "ink small strong", "start"))
    for actor, about in actors.items():
        x = place[actor]
        below.append(f'<path class="line dashed" d="M{x} {top + 28}V{y - 4}"/>')
        parts += [
            box(x, top, 174, 54),
            words(x, top - 3, actor, "ink strong"),
            words(x, top + 16, about, "faint small"),
        ]
    spoken = " ".join(f"{one.who}{f' to {one.to}' if one.to else ''}: {' '.join(one.lines)}." for one in messages)
    return picture(width, y + 16, title, spoken, [*below, *parts])


def one_leg() -> str:
    """Kerberos, in one leg."""
    return _sequence(
        "Kerberos in one leg",
        GAP,
        {
            "KDC": "domain controller",
            "Browser": "alice logged in already",
            "Proxy": "passes on what comes",
            "Server": "middleware and app",
        },
        (
            Says(who="Browser", to="Server", lines=("GET /",)),
            Says(who="Server", to="Browser", lines=("401 · WWW-Authenticate:", "Negotiate")),
            Says(who="Browser", to="KDC", lines=("a ticket for", "HTTP/www.corp.example")),
            Says(who="KDC", to="Browser", lines=("the ticket, sealed with", "the key in your keytab")),
            Says(who="Browser", to="Server", lines=("GET / · Authorization:", "Negotiate YII…")),
            Says(
                who="Server",
                to=None,
                lines=("opens it with its own key", "whose is it? may they in?", "asks no other machine"),
            ),
            Says(who="Server", to="Browser", lines=("200, the page, our proof:", "Negotiate oYG…"), kind="good"),
        ),
    )


def three_legs() -> str:
    """NTLM, in three."""
    return _sequence(
        "NTLM in three messages",
        GAP,
        {
            "Browser": "no ticket to be had",
            "Proxy": "must not share this",
            "Server": "middleware and app",
            "Domain": "controller or user file",
        },
        (
            Says(who="Browser", to="Server", lines=("GET /",)),
            Says(who="Server", to="Browser", lines=("401 · WWW-Authenticate:", "Negotiate, NTLM")),
            Says(who="Browser", to="Server", lines=("GET / · Negotiate", "NTLM 1: here I am")),
            Says(who="Server", to="Browser", lines=("401 · Negotiate", "NTLM 2: a challenge")),
            Says(who="Browser", to="Server", lines=("GET / · Negotiate", "NTLM 3: the answer to it")),
            Says(who="Server", to="Domain", lines=("is this bob's answer", "to that challenge?")),
            Says(who="Domain", to="Server", lines=("yes, S-1-5-21-…-1107",)),
            Says(who="Server", to="Browser", lines=("200, the page",), kind="good"),
        ),
        band=(2, 7, "one TCP connection"),
    )


# the layers

LAYERS = (
    ("the protocol's ends", ("middleware", "respond", "forward_auth", "servers")),
    ("what lasts", ("sessions", "groups", "bound", "contexts")),
    ("who is on the line", ("connection", "bindings", "origin", "exempt")),
    ("one leg, any transport", ("accept", "basic", "replay", "backends")),
    ("pure decisions", ("handshake", "policy", "identity", "causes")),
    ("pure readers", ("wire", "errors", "status")),
)


def layers() -> str:
    """Which module stands on which."""
    parts = []
    for number, (title, modules) in enumerate(LAYERS):
        y = 40 + number * 56
        parts.append(box(390, y, 740, 46))
        parts.append(words(36, y + 5, title, "ink strong", "start"))
        for place, module in enumerate(modules):
            parts.append(words(250 + place * 130, y + 5, module, "faint", "start"))
    said = "; ".join(f"{title}: {', '.join(modules)}" for title, modules in LAYERS)
    end = 40 + 56 * len(LAYERS)
    parts.append(words(390, end, "each row builds on itself and the rows beneath it", "faint small"))
    return picture(780, end + 24, "The layers", f"From top to bottom: {said}.", parts)


FIGURES = {"handshake": handshake, "one-leg": one_leg, "three-legs": three_legs, "layers": layers}
