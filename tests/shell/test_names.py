"""Who somebody says they are, in whatever header or key, counts for nothing; look-alike realms are other realms."""

from typing import Any

import pytest

from negotiate_mw import Anonymous, NegotiateMiddleware, Policy
from negotiate_mw.connection import STATE_KEY
from negotiate_mw.testing.scripted import LATER, ScriptedAcceptor, user

from .driving import Client, Headers, Site, on_a_loop

ALICE = user("alice@EXAMPLE.COM")
NAMES = """x-remote-user remote-user remote_user http_remote_user x-forwarded-user x-forwarded-email x-user
x-forwarded-preferred-username x-auth-request-user x-authenticated-user x-webauth-user x-ms-client-principal-name
x-goog-authenticated-user-email tailscale-user-login ssl-client-s-dn x-ssl-client-cn x-original-user auth-user
authenticated-user proxy-authorization from"""
# the second is a good token, in a place that isn't its own
HEADERS: Headers = [(name.encode(), value) for name in NAMES.split() for value in (b"root", b"Negotiate T25lTGVn")]
KEYS: dict[str, Any] = {
    "user": ALICE,
    "auth": object(),
    "session": {"user": "root"},
    "negotiate_mw.decided": ALICE,
    "negotiate_mw.user": ALICE,
    "negotiate_mw.session": ALICE,
    "negotiate_mw.connection": ALICE,
    "REMOTE_USER": "root",
}


def site_of(**options: Any) -> tuple[NegotiateMiddleware, Site]:
    site = Site()
    script: dict[bytes, Any] = {
        b"OneLeg": (user("bob@EXAMPLE.COM"), None),
        b"First": b"more",
        LATER + b"Second": (user("bob@EXAMPLE.COM"), None),
    }
    return NegotiateMiddleware(site, acceptor=ScriptedAcceptor(script), **options), site


@on_a_loop
async def test_no_header_but_authorization_says_who_somebody_is() -> None:
    app, site = site_of(required=False, connection_bound=True)

    nobody = await Client(app).get(headers=HEADERS)
    bob = await Client(app).get(b"OneLeg", headers=HEADERS)
    needed = await Client(site_of()[0]).get(headers=HEADERS)

    assert (nobody.text, site.scopes[0]["user"]) == ("nobody", Anonymous())
    assert (bob.text, site.scopes[1]["user"].principal) == ("bob", "bob@EXAMPLE.COM")
    assert needed.status == 401


@on_a_loop
async def test_what_is_in_the_scope_before_is_not_shown_to_the_options_that_see_it() -> None:
    saw = []

    def look(scope: Any) -> bool:
        saw.append((scope["user"], list(scope["auth"].scopes)))
        return False

    await Client(site_of(challenge=look)[0]).get(**KEYS)
    await Client(site_of(exempt=look)[0]).get(**KEYS)

    assert saw == [(Anonymous(), [])] * 2


@on_a_loop
async def test_what_nobody_may_do_is_the_same_for_all_requests_and_cannot_be_added_to() -> None:
    app, site = site_of(required=False)
    await Client(app).get()
    credentials = site.scopes[0]["auth"]

    for name, value in (("scopes", ["admin"]), ("found", ALICE)):
        with pytest.raises(AttributeError, match="those of all requests"):
            setattr(credentials, name, value)

    await Client(app).get()
    assert site.scopes[1]["auth"].scopes == ()


@pytest.mark.parametrize("kind", ["http", "websocket"])
@on_a_loop
async def test_what_is_in_the_scope_before_says_nothing_of_who_somebody_is(kind: str) -> None:
    app, site = site_of(required=False)
    client = Client(app)

    for token in (None, b"OneLeg"):
        await (client.get if kind == "http" else client.websocket)(token, **KEYS)

    nobody, bob = site.scopes
    assert (nobody["user"], list(nobody["auth"].scopes)) == (Anonymous(), [])
    assert (bob["user"].principal, list(bob["auth"].scopes)) == ("bob@EXAMPLE.COM", ["authenticated", "kerberos"])


