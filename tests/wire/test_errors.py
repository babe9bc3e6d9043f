"""What a reader's error carries, and that it survives the way to another process."""

import pickle

import pytest

from negotiate_mw.wire.errors import HeaderError, Incomplete, WireError


@pytest.mark.parametrize(
    "error",
    [
        WireError("malformed", "realm at offset 7"),
        Incomplete("NegTokenInit: 10 of 20 bytes"),
        HeaderError("too-large", "a token of 9 bytes, 8 are allowed", 431),
    ],
)
def test_error_is_a_value_error_that_pickles_with_its_data(error: WireError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert isinstance(error, ValueError)
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)


def test_error_prints_its_reason_and_detail() -> None:
    assert str(WireError("malformed", "realm at offset 7")) == "malformed: realm at offset 7"


def test_incomplete_has_its_own_reason() -> None:
    assert Incomplete("NegTokenInit: 10 of 20 bytes").reason == "incomplete"


def test_header_error_means_400_unless_told() -> None:
    assert HeaderError("not-token68", "no token").status_hint == 400
