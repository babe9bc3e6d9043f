"""Everything this package raises on purpose.

::

    NegotiateError
    ├── ConfigurationError    the operator's to mend: says what is wrong and what to type
    ├── AcceptError           one accept step failed: says with which status, and why
    └── DelegationError       the app can't act for the user: says why

Law: errors carry data, and never a token, key or password where ``str`` or ``repr`` would print it.
"""

from collections.abc import Callable
from functools import partial

from negotiate_mw.status import SecStatus


class NegotiateError(Exception):
    """The root of this package's errors."""


class ConfigurationError(NegotiateError):
    """Something the operator has to mend; the one sentence says what is wrong and what to type."""


class AcceptError(NegotiateError):
    """An accept step ended with neither ``OK`` nor ``CONTINUE_NEEDED``; its context is deleted already.

    Attributes:
        status: the outcome, by its Windows number.
        reason: a slug for programs and logs, such as ``"replay"`` or ``"clock-skew"``.
        detail: a sentence for the operator's log; never for the client, whom it would tell clock, realm and SPN.
        token: the mechanism's error token, if it made one. Sending it tells a stranger what ``detail`` tells you.
        mechanism: what the client tried, where it is known: ``"kerberos"`` or ``"ntlm"``.
    """

    def __init__(
        self,
        status: SecStatus,
        reason: str,
        *,
        detail: str = "",
        token: bytes | None = None,
        mechanism: str | None = None,
    ) -> None:
        super().__init__(status, reason, detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.token = token
        self.mechanism = mechanism

    def __reduce__(self) -> tuple[Callable[..., "AcceptError"], tuple[SecStatus, str]]:
        # errors cross process pools, and the default would give detail by position
        make = partial(type(self), detail=self.detail, token=self.token, mechanism=self.mechanism)
        return make, (self.status, self.reason)

    def __str__(self) -> str:
        return f"{self.status.name} ({self.reason}){': ' if self.detail else ''}{self.detail}"


class DelegationError(NegotiateError):
    """The app can't act for the user: they delegated nothing, or no ticket is to be had.

    Attributes:
        reason: a slug for programs and logs: ``"not-delegated"``, ``"not-a-service"``, ``"refused"`` (by the KDC),
            ``"kdc-unreachable"``, ``"failed"``, ``"busy"``, ``"timeout"``, ``"closed"``.
        detail: a sentence for the operator's log; it may name realms and services.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
