"""The Authorization header: exactly one spelling of our token, or an error; anyone else's scheme is left
alone."""

import base64
import string
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw.wire.http import Credentials, HeaderError, parse

from .building import PROPERTY
from .vectors import SPNEGO_KERBEROS

ALL = frozenset({b"negotiate", b"ntlm", b"basic"})


def authorization(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"host", b"www.test.example"),
        *((b"authorization", value) for value in values),
        (b"accept", b"*/*"),
    ]


def refused(value: bytes, **options: int) -> HeaderError:
    with pytest.raises(HeaderError) as caught:
        parse(authorization(value), **options)  # type: ignore[arg-type]
    return caught.value


def test_no_authorization_header_is_no_token() -> None:
    assert parse(authorization()) is None


def test_real_token_is_decoded() -> None:
    value = b"Negotiate " + base64.b64encode(SPNEGO_KERBEROS)

    credentials = parse(authorization(value))

    assert credentials == Credentials(scheme="negotiate", token=SPNEGO_KERBEROS)


@pytest.mark.parametrize("scheme", [b"negotiate", b"NEGOTIATE", b"nEgOtIaTe"])
def test_scheme_in_any_case_is_ours(scheme: bytes) -> None:
    assert parse(authorization(scheme + b" YWJj")) == Credentials(scheme="negotiate", token=b"abc")


@pytest.mark.parametrize(("value", "scheme"), [(b"NTLM YWJj", "ntlm"), (b"Basic YWJj", "basic")])
def test_other_schemes_are_read_when_asked_for(value: bytes, scheme: str) -> None:
    assert parse(authorization(value), schemes=ALL) == Credentials(scheme=scheme, token=b"abc")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b" Negotiate YWJj",
        b"\tNegotiate YWJj",
        b"Bearer abc",
        b"Basic dXNlcjpwYXNz",
        b"NTLM TlRMTVNTUA==",
        b"NegotiateX YWJj",
        b"Negotiat YWJj",
        b"X-Negotiate YWJj",
        b"\xff\xfe\x00",
        b'"Negotiate" YWJj',
        b",Negotiate YWJj",
    ],
)
def test_scheme_that_is_not_ours_is_no_token(value: bytes) -> None:
    assert parse(authorization(value)) is None


@pytest.mark.parametrize(
    "values",
    [
        (b"Negotiate YWJj", b"Negotiate YWJj"),
        (b"Bearer abc", b"Negotiate YWJj"),
        (b"Negotiate YWJj", b"Bearer abc"),
        (b"Bearer abc", b"Bearer abc"),
        (b"", b""),
    ],
)
def test_two_authorization_headers_are_refused_whichever_they_are(values: tuple[bytes, bytes]) -> None:
    with pytest.raises(HeaderError) as caught:
        parse(authorization(*values))

    assert (caught.value.status_hint, caught.value.reason) == (400, "duplicate-header")


@pytest.mark.parametrize("value", [b"Negotiate YWJj ", b"Negotiate YWJj\t \t", b"Negotiate    YWJj", b"Negotiate YWI="])
def test_spaces_before_and_optional_whitespace_after_the_token_are_tolerated(value: bytes) -> None:
    credentials = parse(authorization(value))

    assert credentials is not None
    assert credentials.token in (b"abc", b"ab")


@pytest.mark.parametrize(
    "value",
    [
        b"Negotiate",
        b"Negotiate ",
        b"Negotiate \t ",
        b"Negotiate=YWJj",
        b"Negotiate,YWJj",
        b"Negotiate/YWJj",
        b"Negotiate\tYWJj",
        b"Negotiate \tYWJj",
        b"Negotiate YWJj, Negotiate YWJj",
        b"Negotiate YWJj,",
        b"Negotiate YWJj YWJj",
        b"Negotiate token=YWJj",
        b'Negotiate "YWJj"',
        b"Negotiate YWJj\x00",
        b"Negotiate YWJj\r\nX-User: root",
        b"Negotiate YW\nJj",
        b"Negotiate YWJj\xa0",
    ],
)
def test_our_scheme_without_exactly_one_token_is_refused(value: bytes) -> None:
    error = refused(value)

    assert (error.status_hint, error.reason) == (400, "not-token68")


