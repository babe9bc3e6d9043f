"""Each way's client, for one request: what it saw in the end, and whether the server proved itself to it.

Law: a client is set up as the page says, and nothing is done for it that its users wouldn't do. Libraries are imported
where they are used, since each may be missing; those in this process find the user in its environment for so long.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

from .cells import BARE, NTLM, OWN_SCHEME, RAW, SPNEGO, WRAPPED, Way

USER, PASSWORD, DOMAIN = "CORP\\bob", "secret", "CORP"  # of NTLM
SECONDS = 60.0
_MECHANISMS = Path("/etc/gss/mech.d")


class User(Protocol):
    """Somebody at this machine.

    Attributes:
        env: their whole environment.
    """

    env: Mapping[str, str]

    @property
    def browser(self) -> str:
        """Where to reach their browser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One request to make.

    Attributes:
        port: of the server, on 127.0.0.1.
        user: who makes it, with a ticket or, for NTLM, without.
        passwords: the file in which the C library's NTLM finds the user's.
        page: which to ask for.
    """

    port: int
    user: User
    passwords: Path
    page: str = ""

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}/{self.page}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The last answer. ``proven``: the server proved itself, and the client checked; ``asked``: password boxes."""

    status: int
    body: str
    proven: bool = False
    asked: int = 0

    @property
    def user(self) -> dict[str, str]:
        """What the page says of its user."""
        found: dict[str, str] = json.loads(self.body)
        return found


class Unproven(Exception):
    """The client found that the server didn't prove itself, and gave no answer."""


def missing(need: str) -> str | None:
    """Why a need of a way isn't met; None: it is."""
    kind, _, name = need.partition(" ")
    if kind == "mechanism":
        there = any(name.removeprefix("gss-") in path.read_text() for path in _MECHANISMS.glob("*.conf"))
    else:
        there = (shutil.which(name) if kind == "program" else find_spec(name)) is not None
    return None if there else f"{name} isn't installed: scripts/setup test"


def ask(way: Way, errand: Errand) -> Said:
    """Go there by that way.

    Raises:
        Unproven: the server didn't prove itself.
    """
    try:
        return _CLIENTS[way.client](way, errand)
    except Exception as error:
        if "MutualAuthenticationError" in {kind.__name__ for kind in type(error).__mro__}:  # as all of them call it
            raise Unproven from error
        raise


def _curl(way: Way, errand: Errand) -> Said:
    from tests.parity.clients import curl

    options = ["--ntlm", "-u", f"{USER}:{PASSWORD}"] if way.sends == OWN_SCHEME else ["--negotiate", "-u", ":"]
    by_library = {"NTLM_USER_FILE": str(errand.passwords)} if way.mechanism == NTLM else {}
    said = curl(errand.url, *options, env={**errand.user.env, **by_library})
    return Said(status=int(re.findall(r"^HTTP/1.1 (\d+)", said, re.M)[-1]), body=said.rpartition("\n\n")[2])


def _chromium(way: Way, errand: Errand) -> Said:
    from tests.parity.chromium import window

    with window(errand.user.browser, private=False) as browser:
        page = browser.visit(errand.url, USER, PASSWORD)
        return Said(status=browser.statuses[-1], body=page, asked=browser.prompts)


def _pycurl(way: Way, errand: Errand) -> Said:
    import pycurl  # type: ignore[import-untyped]

    body, curl = BytesIO(), pycurl.Curl()
    curl.setopt(pycurl.URL, errand.url)
    curl.setopt(pycurl.HTTPAUTH, pycurl.HTTPAUTH_NEGOTIATE)
    curl.setopt(pycurl.USERPWD, ":")
    curl.setopt(pycurl.NOPROXY, "localhost")
    curl.setopt(pycurl.WRITEDATA, body)
    with _as(errand):
        curl.perform()
    status = curl.getinfo(pycurl.RESPONSE_CODE)
    curl.close()
    return Said(status=status, body=body.getvalue().decode())


def _requests_gssapi(way: Way, errand: Errand) -> Said:
    from requests_gssapi import REQUIRED, HTTPSPNEGOAuth  # type: ignore[import-untyped]

    auth = HTTPSPNEGOAuth(mutual_authentication=REQUIRED, **_mechanism(way))
    return replace(_requests(errand, auth), proven=auth.context["localhost"].complete)


