"""What the operator reads: one line for each outcome, under the logger ``negotiate_mw``.

Law: one named event per outcome and none for entering or leaving; what a client chose is escaped and cut; no token,
key, cookie or password ever comes here.

Each record has these fields besides (``logging``'s ``extra``), for structured logs:

- ``negotiate_event``: ``logged-in``, ``challenged``, ``refused``, ``refused-more``, ``without-groups``, ``app-failed``,
  ``out-of-order``, ``without-lifespan``, or a warning's own name
- ``negotiate_principal``: who logged in
- ``negotiate_reason``, ``negotiate_status``, ``negotiate_detail``: of a refusal; the status is the HTTP answer's
- ``negotiate_cause``, ``negotiate_sentence``, ``negotiate_cure``: of a refusal whose cause was found, ``causes.py``
- ``negotiate_reference``: of a refusal; the client was told the same
- ``negotiate_repeats``: how many refusals of this peer and reason got no line of their own (``refused-more``)
- ``negotiate_peer``, ``negotiate_method``, ``negotiate_path``: of the request
"""

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from negotiate_mw.causes import Finding
from negotiate_mw.identity import Identity
from negotiate_mw.refusal import Refusal

_LOG = logging.getLogger("negotiate_mw")
_MAX_CHARACTERS = 256  # of anything that a client chose

Scope = MutableMapping[str, Any]


def plain(text: object, limit: int = _MAX_CHARACTERS) -> str:
    """``text`` as one printable line of at most ``limit`` characters."""
    line = str(text)
    if not line.isprintable():
        line = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def logged_in(scope: Scope, identity: Identity) -> None:
    """Somebody proved who they are and may in."""
    if _LOG.isEnabledFor(logging.INFO):
        fields = {"event": "logged-in", "principal": plain(identity.principal), **_request(scope)}
        _LOG.info("logged in %s by %s%s", fields["principal"], identity.mechanism, _tail(fields), extra=_extra(fields))


def challenged(scope: Scope, refusal: Refusal) -> None:
    """A request came without a token, or with a leg that isn't the last: the usual beginning of a log-in."""
    if _LOG.isEnabledFor(logging.DEBUG):
        fields = {"event": "challenged", "reference": refusal.reference, **_request(scope)}
        _LOG.debug("challenged%s", _tail(fields), extra=_extra(fields))


def refused(scope: Scope, refusal: Refusal, reason: str, detail: str, found: Finding | None = None) -> None:
    """Somebody was turned away: WARNING, or ERROR where it is ours or the operator's to mend."""
    line = plain(detail, 4 * _MAX_CHARACTERS)
    fields = {"event": "refused", "reason": reason, "status": refusal.status, "detail": line}
    if found is not None:
        fields |= {"cause": found.cause, "sentence": found.sentence, "cure": found.cure}
        if not found.told:
            line = plain(f"{line}. {found}" if line else str(found), 8 * _MAX_CHARACTERS)
    fields |= {"reference": refusal.reference, **_request(scope)}
    _LOG.log(
        _level(refusal),
        "refused with %d: %s: %s%s",
        refusal.status,
        reason,
        line,
        _tail(fields),
        extra=_extra(fields),
    )


def refused_more(peer: str, reason: str, repeats: int) -> None:
    """A minute has passed in which one peer was refused for one reason more often than lines were written."""
    fields = {"event": "refused-more", "reason": reason, "repeats": repeats, "peer": peer}
    _LOG.warning("refused: %s: … %d more like this from %s in 60 s", reason, repeats, peer, extra=_extra(fields))


def unexplained(reason: str, error: BaseException) -> None:
    """Finding a refusal's cause failed, which is a mistake of ours; the refusal stands."""
    fields = {"event": "unexplained", "reason": reason}
    _LOG.error("no cause was found for %s: %s", reason, plain(repr(error)), exc_info=error, extra=_extra(fields))


def is_heard(refusal: Refusal) -> bool:
    """True if anybody reads such a refusal's line."""
    return _LOG.isEnabledFor(_level(refusal))


def peer_of(scope: Scope) -> str:
    """The request's peer, for a line."""
    peer = scope.get("client")
    return plain(peer[0]) if peer else "local"


def warned(event: str, sentence: str) -> None:
    """Something the operator should know at start."""
    _LOG.warning("%s", sentence, extra=_extra({"event": event}))


def without_groups(identity: Identity, detail: str) -> None:
    """Somebody was let in without groups, since the policy has them optional."""
    line = plain(detail, 4 * _MAX_CHARACTERS)
    fields = {"event": "without-groups", "principal": plain(identity.principal)}
    _LOG.warning("logged in %s without groups: %s", fields["principal"], line, extra=_extra(fields))


def app_failed(what: str, error: BaseException) -> None:
    """A callable that the app supplied raised; we went on without it."""
    _LOG.error("%s raised %s", what, plain(repr(error)), exc_info=error, extra=_extra({"event": "app-failed"}))


def without_lifespan(error: BaseException) -> None:
    """An app raised at its lifespan before it said anything: most likely it has none; if it has, this is why."""
    _LOG.info("the app has no lifespan: it raised %s", plain(repr(error)), extra=_extra({"event": "without-lifespan"}))


def out_of_order(sentence: str) -> None:
    """The acceptor can't be acquired; every log-in is answered 503 until it can."""
    line = plain(sentence, 4 * _MAX_CHARACTERS)
    _LOG.error("can't accept log-ins: %s", line, extra=_extra({"event": "out-of-order"}))


def _level(refusal: Refusal) -> int:
    return logging.ERROR if refusal.status >= 500 else logging.WARNING


def _request(scope: Scope) -> dict[str, str]:
    return {
        "peer": peer_of(scope),
        "method": plain(scope.get("method", scope["type"])),
        "path": plain(scope.get("path", "")),
    }


def _tail(fields: Mapping[str, object]) -> str:
    shown = " ".join(f"{name}={fields[name]}" for name in ("reference", "peer", "method", "path") if name in fields)
    return f" [{shown}]"


def _extra(fields: Mapping[str, object]) -> dict[str, object]:
    return {f"negotiate_{name}": value for name, value in fields.items()}
