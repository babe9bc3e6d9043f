"""The cookie that carries a session: its name, its attributes, and how it is read (RFC 6265, RFC 6265bis).

Law: over TLS the name has a prefix that browsers enforce, and no other name is looked at; what is broken, too long or
there twice is nobody's session and is to be cleared. Nothing that a client sends raises.
"""

import hashlib
import re
from collections.abc import Collection, Mapping

from negotiate_mw.errors import ConfigurationError

LARGEST = 3584  # bytes of name and value; browsers drop a cookie over 4,096 with its attributes, without a word
_LARGEST_READ = 4096  # nothing that long was set by us
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_NAME = "negotiate-mw"
_SEMICOLON = ord(";")


# what a request's headers have under the cookie's name: a value, which may be garbage; and is something to be cleared?
Found = tuple[bytes | None, bool]
_MOST_ENDED = 4  # that one request may have ended
_NOTHING: Found = (None, False)
_STRAY: Found = (None, True)


class Cookie:
    """One session cookie, as it is over TLS or over plain http: a value that was set for one is none for the other.

    Over TLS it is called ``__Host-negotiate-mw``: browsers take that name only over TLS, from the host itself and for
    all of its paths, so no other host, subdomain or plain http response can plant one. Over plain http it is called
    ``negotiate-mw``, and whoever listens can use it.

    Args:
        is_tls: for requests over TLS.
        audience: what the session is for; sessions of different audiences have cookies of their own.
        domain: the domain whose hosts share the session; None: this host alone. **Every host below the domain then
            gets your users' sessions and can use them here, and can plant sessions of its own**: the name becomes
            ``__Secure-negotiate-mw``, which promises TLS and nothing else. Only for a domain whose hosts are all yours.

    Attributes:
        name: the cookie's name; part of what a value is sealed for, so that none goes by another name.
    """

    def __init__(self, *, is_tls: bool, audience: str = "", domain: str | None = None) -> None:
        prefix = "" if not is_tls else "__Host-" if domain is None else "__Secure-"
        suffix = f"-{hashlib.sha256(audience.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}" if audience else ""
        self.name: bytes = f"{prefix}{_NAME}{suffix}".encode()
        at = f"; Domain={domain}".encode() if domain is not None else b""
        secure = b"; Secure" if is_tls else b""
        self._attributes = b"; Path=/" + at + b"; HttpOnly; SameSite=Lax" + secure
        self._start = self.name + b"="
        self._values = re.compile(rb"(?:^|;)\s*" + re.escape(self._start) + rb"([^;]*)").findall
        self._cleared = self._start + b"; Max-Age=0" + self._attributes

    def glance(self, headers: Collection[tuple[bytes, bytes]], fields: Mapping[bytes, bytes]) -> bytes | None:
        """The one ``NAME=VALUE`` of it in headers that are written as clients do; None: ``read``.

        Args:
            headers: a request's.
            fields: the same, by name.
        """
        line = fields.get(b"cookie")
        if line is None or len(fields) != len(headers):
            return None  # there is none, or some field is there twice
        at = line.find(self._start)
        if at == 0 and _SEMICOLON not in line:
            return line
        if at < 0 or line.find(self._start, at + 1) >= 0 or (at > 0 and line[at - 2 : at] != b"; "):
            return None
        end = line.find(b"; ", at)
        return line[at:end] if end >= 0 else line[at:]

    def read(self, headers: Collection[tuple[bytes, bytes]]) -> Found:
        """What a request's headers have of it."""
        values = self._found(headers)
        if not values:
            return _NOTHING
        return (values[0], False) if len(values) == 1 and _is_readable(values[0]) else _STRAY

    def all(self, headers: Collection[tuple[bytes, bytes]]) -> list[bytes]:
        """Every value in a request's headers that could be one, of the first few: for ending what is there twice."""
        return list(filter(_is_readable, self._found(headers)[:_MOST_ENDED]))

    def pair(self, value: bytes) -> bytes:
        """``NAME=VALUE``."""
        return self._start + value

    def set(self, value: bytes, max_age: float) -> bytes:
        """``Set-Cookie`` for ``value``, for ``max_age`` seconds."""
        return b"%b; Max-Age=%d%b" % (self.pair(value), max(1, int(max_age)), self._attributes)

    def clear(self) -> bytes:
        """``Set-Cookie`` that has the client forget it."""
        return self._cleared

    def fits(self, value: bytes) -> bool:
        """True if browsers keep ``value``."""
        return len(self._start) + len(value) <= LARGEST

    def _found(self, headers: Collection[tuple[bytes, bytes]]) -> list[bytes]:
        return [value.rstrip() for name, line in headers if name == b"cookie" for value in self._values(line)]


def _is_readable(value: bytes) -> bool:
    return 0 < len(value) <= _LARGEST_READ


def check_domain(domain: object) -> str | None:
    """``domain``, as it goes into a cookie.

    Raises:
        ConfigurationError: it is no domain that hosts can share.
    """
    if domain is None:
        return None
    if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain) or domain.replace(".", "").isdigit():
        raise ConfigurationError(
            f"domain={domain!r}: give the name that all hosts end with, in lower case and without the first dot, such "
            'as "apps.corp.example"'
        )
    return domain


def check_audience(audience: object) -> str:
    """``audience``, as it is sealed in.

    Raises:
        ConfigurationError: it is no text.
    """
    if not isinstance(audience, str):
        raise ConfigurationError(f'audience={audience!r}: give a name for what the sessions are for, such as "wiki"')
    return audience
