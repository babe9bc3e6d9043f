"""The one error of the readers, and its two refinements. Its law: it carries data (a slug to act on, a field
name, offsets and lengths to debug with) and never a byte of the token itself, for tokens are secrets.

- WireError: these bytes are not what they should be
    - Incomplete: the lengths inside say that more bytes are to come
    - HeaderError: the Authorization header is broken; says which HTTP status fits

The slugs: `malformed`, `trailing-bytes`, `incomplete`, `limit`, `unexpected-message` (well formed, but not a
message that an acceptor is sent at this point), `unknown-mechanism`, `unsupported-version`,
`duplicate-header`, `not-token68`, `too-large`.
"""


class WireError(ValueError):
    """Bytes that a reader refuses; `reason` is a slug, `detail` a sentence without any byte of the input."""

    reason: str
    detail: str

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class Incomplete(WireError):
    """The input ends before the lengths inside it say so: SEC_E_INCOMPLETE_MESSAGE, not a forgery by
    itself."""

    def __init__(self, detail: str) -> None:
        super().__init__("incomplete", detail)

    def __reduce__(self) -> tuple[type["Incomplete"], tuple[str]]:
        # the default would call Incomplete(reason, detail): errors cross process pools, so they must pickle
        return type(self), (self.detail,)


class HeaderError(WireError):
    """A broken Authorization header; `status_hint` is 400, or 431 where only its size is wrong (RFC 6585
    5)."""

    status_hint: int

    def __init__(self, reason: str, detail: str, status_hint: int = 400) -> None:
        super().__init__(reason, detail)
        self.status_hint = status_hint

    def __reduce__(self) -> tuple[type["HeaderError"], tuple[str, str, int]]:
        return type(self), (self.reason, self.detail, self.status_hint)
