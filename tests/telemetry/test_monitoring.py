"""The dashboard and the alerts ask for what there is, by the names that the real exporter gives it."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest

from negotiate_mw import telemetry
from negotiate_mw.pool import StepPool
from negotiate_mw.refusal import Refusal
from negotiate_mw.testing import user
from tests.integration.serving import ROOT
from tests.telemetry.test_metrics import set_provider

MONITORING = ROOT / "examples" / "monitoring"
ALERTS = (MONITORING / "alerts.yml").read_text()
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
DOCS = (ROOT / "docs" / "telemetry.md").read_text()
WORDS = re.compile(r"\b(?:negotiate_mw_\w+|error_type)\b")


@pytest.fixture(scope="module")
def exported() -> Iterator[str]:
    """What Prometheus is told once everything has happened."""
    with pytest.MonkeyPatch.context() as patch:
        registry = CollectorRegistry()
        provider = MeterProvider([PrometheusMetricReader(registry=registry)], shutdown_on_exit=False)
        set_provider(patch, provider)
        pool = StepPool(threads=1, queue=1)
        telemetry.watch_pool("kerberos", pool, 2)
        telemetry.logged_in({"type": "http"}, user("alice@EXAMPLE.COM"))
        telemetry.turned_away({"headers": []}, Refusal(status=401), "replay")
        telemetry.turned_away({"headers": []}, Refusal(status=503), "keytab")
        telemetry.stepped("kerberos", 0.00005)
        telemetry.session_looked_up(found=True)
        telemetry.store_failed("RedisSessions")
        yield generate_latest(registry).decode()
        provider.shutdown()


@pytest.mark.parametrize("text", [ALERTS, json.dumps(EXPRESSIONS)], ids=["alerts", "dashboard"])
def test_every_metric_and_label_that_is_asked_for_exists(exported: str, text: str) -> None:
    there = set(re.findall(r"^(\w+)", exported, re.MULTILINE)) | set(re.findall(r'[{,](\w+)="', exported))

    asked = set(WORDS.findall(text))

    assert len(asked) >= 10
    assert asked <= there


def test_every_value_that_is_asked_for_is_one_that_we_give(exported: str) -> None:
    wanted = set(re.findall(r'(negotiate_mw_(?:outcome|session_result))="(\w+)"', ALERTS + " ".join(EXPRESSIONS)))

    assert wanted
    for label, value in wanted:
        assert f'{label}="{value}"' in exported


def test_the_docs_list_every_metric_and_no_other(exported: str) -> None:
    families = set(re.findall(r"^# TYPE (negotiate_mw_\w+)", exported, re.MULTILINE))

    listed = set(re.findall(r"`(negotiate_mw_\w+)` \|$", DOCS, re.MULTILINE))

    assert listed == families


def test_the_rules_are_whole_and_each_alert_fires_for_what_it_is_about() -> None:
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(["promtool", *command], cwd=MONITORING, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_tested() -> None:
    tested = set(re.findall(r'alertname="(\w+)"', (MONITORING / "alerts_test.yml").read_text()))

    assert tested == set(re.findall(r"alert: (\w+)", ALERTS))


def test_what_the_dashboard_asks_can_be_asked(tmp_path: Path) -> None:
    questions = [text.replace("$__rate_interval", "5m").replace("$instance", ".*") for text in EXPRESSIONS]
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(questions)]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))

    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(EXPRESSIONS)} rules found" in done.stdout
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
