"""Groups out of real tickets of a real Active Directory."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gssapi import raw

from negotiate_mw import Acceptor, AcceptResult, NegotiateMiddleware, PacGroups, Policy
from negotiate_mw.backends.gssapi import _GroupSids
from negotiate_mw.testing import KerberosRealm, tickets
from tests.shell.driving import Answer, Client, Site
from tests.test_readme import BLOCKS
from tests.wire.building import logon_info

from .samba_ad import SYSTEM_PYTHON, SambaAD
from .serving import Server, get, serve

HTTP = "HTTP/localhost"
ASSERTED = "Authentication Authority Asserted Identity"
MANY = [f"team-{number:03}" for number in range(200)]
LOGON_INFO = b"urn:mspac:logon-info"


@pytest.fixture(scope="module")
def ad(samba_ad: SambaAD) -> SambaAD:
    """With dave, whose primary group isn't Domain Users, and erin, who is in 200 groups."""
    samba_ad.add(
        {"dave": {}, "erin": {}},
        groups={"staff": ["dave"], "all-staff": ["staff"], **{team: ["erin"] for team in MANY}},
        local_groups={"printing": ["dave"], "files": ["all-staff"]},
        primary_groups={"dave": "staff"},
    )
    return samba_ad


@pytest.fixture(scope="module")
def keytab(ad: SambaAD) -> Path:
    return ad.keytab(HTTP)


@pytest.fixture(scope="module")
def sid(ad: SambaAD) -> Callable[[str], str]:
    """The SID of an account or group, as the directory itself has it."""
    script = (
        "import sys, ldb; from samba.samdb import SamDB; from samba.ndr import ndr_unpack\n"
        "from samba.auth import system_session; from samba.param import LoadParm\n"
        "from samba.dcerpc import security\n"
        "lp = LoadParm(); lp.load(sys.argv[1])\n"
        "db = SamDB(url=sys.argv[2], session_info=system_session(), lp=lp)\n"
        "for found in db.search(expression='(sAMAccountName=*)', attrs=['sAMAccountName', 'objectSid']):\n"
        "    print(found['sAMAccountName'], ndr_unpack(security.dom_sid, found['objectSid'][0]))\n"
    )
    conf, database = ad.directory / "etc" / "smb.conf", ad.directory / "private" / "sam.ldb"
    printed = tickets.run(ad.environ(), SYSTEM_PYTHON, "-c", script, str(conf), str(database))
    sids = dict(line.rsplit(" ", 1) for line in printed.splitlines() if " S-1-" in line)
    return sids.__getitem__


@pytest.fixture(scope="module")
def hr_server(ad: SambaAD, keytab: Path, sid: Callable[[str], str]) -> Iterator[Server]:
    env = {**ad.environ(), "KRB5_KTNAME": str(keytab), "HR_SID": sid("staff")}
    with serve("tests.integration.groups_app:app", "--http", "h11", env=env) as server:
        yield server


def accepted(ad: SambaAD | KerberosRealm, keytab: Path, ccache: Path) -> AcceptResult:
    async def accept() -> AcceptResult:
        async with Acceptor(keytab=keytab, rcache=ad.directory / "rcache") as acceptor:
            return await acceptor.accept(None, ad.token(HTTP, ccache))

    return asyncio.run(accept())


def answered(ad: SambaAD | KerberosRealm, keytab: Path, ccache: Path, **options: Any) -> tuple[Answer, Site]:
    """What somebody is answered who logs in through the middleware."""
    site = Site()
    acceptor = Acceptor(keytab=keytab, rcache=ad.directory / "rcache")

    async def ask() -> Answer:
        app = NegotiateMiddleware(site, acceptor=acceptor, **options)
        return await Client(app).get(ad.token(HTTP, ccache))

    return asyncio.run(ask()), site


def test_nested_groups_and_local_ones_and_the_primary_one_are_those_of_the_directory(
    ad: SambaAD, keytab: Path, sid: Callable[[str], str]
) -> None:
    _, alice = answered(ad, keytab, ad.kinit("alice"), groups="pac")
    _, dave = answered(ad, keytab, ad.kinit("dave"), groups="pac")

    of_alice = {"alice", "Domain Users", "web-admins", "web-users", "nested"}
    of_dave = {"dave", "Domain Users", "staff", "all-staff", "printing", "files"}
    assert alice.scopes[0]["user"].groups == {ASSERTED, *map(sid, of_alice)}
    assert dave.scopes[0]["user"].groups == {ASSERTED, *map(sid, of_dave)}


@pytest.mark.parametrize(
    ("asked_for", "account", "group"), [("ALICE", "alice", "nested"), ("carol", "bob", "web-users")]
)
def test_whatever_name_was_typed_the_groups_are_the_accounts(
    ad: SambaAD, keytab: Path, sid: Callable[[str], str], asked_for: str, account: str, group: str
) -> None:
    ccache = ad.kinit(asked_for, ad.password(account))

    _, site = answered(ad, keytab, ccache, groups=PacGroups(names={sid(group): "HR"}))

    assert site.scopes[0]["user"].principal == f"{account}@{ad.name}"
    assert "HR" in site.scopes[0]["user"].groups