def _requests_kerberos(way: Way, errand: Errand) -> Said:
    from requests_kerberos import REQUIRED, HTTPKerberosAuth  # type: ignore[import-untyped]

    auth = HTTPKerberosAuth(mutual_authentication=REQUIRED)
    return replace(_requests(errand, auth), proven=auth.auth_done)


def _requests_ntlm(way: Way, errand: Errand) -> Said:
    from requests_ntlm import HttpNtlmAuth

    return _requests(errand, HttpNtlmAuth(USER, PASSWORD))


def _requests(errand: Errand, auth: Any) -> Said:
    import requests

    with _as(errand), requests.Session() as session:
        session.trust_env = False
        answer = session.get(errand.url, auth=auth, timeout=SECONDS)
    return Said(status=answer.status_code, body=answer.text)


def _httpx_gssapi(way: Way, errand: Errand) -> Said:
    from httpx_gssapi import REQUIRED, HTTPSPNEGOAuth

    contexts = []

    class Auth(HTTPSPNEGOAuth):
        """As it is; its last context is kept to be looked at."""

        def handle_mutual_auth(self, response: Any, ctx: Any) -> None:
            super().handle_mutual_auth(response, ctx)
            contexts.append(ctx)

    said = _httpx(errand, Auth(mutual_authentication=REQUIRED, **_mechanism(way)))
    return replace(said, proven=bool(contexts) and contexts[-1].complete)


def _httpx_ntlm(way: Way, errand: Errand) -> Said:
    from httpx_ntlm import HttpNtlmAuth  # type: ignore[import-untyped]

    return _httpx(errand, HttpNtlmAuth(USER, PASSWORD))


def _negotiate_auth(way: Way, errand: Errand) -> Said:
    from negotiate_mw.client import NegotiateAuth, PinnedTransport

    if way.mechanism == NTLM:
        auth = NegotiateAuth(mechanisms=("ntlm",), username=USER, password=PASSWORD, mutual="optional")
        return _httpx(errand, auth, transport=PinnedTransport())
    # with mutual="required", its default, an answer without proof is an error and no answer
    return replace(_httpx(errand, NegotiateAuth()), proven=True)


def _httpx(errand: Errand, auth: Any, **options: Any) -> Said:
    import httpx

    with _as(errand), httpx.Client(auth=auth, trust_env=False, timeout=SECONDS, **options) as client:
        answer = client.get(errand.url)
    return Said(status=answer.status_code, body=answer.text)


def _pyspnego(way: Way, errand: Errand) -> Said:
    import spnego

    from tests.integration.serving import Wire
    from tests.parity.clients import log_in, ntlm, token_of

    with _as(errand), Wire(errand.port) as wire:
        if way.mechanism == NTLM:
            client = ntlm(USER, PASSWORD, wrapped=way.sends == WRAPPED)
        else:
            protocol = {SPNEGO: "negotiate", RAW: "kerberos"}[way.mechanism]
            client = spnego.client(hostname="localhost", service="HTTP", protocol=protocol)
        answer = log_in(wire, client, f"/{errand.page}")
        if way.mechanism != NTLM and answer.status == 200:  # what is left to those who use it
            try:
                client.step(token_of(answer) if answer.challenges else b"")
            except spnego.exceptions.SpnegoError as error:
                raise Unproven from error
            if not client.complete:
                raise Unproven
    return Said(status=answer.status, body=answer.body.decode(), proven=way.mechanism != NTLM and client.complete)


def _mechanism(way: Way) -> dict[str, Any]:
    import gssapi

    return {"mech": gssapi.MechType.kerberos} if way.sends == BARE else {}


@contextmanager
def _as(errand: Errand) -> Any:
    """This process in the user's place."""
    with mock.patch.dict(os.environ, errand.user.env, clear=True):
        yield


_CLIENTS: dict[str, Callable[[Way, Errand], Said]] = {
    "curl": _curl,
    "Chromium": _chromium,
    "pycurl": _pycurl,
    "requests-gssapi": _requests_gssapi,
    "httpx-gssapi": _httpx_gssapi,
    "NegotiateAuth": _negotiate_auth,
    "pyspnego": _pyspnego,
    "requests-kerberos": _requests_kerberos,
    "requests_ntlm": _requests_ntlm,
    "httpx-ntlm": _httpx_ntlm,
}
