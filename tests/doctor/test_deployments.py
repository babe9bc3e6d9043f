"""Break a deployment, and ``check`` names what was broken by the log's own name; healthy ones raise no alarm."""

import os
from pathlib import Path

import pytest

from negotiate_mw.doctor.checks import examine
from negotiate_mw.doctor.deployed import of_app
from negotiate_mw.doctor.report import Level, Line
from negotiate_mw.testing import KerberosRealm
from tests.causes.deployments import HEALTHY, ROWS, Deployment, Row
from tests.causes.test_deployments import deployment, in_ad, play, samba_ad
from tests.shell.driving import Site

__all__ = ["deployment", "samba_ad"]

SEEN = [row for row in ROWS if row.check is not None]
UNSEEN = [row for row in ROWS if row.check is None and not row.ad]
# what `check` says besides, and rightly
REMARKS = {
    "keytab of another realm": ["keytab-realm-not-allowed"],
    "many groups": ["token-bytes-low"],
    "no KDC for passwords": ["kdc-unreachable"],
    "realm left out": ["keytab-realm-not-allowed"],
}


def checked(deployment: Deployment, *, as_alice: bool = True) -> list[Line]:
    """What the operator is told, who has a ticket of alice's or none."""
    with deployment.apply():
        os.environ.update(deployment.env)
        if as_alice:
            os.environ["KRB5CCNAME"] = f"FILE:{deployment.alice}"
        return examine(of_app(deployment.middleware(Site())))


def alarms(lines: list[Line]) -> list[str]:
    return [line.cause or line.sentence for line in lines if line.level in (Level.WARNING, Level.PROBLEM)]


@pytest.mark.parametrize("row", SEEN, ids=lambda row: row.name)
def test_a_fault_that_can_be_seen_is_named(row: Row, deployment: Deployment) -> None:
    play(deployment, row.act)

    lines = checked(deployment)

    assert alarms(lines) == [*REMARKS.get(row.name, []), row.check], lines
    (line,) = (line for line in lines if line.cause == row.check)
    assert line.level is Level.PROBLEM
    assert line.cure


@pytest.mark.parametrize("row", UNSEEN, ids=lambda row: row.name)
def test_a_fault_of_a_client_or_a_proxy_raises_no_alarm(row: Row, deployment: Deployment) -> None:
    play(deployment, row.act)

    lines = checked(deployment)

    assert alarms(lines) == REMARKS.get(row.name, [])


def test_an_active_directory_whose_tickets_may_not_say_whose_account_they_are_is_a_warning(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    careless = in_ad(request.getfixturevalue("samba_ad"), tmp_path)

    lines = checked(careless)

    assert alarms(lines) == ["pac-optional"]
    assert 'Policy(pac="required")' in next(line.cure for line in lines if line.cause)


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("as_alice", [True, False], ids=["with her ticket", "by the keytab"])
def test_a_healthy_deployment_raises_no_alarm(
    name: str, as_alice: bool, kerberos_realm: KerberosRealm, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if name == "Active Directory":
        (tmp_path / "ad").mkdir()
        healthy = in_ad(request.getfixturevalue("samba_ad"), tmp_path / "ad")
    else:
        healthy = request.getfixturevalue("deployment")
    play(healthy, HEALTHY[name])

    lines = checked(healthy, as_alice=as_alice)

    assert alarms(lines) == [], lines