def test_our_reader_agrees_with_sambas_own(ad: SambaAD, keytab: Path) -> None:
    script = (
        "import sys, json; from samba.dcerpc import krb5pac; from samba.ndr import ndr_unpack\n"
        "data = bytes.fromhex(sys.stdin.read())\n"
        "buffers = ndr_unpack(krb5pac.PAC_DATA, data).buffers\n"
        "info = [buffer.info.info.info3 for buffer in buffers if buffer.type == krb5pac.PAC_TYPE_LOGON_INFO][0]\n"
        "rids = [group.rid for group in info.base.groups.rids or []]\n"
        "print(json.dumps([str(info.base.account_name), str(info.base.domain_sid), info.base.rid,\n"
        "                  info.base.primary_gid, rids, [str(extra.sid) for extra in info.sids or []]]))\n"
    )
    group_sids = accepted(ad, keytab, ad.kinit("erin")).group_sids
    assert isinstance(group_sids, _GroupSids)
    pac = raw.get_name_attribute(group_sids._name, b"urn:mspac:").values[0]

    theirs = json.loads(tickets.run(ad.environ(), SYSTEM_PYTHON, "-c", script, stdin=pac.hex()))

    _, domain, _, primary, rids, extra = theirs
    assert theirs[0] == "erin"
    assert len(rids) == 201
    assert group_sids() == {f"{domain}-{rid}" for rid in (primary, *rids)} | set(extra)


def test_requires_lets_in_who_is_in_the_group_and_no_other(ad: SambaAD, hr_server: Server) -> None:
    dave = get(hr_server, "/salaries", token=ad.token(HTTP, ad.kinit("dave")))
    alice = get(hr_server, "/salaries", token=ad.token(HTTP, ad.kinit("alice")))

    assert (dave.status, dave.body) == (200, b"Hello dave")
    assert alice.status == 403


def test_the_block_in_the_readme_keeps_the_salaries_to_hr(
    ad: SambaAD, keytab: Path, sid: Callable[[str], str], tmp_path: Path
) -> None:
    block, named = re.subn(r"S-1-5-21-[\d-]+", sid("staff"), BLOCKS["hr.py"])
    (tmp_path / "hr.py").write_text(block)
    env = {**ad.environ(), "KRB5_KTNAME": str(keytab), "PYTHONPATH": str(tmp_path)}

    with serve("hr:app", env=env) as server:
        dave = get(server, "/salaries", token=ad.token(HTTP, ad.kinit("dave")))
        alice = get(server, "/salaries", token=ad.token(HTTP, ad.kinit("alice")))

    assert named == 1
    assert (dave.status, dave.json) == (200, "Hello dave")
    assert alice.status == 403


def test_a_user_in_two_hundred_groups_gets_in_and_has_them_all(
    ad: SambaAD, hr_server: Server, sid: Callable[[str], str]
) -> None:
    token = ad.token(HTTP, ad.kinit("erin"))

    answer = get(hr_server, token=token)

    assert len(token) > 2_500, "SIDs of one domain take 8 bytes each"
    assert answer.status == 200
    assert set(map(sid, MANY)) < set(answer.json)


# Another realm's users


@pytest.fixture(scope="module")
def elsewhere(keytab: Path) -> Path:
    """The same keys in the name of another realm: the directory is a stranger there, as a trusted realm is."""
    path = keytab.with_name("elsewhere.keytab")
    path.write_bytes(keytab.read_bytes().replace(b"AD.TEST.EXAMPLE", b"MY.TEST.EXAMPLE"))
    return path


ANYBODY = Policy(realms="*")


def test_another_realms_kdc_does_not_say_whose_sid_a_user_has(ad: SambaAD, elsewhere: Path) -> None:
    answer, site = answered(ad, elsewhere, ad.kinit("alice"), policy=ANYBODY)

    user = site.scopes[0]["user"]
    assert answer.status == 200
    assert user.account_id == user.principal == "alice@AD.TEST.EXAMPLE"
    assert user.sid is None
    assert user.upn == "alice@ad.test.example"


