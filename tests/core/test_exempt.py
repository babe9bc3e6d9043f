import posixpath
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Match, Mount, Route, Router

from negotiate_mw.errors import ConfigurationError
from negotiate_mw.exempt import compile_exempt

from .building import PROPERTY

PATTERNS = ("/healthz", "/static/*", "/a/b/*")
is_exempt = compile_exempt(PATTERNS)


def request(path: str, raw_path: bytes | None = None, **fields: Any) -> dict[str, Any]:
    raw = quote(path).encode() if raw_path is None else raw_path
    return {"type": "http", "method": "GET", "path": path, "raw_path": raw, "headers": [], **fields}


def sent(target: str, **fields: Any) -> dict[str, Any]:
    """A request as servers hand it on: decoded once in ``path``, as it came in ``raw_path``."""
    return request(unquote(target, errors="replace"), target.encode(), **fields)


@pytest.mark.parametrize("path", ["/healthz", "/static/", "/static/a.css", "/static/deep/er/a.css", "/a/b/", "/a/b/c"])
def test_a_path_that_a_pattern_names_is_exempt(path: str) -> None:
    assert is_exempt(request(path))


@pytest.mark.parametrize(
    "path",
    ["", "/", "/healthz/", "/healthz/x", "/healthzz", "/Healthz", "/static", "/staticx/a", "/STATIC/a", "/a/b", "/a/c"],
)
def test_a_path_that_no_pattern_names_is_not_exempt(path: str) -> None:
    assert not is_exempt(request(path))


@pytest.mark.parametrize(
    "target",
    [
        "/static/../admin",
        "/static/..",
        "/static/x/../../admin",
        "/static/%2e%2e/admin",
        "/static/%2E%2e/admin",
        "/static/.%2e/admin",
        "/static/a%2ecss",
        "/static/./a",
        "/static//admin",
        "/static///admin",
        "//static/a",
        "/static/a%2fb",
        "/static%2fa",
        "/static%2Fa",
        "%2fstatic/a",
        "/static/a%5cb",
        "/static/..\\admin",
        "/static/a\\b",
        "/static\\a",
        "/static/a%00b",
        "/static/a%00",
        "/healthz%00",
        "/static/%252e%252e/admin",
        "/static/%25",
        "/static/a%252fb",
        "/static/a%255cb",
        "/static/..;/admin",
        "/admin/../static/a",
    ],
)
def test_a_path_that_another_layer_might_read_differently_is_not_exempt(target: str) -> None:
    assert not is_exempt(sent(target))


@pytest.mark.parametrize("code", ["%2f", "%2F", "%2e", "%2E", "%5c", "%5C", "%00", "%25"])
def test_an_encoded_slash_or_dot_is_seen_though_the_server_decoded_it(code: str) -> None:
    assert not is_exempt(request("/healthz", f"/health{code}z".encode()))
    assert not is_exempt(request("/static/a", f"/static/{code}a".encode()))


@pytest.mark.parametrize("code", ["%2f", "%2e", "%5c", "%25"])
def test_an_encoding_that_is_left_is_seen_where_the_server_gives_no_raw_path(code: str) -> None:
    scope = request(f"/static/{code}a")
    del scope["raw_path"]

    assert not is_exempt(scope)
    assert is_exempt(scope | {"path": "/static/a"})


def test_an_encoded_letter_is_just_that_letter() -> None:
    assert is_exempt(sent("/static/%C3%A9t%C3%A9"))
    assert is_exempt(sent("/%68ealthz"))


@pytest.mark.parametrize(
    ("root_path", "path", "exempt"),
    [
        ("/pre", "/pre/healthz", True),
        ("/pre", "/healthz", True),  # Starlette routes it so, too
        ("/pre", "/prefix/healthz", False),
        ("/pre", "/pre/pre/healthz", False),
        ("/healthz", "/healthz", False),  # the app's own root
        ("/static", "/static/admin", False),
        ("/static", "/static/static/a", True),
        ("", "/healthz", True),
    ],
)
def test_patterns_match_below_the_root_path(root_path: str, path: str, exempt: bool) -> None:
    assert is_exempt(request(path, root_path=root_path)) is exempt


def test_a_star_alone_exempts_every_plain_path() -> None:
    everything = compile_exempt(["/*"])

    assert everything(request("/"))
    assert everything(request("/a"))
    assert everything(request("", root_path=""))
    assert not everything(request("/a/../b"))


def test_no_pattern_exempts_nothing() -> None:
    assert not compile_exempt(())(request("/"))


def test_a_path_of_a_million_slashes_is_looked_at_no_further_than_the_longest_pattern() -> None:
    class Counted(str):
        cut = 0

        def __getitem__(self, key: Any) -> str:
            Counted.cut += 1
            return super().__getitem__(key)

    assert not is_exempt(request(Counted("/a" * 500_000), b""))
    assert Counted.cut < 10


