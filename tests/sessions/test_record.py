"""A session's record survives as it is, fits, and is read strictly."""

import json
import pickle
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw.identity import Identity
from negotiate_mw.sessions.record import Record, decode, encode
from negotiate_mw.sessions.sealing import Sealer, make_key
from negotiate_mw.status import ContextFlag
from negotiate_mw.testing.scripted import user

DOMAIN = "S-1-5-21-3623811015-3361044348-30300820"
# what a session doesn't remember: forwarded tickets stay where they are
LEFT_OUT = {"claims": None, "delegated": None, "service_tickets": None}


def full(**changed: Any) -> Identity:
    """An identity in which no field has its default."""
    known: dict[str, Any] = {
        "account_id": f"{DOMAIN}-1106",
        "username": "alice",
        "realm": "EXAMPLE.COM",
        "mechanism": "ntlm",
        "groups": frozenset({f"{DOMAIN}-513", "S-1-5-32-545", "CORP\\HR", "plain", "dash-ed", "-", "\\", "Ünïcode"}),
        "sid": f"{DOMAIN}-1106",
        "upn": "alice@example.com",
        "expires_at": datetime(2031, 2, 3, 4, 5, 6, 789012, tzinfo=UTC),
        "attributes": ContextFlag.MUTUAL_AUTH | ContextFlag.CHANNEL_BOUND,
        "channel_bound": True,
        "is_service": True,
        "named_attributes": (("auth-indicators", ("pkinit", "otp")), ("x", ())),
    }
    return user("alice@EXAMPLE.COM", **known | changed)


def record(identity: Identity | None = None) -> Record:
    return Record(id="a" * 22, audience="wiki", created=1_900_000_000, seen=1_900_000_060, identity=identity or full())


def test_everything_in_an_identity_survives_but_what_is_named_here() -> None:
    survived = decode(encode(record()))

    assert survived == record()
    assert survived is not None
    for field in fields(Identity):
        if not field.init:
            continue  # worked out from the others
        if field.name in LEFT_OUT:
            assert getattr(survived.identity, field.name) is LEFT_OUT[field.name]
        else:
            assert getattr(full(), field.name) != field.default, f"{field.name} isn't tried"


texts = st.text(st.characters(codec=None), min_size=1, max_size=20)


@given(
    principal=texts,
    groups=st.frozensets(texts, max_size=10),
    sid=st.none() | texts,
    expires_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    attributes=st.sampled_from(ContextFlag),
    named=st.lists(st.tuples(texts, st.lists(texts, max_size=3).map(tuple)), max_size=3).map(tuple),
)
def test_whatever_is_in_an_identity_survives(
    principal: str,
    groups: frozenset[str],
    sid: str | None,
    expires_at: datetime | None,
    attributes: ContextFlag,
    named: Any,
) -> None:
    identity = full(
        account_id=principal,
        groups=groups,
        sid=sid,
        expires_at=expires_at,
        attributes=attributes,
        named_attributes=named,
    )

    assert decode(encode(record(identity))) == record(identity)


@given(st.binary(max_size=300))
def test_garbage_is_no_record(data: bytes) -> None:
    assert decode(data) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.integers(0, 17), json_values)
def test_a_field_of_another_type_makes_it_no_record(place: int, value: object) -> None:
    parts = json.loads(encode(record()))
    was, parts[place] = parts[place], value

    read = decode(json.dumps(parts).encode())

    assert read is None or is_like(value, was)
    assert read is None or decode(encode(read)) == read


def is_like(value: object, was: object) -> bool:
    """As JSON has it: of the same type, or None for what may be missing; lists and objects may differ inside."""
    return value is None or type(value) is type(was) or value == ""


@pytest.mark.parametrize(
    "named", [{}, {"ab": 1}, "ab", ["ab"], [["a", "bc"]], [["a", {"b": 1}]], [["a", [1]]], [[1, []]], [["a", [], 1]]]
)
def test_attributes_that_are_no_lists_of_text_make_it_no_record(named: object) -> None:
    parts = json.loads(encode(record()))
    parts[17] = named

    assert decode(json.dumps(parts).encode()) is None


@pytest.mark.parametrize("groups", [[], "ab", {"CORP": "HR"}, {"CORP": ["HR", 1]}, {"CORP": {"HR": 1}}, {"CORP": None}])
def test_groups_that_are_no_lists_of_text_make_it_no_record(groups: object) -> None:
    parts = json.loads(encode(record()))
    parts[10] = groups

    assert decode(json.dumps(parts).encode()) is None


@pytest.mark.parametrize("version", [0, 2, True, "1", None, 1.0])
def test_another_version_is_no_record(version: object) -> None:
    parts = json.loads(encode(record()))
    parts[0] = version

    assert decode(json.dumps(parts).encode()) is None


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b"[" * 100_000, pickle.dumps(record()), b"[1]" * 2])
def test_what_somebody_else_wrote_is_no_record(data: bytes) -> None:
    assert decode(data) is None


def test_one_field_more_or_less_makes_it_no_record() -> None:
    parts = json.loads(encode(record()))

    assert decode(json.dumps([*parts, 1]).encode()) is None
    assert decode(json.dumps(parts[:-1]).encode()) is None


def test_twenty_groups_take_less_than_a_kibibyte_sealed() -> None:
    sids = frozenset(f"{DOMAIN}-{1000 + 377 * number}" for number in range(20))
    names = frozenset(f"CORP\\A department of some size {number}" for number in range(20))
    sealer = Sealer([make_key()], "cookie")

    sizes = [len(sealer.seal(encode(record(full(groups=groups))), b"")) for groups in (sids, names)]

    assert max(sizes) <= 1024, sizes


def test_it_ends_with_its_ticket_its_age_or_when_unused_whichever_is_first() -> None:
    begun = datetime.fromtimestamp(1_900_000_000, UTC)
    in_an_hour = record(full(expires_at=begun + timedelta(hours=1)))
    never = record(full(expires_at=None))

    assert in_an_hour.ends(7200, None) == 1_900_003_600
    assert in_an_hour.ends(1800, None) == 1_900_001_800
    assert in_an_hour.ends(7200, 600) == 1_900_000_660  # unused since `seen`
    assert never.ends(7200, None) == 1_900_007_200
