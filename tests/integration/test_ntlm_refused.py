"""NTLM against an acceptor that was told to take Kerberos alone, on a machine where the C library could do NTLM."""

from collections.abc import Iterator
from pathlib import Path

import gssapi
import pytest
import spnego

from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire import der
from negotiate_mw.wire.spnego import KRB5, NEGOEX, NTLM

from .gss_client import Initiators
from .serving import Answer, Server, Wire, get
from .tokens import NTLM_NEGOTIATE, neg_token_init, neg_token_resp


@pytest.fixture(scope="module", autouse=True)
def _plugin() -> None:
    """Without the plugin these tests would show nothing."""
    ntlm = gssapi.raw.OID(elements=der.encode_oid(NTLM))
    assert ntlm in gssapi.raw.indicate_mechs(), "gss-ntlmssp isn't installed: run scripts/setup test"


@pytest.fixture(scope="module")
def ntlm_client(kerberos_realm: KerberosRealm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Initiators]:
    """The C library's client of a user who has a password and no ticket."""
    users = tmp_path_factory.mktemp("ntlm") / "users"
    users.write_text("TEST:alice:a-password\n")
    with Initiators({**kerberos_realm.environ(), "NTLM_USER_FILE": str(users)}) as initiators:
        yield initiators


def assert_refused(answer: Answer) -> None:
    """No continuation, and no challenge either: who has nothing but NTLM would only ask for a password again."""
    assert answer.status == 401
    assert answer.challenges == []
    assert answer.body.startswith(b"Sign-in is needed.")


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "spnego"])
def test_the_c_librarys_ntlm_is_refused(server: Server, ntlm_client: Initiators, raw: bool) -> None:
    token = ntlm_client.begin("HTTP@localhost", ["ntlm"], raw=raw).step()
    mark = server.mark()

    answer = get(server, token=token)

    assert_refused(answer)
    server.until_logged("refused with 401: mechanism-not-allowed: the client offers NTLM", mark=mark)


@pytest.mark.parametrize("protocol", ["ntlm", "negotiate"])
def test_pyspnegos_ntlm_is_refused(server: Server, protocol: str) -> None:
    options = spnego.NegotiateOptions.use_ntlm
    if protocol == "negotiate":
        options |= spnego.NegotiateOptions.use_negotiate
    client = spnego.client("TEST\\alice", "a-password", hostname="localhost", protocol=protocol, options=options)

    answer = get(server, token=client.step())

    assert_refused(answer)


@pytest.mark.parametrize(
    "token",
    [
        NTLM_NEGOTIATE,
        neg_token_init([NTLM], NTLM_NEGOTIATE),
        neg_token_init([NTLM]),
        neg_token_init([NEGOEX, NTLM], NTLM_NEGOTIATE),
    ],
    ids=["raw", "wrapped", "without-token", "beside-negoex"],
)
def test_no_amount_of_ntlm_brings_the_server_down(
    server: Server, kerberos_realm: KerberosRealm, alice: Path, token: bytes
) -> None:
    with Wire(server.port) as wire:
        for _ in range(50):
            assert_refused(wire.get(token=token))
        answer = wire.get(token=kerberos_realm.token("HTTP/localhost", alice))

    assert server.alive
    assert answer.status == 200


def test_the_raw_token_that_kills_careless_acceptors_is_forty_bytes() -> None:
    assert len(NTLM_NEGOTIATE) == 40


def test_ntlm_that_hides_behind_kerberos_in_the_list_gets_no_ntlm_challenge(server: Server) -> None:
    """The client offers both, and sends NTLM's token where it promised Kerberos."""
    with Wire(server.port) as wire:
        for mechanisms in ([KRB5, NTLM], [NTLM, KRB5]):
            answer = wire.get(token=neg_token_init(mechanisms, NTLM_NEGOTIATE))

            assert answer.status == 401
            assert b"NTLMSSP" not in (answer.token if answer.challenges != ["Negotiate"] else b"")
            wire.get()  # give up that handshake

    assert server.alive


@pytest.mark.parametrize("second", ["wrapped", "negotiate", "authenticate"])
def test_ntlm_after_the_server_chose_kerberos_is_refused(server: Server, second: str) -> None:
    """The server answers "Kerberos", and the client sends NTLM all the same."""
    match second:
        case "wrapped":
            token = neg_token_resp(NTLM_NEGOTIATE)
        case "negotiate":
            token = NTLM_NEGOTIATE
        case _:
            token = b"NTLMSSP\0\x03\0\0\0" + bytes(80)

    with Wire(server.port) as wire:
        first = wire.get(token=neg_token_init([NTLM, KRB5], NTLM_NEGOTIATE))
        answer = wire.get(token=token)

    assert first.token, "the server asks for Kerberos"
    assert answer.status == 401
    assert answer.challenges in ([], ["Negotiate"])
    assert answer.body.startswith(b"Sign-in is needed.")
    assert server.alive
