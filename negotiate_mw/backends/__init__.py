"""The seam: what accepts tokens, one small synchronous interface per library.

Law: a backend raises nothing but ``AcceptError``, and gives an identity only if the context is complete, the inner
mechanism is complete and allowed, and the name is not empty.
"""

from threading import Lock
from typing import Any, NamedTuple, Protocol

from negotiate_mw.identity import AcceptResult
from negotiate_mw.wire.keytab import KeytabEntry
from negotiate_mw.wire.spnego import Opening


class Holdings(NamedTuple):
    """What an acceptor of Kerberos has, for explaining a refusal, and never for deciding one.

    Attributes:
        service: first component of its names, ``"HTTP"``.
        hosts: names that it is kept to, ``"HTTP/www.corp.example"``; empty: any of the keytab.
        keytab: the keytab's path.
        entries: labels of the keytab's keys.
        locked_replay_file: the replay cache, where another process holds its lock right now.
        uses_gssproxy: steps go to another process, which has keys of its own.
    """

    service: str
    hosts: frozenset[str]
    keytab: str
    entries: tuple[KeytabEntry, ...]
    locked_replay_file: str | None = None
    uses_gssproxy: bool = False


class Context:
    """The handle of one handshake (``phContext``): opaque, stepped by one thread at a time, deleted once.

    Attributes:
        backend: who steps it.
        handle: the library's own context, freed with its last reference; None before the first step and after deletion.
        lock: held while a step runs, until it has really ended.
        open: a further leg may come.
        opening: what its first token says of itself; None: nobody has read that.
        host: the host that the leg under way asks for, where the acceptor's name depends on it.
        spent: one of its legs is remembered by all nodes, where they share a replay cache.
    """

    __slots__ = ("__weakref__", "backend", "handle", "host", "lock", "open", "opening", "spent")

    def __init__(self, backend: "Backend", opening: Opening | None = None) -> None:
        self.backend: Backend = backend
        self.opening: Opening | None = opening
        self.handle: Any = None
        self.lock: Lock = Lock()
        self.open: bool = True
        self.host: str | None = None
        self.spent: bool = False

    def __repr__(self) -> str:
        return f"<Context {'open' if self.open else 'ended'} at {id(self):#x}>"


class Backend(Protocol):
    """One way of accepting tokens. ``step`` is called with ``context.lock`` held; the others at any time."""

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
