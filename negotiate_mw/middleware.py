"""The ASGI shell: reads a request's token, drives the accept step, gives the app an identity or the client a refusal.

Law: nothing reaches the app without a decision of the core, and nothing that a client sends becomes an error of the
server. Top to bottom, ``__call__`` is the whole story of a request.
"""

import asyncio
import time
from collections.abc import Callable, Collection

from starlette.authentication import AuthCredentials

from negotiate_mw import origin, telemetry
from negotiate_mw.accept import Acceptor, Accepts
from negotiate_mw.connection import Receive, Scope, Send, is_loopback, is_tls, resolve
from negotiate_mw.contexts import ContextStore
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.exempt import compile_exempt
from negotiate_mw.handshake import Challenge, Handshake, Pass, Refuse, Step, admit, conclude, decide
from negotiate_mw.identity import AcceptResult, Anonymous, Identity
from negotiate_mw.lifespan import run_lifespan
from negotiate_mw.policy import Policy, Rules
from negotiate_mw.refusal import Refusal
from negotiate_mw.respond import ASGIApp, OnRefused, carrying, refuse_http, refuse_websocket, with_identity_headers
from negotiate_mw.wire import http
from negotiate_mw.wire.errors import HeaderError

Decision = Pass | Refuse | Challenge

_DECIDED = "negotiate_mw.decided"
_ANONYMOUS = Anonymous()
_NO_CREDENTIALS = AuthCredentials()
_NO_CREDENTIALS.scopes = ()  # type: ignore[assignment] # shared by all requests, so nobody may add to it
_SWEEP_SLACK = 0.1  # seconds; so that one sweep takes a crowd of about the same age
_RETRY_SECONDS = 1.0  # between two tries to acquire, where the server runs no lifespan


class _Outer:
    """What an outer NegotiateMiddleware found: recognised by this class, which no scope of a server holds."""

    __slots__ = ("identity",)

    def __init__(self, identity: Identity | None) -> None:
        self.identity = identity


