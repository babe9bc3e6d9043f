"""``--url``: what a client meets that logs in to the running server, and what that says of the deployment."""

import http.client
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from negotiate_mw.backends import Holdings
from negotiate_mw.diagnosis import Evidence, diagnose
from negotiate_mw.doctor.ccache import Failed
from negotiate_mw.doctor.deployed import Deployed
from negotiate_mw.doctor.exchange import Exchange, Leg, log_in
from negotiate_mw.doctor.report import Level, Line, found, ok, problem, skipped, warning
from negotiate_mw.errors import ConfigurationError

_UNKNOWN_SERVICE, _TWO_OF_A_NAME, _UNREACHABLE = 7, 8, 156


def examine(url: str, deployed: Deployed | None) -> Iterator[Line]:
    """Log in as whoever ran ``kinit``, and explain each hop.

    Args:
        url: of a page that isn't exempt.
        deployed: the server's options, where they are known: its keytab explains a refusal.
    """
    try:
        exchange = log_in(url)
    except ssl.SSLCertVerificationError as error:
        yield problem("url-certificate", url=url, said=error.verify_message)
        return
    except (OSError, http.client.HTTPException) as error:
        yield problem("url-unreachable", url=url, said=str(error) or type(error).__name__)
        return
    yield from explain(exchange, deployed, again=lambda: log_in(url, bind=False))


def explain(exchange: Exchange, deployed: Deployed | None, again: Callable[[], Exchange]) -> Iterator[Line]:
    """What the legs say, hop by hop.

    Args:
        again: the same without channel bindings.
    """
    for sign in exchange.proxies:
        yield ok(f"a proxy shows: {sign}")
    first = exchange.legs[0]
    if not _is_challenge(first):
        yield from _unasked(exchange, first)
        return
    yield ok("without a ticket: 401 with WWW-Authenticate: Negotiate, as it should be")
    if first.closes:
        yield skipped("the server closes the connection after its 401; Kerberos in one leg works all the same")
    if exchange.failed is not None:
        yield _without_ticket(exchange, exchange.failed)
        return
    assert exchange.asked is not None  # there was a token, and we made it
    yield ok(f"the library made of {exchange.host}: {exchange.asked}, {exchange.ticket}, for {exchange.principal}")
    if exchange.logged_in:
        yield from _success(exchange)
    else:
        yield from _refused(exchange, deployed, again)


def _is_challenge(leg: Leg) -> bool:
    return leg.status == 401 and any(scheme.rstrip(",").lower() == "negotiate" for scheme in leg.challenges)


def _unasked(exchange: Exchange, first: Leg) -> Iterator[Line]:
    answer = f"{first.status} {first.reason}".strip()
    if first.status == 401:
        schemes = ", ".join(first.challenges) or "no WWW-Authenticate"
        yield problem("url-no-negotiate", url=exchange.url, schemes=schemes)
    elif first.status in (301, 302, 303, 307, 308):
        yield warning("url-elsewhere", url=exchange.url, location=first.location or "elsewhere")
    elif first.status == 403 and first.reference:
        yield problem("url-refused", url=exchange.url, answer=answer, reference=first.reference)
    elif first.status >= 400:
        yield problem("url-error", url=exchange.url, answer=answer)
    else:
        yield warning("url-open", url=exchange.url, answer=answer)


def _without_ticket(exchange: Exchange, error: Failed) -> Line:
    spn = f"HTTP/{exchange.host}"
    if error.code == _UNKNOWN_SERVICE:
        return problem("spn-missing", spn=spn, realm=(exchange.principal or "").rpartition("@")[2])
    if error.code == _TWO_OF_A_NAME:
        return problem("spn-duplicate", spn=spn)
    if error.code == _UNREACHABLE:
        return warning("kdc-unreachable", realm=(exchange.principal or "").rpartition("@")[2], kdc="that of krb5.conf")
    if exchange.principal is None:
        return skipped(
            f"nobody has a ticket here, so no log-in was tried ({error.sentence})", "`kinit`, and run it again"
        )
    return warning("no-ticket", spn=spn, said=error.sentence)


