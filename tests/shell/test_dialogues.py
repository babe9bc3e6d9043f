"""Handshakes as dialogues: what the client says, what it hears, and what is left behind."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.authentication import AuthCredentials, SimpleUser

from negotiate_mw import Limits, NegotiateMiddleware, Policy
from negotiate_mw.errors import AcceptError
from negotiate_mw.identity import Anonymous, Identity
from negotiate_mw.status import ContextFlag, SecStatus
from negotiate_mw.testing.scripted import LATER, ScriptedAcceptor, user

from .driving import Client, Site, on_a_loop

ALICE, BOB = user("alice@EXAMPLE.COM"), user("bob@EXAMPLE.COM")
CLIENT_2, CLIENT_3 = LATER + b"ClientBlob2", LATER + b"ClientBlob3"
SCRIPT: Mapping[bytes, Any] = {
    b"OneLeg": (ALICE, b"ServerLast"),
    b"OneLegOfBob": (BOB, b"ServerLastOfBob"),
    b"OneLegWithoutAnswer": (ALICE, None),
    b"ClientBlob1": b"ServerBlob1",
    CLIENT_2: (ALICE, b"ServerBlob2"),
    b"ThreeLegs1": b"ServerBlob1",
    LATER + b"ThreeLegs2": b"ServerBlob2",
    CLIENT_3: (ALICE, None),
    LATER + b"Endless": b"ServerMore",
    LATER + b"CredentialError": AcceptError(SecStatus.LOGON_DENIED, "wrong-key", token=b"error token"),
    LATER + b"ClientError": AcceptError(SecStatus.INVALID_TOKEN, "malformed", token=b"error token"),
    LATER + b"OtherError": AcceptError(SecStatus.INTERNAL_ERROR, "internal", token=b"error token"),
}


class World:
    """A site behind the middleware, and its clients."""

    def __init__(self, limits: Limits | None = None, **options: Any) -> None:
        self.acceptor = ScriptedAcceptor(SCRIPT, limits=limits)
        self.site = Site()
        self.app = NegotiateMiddleware(self.site, acceptor=self.acceptor, **options)

    def client(self, **options: Any) -> Client:
        return Client(self.app, **options)

    @property
    def half_open(self) -> int:
        assert len(self.app._store) == len(self.acceptor.open)
        return len(self.acceptor.open)


@on_a_loop
async def test_anonymous_is_challenged() -> None:
    world = World()

    answer = await world.client().get()

    assert (answer.status, answer.challenge) == (401, "Negotiate")
    assert (world.site.asked, world.half_open) == (0, 0)


@on_a_loop
async def test_one_leg_is_let_in_with_the_last_token() -> None:
    world = World()

    answer = await world.client().get(b"OneLeg")

    assert (answer.status, answer.text, answer.token) == (200, "alice", b"ServerLast")
    assert world.half_open == 0


@on_a_loop
async def test_a_last_leg_without_a_token_is_let_in_without_a_header() -> None:
    answer = await World().client().get(b"OneLegWithoutAnswer")

    assert (answer.status, answer.challenge) == (200, None)


@on_a_loop
async def test_two_legs_are_let_in() -> None:
    world = World()
    client = world.client()

    first = await client.get(b"ClientBlob1")
    assert (first.status, first.token, world.half_open) == (401, b"ServerBlob1", 1)

    second = await client.get(CLIENT_2)
    assert (second.status, second.text, second.token, world.half_open) == (200, "alice", b"ServerBlob2", 0)
    assert len(world.acceptor.contexts) == 1


@on_a_loop
async def test_three_legs_are_let_in() -> None:
    world = World()
    client = world.client()

    answers = [await client.get(token) for token in (b"ThreeLegs1", LATER + b"ThreeLegs2", CLIENT_3)]

    assert [answer.status for answer in answers] == [401, 401, 200]
    assert [answer.token for answer in answers] == [b"ServerBlob1", b"ServerBlob2", None]
    assert (len(world.acceptor.contexts), world.half_open) == (1, 0)


@pytest.mark.parametrize("required", [True, False])
@on_a_loop
async def test_anonymous_in_mid_handshake_drops_it_and_is_served_as_anonymous(required: bool) -> None:
    world = World(required=required)
    client = world.client()
    await client.get(b"ClientBlob1")

    anonymous = await client.get()
    assert (anonymous.status, world.half_open) == (401 if required else 200, 0)

    late = await client.get(CLIENT_2)
    assert (late.status, late.challenge) == (401, "Negotiate")


@on_a_loop
async def test_an_exempt_request_in_mid_handshake_leaves_it_alone() -> None:
    world = World(exempt=("/healthz",))
    client = world.client()
    await client.get(b"ClientBlob1")

    exempt = await client.get(path="/healthz")
    assert (exempt.status, exempt.text, world.half_open) == (200, "nobody", 1)

    assert (await client.get(CLIENT_2)).text == "alice"


@on_a_loop
async def test_a_foreign_scheme_in_mid_handshake_counts_as_no_token() -> None:
    world = World()
    client = world.client()
    await client.get(b"ClientBlob1")

    answer = await client.get(headers=[(b"authorization", b"Bearer x")])

    assert (answer.status, answer.challenge, world.half_open) == (401, "Negotiate", 0)


@on_a_loop
async def test_a_new_token_after_a_log_in_is_a_log_in_of_its_own() -> None:
    world = World()
    client = world.client()
    await client.get(b"OneLeg")

    answer = await client.get(b"OneLegOfBob")

    assert (answer.status, answer.text, answer.token) == (200, "bob", b"ServerLastOfBob")


@on_a_loop
async def test_a_log_in_is_not_remembered_for_the_next_request() -> None:
    world = World()
    client = world.client()
    await client.get(b"OneLeg")

    answer = await client.get()

    assert answer.status == 401
    assert world.site.asked == 1


@on_a_loop
async def test_a_failed_token_after_a_log_in_is_not_served() -> None:
    world = World(required=False)
    client = world.client()
    await client.get(b"OneLeg")

    answer = await client.get(b"Forged")

    assert (answer.status, answer.challenge) == (401, "Negotiate")
    assert world.site.asked == 1


@pytest.mark.parametrize("required", [True, False])
@on_a_loop
async def test_a_second_leg_without_a_first_is_refused(required: bool) -> None:
    world = World(required=required)

    answer = await world.client().get(CLIENT_2)

    assert (answer.status, answer.challenge) == (401, "Negotiate")
    assert (world.acceptor.contexts, world.site.asked) == ([], 0)


@on_a_loop
async def test_a_second_leg_cannot_be_sent_twice() -> None:
    world = World()
    client = world.client()
    await client.get(b"ClientBlob1")
    await client.get(CLIENT_2)

    assert (await client.get(CLIENT_2)).status == 401
    assert world.site.asked == 1


@pytest.mark.parametrize(
    ("token", "status", "challenge"),
    [(b"CredentialError", 401, "Negotiate"), (b"ClientError", 401, "Negotiate"), (b"OtherError", 503, None)],
)
@pytest.mark.parametrize("required", [True, False])
@on_a_loop
async def test_an_error_in_the_second_leg_ends_the_handshake(
    token: bytes, status: int, challenge: str | None, required: bool
) -> None:
    world = World(required=required)
    client = world.client()
    await client.get(b"ClientBlob1")

    answer = await client.get(LATER + token)

    assert (answer.status, answer.challenge) == (status, challenge)
    assert (world.half_open, world.site.asked) == (0, 0)
    assert (await client.get(CLIENT_2)).status == 401


@on_a_loop
async def test_the_second_leg_of_another_connection_gets_nothing() -> None:
    world = World()
    mine, stolen = world.client(), world.client()
    await mine.get(b"ClientBlob1")

    assert (await stolen.get(CLIENT_2)).status == 401
    assert world.half_open == 1

    assert (await mine.get(CLIENT_2)).text == "alice"


@on_a_loop
async def test_a_connection_that_closes_between_two_legs_leaves_nothing() -> None:
    world = World()
    client = world.client()
    await client.get(b"ClientBlob1")

    client.close()

    assert world.half_open == 0
    assert (await client.get(CLIENT_2)).status == 401


@on_a_loop
async def test_a_connection_that_closes_during_a_leg_leaves_nothing() -> None:
    world = World()
    client = world.client()
    accept = world.acceptor.accept

    async def closing(context: object, token: bytes, **options: Any) -> Any:
        client.close()
        return await accept(context, token, **options)

    world.acceptor.accept = closing  # type: ignore[method-assign]

    answer = await client.get(b"ClientBlob1")

    assert (answer.status, answer.challenge, world.half_open) == (401, "Negotiate", 0)


@on_a_loop
async def test_a_first_token_in_mid_handshake_starts_over() -> None:
    world = World()
    client = world.client()
    await client.get(b"ClientBlob1")

    assert (await client.get(b"ThreeLegs1")).token == b"ServerBlob1"
    assert (world.half_open, len(world.acceptor.contexts)) == (1, 2)
    assert world.acceptor.open == {world.acceptor.contexts[1]}

    assert (await client.get(b"OneLeg")).text == "alice"
    assert world.half_open == 0


@on_a_loop
async def test_a_handshake_takes_no_more_legs_than_the_limit() -> None:
    world = World(Limits(legs=3))
    client = world.client()

    answers = [await client.get(b"ClientBlob1"), *[await client.get(LATER + b"Endless") for _ in range(3)]]

    assert [answer.token for answer in answers] == [b"ServerBlob1", b"ServerMore", b"ServerMore", None]
    assert (answers[-1].status, answers[-1].challenge, world.half_open) == (401, "Negotiate", 0)


@on_a_loop
async def test_the_oldest_handshake_makes_room_at_the_limit() -> None:
    world = World(Limits(half_open=2))
    clients = [world.client() for _ in range(3)]

    for client in clients:
        await client.get(b"ClientBlob1")

    assert world.half_open == 2
    assert [(await client.get(CLIENT_2)).status for client in clients] == [401, 200, 200]
    assert world.half_open == 0


@on_a_loop
async def test_a_handshake_that_nobody_goes_on_with_is_swept_away() -> None:
    world = World(Limits(handshake_seconds=0.05))
    for _ in range(3):
        await world.client().get(b"ClientBlob1")
    assert world.half_open == 3

    async with asyncio.timeout(5):
        while world.half_open:
            await asyncio.sleep(0.01)

    await world.client().get(b"ClientBlob1")  # and so are those of later
    async with asyncio.timeout(5):
        while world.half_open:
            await asyncio.sleep(0.01)


@on_a_loop
async def test_a_second_leg_that_comes_too_late_is_refused() -> None:
    world = World(Limits(handshake_seconds=0.02))
    client = world.client()
    await client.get(b"ClientBlob1")

    await asyncio.sleep(0.05)

    assert (await client.get(CLIENT_2)).status == 401
    assert world.half_open == 0


@pytest.mark.parametrize(
    "client", [{"http_version": "2"}, {"http_version": "3"}, {"http_version": "1.0"}, {"native": False}]
)
@on_a_loop
async def test_where_connections_have_no_identity_one_leg_works_and_more_do_not(client: dict[str, Any]) -> None:
    world = World()

    assert (await world.client(**client).get(b"OneLeg")).text == "alice"
    first = await world.client(**client).get(b"ClientBlob1")

    assert (first.status, first.challenge, world.half_open) == (401, "Negotiate", 0)


@on_a_loop
async def test_a_cancelled_leg_leaves_nothing() -> None:
    world = World()
    client = world.client()
    accept = world.acceptor.accept
    await client.get(b"ClientBlob1")

    async def slow(context: object, token: bytes, **options: Any) -> Any:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            world.acceptor.discard(context)  # as Acceptor does
            raise

    world.acceptor.accept = slow  # type: ignore[method-assign]
    task = asyncio.create_task(client.get(CLIENT_2))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    world.acceptor.accept = accept  # type: ignore[method-assign]

    assert world.half_open == 0
    assert (await client.get(b"OneLeg")).text == "alice"


# who may in


@pytest.mark.parametrize(
    ("identity", "policy", "reason"),
    [
        (user("mallory@EVIL.EXAMPLE"), Policy(), "realm-not-allowed"),
        (user("pc1$@EXAMPLE.COM", is_service=True), Policy(), "service-not-allowed"),
        (ALICE, Policy(required_flags=ContextFlag.MUTUAL_AUTH), "flags-missing"),
    ],
)
@on_a_loop
async def test_whoever_may_not_in_is_forbidden_and_gets_our_proof(
    identity: Identity, policy: Policy, reason: str
) -> None:
    site, acceptor = Site(), ScriptedAcceptor({b"Token": (identity, b"ServerLast")})

    answer = await Client(NegotiateMiddleware(site, acceptor=acceptor, policy=policy, required=False)).get(b"Token")

    assert (answer.status, answer.token, site.asked) == (403, b"ServerLast", 0)
    assert reason not in answer.text
    assert not acceptor.open


@on_a_loop
async def test_someone_forbidden_after_two_legs_leaves_nothing() -> None:
    world = World(policy=Policy(realms=["OTHER.EXAMPLE"]))
    client = world.client()
    await client.get(b"ClientBlob1")

    assert (await client.get(CLIENT_2)).status == 403
    assert world.half_open == 0


@on_a_loop
async def test_a_username_function_that_raises_is_our_fault() -> None:
    def broken(_: Identity) -> str:
        raise KeyError("alice")

    world = World(policy=Policy(username=broken))

    answer = await world.client().get(b"OneLeg")

    assert (answer.status, answer.challenge, answer.all("retry-after")) == (503, None, ["5"])
    assert world.site.asked == 0


@on_a_loop
async def test_the_app_finds_who_it_is_and_what_they_may() -> None:
    identity = user("alice@EXAMPLE.COM", groups=frozenset({"HR"}))
    site = Site()
    app = NegotiateMiddleware(site, acceptor=ScriptedAcceptor({b"Token": (identity, None)}))

    await Client(app).get(b"Token")

    (scope,) = site.scopes
    assert scope["user"].principal == "alice@EXAMPLE.COM"
    assert sorted(scope["auth"].scopes) == ["authenticated", "group:HR", "kerberos"]


@pytest.mark.parametrize(("options", "path"), [({"required": False}, "/"), ({"exempt": ("/open",)}, "/open")])
@on_a_loop
async def test_what_was_in_the_scope_before_makes_nobody_anybody(options: dict[str, Any], path: str) -> None:
    world = World(**options)
    spoofed = {"user": ALICE, "auth": object(), "negotiate_mw.decided": ALICE, "negotiate_mw": ALICE}

    answer = await world.client().get(path=path, **spoofed)

    (scope,) = world.site.scopes
    assert (answer.text, scope["user"]) == ("nobody", Anonymous())
    assert list(scope["auth"].scopes) == []


@on_a_loop
async def test_what_was_in_the_scope_before_is_no_log_in() -> None:
    world = World()

    answer = await world.client().get(user=ALICE, auth=object(), **{"negotiate_mw.decided": ALICE})

    assert (answer.status, world.site.asked) == (401, 0)


@on_a_loop
async def test_the_servers_scope_is_left_as_it_was() -> None:
    world = World()
    client = world.client()
    scope = client._scope("http", b"OneLeg", "/", {"method": "GET"})
    before = dict(scope)

    await client.request(scope)

    assert scope == before


@on_a_loop
async def test_nobody_of_an_inner_middleware_is_not_who_something_between_says() -> None:
    site = Site()
    inner = NegotiateMiddleware(site, acceptor=ScriptedAcceptor({}), required=False)

    async def between(scope: Any, receive: Any, send: Any) -> None:
        scope["user"], scope["auth"] = SimpleUser("mallory"), AuthCredentials(["authenticated", "admin"])
        await inner(scope, receive, send)

    answer = await Client(NegotiateMiddleware(between, acceptor=ScriptedAcceptor({}), required=False)).get()

    (scope,) = site.scopes
    assert answer.status == 200
    assert (scope["user"], list(scope["auth"].scopes)) == (Anonymous(), [])
