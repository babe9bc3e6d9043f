"""What the core's tests are made of: first tokens, identities, and settings for property tests."""

from collections.abc import Callable
from threading import Event, Thread, current_thread
from threading import enumerate as all_threads
from typing import Any

from hypothesis import settings

from negotiate_mw.backends import Context
from negotiate_mw.errors import AcceptError
from negotiate_mw.identity import AcceptResult, Identity
from negotiate_mw.status import SecStatus
from negotiate_mw.wire import der, spnego

# every run tries the same examples, so that a red test is red again
PROPERTY = settings(derandomize=True, deadline=None, max_examples=300, database=None)


def user(principal: str = "alice@EXAMPLE.COM", **fields: Any) -> Identity:
    known = {"principal": principal, "account_id": principal, "username": principal, "mechanism": "kerberos"}
    return Identity(**known | {"realm": principal.rpartition("@")[2]} | fields)


def finished(
    identity: Identity | None = None, token: bytes | None = b"last", context: object = "context"
) -> AcceptResult:
    identity = identity or user()
    return AcceptResult(
        status=SecStatus.OK, context=context, token=token, attributes=identity.attributes, identity=identity
    )


def unfinished(token: bytes | None = b"more", context: object = "context") -> AcceptResult:
    return AcceptResult(status=SecStatus.CONTINUE_NEEDED, context=context, token=token)


def _oid(dotted: str) -> bytes:
    return der.encode(der.OID, der.encode_oid(dotted))


def negotiate(*mechanisms: str) -> bytes:
    """A first SPNEGO token that offers ``mechanisms``."""
    offered = der.encode(0xA0, der.encode(der.SEQUENCE, *map(_oid, mechanisms)))
    return der.encode(0x60, _oid(spnego.SPNEGO), der.encode(0xA0, der.encode(der.SEQUENCE, offered)))


KERBEROS = negotiate(spnego.KRB5)
RAW_KERBEROS = der.encode(0x60, _oid(spnego.KRB5), b"\x01\x00an AP-REQ")


class FakeBackend:
    """Answers each step by what it was made with, and writes down who asked for what."""

    def __init__(self, *answers: AcceptResult | Exception | Callable[[], object]) -> None:
        self.may_block = False
        self.realms = frozenset({"EXAMPLE.COM"})
        self.ill: str | None = None
        self._answers = list(answers)
        self.steps: list[tuple[Context, bytes, bytes | None]] = []
        self.threads: list[str] = []
        self.deleted: list[object] = []
        self.began = Event()
        self.go_on = Event()
        self.go_on.set()

    def acquire(self) -> None:
        """It always is."""

    def problem(self) -> str | None:
        return self.ill

    def step(self, context: Context, token: bytes, bindings: bytes | None) -> AcceptResult:
        assert context.lock.locked()
        self.steps.append((context, token, bindings))
        self.threads.append(current_thread().name)
        context.handle = context.handle or Handle(self.deleted)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.began.set()
        assert self.go_on.wait(20)
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, AcceptResult):
            answer = answer()
            assert isinstance(answer, AcceptResult)
        return AcceptResult(
            status=answer.status,
            context=context,
            token=answer.token,
            attributes=answer.attributes,
            identity=answer.identity,
        )


class Handle:
    """A library's own context, which goes with its last reference."""

    def __init__(self, deleted: list[object]) -> None:
        self._deleted = deleted

    def __del__(self) -> None:
        self._deleted.append(id(self))


def denied(reason: str = "wrong-key", status: SecStatus = SecStatus.LOGON_DENIED) -> AcceptError:
    return AcceptError(status, reason)


_before: set[Thread] = set()


def threads() -> list[Thread]:
    """Those of pools that this test has started."""
    return [thread for thread in all_threads() if thread.name == "negotiate-mw" and thread not in _before]


def forget_threads() -> None:
    """What is there now is other tests'."""
    _before.clear()
    _before.update(all_threads())
