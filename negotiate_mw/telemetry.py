"""What the operator reads: one line for each outcome, under the logger ``negotiate_mw``; and numbers, if wanted.

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

Where the process has a provider of OpenTelemetry metrics when the first log-in begins, ``metrics.py`` counts and times
as well; else each event that only counts comes to one comparison.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping, Sized
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

from negotiate_mw.causes import Finding
from negotiate_mw.identity import Identity
from negotiate_mw.refusal import Refusal

if TYPE_CHECKING:
    from negotiate_mw.metrics import Metrics, Pool

_LOG = logging.getLogger("negotiate_mw")
_MAX_CHARACTERS = 256  # of anything that a client chose

Scope = MutableMapping[str, Any]


_metrics: "Metrics | Literal[False] | None" = None  # None: nobody has looked yet; False: nobody wants them
_looking = Lock()
_half_open: "WeakKeyDictionary[Sized, int]" = WeakKeyDictionary()
_pools: "WeakKeyDictionary[Pool, tuple[str, int]]" = WeakKeyDictionary()


def plain(text: object, limit: int = _MAX_CHARACTERS) -> str:
    """``text`` as one printable line of at most ``limit`` characters."""
    line = str(text)
    if not line.isprintable():
        line = "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in line)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def logged_in(scope: Scope, identity: Identity) -> None:
    """A handshake ended: somebody proved who they are, and may in."""
    if metrics := _metrics if _metrics is not None else _look():
        metrics.accepted(identity.mechanism)
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


def turned_away(scope: Scope, refusal: Refusal, reason: str) -> None:
    """Each refusal, whether it gets a line or not. Only counted; the line is ``refused``'s."""
    if metrics := _metrics if _metrics is not None else _look():
        metrics.refused(scope["headers"], refusal.status, reason)


def stepped(mechanism: str, seconds: float) -> None:
    """An accept step ended, however it did. Only counted; may be called in any thread."""
    if metrics := _metrics if _metrics is not None else _look():
        metrics.stepped(mechanism, seconds)


def session_looked_up(*, found: bool) -> None:
    """A request without a token was held against its session. Only counted."""
    if metrics := _metrics if _metrics is not None else _look():
        metrics.session(found=found)


def store_failed(store: str) -> None:
    """A shared store gave no usable answer; ``store`` is the option that named it. Only counted."""
    if metrics := _metrics if _metrics is not None else _look():
        metrics.store_failed(store)


def watch_half_open(store: Sized, limit: int) -> None:
    """Have a store's number of handshakes read whenever metrics are collected, for as long as it lives."""
    _half_open[store] = limit


def watch_pool(name: str, pool: "Pool", limit: int) -> None:
    """Have a pool's number of jobs read whenever metrics are collected, for as long as it lives."""
    _pools[pool] = (name, limit)


def _look() -> "Metrics | Literal[False]":
    """Bind the process's metrics. At the first event, since an app may set its provider as late as in its lifespan."""
    global _metrics
    with _looking:
        if _metrics is None:
            # whoever set a provider has imported it
            _metrics = _metrics_if_wanted() if "opentelemetry.metrics" in sys.modules else False
        return _metrics


def _metrics_if_wanted() -> "Metrics | Literal[False]":
    from negotiate_mw.metrics import Metrics, is_wanted

    return is_wanted() and Metrics(_half_open, _pools)


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