def _success(exchange: Exchange) -> Iterator[Line]:
    last = exchange.last
    legs = len(exchange.legs) - 1
    yield ok(f"with the ticket: {last.status} {last.reason}, after {legs} leg{'s' if legs > 1 else ''}")
    if exchange.server_failed:
        yield problem("url-impostor", url=exchange.url, said=exchange.server_failed)
    elif exchange.is_mutual:
        yield ok("the server proved itself too (mutual authentication)")
    else:
        yield warning("url-no-proof", url=exchange.url)
    if not exchange.url.startswith("https:"):
        yield skipped("plain http: there is no TLS channel to bind the ticket to")
    elif exchange.is_bound:
        yield ok("the ticket was bound to the certificate that we saw, and the server took it")
    else:
        yield skipped("nothing can be bound to a certificate of this kind (RFC 5929)")


def _refused(exchange: Exchange, deployed: Deployed | None, again: Callable[[], Exchange]) -> Iterator[Line]:
    last = exchange.last
    if last.status == 401 and exchange.is_bound and again().logged_in:
        slug = "bad-bindings"
        if deployed is not None and deployed.policy is not None and deployed.policy.channel_binding.certfile:
            yield problem("bad-bindings-certfile", host=exchange.host)
            return
        yield problem(slug)
        return
    if last.status in (400, 431):
        yield problem("url-head-refused", answer=f"{last.status} {last.reason}", size=str(len(last.sent or b"")))
        return
    if last.status == 401 and deployed is not None and (line := _by_keytab(exchange, deployed)) is not None:
        yield line
    yield problem(
        "url-refused",
        url=exchange.url,
        answer=f"{last.status} {last.reason}".strip(),
        reference=last.reference or "the reference of its page",
    )


def _by_keytab(exchange: Exchange, deployed: Deployed) -> Line | None:
    """What the log would say, where the server's keytab is here."""
    keytab = deployed.keytab
    if keytab.problem():
        return None
    hosts = frozenset(f"{deployed.service}/{host}" for host in deployed.hosts)
    holdings = Holdings(deployed.service, hosts, str(keytab.path), keytab.entries)
    token = exchange.last.sent
    finding = diagnose(Evidence(reason="no-key", now=datetime.now(UTC), token=token, holdings=holdings))
    return None if finding is None else found(finding, Level.PROBLEM)


def describe(exchange: Exchange) -> Iterator[str]:
    """The same log-in in plain words, for ``negotiate-mw whoami``."""
    for number, leg in enumerate(exchange.legs, 1):
        sent = "no token" if leg.sent is None else f"a token of {len(leg.sent)} bytes"
        token = f", with a token of {len(leg.token)} bytes" if leg.token else ""
        challenge = ", ".join(leg.challenges) or "no challenge"
        closes = "; the server closes the connection" if leg.closes else ""
        yield f"leg {number}: sent {sent}; came back {leg.status} {leg.reason}, {challenge}{token}{closes}"
    if exchange.principal is not None:
        yield f"you are: {exchange.principal}"
    if exchange.asked is not None:
        yield f"the ticket is for: {exchange.asked}, {exchange.ticket}"
        yield f"logged in: {'yes' if exchange.logged_in else 'no'}"
        yield f"mutual authentication: {'yes, the server proved itself' if exchange.is_mutual else 'no'}"
        yield f"bound to the TLS channel: {'yes' if exchange.is_bound else 'no'}"
    if exchange.last.reference and not exchange.logged_in and exchange.last.sent:
        yield f"reference: {exchange.last.reference}; the server's log says why"
    for sign in exchange.proxies:
        yield f"a proxy shows: {sign}"
    if exchange.failed is not None:
        yield f"no ticket: {exchange.failed.sentence}"
    if exchange.server_failed is not None:
        yield f"the server's token can't be believed: {exchange.server_failed}"


def whoami(url: str) -> list[str]:
    """Log in and tell.

    Raises:
        ConfigurationError: there is nothing to talk to.
    """
    try:
        return list(describe(log_in(url)))
    except ssl.SSLCertVerificationError as error:
        raise ConfigurationError(
            f"the certificate of {url} can't be believed ({error.verify_message}); "
            "SSL_CERT_FILE=ca.pem names who signed it"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise ConfigurationError(f"{url} doesn't answer: {str(error) or type(error).__name__}") from error
