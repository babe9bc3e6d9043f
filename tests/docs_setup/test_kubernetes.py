"""docs/kubernetes.md tells of the example as it is, and what it claims of a pod is so."""

import re
from pathlib import Path

import pytest

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import ROOT, get, serve

PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
EXAMPLE = ROOT / "examples" / "kubernetes"
MANIFESTS = (EXAMPLE / "app.yaml").read_text()
HTTP = "HTTP/localhost"
LOG_INS = 1000


@pytest.fixture(scope="module")
def realm(kerberos_realm: KerberosRealm) -> KerberosRealm:
    kerberos_realm.add_service("HTTP/pod.test.example")
    return kerberos_realm


def test_each_piece_of_yaml_is_the_examples_own() -> None:
    pieces = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)

    elsewhere = [piece for piece in pieces if piece not in MANIFESTS]

    assert pieces
    assert elsewhere == []


def test_what_the_page_says_of_image_app_and_commands_is_so() -> None:
    image, app = (EXAMPLE / "Dockerfile").read_text(), (EXAMPLE / "app.py").read_text()

    assert all(setting in image for setting in re.findall(r"`(KRB5\w+=\S+)`", PAGE))
    assert "Policy(tls_terminated_by_proxy=True)" in PAGE
    assert "tls_terminated_by_proxy=True" in app
    assert 'exempt=("/readyz",)' in app
    assert "kubectl create secret generic negotiate-app --from-file=http.keytab\n" in PAGE
    assert "kubectl create secret generic negotiate-app --from-file=http.keytab\n" in MANIFESTS


def mounted(folder: Path, keytab: Path, version: str) -> None:
    """Put a keytab where a Secret's volume has it, as the kubelet does: a link to a link, swapped at one stroke."""
    (folder / version).mkdir()
    (folder / version / "http.keytab").write_bytes(keytab.read_bytes())
    (folder / "..data_tmp").symlink_to(version)
    (folder / "..data_tmp").replace(folder / "..data")
    if not (folder / "http.keytab").is_symlink():
        (folder / "http.keytab").symlink_to("..data/http.keytab")


def test_the_app_takes_an_updated_secret_without_a_restart(realm: KerberosRealm, tmp_path: Path) -> None:
    spn = "HTTP/pod.test.example"
    mounted(tmp_path, realm.keytab(spn), "..one")
    old = realm.kinit("alice")
    env = realm.environ() | {"KRB5_KTNAME": str(tmp_path / "http.keytab")}

    with serve("app:app", "--app-dir", str(EXAMPLE), env=env) as server:
        first = get(server, token=realm.token(spn, old))
        realm.rotate(spn, keep_old=True)
        before_the_update = get(server, token=realm.token(spn, realm.kinit("alice")))
        mounted(tmp_path, realm.keytab(spn), "..two")
        answers = [get(server, token=realm.token(spn, ccache)) for ccache in (old, realm.kinit("alice"))]

    assert first.status == 200
    assert before_the_update.status == 401
    assert [answer.status for answer in answers] == [200, 200]


def test_a_thousand_log_ins_stay_below_the_memory_that_is_asked_for(realm: KerberosRealm) -> None:
    (requested,) = re.findall(r"requests: \{[^}]*memory: (\d+)Mi", MANIFESTS)
    alice = realm.kinit("alice")
    env = realm.environ() | {"KRB5_KTNAME": str(realm.keytab(HTTP))}

    with serve("app:app", "--app-dir", str(EXAMPLE), env=env) as server:
        statuses = {get(server, token=realm.token(HTTP, alice)).status for _ in range(LOG_INS)}
        status = Path(f"/proc/{server.process.pid}/status").read_text()

    (kilobytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    assert statuses == {200}
    assert int(kilobytes) / 1024 < int(requested)
