"""The seam: what accepts tokens, one small synchronous interface per library.

Law: a backend raises nothing but ``AcceptError``, and gives an identity only if the context is complete, the inner
mechanism is complete and allowed, and the name is not empty.
"""

from threading import Lock
from typing import Any, Protocol

from negotiate_mw.identity import AcceptResult


class Context:
    """The handle of one handshake (``phContext``): opaque, stepped by one thread at a time, deleted once.

    Attributes:
        backend: who steps it.
        handle: the library's own context; None before the first step and after deletion.
        lock: held while a step runs, until it has really ended.
        open: a further leg may come.
        host: the host that the leg under way asks for, where the acceptor's name depends on it.
    """

    __slots__ = ("__weakref__", "backend", "handle", "host", "lock", "open")

    def __init__(self, backend: "Backend") -> None:
        self.backend = backend
        self.handle: Any = None
        self.lock = Lock()
        self.open = True
        self.host: str | None = None

    def __repr__(self) -> str:
        return f"<Context {'open' if self.open else 'ended'} at {id(self):#x}>"


class Backend(Protocol):
    """One way of accepting tokens. Every method is called with ``context.lock`` held, or before any context is."""

    @property
    def may_block(self) -> bool:
        """True if a step may wait for the network or another process, so that it has to run in a thread."""

    @property
    def realms(self) -> frozenset[str]:
        """Kerberos realms or NTLM domains that it has keys or users of; ``{"*"}``: the system alone knows.

        The same object as long as they stay the same.
        """

    def acquire(self) -> None:
        """Get ready, or raise ConfigurationError with what to type (``AcquireCredentialsHandle``)."""

    def problem(self) -> str | None:
        """What would keep every client out right now, as a sentence; None if all is well."""

    def step(self, context: Context, token: bytes, bindings: bytes | None) -> AcceptResult:
        """Take one leg, or raise AcceptError (``AcceptSecurityContext``)."""

    def delete(self, context: Context) -> None:
        """Free what the library holds for this context (``DeleteSecurityContext``)."""
