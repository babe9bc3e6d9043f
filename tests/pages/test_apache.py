"""What Apache with mod_auth_gssapi did, we do: each setting of ``docs/migration.md``, asked of both."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import gssapi
import pytest

from negotiate_mw.testing import KerberosRealm
from tests.client.web_servers import PAGE
from tests.integration.serving import Answer, Server, Wire, serve
from tests.parity.clients import ntlm

from . import apps
from .apache import SETTINGS, Apache, apache

LOCALHOST, WWW, HOST = "HTTP/localhost", "HTTP/www.test.example", "host/localhost"
BOTH = pytest.mark.parametrize("site", ["apache", "ours"], indirect=True)


@pytest.fixture(scope="module")
def keytab(kerberos_realm: KerberosRealm) -> Path:
    return kerberos_realm.keytab(LOCALHOST, WWW, HOST)


@pytest.fixture(scope="module")
def theirs(kerberos_realm: KerberosRealm, keytab: Path, ours: Server) -> Iterator[Apache]:
    with apache(keytab, kerberos_realm.environ(), behind=ours.port) as site:
        yield site


@pytest.fixture(scope="module")
def ours(kerberos_realm: KerberosRealm, keytab: Path) -> Iterator[Server]:
    with serve("tests.pages.apps:app", env={**kerberos_realm.environ(), "KRB5_KTNAME": str(keytab)}) as server:
        yield server


@pytest.fixture
def site(request: pytest.FixtureRequest, theirs: Apache, ours: Server) -> Apache | Server:
    return theirs if request.param == "apache" else ours


@pytest.fixture(scope="module")
def alice(kerberos_realm: KerberosRealm) -> Path:
    return kerberos_realm.kinit("alice", options=["-f"])


class Asking:
    """Alice with a ticket of her own, or whoever has ``ccache``."""

    def __init__(self, realm: KerberosRealm, ccache: Path) -> None:
        self._realm = realm
        self.ccache = ccache

    def token(self, service: str = LOCALHOST) -> bytes:
        return self._realm.token(service, self.ccache)

    def __call__(self, site: Apache | Server, target: str, service: str = LOCALHOST, **options: object) -> Answer:
        return get(site, target, self.token(service), **options)


@pytest.fixture
def asking(kerberos_realm: KerberosRealm, alice: Path) -> Asking:
    return Asking(kerberos_realm, alice)


def get(site: Apache | Server, target: str, token: bytes | None = None, **options: object) -> Answer:
    with Wire(site.port) as wire:
        return wire.get(target, token, **options)  # type: ignore[arg-type]


def test_every_setting_of_apaches_here_has_its_translation() -> None:
    assert set(apps.SETTINGS) == set(SETTINGS)


# what is the same


@BOTH
def test_who_brings_nothing_is_asked_for_a_ticket(site: Apache | Server) -> None:
    answer = get(site, "/plain")

    assert (answer.status, answer.challenges) == (401, ["Negotiate"])


@BOTH
def test_who_has_a_ticket_is_in_under_the_whole_principal(site: Apache | Server, asking: Asking) -> None:
    answer = asking(site, "/plain")

    assert (answer.status, answer.body.decode()) == (200, PAGE)
    assert answer.headers["x-user"] == "alice@TEST.EXAMPLE"
    assert answer.headers["x-mechanism"] in ("Negotiate/krb5", "kerberos")


@BOTH
def test_the_answer_proves_the_server(site: Apache | Server, kerberos_realm: KerberosRealm, alice: Path) -> None:
    client = kerberos_realm.initiator(LOCALHOST, alice)

    answer = get(site, "/plain", client.step())
    client.step(answer.token)

    assert client.complete
    assert client.actual_flags & gssapi.RequirementFlag.mutual_authentication


@BOTH
def test_a_token_counts_once(site: Apache | Server, asking: Asking) -> None:
    token = asking.token()

    statuses = [get(site, "/plain", token).status for _ in range(2)]

    assert statuses == [200, 401]


@BOTH
def test_gssapi_allowed_mech_krb5_keeps_ntlm_out(site: Apache | Server) -> None:
    answer = get(site, "/krb5", ntlm().step())

    assert answer.status == 401


@BOTH
def test_gssapi_acceptor_name_takes_tickets_for_that_name_alone(site: Apache | Server, asking: Asking) -> None:
    statuses = [asking(site, "/one-name", service).status for service in (LOCALHOST, WWW)]

    assert statuses == [200, 401]


@BOTH
def test_gssapi_acceptor_name_hostname_takes_tickets_for_the_host_that_is_asked(
    site: Apache | Server, asking: Asking
) -> None:
    statuses = [asking(site, "/host", service, host="localhost").status for service in (LOCALHOST, WWW)]

    assert statuses == [200, 401]


@BOTH
def test_gssapi_local_name_is_krb5_confs(site: Apache | Server, asking: Asking) -> None:
    assert asking(site, "/local").headers["x-user"] == "alice"


@BOTH
@pytest.mark.parametrize(("target", "challenges"), [("/plain", ["Negotiate"]), ("/once", [])])
def test_gssapi_negotiate_once_asks_no_second_time(site: Apache | Server, target: str, challenges: list[str]) -> None:
    first, second = get(site, target), get(site, target, b"no token at all")

    assert (first.status, first.challenges) == (401, ["Negotiate"])
    assert (second.status, second.challenges) == (401, challenges)


@BOTH
def test_gssapi_no_negotiate_leaves_the_challenge_out_for_some_browsers(site: Apache | Server) -> None:
    answer = get(site, "/plain", headers=[("User-Agent", "OldBrowser/1")])

    assert (answer.status, answer.challenges) == (401, [])


@BOTH
@pytest.mark.parametrize(("password", "status"), [("right", 200), ("wrong", 401)])
def test_gssapi_basic_auth_asks_the_kdc_about_a_password(
    site: Apache | Server, kerberos_realm: KerberosRealm, password: str, status: int
) -> None:
    right = kerberos_realm._passwords["bob"]
    login = b64encode(f"bob@TEST.EXAMPLE:{right if password == 'right' else 'no'}".encode()).decode()

    asked, answer = get(site, "/basic"), get(site, "/basic", headers=[("Authorization", f"Basic {login}")])

    assert [challenge.partition(" ")[0] for challenge in asked.challenges] == ["Negotiate", "Basic"]
    assert answer.status == status
    if status == 200:
        assert answer.headers["x-user"] == "bob@TEST.EXAMPLE"


@BOTH
def test_gssapi_use_sessions_needs_one_ticket(site: Apache | Server, asking: Asking) -> None:
    first = asking(site, "/session")
    cookie = first.headers["set-cookie"].partition(";")[0]

    second = get(site, "/session", headers=[("Cookie", cookie)])
    stranger = get(site, "/session", headers=[("Cookie", cookie[:-8] + "AAAAAAAA")])

    assert (first.status, second.status, stranger.status) == (200, 200, 401)
    assert second.headers["x-user"] == "alice@TEST.EXAMPLE"


@BOTH
def test_gssapi_required_name_attributes_keep_out_who_has_none(site: Apache | Server, asking: Asking) -> None:
    assert asking(site, "/indicators").status == 403


@BOTH
def test_gssapi_deleg_ccache_dir_keeps_the_forwarded_ticket(
    site: Apache | Server, kerberos_realm: KerberosRealm, alice: Path
) -> None:
    with kerberos_realm.apply(alice):
        token = kerberos_realm.initiator(LOCALHOST, alice, delegate=True).step()
        answer = get(site, "/delegation", token)

    assert answer.status == 200
    if isinstance(site, Apache):
        assert [path.name for path in site.ccaches.iterdir()] == ["alice@TEST.EXAMPLE"]  # it stays
    else:
        assert not Path(answer.headers["x-ccache"].removeprefix("FILE:")).exists()  # it went with the block


def test_apache_as_a_proxy_hands_the_ticket_on_and_the_proof_back(
    theirs: Apache, kerberos_realm: KerberosRealm, alice: Path
) -> None:
    client = kerberos_realm.initiator(LOCALHOST, alice)

    asked, answer = get(theirs, "/behind/plain"), get(theirs, "/behind/plain", client.step())
    client.step(answer.token)

    assert (asked.status, asked.challenges) == (401, ["Negotiate"])
    assert (answer.status, answer.headers["x-user"]) == (200, "alice@TEST.EXAMPLE")
    assert client.complete


# what is different


@pytest.fixture
def pair(theirs: Apache, ours: Server) -> tuple[Apache, Server]:
    return theirs, ours


Pair = tuple[Apache, Server]


def test_gssapi_ssl_only_refuses_plain_http_with_another_status(pair: Pair, asking: Asking) -> None:
    answers = [asking(site, "/tls", host="www.test.example", service=WWW) for site in pair]

    assert [answer.status for answer in answers] == [401, 403]


def test_apache_tells_a_stranger_clock_realm_and_name_and_we_do_not(pair: Pair, asking: Asking) -> None:
    refused = []
    for site in pair:
        token = asking.token()
        assert get(site, "/plain", token).status == 200
        refused.append(get(site, "/plain", token))

    assert [answer.status for answer in refused] == [401, 401]
    assert b"TEST.EXAMPLE" in refused[0].token
    assert refused[1].challenges == ["Negotiate"]


def test_a_key_of_another_service_in_the_keytab_opens_apache_and_not_us(pair: Pair, asking: Asking) -> None:
    assert [asking(site, "/plain", HOST).status for site in pair] == [200, 401]


def test_a_service_principal_is_a_user_to_apache_and_not_to_us(
    pair: Pair, kerberos_realm: KerberosRealm, keytab: Path, tmp_path: Path
) -> None:
    ccache = kerberos_realm.kinit(WWW, "", ccache=tmp_path / "cc", options=["-k", "-t", str(keytab)])
    service = Asking(kerberos_realm, ccache)

    assert [service(site, "/plain").status for site in pair] == [200, 403]


def test_a_user_of_a_trusted_realm_is_in_at_apache_and_not_here() -> None:
    with KerberosRealm("HOME.EXAMPLE") as home, KerberosRealm("PARTNER.EXAMPLE") as partner:
        home.add_service(LOCALHOST)
        partner.add_user("carol")
        home.trust(partner)
        keytab = home.keytab(LOCALHOST)
        env = {**home.environ(), "KRB5_KTNAME": str(keytab)}

        with (
            apache(keytab, env) as theirs,
            serve("tests.pages.apps:app", env={**env, "KRB5_KTNAME": str(keytab)}) as ours,
        ):
            carol = partner.kinit("carol")
            answers = [
                get(site, "/plain", partner.initiator(f"{LOCALHOST}@HOME.EXAMPLE", carol).step())
                for site in (theirs, ours)
            ]

    assert [answer.status for answer in answers] == [200, 403]
    assert answers[0].headers["x-user"] == "carol@PARTNER.EXAMPLE"


def test_another_sites_page_may_use_the_ticket_at_apache_and_not_here(pair: Pair, asking: Asking) -> None:
    from_elsewhere = [("Sec-Fetch-Site", "cross-site"), ("Content-Length", "0")]

    answers = [asking(site, "/plain", method="POST", headers=from_elsewhere) for site in pair]

    assert answers[0].headers["x-user"] == "alice@TEST.EXAMPLE"  # let in; 405, since its page is a file
    assert (answers[1].status, answers[1].headers["x-user"]) == (403, None)


def test_a_connection_without_tls_is_remembered_by_apache_and_not_by_us(pair: Pair, asking: Asking) -> None:
    seen = []
    for site in pair:
        with Wire(site.port) as wire:
            first = wire.get("/connection", asking.token())
            seen.append((first.headers["persistent-auth"], wire.get("/connection").status))

    assert seen == [("true", 200), ("false", 401)]
