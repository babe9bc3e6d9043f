"""An acceptor that follows a script, so that a test reads as the dialogue it is about.

Law: it knows nothing of tokens; what it answers to which bytes is all there in the test.
"""

from collections.abc import Mapping

from negotiate_mw.errors import AcceptError
from negotiate_mw.identity import AcceptResult, Identity
from negotiate_mw.policy import Limits
from negotiate_mw.status import SecStatus

LATER = b"\xa1"
"""What the tokens of later legs begin with (NegTokenResp): ``LATER + b"ClientBlob2"``."""


def user(principal: str, **fields: object) -> Identity:
    """An identity as a finished context would give it: ``user("alice@EXAMPLE.COM", sid="S-1-5-21-1-2-3-1106")``."""
    known = {"principal": principal, "account_id": principal, "username": principal, "mechanism": "kerberos"}
    return Identity(**known | {"realm": principal.rpartition("@")[2]} | fields)  # type: ignore[arg-type]


class ScriptedAcceptor:
    """Answers tokens by a script.

    ::

        acceptor = ScriptedAcceptor({
            b"ClientBlob1": b"ServerBlob1",                                     # one more leg
            LATER + b"ClientBlob2": (user("alice@EXAMPLE.COM"), b"ServerBlob2"),  # done, with a last token
            b"Forged": AcceptError(SecStatus.LOGON_DENIED, "wrong-key"),
        })

    Args:
        script: what comes of each token: a token to continue with, an identity and a last token, or an error.
            An unlisted token is INVALID_TOKEN.
        passwords: for ``basic=True``: the token of the script that a principal and a password get at the KDC, as in
            ``{("alice@EXAMPLE.COM", "secret"): b"AlicesTicket"}``, or an error; any other is refused.
        realms: as a keytab would have them; None: as an acceptor that takes no Kerberos has them.
        limits: as ``Acceptor`` has them.

    Attributes:
        contexts: every context there was, in order.
        open: those that were neither finished nor discarded: what a leak would show.
        acquired: it is between start and stop.
        presumed, mechanisms, ntlm_domains, asks_host: what the middleware asks of every acceptor; set them as a test
            needs them.
    """

    presumed: Identity | None = None
    ntlm_domains: frozenset[str] | None = None
    mechanisms: frozenset[str] = frozenset({"kerberos"})
    asks_host: bool = False

    def __init__(
        self,
        script: Mapping[bytes, bytes | tuple[Identity, bytes | None] | AcceptError],
        *,
        passwords: Mapping[tuple[str, str], bytes | AcceptError] | None = None,
        realms: frozenset[str] | None = frozenset({"EXAMPLE.COM"}),
        limits: Limits | None = None,
    ) -> None:
        self._script = script
        self._passwords = passwords or {}
        self.realms = realms
        self.limits: Limits = limits or Limits()
        self.acquired: bool = False
        self.contexts: list[object] = []
        self.open: set[object] = set()

    def look(self) -> None:
        """There is nothing to look at."""

    async def acquire(self) -> None:
        """Be ready."""
        self.acquired = True

    async def aclose(self) -> None:
        """Be closed."""
        self.acquired = False

    async def accept(
        self, context: object, token: bytes, *, bindings: bytes | None = None, host: str | None = None
    ) -> AcceptResult:
        """What the script says of ``token``, whatever ``bindings`` and ``host``."""
        if context is None:
            context = object()
            self.contexts.append(context)
            self.open.add(context)
        elif context not in self.open:
            raise AcceptError(SecStatus.INVALID_HANDLE, "context-deleted")
        answer = self._script.get(token, AcceptError(SecStatus.INVALID_TOKEN, "malformed"))
        if isinstance(answer, bytes):
            return AcceptResult(status=SecStatus.CONTINUE_NEEDED, context=context, token=answer)
        self.open.discard(context)
        if isinstance(answer, AcceptError):
            raise answer
        identity, last = answer
        return AcceptResult(
            status=SecStatus.OK,
            context=context,
            token=last,
            attributes=identity.attributes,
            expires_at=identity.expires_at,
            identity=identity,
        )

    def token_by_password(self, principal: str, password: str, host: str | None = None) -> bytes:
        """What the script's KDC says, whatever ``host``."""
        refused = AcceptError(SecStatus.LOGON_DENIED, "password-refused")
        answer = self._passwords.get((principal, password), refused)
        if isinstance(answer, AcceptError):
            raise answer
        return answer

    def discard(self, context: object) -> None:
        """Forget a context."""
        self.open.discard(context)
