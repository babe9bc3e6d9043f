"""Each framework's example is started as its first lines say, and logged in to by curl."""

import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import ROOT, Server, get, serve

HTTP = "HTTP/localhost"
EXAMPLES = ROOT / "examples"
FRONT = "https://portal.corp.example"
BATCH = "batch/jobs@TEST.EXAMPLE"

ALICE = {"username": "alice", "principal": "alice@TEST.EXAMPLE", "mechanism": "kerberos"}


@contextmanager
def started(name: str, env: dict[str, str], **more: str) -> Iterator[Server]:
    with serve(f"{name}:app", "--app-dir", str(EXAMPLES), env=env | more) as server:
        yield server


def migrate_django(env: dict[str, str]) -> None:
    subprocess.run([sys.executable, "django_app.py", "migrate", "-v", "0"], cwd=EXAMPLES, env=env, check=True)


@pytest.fixture(
    scope="module", params=["django_app", "litestar_app", "quart_app", "websocket_app", "mixed_app", "cors_app"]
)
def example(
    request: pytest.FixtureRequest, service_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    more = {"FRONT": FRONT}
    if request.param == "django_app":
        more["DJANGO_DB"] = str(tmp_path_factory.mktemp("django") / "users.sqlite3")
        migrate_django(service_env | more)
    with started(request.param, service_env, **more) as server:
        yield server


def curl(server: Server, realm: KerberosRealm, ticket: Path, *options: str, path: str = "") -> str:
    command = ["curl", "-sS", "--noproxy", "*", "--negotiate", "-u", ":", *options, f"{server.url}{path}"]
    return subprocess.run(command, env=realm.environ(ticket), capture_output=True, text=True, check=True).stdout


def status(server: Server, realm: KerberosRealm, ticket: Path, path: str, *options: str) -> str:
    return curl(server, realm, ticket, "-o", "/dev/null", "-w", "%{http_code}", *options, path=path)


def test_alice_logs_in_and_a_stranger_does_not(example: Server, kerberos_realm: KerberosRealm, alice: Path) -> None:
    answer = json.loads(curl(example, kerberos_realm, alice))
    again = json.loads(curl(example, kerberos_realm, alice))
    stranger = get(example)

    assert answer == again == ALICE
    assert (stranger.status, stranger.challenges) == (401, ["Negotiate"])


@pytest.fixture(scope="module")
def cors(service_env: dict[str, str]) -> Iterator[Server]:
    with started("cors_app", service_env, FRONT=FRONT) as server:
        yield server


def asked_by(origin: str, site: str, token: bytes | None, server: Server, method: str = "POST") -> tuple[int, str]:
    headers = [("Origin", origin), ("Sec-Fetch-Site", site), ("Content-Length", "0")]
    if method == "OPTIONS":
        headers.append(("Access-Control-Request-Method", "POST"))
    answer = get(server, token=token, method=method, headers=headers)
    return answer.status, answer.headers.get("access-control-allow-origin", "")


def test_the_trusted_pages_may_use_their_users_ticket_and_others_may_not(
    cors: Server, kerberos_realm: KerberosRealm, alice: Path
) -> None:
    other = "https://evil.example"
    one, two = (kerberos_realm.token(HTTP, alice) for _ in range(2))

    answers = {
        "preflight": asked_by(FRONT, "same-site", None, cors, "OPTIONS"),
        "trusted": asked_by(FRONT, "same-site", one, cors),
        "no ticket": asked_by(FRONT, "same-site", None, cors),
        "other's preflight": asked_by(other, "cross-site", None, cors, "OPTIONS"),
        "other": asked_by(other, "cross-site", two, cors),
    }

    assert answers == {
        "preflight": (200, FRONT),
        "trusted": (200, FRONT),
        "no ticket": (401, FRONT),
        "other's preflight": (400, ""),
        "other": (403, ""),
    }


@pytest.fixture(scope="module")
def mixed(service_env: dict[str, str]) -> Iterator[Server]:
    with started("mixed_app", service_env, SERVICES=BATCH) as server:
        yield server


@pytest.fixture(scope="module")
def batch(kerberos_realm: KerberosRealm) -> Path:
    kerberos_realm.add_user("batch/jobs")
    return kerberos_realm.kinit("batch/jobs")


def test_people_and_services_get_their_own_pages_and_all_get_the_public_one(
    mixed: Server, kerberos_realm: KerberosRealm, alice: Path, batch: Path
) -> None:
    kerberos_realm.add_user("batch/others")
    others = kerberos_realm.kinit("batch/others")

    seen = {
        name: [status(mixed, kerberos_realm, ticket, path) for path in ("welcome", "", "api")]
        for name, ticket in {"alice": alice, "batch": batch, "others": others}.items()
    }
    stranger = [get(mixed, path).status for path in ("/welcome", "/", "/api")]

    assert seen == {
        "alice": ["200", "200", "403"],
        "batch": ["200", "403", "200"],
        "others": ["200", "403", "403"],
    }
    assert stranger == [200, 401, 401]


@pytest.fixture(scope="module")
def websocket(service_env: dict[str, str]) -> Iterator[Server]:
    with started("websocket_app", service_env) as server:
        yield server


def open_socket(server: Server, headers: dict[str, str], origin: str | None = None) -> str:
    url = f"ws://localhost:{server.port}/echo"
    with connect(url, additional_headers=headers, origin=origin, proxy=None) as socket:  # type: ignore[arg-type]
        socket.send("hello")
        return str(socket.recv())


def test_a_websocket_knows_its_user_by_ticket_and_by_the_pages_session(
    websocket: Server, kerberos_realm: KerberosRealm, alice: Path
) -> None:
    page = get(websocket, token=kerberos_realm.token(HTTP, alice))
    cookie = page.headers["set-cookie"].partition(";")[0]
    ticket = f"Negotiate {b64encode(kerberos_realm.token(HTTP, alice)).decode()}"
    here = f"http://localhost:{websocket.port}"

    assert open_socket(websocket, {"Authorization": ticket}) == "alice: hello"
    assert open_socket(websocket, {"Cookie": cookie}, here) == "alice: hello"
    with pytest.raises(InvalidStatus) as stranger:
        open_socket(websocket, {})
    with pytest.raises(InvalidStatus) as foreign:
        open_socket(websocket, {"Cookie": cookie}, "https://evil.example")
    assert (stranger.value.response.status_code, foreign.value.response.status_code) == (401, 403)


def test_fastapis_document_says_how_to_log_in_and_a_dependency_asks_for_a_group(
    service_env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path
) -> None:
    with started("fastapi_app", service_env) as server:
        document = get(server, "/openapi.json").json
        personnel = get(server, "/personnel", kerberos_realm.token(HTTP, alice))

    scheme = document["components"]["securitySchemes"]["Negotiate"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "negotiate")
    assert document["paths"]["/"]["get"]["security"] == [{"Negotiate": []}]
    assert personnel.status == 403  # she is in no group


def test_no_header_of_a_client_makes_it_another_django_user(
    service_env: dict[str, str], kerberos_realm: KerberosRealm, alice: Path, tmp_path: Path
) -> None:
    more = {"DJANGO_DB": str(tmp_path / "db")}
    migrate_django(service_env | more)
    headers = [("Remote-User", "root"), ("REMOTE_USER", "root"), ("X-Remote-User", "root")]
    with started("django_app", service_env, **more) as server:
        answer = get(server, token=kerberos_realm.token(HTTP, alice), headers=headers)
        stranger = get(server, headers=headers)

    assert answer.json == ALICE
    assert stranger.status == 401
