"""``NegotiateAuth``: httpx's ``Auth`` over the flow, with two drivers of a few lines each, sync and async.

Law: a request has a context of its own, whatever else the same object is logging in. A token goes to the origin that
the request names, or to ``hosts``, and nowhere else. What may block runs in a thread beside an event loop.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from negotiate_mw.bindings import of_certificate
from negotiate_mw.client.errors import AuthenticationError, CredentialError
from negotiate_mw.client.flow import Answer, Binding, Initiator, Leg, Mutual, Open, Rules, Send, challenge, handshake
from negotiate_mw.client.offload import in_thread
from negotiate_mw.client.options import UNSET, Delegated, Mechanism, Options, Unset
from negotiate_mw.client.pinned import GONE, Lane
from negotiate_mw.client.sending import Sending, Spend, answer_to, async_spend, body_of, spend

Work = Callable[[], tuple[Leg, Initiator | None]]  # may block
Dialogue = Generator["httpx.Request | Work", "httpx.Response | Outcome", None]


REDIRECTS = 20  # log-ins on the way of one request, each where a redirect led; httpx follows as many redirects


class NegotiateAuth(httpx.Auth):
    """Logs in by HTTP Negotiate (RFC 4559) wherever a server asks for it::

        client = httpx.Client(auth=NegotiateAuth())                                  # by the tickets of kinit
        client = httpx.AsyncClient(auth=NegotiateAuth(keytab="/etc/app/app.keytab"))
        client = httpx.Client(auth=NegotiateAuth(delegated=request.user.delegated))  # as the user who asks us

    One object serves any number of requests at a time, of any number of clients.

    Args:
        mechanisms: what may be tried, in this order: ``"kerberos"``, ``"ntlm"``. With both, whoever can keep this
            machine from its KDC makes it use NTLM.
        username: a principal (``"app@CORP.EXAMPLE"``), for NTLM ``"CORP\\\\bob"``; with a keytab None is its first.
        password: its password. Kerberos gets a ticket with it, in memory, and a new one in time.
        keytab: path of a keytab, for the same.
        ccache: name of a credential cache, such as ``"FILE:/run/app/krb5cc"``; without any of these four it is the
            default cache (``KRB5CCNAME``), looked at for each log-in.
        delegated: an object whose ``credentials`` are python-gssapi's: a user's forwarded ticket. None, which is what
            a user without one has, is an error: never our own tickets in the user's place.
        hostname: the server's name in its tickets, where that isn't the URL's: ``HTTP/hostname``.
        hosts: hosts that may have a token, ``"www.corp.example"`` or all below with ``"*.corp.example"``; None: the
            host of the request, and the origin that it names (scheme, host, port) where redirects are followed.
        preemptive: send the first token with the request, unasked: one round trip less, and no body sent twice. Over
            TLS that token is not channel-bound, as there is no channel yet; with ``channel_binding="required"`` it
            asks first all the same.
        mutual: ``"required"``: an answer to our token is given only if the server proved who it is, else
            MutualAuthenticationError; 401 and 407 are given as they are. ``"optional"``: a wrong proof is an error, a
            missing one is not. ``"off"``: not asked for. Over plain http only ``preemptive`` makes ``"required"`` hold
            for every answer, since a false server needn't ask for a token at all.
        channel_binding: tls-server-end-point (RFC 5929) of the connection's own certificate. ``"when_possible"``: if
            the server asked over TLS; ``"required"``: no token is made without, nor sent over another connection than
            its own, which takes a PinnedTransport; ``"off"``.
        delegate: forward the user's own ticket, so that the server can act as the user *everywhere*, until it expires.

    Raises:
        ConfigurationError: an option makes no sense; from the constructor.
        CredentialError: ``delegated`` is None; from the constructor.
        CredentialError, MutualAuthenticationError, ChannelError, BodySentError: from the request.
    """

    def __init__(
        self,
        *,
        mechanisms: Sequence[Mechanism] = ("kerberos",),
        username: str | None = None,
        password: str | None = None,
        keytab: str | Path | None = None,
        ccache: str | Path | None = None,
        delegated: Delegated | Unset | None = UNSET,
        hostname: str | None = None,
        hosts: Sequence[str] | None = None,
        preemptive: bool = False,
        mutual: Mutual = "required",
        channel_binding: Binding = "when_possible",
        delegate: bool = False,
    ) -> None:
        options = Options(
            mechanisms=mechanisms,
            username=username,
            password=password,
            keytab=keytab,
            ccache=ccache,
            delegated=delegated,
            hostname=hostname,
            hosts=hosts,
            mutual=mutual,
            channel_binding=channel_binding,
            delegate=delegate,
        )
        self._mechanisms = tuple(mechanisms)
        self._hostname = hostname
        self._hosts = None if hosts is None else tuple(host.lower() for host in hosts)
        self._preemptive = preemptive
        self._mutual: Mutual = mutual
        self._binding: Binding = channel_binding
        self._whose = (*options.named, "the default credential cache")[0]
        self._username = username
        self._sources = [options.source(mechanism) for mechanism in mechanisms]

    def __repr__(self) -> str:
        name = "" if self._username is None else f" of {self._username!r}"
        return f"<NegotiateAuth {'/'.join(self._mechanisms)} by {self._whose}{name}>"

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """What ``httpx.Client`` drives."""
        dialogue = self._dialogue(request, spend)
        try:
            wanted = next(dialogue)
            while True:
                if isinstance(wanted, httpx.Request):
                    wanted = dialogue.send((yield wanted))
                else:
                    wanted = dialogue.send(_outcome(wanted))
        except StopIteration:
            return
        finally:
            dialogue.close()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """What ``httpx.AsyncClient`` drives."""
        dialogue = self._dialogue(request, async_spend)
        try:
            wanted = next(dialogue)
            while True:
                if isinstance(wanted, httpx.Request):
                    wanted = dialogue.send((yield wanted))
                else:
                    wanted = dialogue.send(await in_thread(partial(_outcome, wanted)))
        except StopIteration:
            return
        finally:
            dialogue.close()

    def _dialogue(self, request: httpx.Request, spend: Spend) -> Dialogue:
        lane, home = Lane(), request.url
        target: httpx.Request | None = request
        heard: Answer | None = None
        try:
            for _ in range(REDIRECTS):
                if target is None:
                    return
                target, heard = yield from self._log_in(target, heard, home, lane, spend)
        finally:
            lane.let_go()

    def _log_in(
        self,
        target: httpx.Request,
        heard: Answer | None,
        home: httpx.URL,
        lane: Lane,
        spend: Spend,
    ) -> Generator["httpx.Request | Work", "httpx.Response | Outcome", tuple[httpx.Request | None, Answer | None]]:
        """One log-in at ``target``; the request that a redirect made of it, and its 401, if that wants another one."""
        trusted = self._may_have_a_token(target.url, home)
        rules = Rules(
            mutual=self._mutual,
            binding=self._binding,
            preemptive=self._preemptive and trusted,
            once=trusted and not isinstance(body_of(target), httpx.ByteStream),
        )
        flow = handshake(rules, heard)
        sending = Sending(target, rules.once, lane, spend)
        hostname = self._hostname or target.url.raw_host.decode("ascii")
        sent = target
        final: httpx.Response | None = None
        initiator: Initiator | None = None
        came: Answer | Leg | None = None
        failure: AuthenticationError | None = None
        while True:
            try:
                wanted = flow.send(came) if failure is None else flow.throw(failure)
            except StopIteration:
                break
            failure = None
            if isinstance(wanted, Send):
                sent = sending.prepare(wanted)
                response = yield sent
                assert isinstance(response, httpx.Response)
                final = response
                came = self._answer(answer_to(sent, final), home, lane)
            else:
                if isinstance(wanted, Open):
                    outcome = yield partial(self._begin, hostname, wanted.bindings)
                else:
                    assert initiator is not None
                    outcome = yield partial(_step, initiator, wanted.token)
                assert isinstance(outcome, Outcome)
                came, initiator, failure = outcome.leg, outcome.initiator or initiator, outcome.failure
        if final is None or final.request is sent:
            return None, None
        elsewhere = self._answer(final, home, lane)
        if elsewhere is None or elsewhere.status != 401 or not (elsewhere.asks and elsewhere.trusted):
            return None, None
        return final.request, elsewhere

    def _begin(self, hostname: str, bindings: bytes | None) -> tuple[Leg, Initiator]:
        for source in self._sources[:-1]:
            with suppress(CredentialError):
                initiator = source.open(hostname, bindings)
                return initiator.step(None), initiator
        initiator = self._sources[-1].open(hostname, bindings)
        return initiator.step(None), initiator

    def _answer(self, response: httpx.Response, home: httpx.URL, lane: Lane) -> Answer | None:
        if response.extensions.get(GONE):
            return None
        asks, token, broken = challenge(response.headers.get_list("www-authenticate"))
        channel = response.extensions.get("network_stream")
        certificate = None if self._binding == "off" else _certificate(channel)
        return Answer(
            status=response.status_code,
            asks=asks,
            token=token,
            broken=broken,
            channel=channel,
            pinned=lane.transport is not None,
            trusted=self._may_have_a_token(response.request.url, home),
            tls=response.request.url.scheme == "https",
            bindings=None if certificate is None else of_certificate(certificate),
        )

    def _may_have_a_token(self, url: httpx.URL, home: httpx.URL) -> bool:
        if self._hosts is not None:
            return any(
                url.host.endswith(host[1:]) if host.startswith("*.") else url.host == host for host in self._hosts
            ) and not (home.scheme == "https" and url.scheme != "https")
        return _origin(url) == _origin(home) or (
            url.host == home.host and (_origin(home)[::2], _origin(url)[::2]) == (("http", 80), ("https", 443))
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a step: a leg, with the initiator if that is new; or a failure, which is the flow's to judge."""

    leg: Leg | None = None
    initiator: Initiator | None = None
    failure: AuthenticationError | None = None


def _step(initiator: Initiator, token: bytes) -> tuple[Leg, None]:
    return initiator.step(token), None


def _outcome(work: Work) -> Outcome:
    try:
        return Outcome(*work())
    except AuthenticationError as error:
        return Outcome(failure=error)


def _certificate(channel: Any) -> bytes | None:
    """The server's, in DER, if the connection is TLS's."""
    if channel is None or (tls := channel.get_extra_info("ssl_object")) is None:
        return None
    der: bytes | None = tls.getpeercert(True)  # of ssl.SSLObject, or of what ssl.SSLSocket has inside
    return der


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)
