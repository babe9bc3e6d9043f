"""``groups=``: the app's own function, and what becomes of a user whose groups can't be had."""

from collections.abc import Iterable
from typing import Any

import pytest
from starlette.authentication import requires
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, Router

from negotiate_mw import AcceptError, NegotiateMiddleware, Policy, SecStatus
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.identity import AcceptResult, Identity
from negotiate_mw.testing.scripted import ScriptedAcceptor, user

from .driving import Answer, Client, Site, on_a_loop


class Answering:
    """Groups that answer with what they were given."""

    def __init__(self, answer: Iterable[str] | AcceptError) -> None:
        self.answer = answer
        self.asked: list[tuple[Identity, AcceptResult | None]] = []

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def of(self, identity: Identity, result: AcceptResult | None) -> frozenset[str]:
        self.asked.append((identity, result))
        if isinstance(self.answer, AcceptError):
            raise self.answer
        return frozenset(self.answer)


def scripted() -> ScriptedAcceptor:
    return ScriptedAcceptor({b"Alice": (user("alice@EXAMPLE.COM"), b"Last")})


async def asked(groups: Any, app: Any = None, **options: Any) -> Answer:
    return await Client(NegotiateMiddleware(app or Site(), acceptor=scripted(), groups=groups, **options)).get(b"Alice")


@on_a_loop
async def test_the_apps_own_function_says_which_groups() -> None:
    async def groups(identity: Identity) -> list[str]:
        return [f"friends of {identity.principal}", "HR"]

    site = Site()

    answer = await asked(groups, site)

    assert answer.status == 200
    assert site.scopes[0]["user"].groups == {"friends of alice@EXAMPLE.COM", "HR"}
    assert {"authenticated", "kerberos", "group:HR"} <= set(site.scopes[0]["auth"].scopes)


@pytest.mark.parametrize(("group", "status"), [("HR", 200), ("Boss", 403)])
@on_a_loop
async def test_starlettes_requires_knows_the_groups(group: str, status: int) -> None:
    @requires(f"group:{group}")
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse("yes")

    async def no(scope: Any, receive: Any, send: Any) -> None:
        from starlette.exceptions import HTTPException

        try:
            await Router([Route("/", page)])(scope, receive, send)
        except HTTPException as error:
            await PlainTextResponse("no", error.status_code)(scope, receive, send)

    answer = await asked(Answering(["HR"]), no)

    assert answer.status == status


@on_a_loop
async def test_a_function_that_fails_is_ours_to_answer_for(caplog: pytest.LogCaptureFixture) -> None:
    async def failing(identity: Identity) -> list[str]:
        raise KeyError("the app's own")

    async def one_name(identity: Identity) -> str:
        return "HR"

    async def no_names(identity: Identity) -> list[Any]:
        return [None]

    for function in (failing, one_name, no_names):
        caplog.clear()
        site = Site()

        answer = await asked(function, site)

        assert (answer.status, site.asked) == (503, 0)
        assert "groups-failed" in caplog.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AcceptError(SecStatus.LOGON_DENIED, "groups-missing", detail="the ticket has no PAC"), 403),
        (AcceptError(SecStatus.NO_AUTHENTICATING_AUTHORITY, "directory-down", detail="ldap://dc is down"), 503),
    ],
)
@on_a_loop
async def test_without_groups_nobody_is_let_in_unless_they_are_optional(
    caplog: pytest.LogCaptureFixture, error: AcceptError, status: int
) -> None:
    site, optional = Site(), Site()

    refused = await asked(Answering(error), site)
    passed = await asked(Answering(error), optional, policy=Policy(groups_optional=True))

    assert (refused.status, site.asked) == (status, 0)
    assert passed.status == 200
    assert optional.scopes[0]["user"].groups == frozenset()
    assert caplog.text.count(error.detail) == 2


@on_a_loop
async def test_nobodys_groups_are_not_asked_for() -> None:
    groups = Answering(["HR"])
    app = NegotiateMiddleware(Site(), acceptor=scripted(), groups=groups, required=False)

    answer = await Client(app).get()

    assert (answer.status, groups.asked) == (200, [])


@on_a_loop
async def test_who_may_not_in_is_not_looked_up() -> None:
    groups = Answering(["HR"])

    answer = await asked(groups, policy=Policy(realms=["OTHER.EXAMPLE"]))

    assert (answer.status, groups.asked) == (403, [])


@on_a_loop
async def test_an_inner_middleware_adds_its_own_groups_to_what_the_outer_one_found() -> None:
    site, groups = Site(), Answering(["HR"])
    inner = NegotiateMiddleware(site, acceptor=scripted(), groups=groups)

    answer = await Client(NegotiateMiddleware(inner, acceptor=scripted())).get(b"Alice")

    assert answer.text == "alice"
    assert site.scopes[0]["user"].groups == {"HR"}
    assert [result for _, result in groups.asked] == [None]


@on_a_loop
async def test_an_inner_middleware_without_its_groups_does_not_take_the_outer_ones_for_them() -> None:
    site, outer_groups = Site(), Answering(["admins"])
    down = Answering(AcceptError(SecStatus.NO_AUTHENTICATING_AUTHORITY, "directory-down"))
    inner = NegotiateMiddleware(site, acceptor=scripted(), groups=down, policy=Policy(groups_optional=True))

    answer = await Client(NegotiateMiddleware(inner, acceptor=scripted(), groups=outer_groups)).get(b"Alice")

    assert answer.text == "alice"
    assert site.scopes[0]["user"].groups == frozenset()
    assert not [scope for scope in site.scopes[0]["auth"].scopes if scope.startswith("group:")]


@pytest.mark.parametrize("option", ["groups", 5, ["HR"]])
def test_a_wrong_option_says_what_is_allowed(option: Any) -> None:
    with pytest.raises(ConfigurationError, match='"pac"'):
        NegotiateMiddleware(Site(), groups=option)


@pytest.mark.parametrize("has", [(), ("otp",)])
@on_a_loop
async def test_who_did_not_log_in_strongly_enough_is_refused(has: tuple[str, ...], caplog: Any) -> None:
    indicators = (("auth-indicators", has),)
    acceptor = ScriptedAcceptor(
        {
            b"Weak": (user("alice@EXAMPLE.COM", named_attributes=indicators), None),
            b"Strong": (user("alice@EXAMPLE.COM", named_attributes=(("auth-indicators", ("pkinit", "otp")),)), None),
        }
    )
    client = Client(NegotiateMiddleware(Site(), acceptor=acceptor, policy=Policy(required_indicators=["pkinit"])))

    weak, strong = await client.get(b"Weak"), await client.get(b"Strong")

    assert (weak.status, strong.status) == (403, 200)
    assert "indicators-missing" in caplog.text
