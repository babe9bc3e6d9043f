"""docs/browsers.md does what it says: a real Chromium and a real Firefox find its files where it says they belong."""

import json
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import Server, serve
from tests.parity.chromium import chromium, window

from . import screenshots
from .browsers import FirstPage, chromium_with, firefox, firefox_program, lay_over_etc
from .page import Page, needs_root

PAGE = Page("browsers.md", {})
WWW, WEB1 = "HTTP/www.corp.example", "HTTP/web1.corp.example"
ALIAS = "127.0.0.1 localhost\n127.0.0.1 web1.corp.example www.corp.example\n"  # /etc/hosts' way to say CNAME
REFUSED = "Sign-in is needed. Reference: "
ALICE = "Hello alice"


@pytest.fixture(scope="module")
def realm(kerberos_realm: KerberosRealm) -> Iterator[KerberosRealm]:
    """The page's realm; skipped where the plugin's is."""
    with KerberosRealm("CORP.EXAMPLE") as realm:
        realm.add_user("alice")
        realm.add_service(WWW, WEB1)
        yield realm


@pytest.fixture(scope="module")
def site(realm: KerberosRealm) -> Iterator[Server]:
    """One that both names lead to."""
    env = realm.environ() | {"KRB5_KTNAME": str(realm.keytab(WWW, WEB1))}
    with serve("tests.docs_setup.greeting:app", env=env) as server:
        yield server


def managed(json_text: str) -> dict[str, str]:
    """The file where the page's table says that Chromium's belongs."""
    (directory,) = re.findall(r"\| Chromium, Linux \| a file in `(/etc/[^`]+)` \|", PAGE.text)
    assert "`sso.json` there" in PAGE.text
    return {f"{directory}sso.json": json_text}


def policies(json_text: str) -> dict[str, str]:
    (path,) = re.findall(r"\| Linux \| `(/etc/[^`]+)` \|", PAGE.text)
    return {path: json_text}


def also(json_text: str, **more: object) -> str:
    return json.dumps(json.loads(json_text) | more)


class Asked:
    """For which services alice asked the KDC for tickets, since this was made."""

    def __init__(self, realm: KerberosRealm) -> None:
        self._log = realm.directory / "kdc.log"
        self._from = len(self._log.read_text())

    def services(self) -> list[str]:
        found = re.findall(r"TGS_REQ .* alice@CORP\.EXAMPLE for ([^@\s]+)@", self._log.read_text()[self._from :])
        return sorted(set(found))


def by_chromium(realm: KerberosRealm, site: Server, folder: Path, files: dict[str, str]) -> str:
    """What alice's Chromium sees of the site; it mustn't ask her anything."""
    path = chromium_with(lay_over_etc(folder, {"/etc/hosts": ALIAS} | files), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path)
        with chromium(realm.environ(realm.kinit("alice"))) as url, window(url, private=False) as browser:
            seen = browser.visit(f"http://www.corp.example:{site.port}/")
            assert browser.prompts == 0
            return seen


def by_firefox(
    realm: KerberosRealm,
    site: Server,
    folder: Path,
    files: dict[str, str],
    *,
    private: bool = False,
    preferences: str = "",
) -> str:
    """What alice's Firefox sees of the site."""
    etc = lay_over_etc(folder, {"/etc/hosts": ALIAS} | files)
    env = realm.environ(realm.kinit("alice"))
    with firefox(etc, env, private=private, preferences=preferences) as browser:
        return browser.visit(f"http://www.corp.example:{site.port}/")


def test_every_block_is_run() -> None:
    assert PAGE.blocks == {"chromium-policy.json", "chromium-delegation.json", "policies.json", "curl"}


# Chromium


@needs_root
def test_with_the_pages_file_chromium_logs_in_and_asks_for_the_name_behind_the_alias(
    realm: KerberosRealm, site: Server, folder: Path
) -> None:
    asked = Asked(realm)

    seen = by_chromium(realm, site, folder, managed(PAGE.block("chromium-policy.json")))

    assert seen.startswith(ALICE)
    assert asked.services() == [WEB1]


@needs_root
def test_without_it_chromium_shows_the_refusal_and_asks_nothing(
    realm: KerberosRealm, site: Server, folder: Path
) -> None:
    asked = Asked(realm)

    seen = by_chromium(realm, site, folder, {})

    assert seen.startswith(REFUSED)
    assert asked.services() == []


@needs_root
def test_chromium_asks_for_the_name_as_typed_if_it_is_told_to(realm: KerberosRealm, site: Server, folder: Path) -> None:
    asked = Asked(realm)
    files = managed(also(PAGE.block("chromium-policy.json"), DisableAuthNegotiateCnameLookup=True))

    seen = by_chromium(realm, site, folder, files)

    assert seen.startswith(ALICE)
    assert asked.services() == [WWW]


@needs_root
def test_chromium_asks_with_the_port_if_it_is_told_to_and_no_keytab_has_that(
    realm: KerberosRealm, site: Server, folder: Path
) -> None:
    asked = Asked(realm)
    files = managed(also(PAGE.block("chromium-policy.json"), EnableAuthNegotiatePort=True))

    seen = by_chromium(realm, site, folder, files)

    assert seen.startswith(REFUSED)
    assert asked.services() == [f"{WEB1}:{site.port}"]