@pytest.mark.parametrize(
    "pattern",
    [
        "healthz",
        "",
        "*",
        "/a*",
        "/*/a",
        "/a/**",
        "/*a/*",
        "/a/../b",
        "//a",
        "/a//*",
        "/a\\b",
        "/a%2fb",
        "/a\0",
        "/a/./b",
        5,
        b"/a",
        None,
    ],
)
def test_a_pattern_that_says_something_else_than_it_seems_is_refused(pattern: Any) -> None:
    with pytest.raises(ConfigurationError, match=r'"/healthz".*"/static/\*"'):
        compile_exempt([pattern])


def test_a_pattern_without_its_list_says_what_to_type() -> None:
    with pytest.raises(ConfigurationError, match=r'exempt=\("/healthz",\)'):
        compile_exempt("/healthz")


@pytest.mark.parametrize("exempt", [None, 5, True, iter(["/healthz"])])
def test_what_is_no_collection_is_refused(exempt: Any) -> None:
    with pytest.raises(ConfigurationError):
        compile_exempt(exempt)


# functions


def test_a_function_that_says_true_exempts() -> None:
    assert compile_exempt(lambda scope: scope["path"] == "/x")(request("/x"))


@pytest.mark.parametrize("says", [False, None, 1, "yes", object()])
def test_a_function_that_says_anything_else_does_not(says: Any) -> None:
    assert not compile_exempt(lambda _: says)(request("/x"))


def test_a_function_that_raises_exempts_nothing_and_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: MutableMapping[str, Any]) -> bool:
        raise KeyError("path")

    assert not compile_exempt(broken)(request("/x"))
    assert "exempt=…) raised KeyError('path')" in caplog.text


# against a real router


async def page(_: Request) -> PlainTextResponse:
    return PlainTextResponse("")


ROUTES: list[BaseRoute] = [
    Route("/healthz", page, name="open"),
    Route("/static/{path:path}", page, name="open"),
    Mount("/a/b", Router([Route("/{path:path}", page)]), name="open"),
    Route("/{path:path}", page, name="closed"),
]
PIECES = [
    "/", "//", "/healthz", "/static", "/static/", "/a/b", "/a", "/pre", "/admin", "healthz", "static", "admin",
    ".", "..", "/.", "/..", "\\", "%2e", "%2E%2e", "%2f", "%5c", "%00", "%25", "%252f", "%68", "%C3%A9", "%ff",
    "é", "x", ";", "?",
]  # fmt: skip
TARGETS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3).map(quote), max_size=7).map("".join)


def routed(scope: dict[str, Any]) -> str | None:
    return next((route.name for route in ROUTES if route.matches(scope)[0] is Match.FULL), None)  # type: ignore[attr-defined]


def stays_within(path: str) -> bool:
    normal = posixpath.normpath(path.replace("\\", "/"))
    return normal in ("/healthz", "/static", "/a/b") or normal.startswith(("/static/", "/a/b/"))


@PROPERTY
@given(target=st.sampled_from(["/healthz", "/static/", "/a/b/", ""]).flatmap(lambda start: TARGETS.map(start.__add__)))
def test_an_exempt_request_never_reaches_another_route_however_often_it_is_decoded(target: str) -> None:
    scope = sent(target)

    if is_exempt(scope):
        assert routed(scope) in ("open", None)  # a line feed matches no route
        path = target
        for _ in range(4):
            assert stays_within(path) or path == target  # as it came it may have letters encoded
            path = unquote(path, errors="replace")


@PROPERTY
@given(
    start=st.sampled_from(["/pre", "/static", "/a", "/pre/healthz", "/pre/static/"]),
    target=TARGETS,
    root=st.sampled_from(["/pre", "/static", "/a", "/pre/", ""]),
)
def test_an_exempt_request_below_a_root_path_never_reaches_another_route(start: str, target: str, root: str) -> None:
    scope = sent(start + target, root_path=root)

    if is_exempt(scope):
        assert routed(scope) in ("open", None)  # a line feed matches no route


@PROPERTY
@given(start=st.sampled_from(["/app", "/app/healthz", "/app/static/", "/app/app/healthz"]), target=TARGETS)
def test_an_exempt_request_in_a_mount_never_reaches_another_route_of_it(start: str, target: str) -> None:
    mount = Mount("/app", Router(ROUTES))
    scope = sent(start + target)
    match, inner = mount.matches(scope)
    scope |= inner

    if match is Match.FULL and is_exempt(scope):
        assert routed(scope) in ("open", None)  # a line feed matches no route
