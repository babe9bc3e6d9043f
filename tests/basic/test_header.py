"""The Basic scheme's name and password: one way to read them, or none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw.wire.http import MAX_LOGIN_BYTES, HeaderError, Login, login, without_login
from tests.core.building import PROPERTY


def test_the_name_ends_at_the_first_colon() -> None:
    found = login(b"alice:se:cret")

    assert found == Login(user="alice", password="se:cret")


def test_a_composed_and_a_decomposed_letter_are_the_same_password() -> None:
    composed, decomposed = "a:p\u00e4ss".encode(), "a:pa\u0308ss".encode()

    assert login(composed) == login(decomposed) == Login(user="a", password="p\u00e4ss")


@pytest.mark.parametrize(
    "token",
    [
        b"alice",
        b":secret",
        b"alice:",
        b"alice:p\xe4ss",  # Latin-1
        b"alice:secret\0",  # C ends a string there, so that "secret" would be right
        b"al\rice:secret",
        b"alice:sec\x7fret",
        "alice:\u0085".encode(),
        b"alice:" + b"x" * MAX_LOGIN_BYTES,
    ],
)
def test_anything_else_is_an_error_that_says_nothing_of_it(token: bytes) -> None:
    with pytest.raises(HeaderError) as caught:
        login(token)

    assert "secret" not in repr(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@PROPERTY
@given(st.binary(max_size=60))
def test_whatever_comes_is_a_login_or_a_header_error(token: bytes) -> None:
    try:
        found = login(token)
    except HeaderError:
        return
    assert found.user
    assert found.password
    assert "\0" not in found.password
    assert found.password not in repr(found).replace(repr(found.user), "") or len(found.password) < 20


def test_no_repr_shows_the_password() -> None:
    assert repr(login(b"alice:secret")) == "Login(user='alice')"


@pytest.mark.parametrize("value", [b"Basic YTpi", b"BASIC YTpi", b"basic", b" basic YTpi", b"Basic\tYTpi"])
def test_what_comes_under_basic_is_taken_out(value: bytes) -> None:
    assert without_login([(b"host", b"x"), (b"authorization", value)]) == [(b"host", b"x")]


@pytest.mark.parametrize("value", [b"Negotiate YTpi", b"Bearer basic", b"basically YTpi"])
def test_what_comes_under_another_scheme_stays(value: bytes) -> None:
    assert without_login([(b"authorization", value)]) == [(b"authorization", value)]
