import pytest

from negotiate_mw.status import NO_FLAGS, ContextFlag, SecStatus

# winerror.h
NUMBERS = {
    "OK": 0x00000000,
    "CONTINUE_NEEDED": 0x00090312,
    "INSUFFICIENT_MEMORY": 0x80090300,
    "INVALID_HANDLE": 0x80090301,
    "UNSUPPORTED_FUNCTION": 0x80090302,
    "INTERNAL_ERROR": 0x80090304,
    "INVALID_TOKEN": 0x80090308,
    "LOGON_DENIED": 0x8009030C,
    "NO_CREDENTIALS": 0x8009030E,
    "NO_AUTHENTICATING_AUTHORITY": 0x80090311,
    "CONTEXT_EXPIRED": 0x80090317,
    "INCOMPLETE_MESSAGE": 0x80090318,
    "WRONG_PRINCIPAL": 0x80090322,
    "TIME_SKEW": 0x80090324,
    "BAD_BINDINGS": 0x80090346,
}


def test_every_status_has_the_number_that_windows_gives_it() -> None:
    theirs = {status.name: status.value for status in SecStatus if status.name not in ("BUSY", "TIMEOUT")}

    assert theirs == NUMBERS


@pytest.mark.parametrize("status", [SecStatus.BUSY, SecStatus.TIMEOUT])
def test_our_own_statuses_carry_the_customer_bit(status: SecStatus) -> None:
    assert status & 0x2000_0000
    assert status & 0x8000_0000


def test_the_misprinted_number_of_invalid_handle_gives_the_same_member() -> None:
    assert SecStatus(0x80100003) is SecStatus.INVALID_HANDLE


@pytest.mark.parametrize("number", [1, 0x80100004, -1])
def test_an_unknown_number_is_no_status(number: int) -> None:
    with pytest.raises(ValueError, match="is not a valid SecStatus"):
        SecStatus(number)


def test_context_flags_are_single_bits_with_sspis_numbers() -> None:
    # sspi.h, ASC_RET_*
    theirs = {"DELEGATE": 1, "MUTUAL_AUTH": 2, "REPLAY_DETECT": 4, "SEQUENCE_DETECT": 8, "CONFIDENTIALITY": 0x10}
    theirs |= {"INTEGRITY": 0x20000, "IDENTIFY": 0x80000}

    assert {flag.name: flag.value for flag in ContextFlag if flag is not ContextFlag.CHANNEL_BOUND} == theirs
    assert not any(ContextFlag.CHANNEL_BOUND & number for number in theirs.values())
    assert NO_FLAGS == 0
