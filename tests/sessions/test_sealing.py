"""Seals open for the same purpose, associated data and keys, and for nothing else."""

import secrets

import pytest

from negotiate_mw.errors import ConfigurationError
from negotiate_mw.sessions.sealing import LEAST_KEY_BYTES, MAKE_A_KEY, OVERHEAD, Sealer, make_key

KEY = make_key()


def test_what_was_sealed_opens_with_the_same_associated_data() -> None:
    sealer = Sealer([KEY], "cookie")

    sealed = sealer.seal(b"alice", b"here")

    assert sealer.open(sealed, b"here") == b"alice"
    assert len(sealed) == len(b"alice") + OVERHEAD
    assert b"alice" not in sealed


def test_every_bit_of_a_seal_counts() -> None:
    sealer = Sealer([KEY], "cookie")
    sealed = sealer.seal(b"alice", b"here")

    opened = [sealer.open(flip(sealed, bit), b"here") for bit in range(8 * len(sealed))]

    assert opened == [None] * (8 * len(sealed))


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_other_associated_data_another_purpose_and_another_key_open_nothing() -> None:
    sealed = Sealer([KEY], "cookie").seal(b"alice", b"here")

    assert Sealer([KEY], "cookie").open(sealed, b"there") is None
    assert Sealer([KEY], "redis").open(sealed, b"here") is None
    assert Sealer([make_key()], "cookie").open(sealed, b"here") is None


@pytest.mark.parametrize("size", [0, 1, OVERHEAD - 1, OVERHEAD, 10_000])
def test_garbage_opens_nothing(size: int) -> None:
    assert Sealer([KEY], "cookie").open(secrets.token_bytes(size), b"here") is None


def test_keys_rotate_the_first_seals_and_all_open() -> None:
    old, new = make_key(), make_key()
    sealed_before = Sealer([old], "cookie").seal(b"alice", b"")
    rotated = Sealer([new, old], "cookie")

    sealed_since = rotated.seal(b"bob", b"")

    assert rotated.open(sealed_before, b"") == b"alice"
    assert Sealer([new], "cookie").open(sealed_since, b"") == b"bob"
    assert Sealer([new], "cookie").open(sealed_before, b"") is None


def test_the_same_is_never_sealed_the_same_way_twice() -> None:
    sealer = Sealer([KEY], "cookie")

    assert len({sealer.seal(b"alice", b"") for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "keys",
    [
        None,
        [],
        KEY,
        KEY.encode(),
        [KEY] * 9,
        [""],
        ["x" * 31],
        [make_key()[: LEAST_KEY_BYTES - 1]],
        ["0123456789"[:9] * 5],
        ["ChangeMe-" + make_key()],
        ["my-default-" + make_key()],
        ["django-insecure-" + make_key()],
        [KEY, "short"],
        [12345],
        [None],
    ],
)
def test_a_weak_key_stops_the_start_with_the_command_that_makes_a_good_one(keys: object) -> None:
    with pytest.raises(ConfigurationError) as error:
        Sealer(keys, "cookie")  # type: ignore[arg-type]

    assert MAKE_A_KEY in str(error.value)
    assert KEY not in str(error.value)


def test_the_command_makes_a_key_that_is_good() -> None:
    import shlex
    import subprocess
    import sys

    command = [sys.executable, *shlex.split(MAKE_A_KEY)[1:]]
    key = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert Sealer([key], "cookie").open(Sealer([key], "cookie").seal(b"", b""), b"") == b""


def test_keys_of_other_common_makes_are_good_too() -> None:
    Sealer([secrets.token_bytes(32), secrets.token_hex(32), secrets.token_urlsafe(48)], "cookie")


def test_no_key_shows() -> None:
    assert KEY not in repr(Sealer([KEY], "cookie")) + repr(vars(Sealer([KEY], "cookie")))
