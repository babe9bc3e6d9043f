r"""The user file of the built-in NTLM acceptor: who may log in, and the hash of each one's password.

Law: a line is understood in one way or the whole file is refused, with the line's number and never its text; two
lines never stand for one user; a user without a domain, or without a password, is nobody. The file itself is opened
elsewhere.

Two kinds of lines, which pyspnego and gss-ntlmssp read too, and ``#`` for comments::

    CORP:alice:her password
    CORP\bob:0:<LM hash>:<NT hash>:[U]:LCT-00000000

The second is what ``negotiate-mw ntlm-hash`` prints; its LM hash is never looked at.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from negotiate_mw.errors import ConfigurationError

_HASH_DIGITS = 32
# MD4 of nothing: an account without a password
_EMPTY_NT_HASH = bytes.fromhex("31d6cfe0d16ae931b73c59d7e0c089c0")
_SEPARATORS = frozenset('\\/@:"')


@dataclass(frozen=True, slots=True, kw_only=True)
class NtlmUser:
    """One user: names as the file spells them, and the NT hash, which is as good as the password."""

    domain: str
    name: str
    nt_hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class NtlmUsers:
    """All users of a file."""

    _users: dict[tuple[str, str], NtlmUser] = field(repr=False)
    domains: frozenset[str]

    def __len__(self) -> int:
        return len(self._users)

    def find(self, domain: str, name: str) -> NtlmUser | None:
        """The user, in whatever case the names are written; no domain means the file's only one."""
        if not domain and len(self.domains) == 1:
            (domain,) = self.domains
        return self._users.get(_key(domain, name))


def read_users(data: bytes, nt_hash: Callable[[str], bytes]) -> NtlmUsers:
    """The users of the file whose contents ``data`` is.

    Args:
        data: the whole file, in UTF-8.
        nt_hash: makes the NT hash of a password.

    Raises:
        ConfigurationError: the file isn't one, or a line of it isn't; says which and how to write it.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigurationError("it isn't UTF-8; write it anew with: negotiate-mw ntlm-hash DOMAIN USER") from None
    users: dict[tuple[str, str], NtlmUser] = {}
    seen: dict[tuple[str, str], int] = {}
    spellings: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        try:
            user = _user(line, nt_hash)
        except ConfigurationError as error:
            raise ConfigurationError(f"line {number}: {error}") from None
        key = _key(user.domain, user.name)
        if key in seen:
            raise ConfigurationError(f"line {number}: the same user as in line {seen[key]}; keep one of them")
        if spellings.setdefault(key[0], user.domain) != user.domain:
            raise ConfigurationError(f"line {number}: a domain spelled in two ways; write {spellings[key[0]]!r}")
        seen[key] = number
        users[key] = user
    if not users:
        raise ConfigurationError("it holds no user; add some with: negotiate-mw ntlm-hash DOMAIN USER")
    return NtlmUsers(users, frozenset(user.domain for user in users.values()))


def hash_line(domain: str, name: str, nt_hash: bytes, unused_lm_hash: bytes) -> str:
    """The user file's line for a user.

    Args:
        domain: the NTLM domain, such as ``"CORP"``.
        name: the user, without the domain.
        nt_hash: of the password.
        unused_lm_hash: 16 random bytes. Other readers of the file may take log-ins by the LM hash, and this way
            nobody has the password of it.

    Raises:
        ConfigurationError: a name can't stand in the file.
    """
    _check_name(domain, "domain")
    _check_name(name, "user")
    _check_hash(nt_hash)
    return f"{domain}\\{name}:0:{unused_lm_hash.hex().upper()}:{nt_hash.hex().upper()}:[U]:LCT-00000000"


def _user(line: str, nt_hash: Callable[[str], bytes]) -> NtlmUser:
    fields = line.split(":")
    if len(fields) == 3:
        domain, name, password = fields
        if not password:
            raise ConfigurationError("the password is empty")
        digest = nt_hash(password)
    elif len(fields) == 6:
        domain, _, name = fields[0].rpartition("\\")
        digest = _hash(fields[3])
        if set(fields[4]) & {"D", "N"}:
            raise ConfigurationError(
                f"the account's flags are {fields[4]!r}: disabled or without a password; leave it out"
            )
    else:
        raise ConfigurationError(
            f"{len(fields)} fields; write DOMAIN:user:password, or for a password with a colon in it "
            "what this prints: negotiate-mw ntlm-hash DOMAIN USER"
        )
    _check_name(domain, "domain")
    _check_name(name, "user")
    _check_hash(digest)
    return NtlmUser(domain=domain, name=name, nt_hash=digest)


def _hash(text: str) -> bytes:
    # bytes.fromhex() would skip spaces
    if len(text) != _HASH_DIGITS or not text.isalnum():
        raise ConfigurationError(f"the fourth field is no NT hash of {_HASH_DIGITS} hexadecimal digits")
    try:
        return bytes.fromhex(text)
    except ValueError:
        # `from None`: hashes are secrets
        raise ConfigurationError(f"the fourth field is no NT hash of {_HASH_DIGITS} hexadecimal digits") from None


def _check_hash(digest: bytes) -> None:
    if digest == _EMPTY_NT_HASH:
        raise ConfigurationError("the password is empty")


def _check_name(name: str, what: str) -> None:
    if not name:
        raise ConfigurationError(f"the {what} is missing; write DOMAIN:user:password or DOMAIN\\user:0:…")
    if not name.isprintable() or name != name.strip() or set(name) & _SEPARATORS:
        raise ConfigurationError(
            f"the {what} can't be used: letters and digits are fine, spaces around it or {_SHOWN} aren't"
        )


_SHOWN = " ".join(sorted(_SEPARATORS))


def _key(domain: str, name: str) -> tuple[str, str]:
    # as NTLM itself compares names (MS-NLMP 3.3.2, UpperCase)
    return domain.upper(), name.upper()