@pytest.mark.parametrize(
    "token68",
    [
        b"YW",  # padding missing
        b"YWI",
        b"YWJjY",
        b"YWI==",  # too much of it
        b"YWJj=",
        b"YWJj====",
        b"Y===",
        b"=",
        b"====",
        b"=YWJ",
        b"YW=I",
        b"YWI=YWI=",  # two tokens in one
        b"YWJ=",  # bits under the padding
        b"YX==",
        b"-_-_",  # another alphabet
        b"YW~j",
    ],
)
def test_base64_that_is_not_canonical_is_refused(token68: bytes) -> None:
    error = refused(b"Negotiate " + token68)

    assert (error.status_hint, error.reason) == (400, "not-token68")


@pytest.mark.parametrize("size", [7, 8, 9, 10])
def test_token_of_just_the_allowed_size_passes_and_one_byte_more_is_431(size: int) -> None:
    value = b"Negotiate " + base64.b64encode(bytes(size))

    credentials = parse(authorization(value), max_bytes=size)
    error = refused(value, max_bytes=size - 1)

    assert credentials is not None
    assert (error.status_hint, error.reason) == (431, "too-large")


def test_default_bound_is_64_kib() -> None:
    fits = b"Negotiate " + base64.b64encode(bytes(65536))
    does_not = b"Negotiate " + base64.b64encode(bytes(65537))

    assert parse(authorization(fits)) is not None
    assert refused(does_not).status_hint == 431


def test_size_is_judged_before_the_token_is_decoded() -> None:
    assert refused(b"Negotiate " + b"?" * 200_000).status_hint == 431


def test_oversized_header_of_another_scheme_is_no_token() -> None:
    assert parse(authorization(b"Bearer " + b"a" * 200_000)) is None


def test_token_stays_out_of_repr_errors_and_tracebacks() -> None:
    credentials = parse(authorization(b"Negotiate c2VjcmV0"))
    error = refused(b"Negotiate c2VjcmV0!")

    shown = repr(credentials) + "".join(traceback.format_exception(error)) + repr(error)

    assert "c2VjcmV0" not in shown
    assert "secret" not in shown
    assert error.__suppress_context__


@PROPERTY
@given(st.binary(min_size=1, max_size=2000), st.sampled_from(sorted(ALL)))
def test_every_token_survives_the_way_through_the_header(token: bytes, scheme: bytes) -> None:
    credentials = parse(authorization(scheme + b" " + base64.b64encode(token)), schemes=ALL)

    assert credentials == Credentials(scheme=scheme.decode(), token=token)


@PROPERTY
@given(st.text(string.ascii_letters + string.digits + "+/=", min_size=1, max_size=12))
def test_accepted_text_is_the_only_spelling_of_its_token(text: str) -> None:
    try:
        credentials = parse(authorization(b"Negotiate " + text.encode()))
    except HeaderError:
        return

    assert credentials is not None
    assert base64.b64encode(credentials.token).decode() == text


values = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda head, tail: head + tail, st.sampled_from([b"Negotiate", b"Negotiate ", b"NTLM "]), st.binary()),
)


@PROPERTY
@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"cookie"]), values), max_size=3))
def test_any_bytes_are_credentials_none_or_a_header_error(headers: list[tuple[bytes, bytes]]) -> None:
    outcome: Credentials | HeaderError | None
    try:
        outcome = parse(headers, schemes=ALL, max_bytes=20)
    except HeaderError as error:
        outcome = error

    match outcome:
        case HeaderError():
            assert outcome.status_hint in (400, 431)
        case Credentials():
            assert 0 < len(outcome.token) <= 20
