"""Reads the credentials out of the Authorization header (RFC 9110 11.6.2, RFC 4559 4.2). Its law: a scheme
that was not asked for is no business of ours (`None`), but a header that names our scheme is read in one
strict way or refused, so that no two parties can ever disagree on which token a request carried."""

import binascii
import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from .errors import HeaderError

__all__ = [
    "DEFAULT_MAX_BYTES",
    "DEFAULT_SCHEMES",
    "Credentials",
    "HeaderError",
    "Login",
    "host",
    "login",
    "parse",
    "without_login",
]

DEFAULT_SCHEMES = frozenset({b"negotiate"})

# bytes of decoded token, above what others let through: Windows makes Kerberos tokens of up to 48,000
# (MaxTokenSize), http.sys can be set to headers of 65,534 characters, Apache and nginx stop at 8 K unless
# told otherwise
DEFAULT_MAX_BYTES = 65_536

# bytes of a decoded name and password; Active Directory allows 256 characters of either
MAX_LOGIN_BYTES = 2048

# RFC 9110 5.6.2
_TCHARS = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BASIC = re.compile(rb"\s*basic\b", re.IGNORECASE)
# RFC 9110 7.2: uri-host [ ":" port ]
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@/?#, ]+)(?::[0-9]*)?")


@dataclass(slots=True)
class Credentials:
    """What a client presented: its scheme in lower case and the decoded token, which no repr shows."""

    scheme: str
    token: bytes = field(repr=False)


def parse(
    headers: Collection[tuple[bytes, bytes]],
    *,
    schemes: frozenset[bytes] = DEFAULT_SCHEMES,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> Credentials | None:
    """The credentials in ASGI `headers` (lower-case names) if their scheme is in `schemes` (lower case), else
    None.

    `max_bytes` bounds the decoded token. Raises HeaderError: 400 for more than one Authorization header or
    for anything after our scheme but spaces and one canonical base64 token68, 431 for a token over the bound.

        parse([(b"authorization", b"Negotiate YIIC...")])  # Credentials(scheme='negotiate')
    """
    fields = dict(headers)
    value = fields.get(b"authorization")
    if value is None:
        return None
    # RFC 9110 5.3: not a list-valued field, and proxies differ on which of two they believe
    if len(fields) != len(headers) and [name for name, _ in headers].count(b"authorization") > 1:
        raise HeaderError("duplicate-header", "more than one Authorization header")

    scheme, _, rest = value.partition(b" ")
    scheme = scheme.lower()
    if scheme not in schemes:
        run = _TCHARS.match(value)
        if run is None or run[0].lower() not in schemes:
            return None
        raise HeaderError("not-token68", "our scheme is not followed by a space and a token")

    # RFC 9110 11.4: 1*SP before the token68; 5.5: optional whitespace after it is not part of the value
    token68 = rest.lstrip(b" ").rstrip(b" \t")
    if len(token68) * 3 // 4 > max_bytes:
        size = len(token68.rstrip(b"=")) * 3 // 4
        if size > max_bytes:
            raise HeaderError("too-large", f"a token of {size} bytes, {max_bytes} are allowed", 431)
    try:
        token = binascii.a2b_base64(token68, strict_mode=True)
    except binascii.Error:
        # `from None`: the library's message may quote what it stumbled on
        raise HeaderError("not-token68", f"{len(token68)} characters that are not base64") from None
    if not token or len(token68) % 4 or (token68.endswith(b"=") and not _ends_canonically(token68, token)):
        raise HeaderError("not-token68", f"{len(token68)} characters that are not canonical base64")
    return Credentials(scheme.decode("latin-1"), token)


def _ends_canonically(token68: bytes, token: bytes) -> bool:
    """False for superfluous padding and non-zero bits under it (RFC 4648 3.5), which strict mode takes too.

    They can only be at the end: writing that to three bytes again leaves exactly one spelling for each.
    """
    tail = token[(len(token) - 1) // 3 * 3 :]
    return binascii.b2a_base64(tail, newline=False) == token68[-4:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user's name and password, which no repr shows."""

    user: str
    password: str = field(repr=False)


def login(token: bytes) -> Login:
    """The name and the password in the decoded token of the Basic scheme (RFC 7617 2), both in NFC (RFC 8265 4.2.2).

    Raises HeaderError for anything but UTF-8, without control characters (a NUL would end the password early in C),
    with a colon, and something on either side of it.

        login(b"alice:secret")  # Login(user='alice')
    """
    if len(token) > MAX_LOGIN_BYTES:
        raise HeaderError("limit", f"a name and a password of {len(token)} bytes, {MAX_LOGIN_BYTES} are allowed")
    try:
        text = unicodedata.normalize("NFC", token.decode())
    except UnicodeDecodeError:
        raise HeaderError("malformed", "a name and a password that aren't UTF-8") from None
    if any(unicodedata.category(letter) == "Cc" for letter in text):
        raise HeaderError("malformed", "a control character in a name or a password")
    user, _, password = text.partition(":")
    if not user or not password:
        raise HeaderError("malformed", "no name, or no password")
    return Login(user=user, password=password)


def without_login(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """`headers` without what came under the Basic scheme, well formed or not."""
    return [(name, value) for name, value in headers if name != b"authorization" or not _BASIC.match(value)]


def host(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The host that a request asks for, in small letters and without its port; None if that isn't one and clear.

    host([(b"host", b"WWW.corp.example:8443")])  # "www.corp.example"
    """
    values = [value for name, value in headers if name == b"host"]
    found = _HOST.fullmatch(values[0]) if len(values) == 1 else None
    return found[1].decode("latin-1").lower() if found else None
