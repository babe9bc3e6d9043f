import pytest

from negotiate_mw.origin import Verdict, explain, judge

TRUSTED = frozenset({"https://portal.example", "http://dev.example:8080"})
OURS, TRUSTS, EVIL = b"https://www.example", b"https://portal.example", b"https://evil.example"
PASSES, REFUSED, PREFLIGHT = Verdict.ALLOWED, Verdict.REFUSED, Verdict.PREFLIGHT

Pairs = list[tuple[bytes, bytes]]


def scope(method: str | None, headers: Pairs, host: bytes | None = b"www.example") -> dict[str, object]:
    pairs = [*headers, *([] if host is None else [(b"host", host)])]
    if method is None:
        return {"type": "websocket", "headers": pairs}
    return {"type": "http", "method": method, "headers": pairs}


def came(*, site: bytes | None = None, origin: bytes | None = None) -> Pairs:
    return [pair for pair in ((b"sec-fetch-site", site), (b"origin", origin)) if pair[1] is not None]  # type: ignore[misc]


CASES = [
    # who asks, by which headers                                    what becomes of it
    (came(), PASSES),  # no browser
    (came(site=b"same-origin"), PASSES),
    (came(site=b"same-origin", origin=OURS), PASSES),
    (came(site=b"none"), PASSES),  # typed in, a bookmark
    (came(site=b"same-site"), REFUSED),
    (came(site=b"same-site", origin=b"https://other.example"), REFUSED),
    (came(site=b"cross-site", origin=EVIL), REFUSED),
    (came(site=b"cross-site", origin=OURS), REFUSED),  # the browser knows better than its Origin
    (came(site=b"cross-site", origin=TRUSTS), PASSES),
    (came(site=b"SAME-ORIGIN"), REFUSED),  # no browser writes it so
    (came(site=b""), REFUSED),
    ([(b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"cross-site")], REFUSED),
    (came(origin=OURS), PASSES),
    (came(origin=b"http://www.example"), PASSES),  # which scheme we have behind a proxy is unknown
    (came(origin=b"https://www.example:443"), REFUSED),  # no browser writes the usual port
    (came(origin=b"https://www.example:8443"), REFUSED),
    (came(origin=b"https://www.example.evil"), REFUSED),
    (came(origin=b"https://evilwww.example"), REFUSED),
    (came(origin=EVIL), REFUSED),
    (came(origin=b"null"), REFUSED),
    (came(origin=b""), REFUSED),
    (came(origin=b"www.example"), REFUSED),
    (came(origin=b"ftp://www.example"), REFUSED),
    (came(origin=b"\xff\xfe"), REFUSED),
    (came(origin=TRUSTS), PASSES),
    (came(origin=b"http://dev.example:8080"), PASSES),
    (came(origin=b"http://dev.example"), REFUSED),
    (came(origin=b"HTTPS://PORTAL.EXAMPLE"), REFUSED),
    ([(b"origin", TRUSTS), (b"origin", EVIL)], REFUSED),
    ([(b"origin", EVIL), (b"origin", TRUSTS)], REFUSED),
    ([(b"origin", OURS), (b"origin", EVIL)], REFUSED),
]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get", "", None])
@pytest.mark.parametrize(("headers", "verdict"), CASES)
def test_what_may_change_something_passes_by_where_it_comes_from(
    method: str | None, headers: Pairs, verdict: Verdict
) -> None:
    assert judge(scope(method, headers), TRUSTED) is verdict


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(("headers", "_verdict"), CASES)
def test_what_changes_nothing_passes_from_anywhere(method: str, headers: Pairs, _verdict: Verdict) -> None:
    assert judge(scope(method, headers), TRUSTED) is PASSES


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_websocket_is_judged_even_if_its_server_gives_it_a_method(method: str) -> None:
    websocket = scope(None, came(origin=EVIL)) | {"method": method}

    assert judge(websocket, TRUSTED) is REFUSED


@pytest.mark.parametrize(
    ("host", "origin", "verdict"),
    [
        (b"www.example:8000", b"http://www.example:8000", PASSES),
        (b"www.example:8000", b"http://www.example", REFUSED),
        (b"www.example:80", b"http://www.example", PASSES),
        (b"www.example:443", b"https://www.example", PASSES),
        (b"www.example:443", b"http://www.example", REFUSED),
        (b"WWW.Example", OURS, PASSES),
        (b"[::1]:8000", b"http://[::1]:8000", PASSES),
        (None, OURS, REFUSED),
        (b"", OURS, REFUSED),
    ],
)
def test_an_origin_is_ours_if_it_is_the_host_that_was_asked(
    host: bytes | None, origin: bytes, verdict: Verdict
) -> None:
    assert judge(scope("POST", came(origin=origin), host), TRUSTED) is verdict


def test_two_hosts_are_no_host() -> None:
    headers = [(b"host", b"evil.example"), *came(origin=EVIL)]

    assert judge(scope("POST", headers), TRUSTED) is REFUSED


@pytest.mark.parametrize(
    ("origins", "verdict"),
    [([TRUSTS], PREFLIGHT), ([EVIL], REFUSED), ([OURS], REFUSED), ([], REFUSED), ([TRUSTS, TRUSTS], REFUSED)],
)
def test_a_preflight_passes_only_for_a_trusted_page(origins: list[bytes], verdict: Verdict) -> None:
    headers = [(b"access-control-request-method", b"POST"), *((b"origin", origin) for origin in origins)]

    assert judge(scope("OPTIONS", headers), TRUSTED) is verdict


@pytest.mark.parametrize(
    ("method", "what"), [("POST", "a request that may change something"), ("OPTIONS", "a preflight")]
)
def test_the_explanation_says_what_to_type(method: str, what: str) -> None:
    sentence = explain(scope(method, came(origin=EVIL)))

    assert what in sentence
    assert "Policy(trusted_origins=['https://evil.example'])" in sentence


def test_the_explanation_of_a_request_without_origin_is_a_sentence_too() -> None:
    assert "another origin" in explain(scope("POST", came(site=b"cross-site")))
