"""What surrounds the app in production: proxies, which are run for real, a systemd unit, a pod's manifests."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import ROOT, Server, get, serve
from tests.proxies.running import _program, _running, free_ports

HTTP = "HTTP/localhost"
EXAMPLES = ROOT / "examples"
PROXIES = EXAMPLES / "proxies"
ALICE = {"username": "alice", "principal": "alice@TEST.EXAMPLE", "mechanism": "kerberos"}


def replaced(text: str, **by: str) -> str:
    """The text with each of these in place of what the example names; all of it has to be there."""
    for old, new in by.items():
        assert old in text
        text = text.replace(old, new)
    return text


# Proxies


@pytest.fixture(scope="module")
def behind(service_env: dict[str, str]) -> Iterator[Server]:
    with serve("app:app", "--app-dir", str(PROXIES), env=service_env) as server:
        yield server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for localhost, with its key in the same file."""
    folder = tmp_path_factory.mktemp("certificate")
    key, public = folder / "key.pem", folder / "public.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(public)], check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text(public.read_text() + key.read_text())
    return both


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def site(
    request: pytest.FixtureRequest, behind: Server, certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """The port of the proxy in front of the app; only ports, certificates and directories are not the example's."""
    folder = tmp_path_factory.mktemp(request.param)
    (port,) = free_ports(1)
    app = {"127.0.0.1:8000": f"127.0.0.1:{behind.port}"}
    if request.param == "haproxy":
        ours = {"bind :443": f"bind 127.0.0.1:{port}", "/etc/ssl/private/www.corp.example.both.pem": str(certificate)}
        command = [_program("haproxy"), "-q", "-db", "-f", str(folder / "haproxy.cfg")]
        name = "haproxy.cfg"
    else:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
        ours = {
            "http {": f"http {{ access_log off; {paths}",
            "listen 443": f"listen 127.0.0.1:{port}",
            "/etc/ssl/www.corp.example.pem": str(certificate),
            "/etc/ssl/private/www.corp.example.key": str(certificate),
        }
        outside = f"daemon off; pid {folder}/pid;" + (" user root root;" if os.geteuid() == 0 else "")
        log, name = str(folder / "log"), "nginx.conf"
        command = [_program("nginx"), "-p", str(folder), "-e", log, "-g", outside, "-c", str(folder / name)]
    (folder / name).write_text(replaced((PROXIES / name).read_text(), **app, **ours))
    with _running(command, [port], folder):
        yield port


def curl(url: str, realm: KerberosRealm, ticket: Path | None, *options: str) -> str:
    command = ["curl", "-sS", "--noproxy", "*", "--negotiate", "-u", ":", *options, url]
    return subprocess.run(command, env=realm.environ(ticket), capture_output=True, text=True, check=True).stdout


def test_alice_logs_in_through_the_proxy(
    site: int, certificate: Path, kerberos_realm: KerberosRealm, alice: Path
) -> None:
    answers = [
        json.loads(curl(f"https://localhost:{site}/", kerberos_realm, alice, "--cacert", str(certificate)))
        for _ in range(2)
    ]

    assert answers == [ALICE, ALICE]


def test_a_stranger_does_not_log_in_through_the_proxy(
    site: int, certificate: Path, kerberos_realm: KerberosRealm
) -> None:
    seen = curl(
        *(f"https://localhost:{site}/", kerberos_realm, None),
        *("--cacert", str(certificate), "-o", "/dev/null", "-w", "%{http_code} %header{www-authenticate}"),
    )

    assert seen == "401 Negotiate"


def test_a_large_ticket_gets_through_the_proxy_to_the_app(
    site: int, certificate: Path, kerberos_realm: KerberosRealm
) -> None:
    large = "Authorization: Negotiate " + "A" * 40_000  # no ticket, but the app's to say so, not the proxy's
    options = ("--cacert", str(certificate), "-H", large, "-o", "/dev/null", "-w", "%{http_code}")
    command = ["curl", "-sS", "--noproxy", "*", *options, f"https://localhost:{site}/"]

    done = subprocess.run(command, env=kerberos_realm.environ(), capture_output=True, text=True, check=True)

    assert done.stdout == "401"


def test_traefiks_file_hands_the_host_on_to_the_app() -> None:
    http = yaml.safe_load((PROXIES / "traefik.yml").read_text())["http"]

    router = http["routers"]["www"]
    balancer = http["services"][router["service"]]["loadBalancer"]
    assert "tls" in router
    assert balancer == {"passHostHeader": True, "servers": [{"url": "http://127.0.0.1:8000"}]}


# systemd


UNIT = (EXAMPLES / "systemd" / "negotiate-app.service").read_text()


def setting(name: str) -> str:
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    return str(value)


def test_systemd_takes_the_unit_as_it_is(tmp_path: Path) -> None:
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze isn't installed")
    unit = tmp_path / "negotiate-app.service"
    unit.write_text(replaced(UNIT, **{"/opt/negotiate-app/.venv/bin/python": sys.executable}))

    done = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True)

    assert "negotiate-app.service" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