@needs_root
def test_chromium_forwards_the_ticket_where_both_lists_have_the_site(
    realm: KerberosRealm, site: Server, folder: Path
) -> None:
    seen = by_chromium(realm, site, folder, managed(PAGE.block("chromium-delegation.json")))

    assert seen.startswith(f"{ALICE}, whose ticket came along")


@needs_root
@pytest.mark.parametrize(
    ("more", "expected"), [({}, REFUSED), ({"AmbientAuthenticationInPrivateModesEnabled": 1}, ALICE)]
)
def test_incognito_windows_send_a_ticket_only_if_they_may(
    realm: KerberosRealm,
    site: Server,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: dict[str, int],
    expected: str,
) -> None:
    assert "`AmbientAuthenticationInPrivateModesEnabled`: `1` for private windows" in PAGE.text
    files = managed(also(PAGE.block("chromium-policy.json"), **more)) | {"/etc/hosts": ALIAS}
    monkeypatch.setenv("PATH", chromium_with(lay_over_etc(folder, files), folder, "--incognito about:blank"))

    with chromium(realm.environ(realm.kinit("alice"))) as url, connect(url, max_size=None, proxy=None) as socket:
        seen = FirstPage(socket, private=False).visit(f"http://www.corp.example:{site.port}/")

    assert seen.startswith(expected)


@needs_root
def test_chromes_policy_page_shows_the_policy_as_in_the_picture(folder: Path) -> None:
    words = screenshots.take(managed(PAGE.block("chromium-policy.json")), folder)

    shown = re.findall(r"images/(policy\S+png)", PAGE.text)
    assert re.search(r"AuthServerAllowlist .*\*\.corp\.example Platform Machine Mandatory OK", words), words
    assert sorted(shown) == sorted(path.name for path in folder.glob("*.png"))


# Firefox


@needs_root
def test_with_the_pages_file_firefox_logs_in_and_asks_for_what_krb5_conf_says(
    realm: KerberosRealm, site: Server, folder: Path
) -> None:
    asked = Asked(realm)

    seen = by_firefox(realm, site, folder, policies(PAGE.block("policies.json")))

    assert seen.startswith(ALICE)
    assert asked.services() == [WWW]  # the realm's krb5.conf says dns_canonicalize_hostname = false


@needs_root
def test_without_it_firefox_shows_the_refusal(realm: KerberosRealm, site: Server, folder: Path) -> None:
    seen = by_firefox(realm, site, folder, {})

    assert seen.startswith(REFUSED)


@needs_root
def test_one_user_may_set_it_by_a_preference(realm: KerberosRealm, site: Server, folder: Path) -> None:
    name, value = re.findall(r"\| one user \| `about:config`, `([\w.-]+)` = `([\w.]+)` \|", PAGE.text)[0]

    seen = by_firefox(realm, site, folder, {}, preferences=f'user_pref("{name}", "{value}");\n')

    assert seen.startswith(ALICE)


@needs_root
@pytest.mark.parametrize(("allowed", "expected"), [(False, REFUSED), (True, ALICE)])
def test_private_windows_of_firefox_send_a_ticket_only_if_they_may(
    realm: KerberosRealm, site: Server, folder: Path, allowed: bool, expected: str
) -> None:
    found = json.loads(PAGE.block("policies.json"))
    assert '"PrivateBrowsing": true' in PAGE.text
    found["policies"]["Authentication"]["PrivateBrowsing"] = allowed

    seen = by_firefox(realm, site, folder, policies(json.dumps(found)), private=True)

    assert seen.startswith(expected)


@needs_root
def test_firefox_forwards_the_ticket_where_both_lists_have_the_site(
    realm: KerberosRealm, site: Server, folder: Path
) -> None:
    found = json.loads(PAGE.block("policies.json"))
    found["policies"]["Authentication"]["Delegated"] = json.loads(
        re.findall(r'"Delegated": (\["www\.corp\.example"\])', PAGE.text)[0]
    )

    seen = by_firefox(realm, site, folder, policies(json.dumps(found)))

    assert seen.startswith(f"{ALICE}, whose ticket came along")


# Names, and curl


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"\b(?:Auth|DisableAuth|EnableAuth|Ambient)[A-Z]\w+", PAGE.text)))
)
def test_the_policy_is_one_that_chromium_knows(name: str) -> None:
    assert knows(Path("/usr/lib/chromium/chromium"), name)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(AUTH_[A-Z_]+)`", PAGE.text))))
def test_the_event_is_one_that_chromium_writes(name: str) -> None:
    assert knows(Path("/usr/lib/chromium/chromium"), name)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(network\.[\w.-]+)`|MOZ_LOG=(\w+)", PAGE.text))))
def test_the_preference_is_one_that_firefox_knows(name: tuple[str, str]) -> None:
    assert knows(Path(str(firefox_program())).resolve().parent / "libxul.so", "".join(name))


def knows(program: Path, name: str) -> bool:
    """Whether the whole word is in a program."""
    with program.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"\0" + name.encode() + b"\0") >= 0


def test_curl_logs_in_and_a_port_is_no_part_of_the_name(realm: KerberosRealm, site: Server, folder: Path) -> None:
    asked = Asked(realm)
    direct = f"curl -sS --resolve www.corp.example:{site.port}:127.0.0.1 --noproxy '*'"
    env = realm.environ(realm.kinit("alice"))

    seen = PAGE.run("curl", folder, env, instead={"8000": str(site.port), "curl": direct})

    assert seen == ALICE
    assert asked.services() == [WWW]
