"""``docs/telemetry.md`` does what it says: its app is served, logged in to and scraped, and every field is in it."""

import json
import re
import shlex
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from negotiate_mw import telemetry
from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import ROOT, Server, get, serve

DOCS = (ROOT / "docs" / "telemetry.md").read_text()
BLOCKS = dict(re.findall(r"<!-- test: (\S+) -->\n```\w+\n(.*?)```", DOCS, re.DOTALL))
HTTP = "HTTP/localhost"


@pytest.fixture
def metrics_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def site(kerberos_realm: KerberosRealm, tmp_path: Path, metrics_port: int) -> Iterator[Server]:
    (tmp_path / "app.py").write_text(BLOCKS["app.py"].replace("9464", str(metrics_port)))
    env = {**kerberos_realm.environ(), "KRB5_KTNAME": str(kerberos_realm.keytab(HTTP))}
    with serve("app:app", "--app-dir", str(tmp_path), env=env) as server:
        yield server


def scrape(port: int) -> dict[str, float]:
    """The series of ours, by the short names of their labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    series = {}
    for name, labels, number in re.findall(r"^(negotiate_mw_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
        ours = re.findall(r'(?:negotiate_mw_(\w+)|(error_type|le))="([^"]*)"', labels)
        values = sorted(value for *_, value in ours if value)
        series[" ".join([name.removeprefix("negotiate_mw_"), *values])] = float(number)
    return series


def test_the_app_of_the_docs_counts_and_times_real_log_ins(
    site: Server, kerberos_realm: KerberosRealm, metrics_port: int
) -> None:
    alice = kerberos_realm.kinit("alice")
    token = kerberos_realm.token(HTTP, alice)

    statuses = [get(site, token=each).status for each in (None, token, token, kerberos_realm.token(HTTP, alice))]
    series = scrape(metrics_port)

    assert statuses == [401, 200, 401, 200]
    assert series["handshakes_total accepted kerberos"] == 2
    assert series["handshakes_total kerberos refused replay"] == 1
    assert series["step_duration_seconds_count kerberos"] == 3
    assert 0 < series["step_duration_seconds_sum kerberos"] < 3
    assert series["half_open_count"] == series["pool_jobs kerberos"] == 0
    assert (series["half_open_limit"], series["pool_limit kerberos"]) == (10_000, 72)


def test_the_json_log_of_the_docs_has_the_fields_of_a_refusal(
    site: Server, kerberos_realm: KerberosRealm, tmp_path: Path
) -> None:
    (tmp_path / "logged_app.py").write_text(BLOCKS["json_log.py"] + "\nfrom forward import app\n")
    (tmp_path / "forward.py").write_text(
        "from negotiate_mw import NegotiateMiddleware\napp = NegotiateMiddleware(None)\n"
    )
    env = {**kerberos_realm.environ(), "KRB5_KTNAME": str(kerberos_realm.keytab(HTTP))}

    with serve("logged_app:app", "--app-dir", str(tmp_path), env=env) as server:
        answer = get(server, "/x", token=b"garbage")
        line = server.until_logged(r'\{"level": "WARNING".*\}')[0]

    record = json.loads(line)
    assert record["negotiate_event"] == "refused"
    assert (record["negotiate_reason"], record["negotiate_status"]) == ("malformed", 401)
    assert record["negotiate_path"] == "/x"
    assert record["negotiate_reference"] in answer.body.decode()


def test_every_field_and_event_of_the_log_is_in_the_docs() -> None:
    source = Path(telemetry.__file__).read_text()
    fields = {f"negotiate_{name}" for name in re.findall(r'"(\w+)": ', source)}
    events = set(re.findall(r'"event": "([a-z-]+)"', source))

    documented = set(re.findall(r"`([a-z_-]+)`", DOCS.partition("## Metrics")[0]))

    assert len(fields) >= 12
    assert fields <= documented
    assert events <= documented


def test_the_command_of_the_docs_tests_the_rules() -> None:
    done = subprocess.run(shlex.split(BLOCKS["rules"]), cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("setting", "line"),
    [("", r"refused"), (BLOCKS["levels.py"], r"\d{4}-\d\d-\d\d \S+ WARNING negotiate_mw: refused")],
    ids=["as Python has it", "as the docs say"],
)
def test_what_is_printed_of_a_line(setting: str, line: str) -> None:
    program = f"{setting}\nimport logging\nlogging.getLogger('negotiate_mw').warning('refused')"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert re.fullmatch(line, done.stderr.strip())


def test_every_block_is_tested() -> None:
    assert set(BLOCKS) == {"levels.py", "json_log.py", "app.py", "rules"}
    assert len(BLOCKS) == len(re.findall(r"^```\w+", DOCS, re.MULTILINE))