def test_the_units_command_serves_with_what_systemd_gives_it(
    kerberos_realm: KerberosRealm, alice: Path, tmp_path: Path
) -> None:
    credential, _, _ = setting("LoadCredential").partition(":")
    variable, _, value = setting("Environment").partition("=")
    kerberos_realm.keytab(HTTP, path=tmp_path / credential)
    (runtime := tmp_path / setting("RuntimeDirectory")).mkdir(mode=int(setting("RuntimeDirectoryMode"), 8))
    given = {variable: value.replace("%d", str(tmp_path)), "RUNTIME_DIRECTORY": str(runtime)}
    env = {name: text for name, text in kerberos_realm.environ().items() if not name.startswith("KRB5RCACHE")} | given
    _, module, uvicorn, app, *options = shlex.split(setting("ExecStart"))
    options[options.index("8000")] = "0"

    with serve(app, "--app-dir", str(PROXIES), *options, env=env) as server:
        answer = get(server, token=kerberos_realm.token(HTTP, alice))

    assert (module, uvicorn) == ("-m", "uvicorn")
    assert answer.json == ALICE
    assert [path.name for path in runtime.iterdir()] == [f"krb5_{os.geteuid()}.rcache2"]


# Kubernetes

KUBERNETES = EXAMPLES / "kubernetes"
MANIFESTS = (KUBERNETES / "app.yaml").read_text()
DOCKERFILE = (KUBERNETES / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(MANIFESTS)}


def image_environ() -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", re.findall(r"^ENV (.*)$", DOCKERFILE, re.MULTILINE)[0]))


def test_the_pod_may_write_to_its_replay_cache_alone_and_be_any_user(manifests: dict[str, Any]) -> None:
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}

    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert [path for path, mount in mounts.items() if not mount.get("readOnly")] == [image_environ()["KRB5RCACHEDIR"]]
    assert "emptyDir" in volumes[mounts[image_environ()["KRB5RCACHEDIR"]]["name"]]
    assert volumes["keytab"]["secret"]["defaultMode"] == 0o440


def test_the_manifests_agree_with_each_other_and_with_the_image(manifests: dict[str, Any]) -> None:
    template = manifests["Deployment"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    (port,) = container["ports"]
    (service_port,) = manifests["Service"]["spec"]["ports"]
    (rule,) = manifests["Ingress"]["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    keytab = Path(image_environ()["KRB5_KTNAME"])
    secret = next(v["secret"] for v in template["spec"]["volumes"] if v["name"] == "keytab")["secretName"]

    labels = template["metadata"]["labels"]
    assert (
        labels == manifests["Deployment"]["spec"]["selector"]["matchLabels"] == manifests["Service"]["spec"]["selector"]
    )
    assert labels == manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
    assert backend == {"name": manifests["Service"]["metadata"]["name"], "port": {"name": service_port["name"]}}
    assert service_port["targetPort"] == port["name"] == container["readinessProbe"]["httpGet"]["port"]
    assert f'"{port["containerPort"]}"' in DOCKERFILE
    assert str(keytab.parent) in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert f"kubectl create secret generic {secret} --from-file={keytab.name}" in MANIFESTS
    assert rule["host"] in manifests["Ingress"]["spec"]["tls"][0]["hosts"]
    for path in re.findall(r"^COPY ((?!--from).*) \S+$", DOCKERFILE, re.MULTILINE):
        assert all((ROOT / name).exists() for name in path.split()), path


def test_what_the_image_runs_is_ready_and_logs_alice_in(
    manifests: dict[str, Any], kerberos_realm: KerberosRealm, alice: Path, tmp_path: Path
) -> None:
    command = json.loads(re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)[0])
    app = command[command.index("/srv") + 1]
    probe = manifests["Deployment"]["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"]
    (rcache := tmp_path / "rcache").mkdir()
    rcache.chmod(0o2777)  # as Kubernetes makes an emptyDir: root's, and open to the pod
    env = kerberos_realm.environ() | {
        "KRB5_KTNAME": str(kerberos_realm.keytab(HTTP, path=tmp_path / "http.keytab")),
        "KRB5RCACHEDIR": str(rcache),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/nonexistent",
    }

    with serve(app, "--app-dir", str(KUBERNETES), env=env) as server:
        ready = get(server, probe)
        answer = get(server, token=kerberos_realm.token(HTTP, alice))

    assert ready.status == 200
    assert answer.json == ALICE
    assert len(list(rcache.iterdir())) == 1


# The index


def test_the_index_names_every_example_once() -> None:
    listed = re.findall(r"^\| \[([^]]+)\]\(([^)]+)\) \| .+ \|$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)

    there = {path.name for path in EXAMPLES.iterdir()} - {"README.md", "__pycache__"}

    assert sorted(target for _, target in listed) == sorted(there)
    assert all(name.rstrip("/") == target for name, target in listed)
