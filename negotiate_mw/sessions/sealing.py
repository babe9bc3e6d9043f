"""Sealing: what only we can read and nobody can make or change (AES-256-GCM, RFC 5116).

Law: a secret is never used itself; from each, one key per purpose is derived (HKDF, RFC 5869), so that what was sealed
for one purpose is garbage for every other. Whatever doesn't open is None: why it doesn't is nobody's business.
"""

import hmac
import os
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from negotiate_mw.errors import ConfigurationError

MAKE_A_KEY = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'
LEAST_KEY_BYTES = 32  # what that command prints has 43; Django wants 50, with 5 different characters
OVERHEAD = 12 + 12 + 16  # bytes that sealing adds: salt, nonce and tag

_LEAST_DIFFERENT_BYTES = 10  # 32 random hexadecimal digits have fewer once in 3,000 times
_MOST_KEYS = 8  # each is tried on every forgery
_PLACEHOLDERS = (b"change", b"default", b"example", b"insecure", b"password", b"placeholder", b"secret")
_SALT = 12  # bytes
_NONCE = 12  # bytes, what AES-GCM takes


class Sealer:
    """Seals under the first key, opens what any of the keys sealed: a list of keys is how keys are rotated.

    ::

        sealer = Sealer(["a new secret", "the one before"], "cookie")
        sealed = sealer.seal(b"alice", b"for www.example.com")
        assert sealer.open(sealed, b"for www.example.com") == b"alice"

    Each message is sealed under a key of its own, made from the purpose's key and 96 random bits, with another 96
    random bits as nonce. One key with random nonces alone is good for 2**32 messages (NIST SP 800-38D 8.3), which a
    million users reach in three days; 192 random bits are good for 2**80 at the same odds of a repeat, one in 2**32.

    Args:
        keys: secrets of at least 32 random bytes, as text or bytes; at most 8.
        purpose: what the seals are for; other purposes can't open them.

    Raises:
        ConfigurationError: a key is short or a placeholder, or there is none; says which command makes a good one.
    """

    def __init__(self, keys: Sequence[str | bytes], purpose: str) -> None:
        self._keys = [_derive(secret, purpose) for secret in check_keys(keys)]

    def __repr__(self) -> str:
        return f"Sealer(<{len(self._keys)} keys>)"

    def seal(self, data: bytes, aad: bytes) -> bytes:
        """Seal ``data`` so that it opens with the same ``aad`` (associated data) alone."""
        random = os.urandom(_SALT + _NONCE)
        salt, nonce = random[:_SALT], random[_SALT:]
        return random + _cipher(self._keys[0], salt).encrypt(nonce, data, aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes | None:
        """What was sealed with ``aad`` under one of the keys; None if nothing was."""
        if len(sealed) < OVERHEAD:
            return None
        salt, nonce, data = sealed[:_SALT], sealed[_SALT : _SALT + _NONCE], sealed[_SALT + _NONCE :]
        for key in self._keys:
            try:
                return _cipher(key, salt).decrypt(nonce, data, aad)
            except InvalidTag:
                continue
        return None


def make_key() -> str:
    """A new secret, for one process alone."""
    return secrets.token_urlsafe(32)


def check_keys(keys: object) -> list[bytes]:
    """``keys`` as bytes.

    Raises:
        ConfigurationError: a key is short or a placeholder, or there is none; the key itself isn't shown.
    """
    if isinstance(keys, str | bytes) or not isinstance(keys, Sequence) or not 1 <= len(keys) <= _MOST_KEYS:
        raise ConfigurationError(
            f"keys=…: give a list of 1 to {_MOST_KEYS} secrets, the newest first; make one with `{MAKE_A_KEY}`"
        )
    return [_check(key, f"keys[{place}]") for place, key in enumerate(keys)]


def _check(key: object, which: str) -> bytes:
    secret = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key
    if not isinstance(secret, bytes):
        raise ConfigurationError(f"{which} is a {type(key).__name__}: give text or bytes; make one with `{MAKE_A_KEY}`")
    problem = ""
    if len(secret) < LEAST_KEY_BYTES:
        problem = f"has {len(secret)} bytes, and {LEAST_KEY_BYTES} is the least"
    elif len(set(secret)) < _LEAST_DIFFERENT_BYTES:
        problem = "repeats itself, so it can be guessed"
    elif any(word in secret.lower() for word in _PLACEHOLDERS):
        problem = "is a placeholder that everybody knows"
    if problem:
        raise ConfigurationError(f"{which} {problem}; make a good one with `{MAKE_A_KEY}`")
    return secret


def _derive(secret: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"negotiate-mw {purpose}".encode()).derive(secret)


def _cipher(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(hmac.digest(key, salt, "sha256"))
