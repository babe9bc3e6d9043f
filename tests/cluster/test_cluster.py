"""Two nodes behind HAProxy, through all that happens to nodes, Redis and keys while users work."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets.exceptions
import websockets.sync.client

from negotiate_mw.cli import main
from negotiate_mw.testing import KerberosRealm
from tests.integration.serving import Server, get
from tests.store.server import RedisServer

from .running import CLIENTS, SERVICE, run


@pytest.fixture
def realm(kerberos_realm: KerberosRealm) -> Iterator[KerberosRealm]:
    """One of this test's own, since its keys change; skipped where the plugin's is."""
    with KerberosRealm() as realm, realm.apply():
        realm.add_service(SERVICE)
        yield realm


def test_users_notice_nothing_while_nodes_redis_keys_and_keytab_change(realm: KerberosRealm, tmp_path: Path) -> None:
    outcomes = run(realm, tmp_path, rate=60, seconds=12)

    total = outcomes.total()
    fine = outcomes["session"] + outcomes["log-in"]
    assert not [what for what in outcomes if what.startswith("WRONG")], outcomes
    assert not [what for what in outcomes if what.endswith("of the app")], outcomes
    assert fine >= 0.99 * total, outcomes
    assert outcomes["session"] > outcomes["log-in"], outcomes
    assert outcomes["log-in"] >= CLIENTS  # each at first, and again once Redis had forgotten them


def test_an_operators_revocation_closes_a_websocket_on_another_node_within_a_second(
    kerberos_realm: KerberosRealm, tmp_path: Path
) -> None:
    token = kerberos_realm.token(SERVICE, kerberos_realm.kinit("alice"))
    with RedisServer() as redis:
        env = kerberos_realm.environ() | {
            "KRB5_KTNAME": str(kerberos_realm.keytab(SERVICE)),
            "NODE": "x",
            "REDIS_URL": redis.url,
            "RCACHE": str(tmp_path),
            "SESSION_KEYS": "the-first-key-0123456789-abcdefghijklm",
        }
        nodes = [Server("tests.cluster.app:app", [], env) for _ in range(2)]
        try:
            cookie = get(nodes[0], token=token).headers["set-cookie"].partition(";")[0]
            with websockets.sync.client.connect(
                f"ws://localhost:{nodes[1].port}/talk", additional_headers={"Cookie": cookie}
            ) as socket:
                socket.send("hello")
                heard = socket.recv(timeout=10)

                code = main(["sessions", "--url", redis.url, "revoke", "--account", "alice@TEST.EXAMPLE"])
                begun = time.monotonic()
                with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
                    socket.recv(timeout=10)
                taken = time.monotonic() - begun
            after = get(nodes[0], headers=[("cookie", cookie)]).status
        finally:
            for node in nodes:
                node.stop()

    assert (heard, code) == ("alice@TEST.EXAMPLE: hello", 0)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert taken < 1.5  # one second, and what this machine is slow by
    assert after == 401