@pytest.mark.parametrize("state", [{STATE_KEY: "a string"}, {STATE_KEY: ALICE}, {"user": ALICE}, {}, None])
@on_a_loop
async def test_nothing_but_a_server_adapters_own_object_is_a_connection(state: Any) -> None:
    app, site = site_of()
    client = Client(app, native=False, state=state)

    first = await client.get(b"First")
    second = await client.get(LATER + b"Second")

    assert (first.status, first.challenge) == (401, "Negotiate")
    assert (second.status, site.asked) == (401, 0)


LOOK_ALIKES = [
    "EXAMPLE.COM.EVIL",
    "EXAMPLE.CO",
    "EXAMPLE.COMM",
    "EVIL.EXAMPLE.COM",
    "EVILEXAMPLE.COM",
    "XAMPLE.COM",
    "example.com",
    "EXAMPLE.COM.",
    ".EXAMPLE.COM",
    "EXAMPLE.COM ",
    "EXAMPLE.COM\N{ZERO WIDTH SPACE}",
    "\N{CYRILLIC CAPITAL LETTER IE}XAMPLE.COM",
    "EXAMPLE\N{FULLWIDTH FULL STOP}COM",
    "\N{FULLWIDTH LATIN CAPITAL LETTER E}XAMPLE.COM",
    "EXAMPLE.COM/EXAMPLE.COM",
    "*",
    "",
]


@pytest.mark.parametrize("policy", [Policy(), Policy(realms=["EXAMPLE.COM", "OTHER.EXAMPLE"])], ids=["keytab", "list"])
@pytest.mark.parametrize("realm", LOOK_ALIKES)
@on_a_loop
async def test_a_realm_that_looks_like_ours_is_another(realm: str, policy: Policy) -> None:
    site = Site()
    mallory = user(f"alice@{realm}", realm=realm)
    app = NegotiateMiddleware(site, acceptor=ScriptedAcceptor({b"Token": (mallory, None)}), policy=policy)

    answer = await Client(app).get(b"Token")

    assert (answer.status, site.asked) == (403, 0)


@pytest.mark.parametrize(
    "domain", ["CORP2", "COR", "XCORP", "CORP.EVIL", "C\N{CYRILLIC CAPITAL LETTER O}RP", "CORP ", "*"]
)
@on_a_loop
async def test_a_domain_that_looks_like_ours_is_another(domain: str) -> None:
    site = Site()
    mallory = user(rf"{domain}\alice", realm=domain, mechanism="ntlm")
    acceptor = ScriptedAcceptor({b"Token": (mallory, None)})
    acceptor.ntlm_domains = frozenset({"CORP"})
    app = NegotiateMiddleware(site, acceptor=acceptor)

    answer = await Client(app).get(b"Token")

    assert (answer.status, site.asked) == (403, 0)


@on_a_loop
async def test_two_realms_users_of_one_name_never_share_a_name_or_an_account() -> None:
    site = Site()
    twins = {realm: user(f"alice@{realm}") for realm in ("EXAMPLE.COM", "EXAMPLE.COM.EVIL")}
    twins["CORP"] = user(r"CORP\alice", realm="CORP", mechanism="ntlm")
    acceptor = ScriptedAcceptor({realm.encode(): (identity, None) for realm, identity in twins.items()})
    acceptor.ntlm_domains = frozenset({"CORP"})
    app = NegotiateMiddleware(site, acceptor=acceptor, policy=Policy(realms=["EXAMPLE.COM", "EXAMPLE.COM.EVIL"]))

    names = [(await Client(app).get(realm.encode())).text for realm in twins]

    assert names == ["alice@EXAMPLE.COM", "alice@EXAMPLE.COM.EVIL", r"CORP\alice"]
    assert len({scope["user"].account_id for scope in site.scopes}) == 3
