import pickle

from negotiate_mw.errors import AcceptError, ConfigurationError, NegotiateError
from negotiate_mw.status import SecStatus


def test_an_accept_error_says_status_reason_and_detail() -> None:
    error = AcceptError(SecStatus.LOGON_DENIED, "replay", detail="seen before")

    assert str(error) == "LOGON_DENIED (replay): seen before"
    assert str(AcceptError(SecStatus.BUSY, "busy")) == "BUSY (busy)"


def test_an_accept_errors_token_is_data_and_shows_nowhere() -> None:
    error = AcceptError(SecStatus.LOGON_DENIED, "replay", detail="seen before", token=b"CANARY")

    assert error.token == b"CANARY"
    assert "CANARY" not in str(error) + repr(error) + repr(error.args)


def test_both_errors_can_be_caught_as_the_packages_own() -> None:
    assert issubclass(AcceptError, NegotiateError)
    assert issubclass(ConfigurationError, NegotiateError)


def test_an_accept_error_keeps_its_data_across_processes() -> None:
    error = pickle.loads(pickle.dumps(AcceptError(SecStatus.TIME_SKEW, "clock-skew", detail="6 minutes")))

    assert (error.status, error.reason, error.detail) == (SecStatus.TIME_SKEW, "clock-skew", "6 minutes")
