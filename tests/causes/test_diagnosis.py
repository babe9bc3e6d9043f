"""The true cause, from what anybody could read of a token and the keytab's labels; nothing rather than a wrong one."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw.backends import Holdings
from negotiate_mw.diagnosis import _BY_REASON, _QUESTIONS, Evidence, diagnose
from negotiate_mw.wire.errors import WireError
from negotiate_mw.wire.keytab import KeytabEntry
from negotiate_mw.wire.spnego import KRB5_U2U, NEGOEX
from tests.core.building import negotiate
from tests.wire import building, vectors

NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
WWW = "HTTP/www.test.example"


def ticket(service: str = WWW, *, kvno: int | None = 7, enctype: int = 18, realm: str = "TEST.EXAMPLE") -> bytes:
    """A bare Kerberos token whose ticket says this."""
    number = None
    if kvno is not None:
        number = kvno.to_bytes(kvno.bit_length() // 8 + 1, signed=kvno < 0)
    part = building.encrypted(0xA3, enctype=bytes([enctype]), kvno=number)
    name = building.sname(*service.encode().split(b"/"))
    of_realm = building.tlv(0xA1, building.tlv(0x1B, realm.encode()))
    whole = building.ticket(building.PVNO, of_realm, name, part)
    return building.ap_req(building.PVNO, building.MSG_TYPE, building.AP_OPTIONS, whole, building.AUTHENTICATOR)


def key(principal: str = WWW, *, kvno: int = 7, enctype: int = 18, realm: str = "TEST.EXAMPLE") -> KeytabEntry:
    components = tuple(principal.split("/"))
    return KeytabEntry(principal=principal, realm=realm, components=components, kvno=kvno, enctype=enctype, timestamp=0)


def holding(*entries: KeytabEntry, **fields: Any) -> Holdings:
    known = {"service": "HTTP", "hosts": frozenset(), "keytab": "/etc/http.keytab", "entries": entries}
    return Holdings(**known | fields)


def found(reason: str, **fields: Any) -> str | None:
    finding = diagnose(Evidence(reason=reason, now=NOW, **fields))
    return None if finding is None else finding.cause


def said(reason: str, **fields: Any) -> str:
    finding = diagnose(Evidence(reason=reason, now=NOW, **fields))
    assert finding is not None
    return str(finding)


# What the realms of test_deployments can't show
FOUND: dict[str, tuple[str, dict[str, Any]]] = {
    "clock-behind": ("clock-skew", {"detail": "the ticket isn't valid yet by this machine's clock [x]"}),
    "gssproxy": ("timeout", {"holdings": holding(uses_gssproxy=True)}),
    "overloaded": ("timeout", {"holdings": holding()}),
}


@pytest.mark.parametrize("cause", FOUND)
def test_a_cause_by_what_is_known(cause: str) -> None:
    reason, known = FOUND[cause]

    assert found(reason, **known) == cause


@pytest.mark.parametrize(
    ("kvno", "held", "cause"),
    [
        (7, (5, 6), "kvno-old"),
        (7, (8, 9), "kvno-new"),
        (7, (5, 9), "kvno-new"),
        (0x10007, (8,), "kvno-new"),
        (256, (255,), "kvno-old"),
        (0x10007, (5, 6), "kvno-old"),
    ],
)
def test_a_version_that_the_keytab_lacks(kvno: int, held: tuple[int, ...], cause: str) -> None:
    holdings = holding(*(key(kvno=number) for number in held))

    assert found("no-key", token=ticket(kvno=kvno), holdings=holdings) == cause


def test_the_versions_are_named() -> None:
    line = said("no-key", token=ticket(kvno=7), holdings=holding(key(kvno=6), key(kvno=5), key(kvno=5, enctype=17)))

    assert "is for kvno 7, the keytab holds 5 and 6" in line
    assert "copy that file to /etc/http.keytab" in line


@pytest.mark.parametrize(
    ("kvno", "held"),
    [
        (7, 7),
        (0x10007, 7),  # a read-only domain controller's
        (0xFFFF0007, 7),
        (-2147418105, 7),  # the same as an i32
        (300, 44),  # 8 bits of it
        (0x1012C, 300),
        (0x1012C, 44),
        (7, 0),  # ktpass /kvno 0
        (0, 7),
        (None, 7),
    ],
)
@pytest.mark.parametrize("reason", ["no-key", "wrong-key", "refused", "wrong-principal"])
def test_a_version_that_may_be_the_keytabs_is_no_false_alarm(kvno: int | None, held: int, reason: str) -> None:
    cause = found(reason, token=ticket(kvno=kvno), holdings=holding(key(kvno=held)))

    assert cause == ("wrong-key" if reason == "wrong-key" else None)


@pytest.mark.parametrize(
    ("token", "entries", "cause"),
    [
        (ticket(enctype=18), [key(enctype=17)], "enctype-missing"),
        (ticket(enctype=23), [key(enctype=17), key(enctype=18)], "rc4-ticket"),
        (ticket("HTTP/alias.test.example"), [key()], "alias"),
        (ticket("HTTP/WWW.test.example"), [key()], "name-spelling"),
        (ticket("host/www.test.example"), [key(), key("host/www.test.example")], "other-service"),
        (ticket(realm="OTHER.EXAMPLE"), [key()], "other-realm"),
        (ticket(), [], None),
        (b"", [key()], None),
        (ticket()[:-1], [key()], None),
        (vectors.NTLM_NEGOTIATE, [key()], None),
    ],
)
@pytest.mark.parametrize("reason", ["no-key", "wrong-key", "refused", "wrong-principal"])
def test_a_ticket_is_held_against_the_keytab(
    token: bytes, entries: list[KeytabEntry], cause: str | None, reason: str
) -> None:
    assert found(reason, token=token, holdings=holding(*entries)) == cause


def test_gssproxys_keys_are_not_the_keytabs() -> None:
    holdings = holding(key(kvno=5), uses_gssproxy=True)

    assert found("no-key", token=ticket(), holdings=holdings) == "gssproxy"


def test_a_real_ticket_of_an_old_key() -> None:
    line = said("no-key", token=vectors.SPNEGO_KERBEROS_AD, holdings=holding(key(kvno=1, realm="AD.TEST.EXAMPLE")))

    assert "kvno 2, the keytab holds 1" in line


@pytest.mark.parametrize(
    ("token", "cause"),
    [
        (vectors.SPNEGO_NTLM_NEGOTIATE, "ntlm-not-kerberos"),
        (vectors.NTLM_NEGOTIATE, "ntlm-not-kerberos"),
        (negotiate(NEGOEX), "other-mechanism"),
        (negotiate(KRB5_U2U), "other-mechanism"),
        (vectors.NTLM_AUTHENTICATE, None),
        (b"", None),
    ],
)
def test_a_mechanism_that_is_not_taken(token: bytes, cause: str | None) -> None:
    assert found("mechanism-not-allowed", token=token, holdings=holding(key()), host="www.test.example") == cause


def test_ntlm_where_there_is_no_kerberos_is_not_for_an_spn_to_mend() -> None:
    assert found("mechanism-not-allowed", token=vectors.NTLM_NEGOTIATE, holdings=None) is None


@pytest.mark.parametrize("host", ["192.0.2.1", "[2001:db8::1]"])
def test_ntlm_for_an_address(host: str) -> None:
    known: dict[str, Any] = {"token": vectors.NTLM_NEGOTIATE, "holdings": holding(key()), "host": host}

    assert found("mechanism-not-allowed", **known) == "ntlm-by-address"
    assert WWW in said("mechanism-not-allowed", **known)


def test_a_reason_that_nobody_knows_is_not_guessed_at() -> None:
    assert found("something-new", token=ticket(), holdings=holding(key())) is None


HOSTILE = "x\r\nERROR forged \x1b[2J" + "y" * 300


@pytest.mark.parametrize(
    "known",
    [
        {"reason": "no-key", "token": ticket("HTTP/" + HOSTILE)},
        {"reason": "no-key", "token": ticket(realm=HOSTILE)},
        {"reason": "mechanism-not-allowed", "token": vectors.NTLM_NEGOTIATE, "host": HOSTILE},
        {"reason": "wrong-host", "token": ticket("HTTP/" + HOSTILE), "host": HOSTILE},
        {"reason": "bad-bindings", "names_certfile": True, "host": HOSTILE},
    ],
)
def test_what_a_client_chose_is_escaped_and_cut(known: dict[str, Any]) -> None:
    line = said(holdings=holding(key()), **known)

    assert "forged" in line
    assert line.isprintable()
    assert "y" * 256 not in line


REASONS = st.sampled_from([*_BY_REASON, *_QUESTIONS, "something-new"])
TOKENS = st.none() | st.binary() | st.sampled_from([ticket(), *(v for v in vars(vectors).values() if type(v) is bytes)])


@building.PROPERTY
@given(
    reason=REASONS,
    token=TOKENS,
    cut=st.integers(0, 60),
    host=st.none() | st.text(),
    detail=st.text(),
    holdings=st.none()
    | st.builds(
        holding,
        st.builds(key, st.sampled_from([WWW, "HTTP/other", "host/www.test.example"]), kvno=st.integers(0, 2**32 - 1)),
        uses_gssproxy=st.booleans(),
    ),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_whatever_comes_it_is_a_finding_or_none(
    reason: str,
    token: bytes | None,
    cut: int,
    host: str | None,
    detail: str,
    holdings: Holdings | None,
    flags: tuple[bool, bool, bool],
) -> None:
    evidence = Evidence(
        reason=reason,
        now=NOW,
        token=None if token is None else token[: len(token) - cut],
        host=host,
        detail=detail,
        holdings=holdings,
        is_forwarded=flags[0],
        is_preflight=flags[1],
        names_certfile=flags[2],
    )

    try:
        finding = diagnose(evidence)
    except WireError as error:  # pragma: no cover - what this test is about
        pytest.fail(str(error))

    assert finding is None or str(finding).isprintable()
    assert "token=" not in repr(evidence)
