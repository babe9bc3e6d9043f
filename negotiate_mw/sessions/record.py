"""What a session remembers, as bytes: everything in an ``Identity`` but delegated credentials, and when it began.

Law: only JSON's own types, no pickle; every field is checked when it is read, and what isn't exactly what ``encode``
writes is None. No clock: times come in as seconds since 1970.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from negotiate_mw.identity import Identity
from negotiate_mw.status import ContextFlag

_VERSION = 1  # of the layout below; another one is none of ours
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TEXT_OR_NONE = (str, type(None))
_NUMBER_OR_NONE = (int, type(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One session.

    Attributes:
        id: random, and the session's alone: the same in every re-seal, and where its own account logs in over it.
        audience: what the session is for.
        created: when the user logged in, in seconds since 1970.
        seen: when the session was last used, in seconds since 1970; to the minute.
        identity: who logged in.
    """

    id: str
    audience: str
    created: int
    seen: int
    identity: Identity

    def ends(self, max_age: float, idle: float | None) -> float:
        """When it ends, in seconds since 1970: with the ticket, ``max_age`` after the log-in, or unused for ``idle``.

        Args:
            max_age: seconds.
            idle: seconds; None: however long nobody uses it.
        """
        end = self.created + max_age
        if idle is not None:
            end = min(end, self.seen + idle)
        if self.identity.expires_at is not None:
            end = min(end, self.identity.expires_at.timestamp())
        return end


def encode(record: Record) -> bytes:
    """``record`` as bytes: to be sealed, since they are neither secret nor proven by themselves."""
    identity = record.identity
    fields = [
        _VERSION,
        record.id,
        record.audience,
        record.created,
        record.seen,
        identity.principal,
        identity.account_id,
        identity.username,
        identity.realm,
        identity.mechanism,
        _pack(identity.groups),
        identity.sid,
        identity.upn,
        None if identity.expires_at is None else (identity.expires_at - _EPOCH) // _MICROSECOND,
        int(identity.attributes),
        identity.channel_bound,
        identity.is_service,
        identity.named_attributes,
    ]
    # a name may hold half a surrogate pair; json.loads reads it back the same way
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def decode(data: bytes) -> Record | None:
    """The record that ``data`` is; None if it is anything else."""
    try:
        return _read(*json.loads(data))
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None


def _read(  # whatever JSON has
    version: Any,
    session_id: Any,
    audience: Any,
    created: Any,
    seen: Any,
    principal: Any,
    account_id: Any,
    username: Any,
    realm: Any,
    mechanism: Any,
    groups: Any,
    sid: Any,
    upn: Any,
    expires_at: Any,
    attributes: Any,
    channel_bound: Any,
    is_service: Any,
    named_attributes: Any,
) -> Record:
    for text in (session_id, audience, principal, account_id, username, realm, mechanism):
        if type(text) is not str:
            raise TypeError
    if type(version) is not int or version != _VERSION or not (session_id and principal and account_id and mechanism):
        raise ValueError
    if type(created) is not int or type(seen) is not int or type(attributes) is not int or type(groups) is not dict:
        raise TypeError
    if type(sid) not in _TEXT_OR_NONE or type(upn) not in _TEXT_OR_NONE or type(expires_at) not in _NUMBER_OR_NONE:
        raise TypeError
    if type(channel_bound) is not bool or type(is_service) is not bool:
        raise TypeError
    identity = Identity(
        principal=principal,
        account_id=account_id,
        username=username,
        realm=realm,
        mechanism=mechanism,
        groups=_unpack(groups),
        sid=sid,
        upn=upn,
        expires_at=None if expires_at is None else _EPOCH + timedelta(microseconds=expires_at),
        attributes=_flags(attributes),
        channel_bound=channel_bound,
        is_service=is_service,
        named_attributes=_unpack_attributes(named_attributes),
    )
    return Record(id=session_id, audience=audience, created=created, seen=seen, identity=identity)


def _pack(groups: Iterable[str]) -> dict[str, list[str]]:
    r"""Groups by what most share: a SID's domain, ``CORP\``; 20 SIDs of one domain take 200 bytes instead of 1,000."""
    packed: dict[str, list[str]] = {}
    for group in sorted(groups):
        cut = max(group.rfind("-"), group.rfind("\\")) + 1
        packed.setdefault(group[:cut], []).append(group[cut:])
    return packed


def _unpack(packed: dict[str, list[str]]) -> frozenset[str]:
    if not packed:
        return frozenset()
    if any(type(tails) is not list for tails in packed.values()):
        raise TypeError
    # str + anything else is a TypeError
    return frozenset([head + tail for head, tails in packed.items() for tail in tails])


def _unpack_attributes(packed: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if type(packed) is not list:
        raise TypeError
    for name, values in packed:
        if type(name) is not str or type(values) is not list or any(type(value) is not str for value in values):
            raise TypeError
    return tuple((name, tuple(values)) for name, values in packed)


@lru_cache(maxsize=64)  # of the few there are; an enum takes its time
def _flags(value: int) -> ContextFlag:
    return ContextFlag(value)