class NegotiateMiddleware:
    """Single sign-on for an ASGI app: Kerberos over HTTP Negotiate (RFC 4559).

    ::

        app = NegotiateMiddleware(app)                                     # any ASGI app
        app.add_middleware(NegotiateMiddleware, exempt=("/healthz",))      # Starlette, FastAPI

    The app finds an ``Identity`` (or ``Anonymous``) in ``scope["user"]`` and Starlette's ``AuthCredentials`` in
    ``scope["auth"]``; whatever was in these keys before is overwritten.

    Args:
        app: any ASGI app.
        acceptor: who we are and how we accept; None: ``Acceptor()``.
        policy: who may in; None: ``Policy()``.
        required: False lets a request *without* a token pass as ``Anonymous()``; a failed token is 401 all the same.
        exempt: exact paths (``"/healthz"``), whole segments (``"/static/*"``), or a function of the scope.
        on_refused: ``(scope, Refusal) -> ASGI app`` that brings body and ``Content-*`` headers of every refusal over
            http, the first challenge included; status and all other headers stay.

    Raises:
        ConfigurationError: an option is wrong.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        acceptor: Accepts | None = None,
        policy: Policy | None = None,
        required: bool = True,
        exempt: Collection[str] | Callable[[Scope], bool] = (),
        on_refused: OnRefused | None = None,
    ) -> None:
        if not isinstance(required, bool):
            raise ConfigurationError(f"NegotiateMiddleware(required={required!r}): give True or False")
        if policy is not None and not isinstance(policy, Policy):
            raise ConfigurationError("NegotiateMiddleware(policy=…): give a Policy(…)")
        if on_refused is not None and not callable(on_refused):
            raise ConfigurationError("NegotiateMiddleware(on_refused=…): give a function of (scope, refusal)")
        self.app = app
        self._acceptor: Accepts = acceptor if acceptor is not None else Acceptor()
        self._policy = policy or Policy()
        self._required = required
        self._is_exempt = compile_exempt(exempt)
        self._on_refused = on_refused
        self._limits = self._acceptor.limits
        self._trusted = frozenset(self._policy.trusted_origins)
        self._tls_needed = self._policy.require_tls and not self._policy.tls_terminated_by_proxy
        self._store = ContextStore(self._limits.half_open, self._limits.handshake_seconds, self._discard)
        self._sweeping = False
        self._realms: frozenset[str] | None = None
        self._rules: Rules | None = None
        self._retry_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self._outside_requests(scope, receive, send)
        scope = dict(scope)
        outer = scope.get(_DECIDED)
        if not isinstance(outer, _Outer):
            outer = None
            scope["user"], scope["auth"] = _ANONYMOUS, _NO_CREDENTIALS
        if self._is_exempt(scope):
            return await self.app(scope, receive, send)
        decision = self._gate(scope, receive)
        if decision is None:
            decision = await (self._authenticate(scope, receive) if outer is None else self._second_opinion(outer))
        if not isinstance(decision, Pass):
            return await self._refuse(scope, receive, send, decision)
        scope[_DECIDED] = _Outer(decision.identity)
        scope["user"], scope["auth"] = _user_and_credentials(decision.identity)
        if decision.identity is not None and outer is None:
            telemetry.logged_in(scope, decision.identity)
            proof = carrying(decision.scheme, decision.token) if decision.token else None
            send = with_identity_headers(send, proof)
        await self.app(scope, receive, send)

    async def _outside_requests(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            raise ValueError(f"unknown ASGI scope type {scope['type']!r}: nobody can be authenticated there")
        await run_lifespan(self.app, scope, receive, send, start=self._start, stop=self._stop)

    def _gate(self, scope: Scope, receive: Receive) -> Decision | None:
        """What is decided before any token is read."""
        verdict = origin.judge(scope, self._trusted)
        if verdict is origin.Verdict.PREFLIGHT:
            return Pass()
        if verdict is origin.Verdict.REFUSED:
            return Refuse(status=403, reason="origin-not-trusted", detail=origin.explain(scope))
        if self._tls_needed and not is_tls(scope, receive) and not is_loopback(scope, receive):
            return Refuse(
                status=403,
                reason="tls-required",
                detail="the socket isn't TLS; behind a proxy that ends TLS, say Policy(tls_terminated_by_proxy=True)",
            )
        return None

    async def _authenticate(self, scope: Scope, receive: Receive) -> Decision:
        """One leg: from the request's token and its connection's half-open handshake to a decision."""
        now = time.monotonic()
        connection = resolve(scope, receive)
        pending = self._store.take(connection, now)
        try:
            credentials = http.parse(scope["headers"], max_bytes=self._limits.token_bytes)
        except HeaderError as error:
            self._discard(pending)
            return Refuse(status=error.status_hint, reason=error.reason, detail=error.detail)
        try:
            rules = await self._rules_in_force()
        except ConfigurationError as error:
            self._discard(pending)
            return Refuse(status=503, reason="not-acquired", detail=str(error))
        token, scheme = (None, "") if credentials is None else (credentials.token, credentials.scheme)
        remembered = self._remembered(scope, receive, rules) if token is None else None
        step = decide(
            token,
            pending,
            remembered,
            required=self._required,
            max_legs=self._limits.legs,
            now=now,
            scheme=scheme,
        )
        if not isinstance(step, Step):
            self._discard(pending)
            return step
        if step.handshake.context is not pending.context:
            self._discard(pending)
        outcome: AcceptResult | AcceptError
        try:
            outcome = await self._acceptor.accept(step.handshake.context, step.token)
        except AcceptError as error:
            outcome = error
        can_continue = connection is not None and not connection.closed
        decision = conclude(step.handshake, outcome, rules, can_continue=can_continue)
        if isinstance(decision, Challenge) and decision.handshake is not None and connection is not None:
            self._store.put(connection, decision.handshake, now)
            self._sweep()
        elif isinstance(outcome, AcceptResult):
            self._acceptor.discard(outcome.context)
        return decision

    async def _second_opinion(self, outer: "_Outer") -> Decision:
        """What an outer middleware found, by our own policy: its token was used up, and would be a replay here."""
        try:
            rules = await self._rules_in_force()
        except ConfigurationError as error:
            return Refuse(status=503, reason="not-acquired", detail=str(error))
        if outer.identity is None:
            return Challenge() if self._required else Pass()
        return admit(outer.identity, rules)

    def _remembered(self, scope: Scope, receive: Receive, rules: Rules) -> Identity | None:
        """Who a request without a token is known to be, if that still meets the policy."""
        presumed = self._acceptor.presumed
        if presumed is None or not is_loopback(scope, receive):
            return None
        decision = admit(presumed, rules)
        return decision.identity if isinstance(decision, Pass) else None

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, decision: Challenge | Refuse) -> None:
        refusal = Refusal(status=401 if isinstance(decision, Challenge) else decision.status)
        if isinstance(decision, Challenge):
            telemetry.challenged(scope, refusal)
        else:
            telemetry.refused(scope, refusal, decision.reason, decision.detail)
        challenges = self._challenges(decision, refusal.status)
        if scope["type"] == "websocket":
            return await refuse_websocket(scope, receive, send, refusal, challenges)
        scope["user"], scope["auth"] = _ANONYMOUS, _NO_CREDENTIALS
        await refuse_http(scope, receive, send, refusal, challenges, self._on_refused)

    def _challenges(self, decision: Challenge | Refuse, status: int) -> list[bytes]:
        """What ``WWW-Authenticate`` says: the next token, or which schemes may be tried."""
        if decision.token:
            return [carrying(decision.scheme, decision.token)]
        if status != 401 or (isinstance(decision, Refuse) and not decision.retry):
            return []
        return [b"Negotiate"]

    async def _rules_in_force(self) -> Rules:
        """The policy with the keytab's realms as they are now; acquires first, where the server ran no lifespan."""
        if not self._acceptor.acquired:
            await self._acquire_late()
        realms = self._acceptor.realms
        if self._rules is None or realms is not self._realms:
            self._realms, self._rules = realms, self._policy.rules(realms)
        return self._rules

    async def _acquire_late(self) -> None:
        now = time.monotonic()
        if now < self._retry_at:
            raise ConfigurationError("the acceptor couldn't be acquired a moment ago; see the line before")
        self._retry_at = now + _RETRY_SECONDS
        await self._acceptor.acquire()

    async def _start(self) -> None:
        await self._acceptor.acquire()
        await self._rules_in_force()

    async def _stop(self) -> None:
        self._store.clear()
        await self._acceptor.aclose()

    def _discard(self, handshake: Handshake) -> None:
        if handshake.context is not None:
            self._acceptor.discard(handshake.context)

    def _sweep(self) -> None:
        """Have the store swept once its oldest entry is too old, and so on until it is empty."""
        if not self._sweeping:
            self._sweep_again()

    def _sweep_again(self) -> None:
        seconds = self._store.expire(time.monotonic())
        self._sweeping = seconds is not None
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds + _SWEEP_SLACK, self._sweep_again)


def _user_and_credentials(identity: Identity | None) -> tuple[Identity | Anonymous, AuthCredentials]:
    if identity is None:
        return _ANONYMOUS, _NO_CREDENTIALS
    groups = [f"group:{name}" for name in identity.groups]
    return identity, AuthCredentials(["authenticated", identity.mechanism, *groups])
