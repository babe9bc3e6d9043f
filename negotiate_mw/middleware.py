"""The ASGI shell: reads a request's token, drives the accept step, gives the app an identity or the client a refusal.

Law: nothing reaches the app without a decision of the core, and nothing that a client sends becomes an error of the
server. Top to bottom, ``__call__`` is the whole story of a request.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from time import monotonic, time

from starlette.authentication import AuthCredentials

from negotiate_mw import origin, telemetry
from negotiate_mw.accept import Acceptor, Accepts
from negotiate_mw.basic import CHALLENGE, PasswordLogins
from negotiate_mw.bindings import EndPoint
from negotiate_mw.bound import BoundIdentities
from negotiate_mw.connection import (
    Receive,
    Scope,
    Send,
    is_forwarded,
    is_loopback,
    is_tls,
    lifespan_tls_context,
    native,
    resolve,
    tls_context,
)
from negotiate_mw.contexts import ContextStore
from negotiate_mw.errors import AcceptError, ConfigurationError
from negotiate_mw.exempt import compile_exempt
from negotiate_mw.groups import Groups, OfApp, compile_groups
from negotiate_mw.handshake import (
    IDLE,
    Challenge,
    Handshake,
    Pass,
    Refuse,
    Remembered,
    admit,
    conclude,
    decide,
    refusal_of,
    without_token,
)
from negotiate_mw.identity import AcceptResult, Anonymous, Identity
from negotiate_mw.lifespan import run_lifespan
from negotiate_mw.lifetime import run_websocket
from negotiate_mw.policy import Limits, Policy, Rules
from negotiate_mw.refusal import Refusal
from negotiate_mw.refusal_log import RefusalLog
from negotiate_mw.respond import (
    ASGIApp,
    OnRefused,
    carrying,
    refuse_http,
    refuse_websocket,
    with_cookie,
    with_identity_headers,
)
from negotiate_mw.sessions import Session, Sessions
from negotiate_mw.status import SecStatus
from negotiate_mw.wire import http
from negotiate_mw.wire.errors import HeaderError

Decision = Pass | Refuse | Challenge

_DECIDED = "negotiate_mw.decided"
_ANONYMOUS = Anonymous()
_SWEEP_SLACK = 0.1  # seconds; so that one sweep takes a crowd of about the same age
_LOOK_SECONDS = 0.5  # between two looks at what the rules in force go by
_RETRY_SECONDS = 1.0  # between two tries to acquire, where the server runs no lifespan


class _Credentials(AuthCredentials):
    """Starlette's, for one request: a list of its own, and only once somebody asks, since groups can be a thousand.

    A middleware of ours that is further in knows by this class, which no scope of a server holds, who was found.
    """

    found: Identity | None

    def __init__(self, identity: Identity) -> None:
        self.found = identity

    def __getattr__(self, name: str) -> list[str]:
        if name != "scopes" or self.found is None:
            raise AttributeError(name)
        self.scopes = list(self.found.scopes)
        return self.scopes


class _Nobodys(_Credentials):
    """Those of ``Anonymous``: one object for all requests, so nobody may write to it."""

    found = None
    scopes = ()  # type: ignore[assignment] # or they could be added to

    def __init__(self) -> None:
        pass

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"nobody's credentials are those of all requests: put new ones into scope['auth'] ({name})"
        )


_NOBODY = _Nobodys()


class NegotiateMiddleware:
    """Single sign-on for an ASGI app: Kerberos over HTTP Negotiate (RFC 4559).

    ::

        app = NegotiateMiddleware(app)                                     # any ASGI app
        app.add_middleware(NegotiateMiddleware, exempt=("/healthz",))      # Starlette, FastAPI

    The app finds an ``Identity`` (or ``Anonymous``) in ``scope["user"]`` and Starlette's ``AuthCredentials`` in
    ``scope["auth"]``; whatever was in these keys before is overwritten, but for what an outer middleware of this class
    found, on a path that is exempt here.

    Args:
        app: any ASGI app.
        acceptor: who we are and how we accept; None: ``Acceptor()``.
        policy: who may in; None: ``Policy()``.
        required: False lets a request *without* a token pass as ``Anonymous()``; a failed token is 401 all the same.
        exempt: exact paths (``"/healthz"``), whole segments (``"/static/*"``), or a function of the scope.
        groups: which groups a user is in: ``"pac"`` (the ticket's SIDs), ``PacGroups(…)``, ``LdapGroups(…)``, or
            ``async (Identity) -> Iterable[str]``; None: nobody asks.
        sessions: ``CookieSessions(…)`` or ``RedisSessions(…)``: remember a log-in between requests.
        connection_bound: remember a log-in for its TCP connection, where it proved the TLS channel and a server adapter
            of ours tells when the connection ends; elsewhere each request logs in. Not with ``sessions``, whose end
            it wouldn't know of.
        basic: also take names and passwords (``Authorization: Basic``), which the KDC is asked about, over TLS only or
            from this machine itself. Offered after ``Negotiate``.
        challenge: ``(scope) -> bool``; False leaves ``Negotiate`` out of a 401, for user agents that break on it.
        negotiate_once: no second challenge after a failed token. After a refused NTLM token there never is one: its
            browser would ask for a password again and again.
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
        groups: Groups | OfApp | str | None = None,
        sessions: Sessions | None = None,
        connection_bound: bool = False,
        basic: bool = False,
        challenge: Callable[[Scope], bool] | None = None,
        negotiate_once: bool = False,
        on_refused: OnRefused | None = None,
    ) -> None:
        if not isinstance(required, bool):
            raise ConfigurationError(f"NegotiateMiddleware(required={required!r}): give True or False")
        if policy is not None and not isinstance(policy, Policy):
            raise ConfigurationError("NegotiateMiddleware(policy=…): give a Policy(…)")
        if acceptor is not None and not isinstance(getattr(acceptor, "limits", None), Limits):
            raise ConfigurationError(f"NegotiateMiddleware(acceptor={acceptor!r}): give an Acceptor(…)")
        if sessions is not None and not callable(getattr(sessions, "session", None)):
            # what it is may be a key
            what = type(sessions).__name__
            raise ConfigurationError(f"NegotiateMiddleware(sessions=…), a {what}: give CookieSessions(keys=[…])")
        if not isinstance(connection_bound, bool):
            raise ConfigurationError(f"NegotiateMiddleware(connection_bound={connection_bound!r}): give True or False")
        if not isinstance(basic, bool):
            raise ConfigurationError(f"NegotiateMiddleware(basic={basic!r}): give True or False")
        if challenge is not None and not callable(challenge):
            raise ConfigurationError("NegotiateMiddleware(challenge=…): give a function that takes a scope")
        if not isinstance(negotiate_once, bool):
            raise ConfigurationError(f"NegotiateMiddleware(negotiate_once={negotiate_once!r}): give True or False")
        if on_refused is not None and not callable(on_refused):
            raise ConfigurationError("NegotiateMiddleware(on_refused=…): give a function of (scope, refusal)")
        self.app = app
        self._acceptor: Accepts = acceptor if acceptor is not None else Acceptor()
        self._policy = policy or Policy()
        if connection_bound and not _proves_our_own_channel(self._policy):
            raise ConfigurationError(
                "NegotiateMiddleware(connection_bound=True): a log-in is remembered for its connection only where it "
                "proved our own TLS channel; use Policy(channel_binding=ChannelBinding.when_present()) without "
                "certfile= or tls_terminated_by_proxy, or remember it with sessions=CookieSessions(keys=[…])"
            )
        if connection_bound and sessions is not None:
            raise ConfigurationError(
                "NegotiateMiddleware(connection_bound=True, sessions=…): give one of them; a log-out or revocation "
                "doesn't reach what is remembered for a connection"
            )
        if basic and self._policy.channel_binding.mode == "required":
            raise ConfigurationError(
                "NegotiateMiddleware(basic=True): a password never proves a TLS channel, which "
                "Policy(channel_binding=ChannelBinding.required()) asks of every log-in; leave one of them out"
            )
        self._required = required
        is_exempt = compile_exempt(exempt)  # which says what is wrong with it
        self._is_exempt = is_exempt if exempt else None
        self._groups = compile_groups(groups)
        self._sessions = sessions
        self._on_refused = on_refused
        self._challenge = challenge
        self._negotiate_once = negotiate_once
        self._limits = self._acceptor.limits
        self._passwords = PasswordLogins(self._acceptor) if basic else None
        more = {b"ntlm": "ntlm" in self._acceptor.mechanisms, b"basic": basic}
        self._schemes = http.DEFAULT_SCHEMES | {scheme for scheme, is_taken in more.items() if is_taken}
        self._end_point = EndPoint(self._policy.channel_binding)
        self._refusals = RefusalLog(self._acceptor, self._policy)
        self._trusted = frozenset(self._policy.trusted_origins)
        self._bound = BoundIdentities() if connection_bound else None
        self._remembers = connection_bound or sessions is not None
        self._tls_needed = self._policy.require_tls and not self._policy.tls_terminated_by_proxy
        self._store = ContextStore(self._limits.half_open, self._limits.handshake_seconds, self._discard)
        telemetry.watch_half_open(self._store, self._limits.half_open)
        self._sweeping_on: asyncio.AbstractEventLoop | None = None
        self._realms: frozenset[str] | None = None
        self._domains: frozenset[str] | None = None
        self._rules: Rules | None = None
        self._looked_at = 0.0
        self._retry_at = 0.0
        self._has_withheld = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            return await self._outside_requests(scope, receive, send)
        scope = dict(scope)
        outer = scope.get(_DECIDED)
        if outer is not None and not isinstance(outer, _Credentials):
            outer = None
        session = None
        if self._sessions is not None and outer is None:
            is_https = self._policy.tls_terminated_by_proxy or is_tls(scope, receive, send)
            session = self._sessions.session(scope, is_tls=is_https)
        # which a token or a sign of a proxy ends, whatever becomes of the request
        bound = None if self._bound is None else self._bound.of(scope, time())
        if self._is_exempt is not None:
            if outer is None:
                scope["user"], scope["auth"] = _ANONYMOUS, _NOBODY
            if self._is_exempt(scope):
                return await self.app(scope, receive, send if session is None else with_cookie(send, session))
        decision = known = None
        if self._tls_needed or not origin.is_safe(scope):
            decision = self._gate(scope, receive, send)
        if decision is None and outer is not None:
            decision = await self._second_opinion(outer.found)
        elif decision is None:
            if self._remembers:
                decision = known = self._at_hand(scope, session, bound)
            if decision is None:
                decision = await self._authenticate(scope, receive, send, session)
        if not isinstance(decision, Pass):
            return await self._refuse(scope, receive, send, decision, session)
        if self._passwords is not None:
            scope["headers"] = http.without_login(scope["headers"])  # an app has no use for it, and may log headers
        identity = decision.identity
        scope["user"] = _ANONYMOUS if identity is None else identity
        scope["auth"] = scope[_DECIDED] = _NOBODY if identity is None else _Credentials(identity)
        if identity is None or outer is not None:
            return await self.app(scope, receive, send if session is None else with_cookie(send, session))
        proof = carrying(decision.scheme, decision.token) if decision.token else None
        is_remembered = None if self._bound is None else known is not None or self._bound.has(scope, time())
        send = with_identity_headers(send, proof, is_remembered, session)
        if kind == "websocket":
            ended = None if session is None else session.ended
            return await run_websocket(self.app, scope, receive, send, until=identity.expires_at, ended=ended)
        await self.app(scope, receive, send)

    async def _outside_requests(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            raise ValueError(f"unknown ASGI scope type {scope['type']!r}: nobody can be authenticated there")
        await run_lifespan(self.app, scope, receive, send, start=partial(self._start, receive), stop=self._stop)

    def _gate(self, scope: Scope, receive: Receive, send: Send) -> Decision | None:
        """What is decided before any token is read."""
        verdict = origin.judge(scope, self._trusted)
        if verdict is origin.Verdict.PREFLIGHT:
            return Pass()
        if verdict is not origin.Verdict.ALLOWED:
            return Refuse(status=403, reason="origin-not-trusted", detail=origin.explain(scope))
        if self._tls_needed and not is_tls(scope, receive, send) and not is_loopback(scope, receive, send):
            return Refuse(
                status=403,
                reason="tls-required",
                detail="the socket isn't TLS; behind a proxy that ends TLS, say Policy(tls_terminated_by_proxy=True)",
            )
        return None

    async def _authenticate(self, scope: Scope, receive: Receive, send: Send, session: Session | None) -> Decision:
        """One leg: from the request's token and its connection's half-open handshake to a decision."""
        now = monotonic()
        pending = self._store.take(resolve(scope, receive, send), now) if self._store.entries else IDLE
        try:
            credentials = http.parse(scope["headers"], schemes=self._schemes, max_bytes=self._limits.token_bytes)
        except HeaderError as error:
            self._discard(pending)
            return Refuse(status=error.status_hint, reason=error.reason, detail=error.detail)
        is_password = self._passwords is not None and credentials is not None and credentials.scheme == "basic"
        if is_password and not self._is_private(scope, receive, send):
            self._discard(pending)
            detail = "a password came over plain http; whose it is should change it"
            return Refuse(status=403, reason="password-without-tls", detail=detail)
        try:
            rules = self._rules_in_force(time()) if self._acceptor.acquired else await self._acquire_late()
            bindings = None
            if credentials is not None:
                is_https = scope.get("scheme") in ("https", "wss")
                bindings = self._end_point.of(tls_context(receive, send), is_https=is_https)
        except ConfigurationError as error:
            self._discard(pending)
            return Refuse(status=503, reason="not-acquired", detail=str(error))
        if credentials is None:
            self._discard(pending)
            remembered = await self._remembered(scope, receive, send, session, rules)
            return without_token(pending, remembered, required=self._required)
        token, scheme = credentials.token, credentials.scheme
        step = decide(token, pending, max_legs=self._limits.legs, scheme=scheme)
        if not isinstance(step, Handshake):
            self._discard(pending)
            return step
        if step.context is not pending.context:
            self._discard(pending)
        try:
            host = http.host(scope["headers"]) if self._acceptor.asks_host else None
            if self._passwords is not None and is_password:
                realms = self._acceptor.realms or () if rules.realms is None else rules.realms
                peer = scope["client"][0] if scope.get("client") else None
                outcome = await self._passwords.log_in(token, peer=peer, realms=realms, host=host)
            else:
                outcome = await self._acceptor.accept(step.context, token, bindings=bindings, host=host)
        except AcceptError as error:
            if error.status is SecStatus.BAD_BINDINGS:
                self._end_point.doubt()
            return conclude(step, error, rules, can_continue=False, now=now)
        # a next leg has to find this one
        connection = resolve(scope, receive, send) if outcome.identity is None else None
        decision = conclude(step, outcome, rules, can_continue=connection is not None, now=now)
        if isinstance(decision, Pass) and decision.identity is not None:
            if self._groups is not None or self._bound is not None or session is not None:
                return await self._welcome(decision, outcome, scope, receive, send, session)
            telemetry.logged_in(scope, decision.identity)
            return decision
        if connection is not None and isinstance(decision, Challenge) and decision.handshake is not None:
            self._store.put(connection, decision.handshake, now)
            self._sweep()
        elif outcome.identity is None:
            self._acceptor.discard(outcome.context)
        return decision

    async def _second_opinion(self, found: Identity | None) -> Decision:
        """What an outer middleware found, by our own policy: its token was used up, and would be a replay here."""
        try:
            rules = self._rules_in_force(time()) if self._acceptor.acquired else await self._acquire_late()
        except ConfigurationError as error:
            return Refuse(status=503, reason="not-acquired", detail=str(error))
        if found is None:
            return Challenge() if self._required else Pass()
        decision = admit(found, rules)
        if isinstance(decision, Pass) and self._groups is not None:
            decision = await self._with_groups(decision, self._groups, None)
        return decision

    async def _with_groups(self, decision: Pass, groups: Groups, result: AcceptResult | None) -> Pass | Refuse:
        """Let somebody in with their groups, or not at all."""
        assert decision.identity is not None
        try:
            found = await groups.of(decision.identity, result)
        except AcceptError as error:
            if error.reason == "name-mismatch" or not self._policy.groups_optional:
                return refusal_of(error)
            telemetry.without_groups(decision.identity, error.detail)
            if result is not None:
                return decision
            found = frozenset()  # an outer middleware's aren't ours
        return replace(decision, identity=replace(decision.identity, groups=found))

    async def _welcome(
        self,
        decision: Pass,
        result: AcceptResult,
        scope: Scope,
        receive: Receive,
        send: Send,
        session: Session | None,
    ) -> Pass | Refuse:
        """Somebody has just logged in: their groups, and what remembers them, as far as the log-in proved it."""
        welcome = decision if self._groups is None else await self._with_groups(decision, self._groups, result)
        if not isinstance(welcome, Pass) or welcome.identity is None:
            return welcome
        telemetry.logged_in(scope, welcome.identity)
        if welcome is decision and self._groups is not None:
            if session is not None:
                await session.leave()  # nor may the next request be served as whoever was here before
            return welcome  # without the groups, which can't be had now: the next request asks for them again
        if self._bound is None and session is None:
            return welcome
        lasting = welcome.identity.without_tickets()
        if (
            self._bound is not None
            and tls_context(receive, send) is not None
            and not is_forwarded(dict(scope["headers"]))
        ):
            self._bound.bind(native(scope), lasting)
        if session is not None:
            await session.begin(lasting)
        return welcome

    def _at_hand(self, scope: Scope, session: Session | None, bound: Remembered | None) -> Pass | None:
        """Who a request without a token is known to be without asking anybody."""
        acceptor, now = self._acceptor, time()
        if self._bound is not None:
            remembered = bound
        elif session is None or self._store.entries or acceptor.presumed is not None or not acceptor.acquired:
            return None  # what is half-open, and who is presumed, comes before a session
        else:
            fields = dict(scope["headers"])
            remembered = None if b"authorization" in fields else session.peek(fields, now)
        if remembered is None or not acceptor.acquired or not self._takes(remembered):
            return None
        try:
            decision = remembered.admitted(self._rules_in_force(now))
        except ConfigurationError:  # which is said to whoever isn't known
            return None
        if not isinstance(decision, Pass):
            return None
        if session is not None:
            telemetry.session_looked_up(found=True)
        return decision

    async def _remembered(
        self, scope: Scope, receive: Receive, send: Send, session: Session | None, rules: Rules
    ) -> Pass | None:
        """Who a request without a token is known to be, if that still meets the policy."""
        presumed = self._acceptor.presumed
        if presumed is not None and is_loopback(scope, receive, send):
            decision = admit(presumed, rules)
            if isinstance(decision, Pass):
                return decision
        if session is not None:
            stored = await session.open()
            telemetry.session_looked_up(found=stored is not None)
            if stored is not None and self._takes(stored) and isinstance(decision := stored.admitted(rules), Pass):
                return decision
        return None

    def _takes(self, remembered: Remembered) -> bool:
        """False for a log-in by password where none are taken, or no longer."""
        return self._passwords is not None or remembered.identity.mechanism != "basic"

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, decision: Challenge | Refuse, session: Session | None
    ) -> None:
        refusal = Refusal(status=401 if isinstance(decision, Challenge) else decision.status)
        if isinstance(decision, Challenge):
            telemetry.challenged(scope, refusal)
        else:
            telemetry.turned_away(scope, refusal, decision.reason)
            await self._refusals.write(scope, refusal, decision.reason, decision.detail)
        scope["user"], scope["auth"] = _ANONYMOUS, _NOBODY
        challenges = self._challenges(scope, receive, send, decision)
        if session is not None:
            send = with_cookie(send, session)
        if scope["type"] == "websocket":
            return await refuse_websocket(scope, receive, send, refusal, challenges)
        if self._passwords is not None:
            scope["headers"] = http.without_login(scope["headers"])
        await refuse_http(scope, receive, send, refusal, challenges, self._on_refused)

    def _challenges(self, scope: Scope, receive: Receive, send: Send, decision: Challenge | Refuse) -> list[bytes]:
        """What ``WWW-Authenticate`` says: the next token, or which schemes may be tried."""
        if decision.token:
            return [carrying(decision.scheme, decision.token)]
        if isinstance(decision, Refuse) and (decision.status != 401 or self._negotiate_once or not decision.retry):
            return []
        offered = [b"Negotiate"] if self._may_challenge(scope) else []
        if "ntlm" in self._acceptor.mechanisms:
            if resolve(scope, receive, send) is not None:
                offered.append(b"NTLM")
            elif scope["type"] == "http" and not self._has_withheld:
                self._has_withheld = True
                telemetry.warned(
                    "ntlm-withheld",
                    "a client wasn't offered NTLM, which has two legs, since the connection of its request can't be "
                    "known (HTTP/2, HTTP/1.0, or a server that doesn't tell): serve HTTP/1.1 with uvicorn or hypercorn",
                )
        if self._passwords is not None and self._is_private(scope, receive, send):
            offered.append(CHALLENGE)  # browsers take the first that they can: tickets before passwords
        return offered

    def _is_private(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """True if nobody on the way could read a password."""
        is_https = self._policy.tls_terminated_by_proxy or is_tls(scope, receive, send)
        return is_https or is_loopback(scope, receive, send)

    def _may_challenge(self, scope: Scope) -> bool:
        if self._challenge is None:
            return True
        try:
            return self._challenge(scope) is not False
        except Exception as error:  # noqa: BLE001 - the app's own code
            telemetry.app_failed("NegotiateMiddleware(challenge=…)", error)
            return True

    def _rules_in_force(self, now: float) -> Rules:
        """The policy with the realms that the acceptor had at most half a second before ``now``, by the wall clock."""
        acceptor = self._acceptor
        if not 0 <= now - self._looked_at < _LOOK_SECONDS:  # it may have been set back
            acceptor.look()
            self._looked_at = now
        if self._rules is None or acceptor.realms is not self._realms or acceptor.ntlm_domains is not self._domains:
            realms, domains = acceptor.realms, acceptor.ntlm_domains
            self._rules = self._policy.rules(realms, domains)
            self._realms, self._domains = realms, domains
        return self._rules

    async def _acquire_late(self) -> Rules:
        """Acquire where the server ran no lifespan, or where that was over before the last request."""
        now = monotonic()
        if now < self._retry_at:
            raise ConfigurationError(
                "the acceptor couldn't be acquired a moment ago; the first line of this kind says why"
            )
        self._retry_at = now + _RETRY_SECONDS
        await self._acceptor.acquire()
        return self._rules_in_force(time())

    async def _start(self, receive: Receive) -> None:
        await self._acceptor.acquire()
        self._rules_in_force(time())
        for source in (self._groups, self._sessions):
            if source is not None:
                await source.start()
        self._end_point.start(lifespan_tls_context(receive))
        if "ntlm" in self._acceptor.mechanisms and self._policy.channel_binding.mode != "required":
            telemetry.warned(
                "ntlm-relay",
                "NTLM is allowed without required channel binding, so a log-in can be relayed here from elsewhere: "
                "serve TLS and set Policy(channel_binding=ChannelBinding.required())",
            )

    async def _stop(self) -> None:
        self._store.clear()
        self._refusals.close()
        for source in (self._sessions, self._groups):
            if source is not None:
                await source.stop()
        if self._passwords is not None:
            self._passwords.close()
        await self._acceptor.aclose()

    def _discard(self, handshake: Handshake) -> None:
        if handshake.context is not None:
            self._acceptor.discard(handshake.context)

    def _sweep(self) -> None:
        """Have the store swept once its oldest entry is too old, and so on until it is empty."""
        if self._sweeping_on is not asyncio.get_running_loop():
            self._sweep_again()

    def _sweep_again(self) -> None:
        seconds = self._store.expire(monotonic())
        loop = asyncio.get_running_loop()
        self._sweeping_on = None if seconds is None else loop
        if seconds is not None:
            loop.call_later(seconds + _SWEEP_SLACK, self._sweep_again)


def _proves_our_own_channel(policy: Policy) -> bool:
    binding = policy.channel_binding
    return binding.mode != "off" and binding.certfile is None and not policy.tls_terminated_by_proxy