def test_another_realms_groups_count_only_where_its_domain_is_named(
    ad: SambaAD, elsewhere: Path, sid: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    domain, _, _ = sid("alice").rpartition("-")
    listed = PacGroups(names={sid("nested"): "HR"}, realms={"AD.TEST.EXAMPLE": domain})
    mistaken = PacGroups(realms={"AD.TEST.EXAMPLE": "S-1-5-21-1-2-3"})

    unlisted, _ = answered(ad, elsewhere, ad.kinit("alice"), groups="pac", policy=ANYBODY)
    let_in, site = answered(ad, elsewhere, ad.kinit("alice"), groups=listed, policy=ANYBODY)
    refused, _ = answered(ad, elsewhere, ad.kinit("alice"), groups=mistaken, policy=ANYBODY)

    assert (unlisted.status, let_in.status, refused.status) == (403, 200, 403)
    assert "PacGroups(realms={'AD.TEST.EXAMPLE': 'S-1-5-21-…'})" in caplog.text
    assert site.scopes[0]["user"].groups == {"HR", *map(sid, ("Domain Users", "web-admins", "web-users"))}


# What isn't there, or isn't whole


def test_a_ticket_without_groups_is_403_unless_they_are_optional(
    kerberos_realm: KerberosRealm, caplog: pytest.LogCaptureFixture
) -> None:
    keytab = kerberos_realm.keytab(HTTP)
    alice = kerberos_realm.kinit("alice")

    refused, site = answered(kerberos_realm, keytab, alice, groups="pac")
    let_in, optional = answered(kerberos_realm, keytab, alice, groups="pac", policy=Policy(groups_optional=True))

    assert (refused.status, site.asked) == (403, 0)
    assert "groups-missing: the ticket of 'alice@TEST.EXAMPLE' has no PAC with groups" in caplog.text
    assert let_in.status == 200
    assert optional.scopes[0]["user"].groups == frozenset()


def test_active_directory_user_who_asks_for_no_pac_has_no_groups(ad: SambaAD, keytab: Path) -> None:
    refused, site = answered(ad, keytab, ad.kinit("alice", options=["--no-request-pac"]), groups="pac")

    assert (refused.status, site.asked) == (403, 0)


class Attribute:
    def __init__(self, value: bytes, *, authenticated: bool = True) -> None:
        self.values = [value]
        self.authenticated = authenticated


def changing(monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], Any]) -> None:
    """Have the library hand out another KERB_VALIDATION_INFO than there is."""
    genuine = raw.get_name_attribute

    def get_name_attribute(name: Any, attribute: bytes) -> Any:
        found = genuine(name, attribute)
        return change(found) if attribute == LOGON_INFO else found

    monkeypatch.setattr(raw, "get_name_attribute", get_name_attribute)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda found: Attribute(found.values[0][:-8]), r"KERB_VALIDATION_INFO, malformed: .* offset \d+"),
        (lambda found: Attribute(found.values[0], authenticated=False), "PAC isn't verified"),
    ],
)
def test_a_pac_that_is_not_whole_or_not_verified_is_403_and_the_log_says_where(
    ad: SambaAD,
    keytab: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[Any], Any],
    says: str,
) -> None:
    changing(monkeypatch, change)

    refused, site = answered(ad, keytab, ad.kinit("alice"), groups="pac")

    assert (refused.status, site.asked) == (403, 0)
    assert re.search(f"refused with 403: groups-missing: .*{says}", caplog.text)


def test_groups_of_another_account_are_403_even_where_groups_are_optional(
    ad: SambaAD, keytab: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    group_sids = accepted(ad, keytab, ad.kinit("dave")).group_sids
    assert isinstance(group_sids, _GroupSids)
    daves = raw.get_name_attribute(group_sids._name, LOGON_INFO)
    changing(monkeypatch, lambda found: daves)

    refused, site = answered(ad, keytab, ad.kinit("alice"), groups="pac", policy=Policy(groups_optional=True))

    assert (refused.status, site.asked) == (403, 0)
    assert "refused with 403: name-mismatch: " in caplog.text


def test_a_sid_that_an_account_used_to_have_counts_as_a_group_of_our_own_realms_users_alone(
    ad: SambaAD, keytab: Path, elsewhere: Path, sid: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """sIDHistory, which Samba doesn't put into tickets: one of our tickets, with what Windows would write into it."""
    domain, _, rid = sid("alice").rpartition("-")
    old = "S-1-5-21-1004336348-1177238915-682003330-1106"
    written = logon_info(domain_sid=domain, rid=int(rid), extra=[(old, 7), ("S-1-18-1", 7)], groups=[(513, 7)])
    changing(monkeypatch, lambda found: Attribute(written))
    ours = PacGroups(names={old: "HR"})
    listed = PacGroups(names={old: "HR"}, realms={"AD.TEST.EXAMPLE": domain})

    _, at_home = answered(ad, keytab, ad.kinit("alice"), groups=ours)
    _, of_elsewhere = answered(ad, elsewhere, ad.kinit("alice"), groups=listed, policy=ANYBODY)

    assert at_home.scopes[0]["user"].groups == {"HR", ASSERTED, sid("alice"), sid("Domain Users")}
    assert of_elsewhere.scopes[0]["user"].groups == {sid("Domain Users")}


def test_without_groups_nobody_reads_them(ad: SambaAD, keytab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changing(monkeypatch, lambda found: pytest.fail("it was read"))

    let_in, _ = answered(ad, keytab, ad.kinit("alice"))

    assert let_in.status == 200
