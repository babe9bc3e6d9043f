"""Break a deployment, and the log names what was broken and what to type; healthy ones raise no alarm."""

import asyncio
import itertools
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from negotiate_mw.causes import CAUSES
from negotiate_mw.testing import KerberosRealm
from tests.integration.samba_ad import SambaAD
from tests.shell.driving import Answer, Client, Site

from .deployments import HEALTHY, ROWS, Act, Deployment, Row

_numbers = itertools.count(1)


@pytest.fixture
def deployment(kerberos_realm: KerberosRealm, tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment.healthy(kerberos_realm, tmp_path, f"site{next(_numbers)}.test.example")
    with made.held:
        yield made


@pytest.fixture(scope="session")
def samba_ad() -> Iterator[SambaAD]:
    with SambaAD() as ad:
        yield ad


def in_ad(ad: SambaAD, directory: Path) -> Deployment:
    """The domain's service of the same kind; its keytab is the domain's own."""
    (directory / "rcache").mkdir(mode=0o700)
    keytab = ad.keytab("HTTP/localhost")
    acceptor = {"keytab": keytab, "rcache": directory / "rcache"}
    return Deployment(realm=ad, directory=directory, host="localhost", keytab=keytab, acceptor=acceptor)  # type: ignore[arg-type]


async def answers(deployment: Deployment, act: Act) -> list[Answer]:
    """Play a row: one answer for each of its requests."""
    app: Any = None
    clients: dict[int, Client] = {}
    answers = []
    for request in act(deployment):
        os.environ.update(deployment.env)
        app = app or deployment.middleware(Site())
        host = request.host or deployment.host
        if (client := clients.get(request.connection)) is None:
            client = clients[request.connection] = Client(app, host=host, native=request.has_identity)
        client._host = host.encode()
        fields = {"method": request.method, "headers": list(request.headers), "scheme": request.scheme}
        answers.append(await client.get(request.token, "/page", **fields))
    return answers


def play(deployment: Deployment, act: Act) -> list[Answer]:
    with deployment.apply():
        return asyncio.run(answers(deployment, act))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_log_names_the_cause_and_the_cure(
    row: Row,
    kerberos_realm: KerberosRealm,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if row.ad:
        deployment = in_ad(request.getfixturevalue("samba_ad"), tmp_path)
    else:
        deployment = request.getfixturevalue("deployment")

    with deployment.held:
        answer = play(deployment, row.act)[-1]

    assert answer.error is None
    assert answer.status == row.status
    record = caplog.records[-1]
    line = record.getMessage()
    assert getattr(record, "negotiate_cause", None) == row.log, line
    cause = CAUSES[row.log or ""]
    assert cause.told or "Cure: " in line
    for words in row.says:
        assert words.format(spn=deployment.spn, host=deployment.host) in line
    assert "\n" not in line


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_deployment_raises_no_alarm(
    name: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if name == "Active Directory":
        deployment = in_ad(request.getfixturevalue("samba_ad"), tmp_path)
    else:
        deployment = request.getfixturevalue("deployment")
    caplog.set_level(logging.WARNING, "negotiate_mw")

    with deployment.held:
        found = play(deployment, HEALTHY[name])

    assert [answer.status for answer in found] == [200] * len(found)
    assert caplog.records == []


def test_the_table_breaks_deployments_in_thirty_ways_and_more() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) >= 30
    assert {row.log for row in ROWS} | {row.check for row in ROWS} <= CAUSES.keys() | {None}
