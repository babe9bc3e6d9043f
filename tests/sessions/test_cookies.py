"""The cookie's name and attributes, and what of a request's headers is read."""

from random import Random

import pytest

from negotiate_mw.errors import ConfigurationError
from negotiate_mw.sessions.cookies import LARGEST, Cookie, check_domain

TLS = Cookie(is_tls=True)
PLAIN = Cookie(is_tls=False)


def headers(*lines: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"www.example.com"), *((b"cookie", line) for line in lines)]


def test_over_tls_it_is_the_hosts_alone() -> None:
    assert TLS.set(b"abc", 60.9) == (b"__Host-negotiate-mw=abc; Max-Age=60; Path=/; HttpOnly; SameSite=Lax; Secure")
    assert TLS.clear() == b"__Host-negotiate-mw=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure"


def test_over_plain_http_it_has_no_prefix() -> None:
    assert PLAIN.set(b"abc", 60) == b"negotiate-mw=abc; Max-Age=60; Path=/; HttpOnly; SameSite=Lax"


def test_a_domain_changes_the_prefix() -> None:
    shared = Cookie(is_tls=True, domain="apps.corp.example")

    assert shared.set(b"abc", 60) == (
        b"__Secure-negotiate-mw=abc; Max-Age=60; Path=/; Domain=apps.corp.example; HttpOnly; SameSite=Lax; Secure"
    )


def test_an_audience_has_a_cookie_of_its_own() -> None:
    wiki = Cookie(is_tls=True, audience="wiki")

    assert wiki.name.startswith(b"__Host-negotiate-mw-")
    assert len({wiki.name, TLS.name, Cookie(is_tls=True, audience="hr").name}) == 3
    assert wiki.read(headers(TLS.name + b"=abc")) == (None, False)


@pytest.mark.parametrize(
    "lines",
    [
        [b"__Host-negotiate-mw=abc"],
        [b"a=b; __Host-negotiate-mw=abc; c=d"],
        [b"a=b;__Host-negotiate-mw=abc;c=d"],
        [b"a=b", b"__Host-negotiate-mw=abc"],
        [b"negotiate-mw=x; __Secure-negotiate-mw=y; x__Host-negotiate-mw=z; __Host-negotiate-mw=abc"],
    ],
)
def test_it_is_found_among_others(lines: list[bytes]) -> None:
    assert TLS.read(headers(*lines)) == (b"abc", False)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b""],
        [b"a=b"],
        [b"negotiate-mw=abc"],
        [b"__Secure-negotiate-mw=abc"],
        [b"__host-negotiate-mw=abc"],
        [b"__Host-negotiate-mw"],
        [b"__Host-negotiate-mw =abc"],
    ],
)
def test_no_other_name_is_looked_at_over_tls(lines: list[bytes]) -> None:
    assert TLS.read(headers(*lines)) == (None, False)


@pytest.mark.parametrize(
    "lines",
    [
        [b"__Host-negotiate-mw=abc; __Host-negotiate-mw=abc"],
        [b"__Host-negotiate-mw=abc", b"__Host-negotiate-mw=def"],
        [b"__Host-negotiate-mw=; __Host-negotiate-mw=abc"],
        [b"__Host-negotiate-mw="],
        [b"__Host-negotiate-mw=" + b"a" * 4097],
    ],
)
def test_what_is_there_twice_empty_or_too_long_is_to_be_cleared(lines: list[bytes]) -> None:
    assert TLS.read(headers(*lines)) == (None, True)


def test_what_browsers_keep_fits() -> None:
    room = LARGEST - len(TLS.name) - 1

    assert TLS.fits(b"a" * room)
    assert not TLS.fits(b"a" * (room + 1))
    assert len(TLS.set(b"a" * room, 3600)) <= 4096


@pytest.mark.parametrize("domain", ["", "localhost", ".corp.example", "corp.example;", "corp.example\n", "10.1.2.3", 7])
def test_no_domain_stops_the_start(domain: object) -> None:
    with pytest.raises(ConfigurationError, match=r"domain=.*corp\.example"):
        check_domain(domain)


def glance(cookie: Cookie, line: bytes) -> bytes | None:
    return cookie.glance(headers(line), dict(headers(line)))


@pytest.mark.parametrize("cookie", [TLS, PLAIN, Cookie(is_tls=True, audience="wiki")])
def test_a_glance_finds_what_reading_finds_or_nothing_that_was_ever_set(cookie: Cookie) -> None:
    random = Random(1)
    name = cookie.name
    parts = [name + b"=abc", name + b"=", name + b"=abc ", b"x" + name + b"=abc", name, b"a=b", b"=", b"", b'"', b"x"]
    between = [b"; ", b";", b" ; ", b";  ", b" ", b"\t", b",", b";\t"]
    found = 0
    for _ in range(20_000):
        line = b"".join(random.choice(parts) + random.choice(between) for _ in range(random.randint(1, 4)))
        line = line[: random.choice([len(line), -1, -2])] if random.random() < 0.8 else line

        pair = glance(cookie, line)

        if pair == cookie.pair(b"abc"):
            assert cookie.read(headers(line)) == (b"abc", False), line
            found += 1
        assert pair is None or pair.startswith(cookie.pair(b"")), line
    assert found > 500


@pytest.mark.parametrize(
    "line",
    [b"__Host-negotiate-mw=abc", b"a=b; __Host-negotiate-mw=abc", b"a=b; __Host-negotiate-mw=abc; c=d"],
)
def test_a_glance_is_enough_for_what_clients_write(line: bytes) -> None:
    assert glance(TLS, line) == b"__Host-negotiate-mw=abc"
    assert glance(PLAIN, line) is None
