"""``negotiate-mw decode``: a token in plain words, without anything that should stay secret."""

import asyncio
import io
import sys
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negotiate_mw import AcceptError, Acceptor
from negotiate_mw.cli import main
from negotiate_mw.decoding import describe
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.testing import KerberosRealm
from negotiate_mw.wire import ntlm
from negotiate_mw.wire.kerberos import read_ap_req
from negotiate_mw.wire.spnego import NEGOEX, NTLM, read
from tests.core.building import negotiate
from tests.wire import building, vectors

from .test_diagnosis import HOSTILE, ticket

TOKENS = {name: token for name, token in vars(vectors).items() if "KERBEROS" in name or "NTLM" in name}
BASE64 = b64encode(vectors.SPNEGO_KERBEROS).decode()


def text(token: bytes) -> str:
    return "\n".join(describe(b64encode(token).decode()))


@pytest.mark.parametrize(
    ("token", "words"),
    [
        (
            vectors.SPNEGO_KERBEROS_AD,
            [
                "1472 bytes",
                "NegTokenInit",
                "best first: Kerberos",
                "kvno: 2",
                "aes256-cts-hmac-sha1-96",
                "AD.TEST.EXAMPLE",
            ],
        ),
        (vectors.KERBEROS, ["bare Kerberos, without SPNEGO", "kvno: 1", "HTTP/www.test.example@TEST.EXAMPLE"]),
        (vectors.SPNEGO_KERBEROS_ERROR, ["reject", "KRB-ERROR 34: a replay", "2026-11-22 16:23:50 UTC"]),
        (vectors.SPNEGO_NTLM_NEGOTIATE, ["NTLM NEGOTIATE", "0xe2088217", "key-exchange", "not Kerberos"]),
        (vectors.SPNEGO_NTLM_CHALLENGE, ["NTLM CHALLENGE", "target: WWW", "domain: WORKSTATION", "accept-incomplete"]),
        (
            vectors.SPNEGO_NTLM_AUTHENTICATE,
            ["user: alice", "domain: TEST", "workstation: WWW", "NTLMv2", "target: HTTP/www.test.example", "MIC: yes"],
        ),
        (ticket(enctype=23), ["ticket: rc4-hmac (weak"]),
        (ticket(kvno=0x10007), ["kvno: 65543 (7, by the read-only domain controller 1)"]),
        (ticket(kvno=None), ["kvno: not said"]),
        (negotiate(NTLM, NEGOEX), ["best first: NTLM, NegoEx", "no token for the first mechanism"]),
        (negotiate("1.2.3.4"), ["best first: 1.2.3.4"]),
    ],
)
def test_a_token_in_plain_words(token: bytes, words: list[str]) -> None:
    said = text(token)

    assert [word for word in words if word not in said] == []


def test_what_a_real_server_answers(kerberos_realm: KerberosRealm, tmp_path: Path) -> None:
    keytab, ccache = kerberos_realm.keytab("HTTP/localhost"), kerberos_realm.kinit("alice")
    token = kerberos_realm.token("HTTP/localhost", ccache)

    async def answers() -> tuple[bytes, bytes]:
        async with Acceptor(keytab=keytab, rcache=tmp_path) as acceptor:
            proof = (await acceptor.accept(None, token)).token
            with pytest.raises(AcceptError) as refused:
                await acceptor.accept(None, token)
            assert proof is not None
            assert refused.value.token is not None
            return proof, refused.value.token

    proof, error = asyncio.run(answers())

    assert "AP-REP: the server proves itself" in text(proof)
    assert "KRB-ERROR 34: a replay" in text(error)


@pytest.mark.parametrize(
    "written",
    [
        BASE64,
        BASE64.rstrip("="),
        urlsafe_b64encode(vectors.SPNEGO_KERBEROS).decode(),
        "\n".join(BASE64[at : at + 76] for at in range(0, len(BASE64), 76)),
        f"Negotiate {BASE64}",
        f"negotiate {BASE64}\r\n",
        f"Authorization: Negotiate {BASE64}",
        f"WWW-Authenticate: Negotiate {BASE64}",
        f"> authorization: Negotiate {BASE64}",
        f"'Authorization: Negotiate {BASE64}'",
        f"Kerberos {BASE64}",
        vectors.SPNEGO_KERBEROS.hex(),
        vectors.SPNEGO_KERBEROS.hex(" "),
        vectors.SPNEGO_KERBEROS.hex(":").upper(),
        f"0x{vectors.SPNEGO_KERBEROS.hex()}",
    ],
)
def test_however_it_is_written(written: str) -> None:
    assert describe(written) == describe(BASE64)


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("", "give a token"),
        ("Negotiate", "asks for one"),
        ("WWW-Authenticate: Negotiate", "asks for one"),
        ("Authorization: Basic YWxpY2U6Q0FOQVJZ", "a secret"),
        ("Bearer CANARY", "a secret"),
        ("CANARY!", "neither base64 nor hexadecimal"),
        ("CANARYCANARYCANA", "neither SPNEGO, nor Kerberos, nor NTLM"),
        (b64encode(vectors.SPNEGO_KERBEROS[:-9]).decode(), "cut off"),
        (b64encode(vectors.NTLM_AUTHENTICATE[:40]).decode(), "cut off"),
    ],
)
def test_what_is_no_token_is_one_sentence_and_status_1(
    written: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["decode", written])

    said = capsys.readouterr()
    assert status == 1
    assert said.out == ""
    assert said.err.startswith("negotiate-mw: ")
    assert said.err.count("\n") == 1
    assert sentence in said.err
    assert "CANARY" not in said.err


@pytest.mark.parametrize("name", [b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x00\x00"])
def test_spnego_inside_spnego_is_words(name: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    # where a Kerberos message has its name, an answer without a token has what somebody chose
    inner = building.neg_token_resp(building.octets(0xA3, b"\0\0\0" + name + name + b"\0\0\0\0\0\0"))
    outer = building.neg_token_init(building.mech_types(building.KRB5_OID), building.octets(0xA2, inner))

    status = main(["decode", b64encode(outer).decode()])

    said = capsys.readouterr()
    assert (status, said.err) == (0, "")
    assert "mechanisms, best first: Kerberos" in said.out
    assert "Traceback" not in said.out


def test_from_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"Authorization: Negotiate {BASE64}\n"))

    status = main(["decode", "-"])

    assert status == 0
    assert capsys.readouterr().out.splitlines() == describe(BASE64)


def test_a_header_in_several_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["decode", "Authorization:", "Negotiate", BASE64]) == 0
    assert capsys.readouterr().out.splitlines() == describe(BASE64)


def secrets_of(token: bytes) -> list[bytes]:
    """What must not be shown of a token: ciphertexts, proofs, keys, challenges, signatures."""
    if ntlm.SIGNATURE in token:
        message = token[token.index(ntlm.SIGNATURE) :]
        if message[8] == 2:
            return [message[24:32]]
        if message[8] == 3:
            read_message = ntlm.read_authenticate(message)
            return [read_message.nt_response[:16], read_message.nt_response[32:40], read_message.session_key]
        return []
    first = read(token)
    if b"\x6e\x82" not in token or first.mech_token is None:  # no AP-REQ
        return []
    return [read_ap_req(first.mech_token).authenticator]


@pytest.mark.parametrize("name", TOKENS)
def test_secrets_are_not_shown_not_even_in_part(name: str) -> None:
    token: bytes = TOKENS[name]

    said = text(token)

    for secret in secrets_of(token):
        assert secret
        for at in range(len(secret) - 3):
            part = secret[at : at + 4]
            assert part.hex() not in said
            assert repr(part)[2:-1] not in said


def test_names_that_somebody_chose_are_escaped() -> None:
    said = describe(ticket("HTTP/" + HOSTILE).hex())

    assert all(line.isprintable() and len(line) < 400 for line in said)


@building.PROPERTY
@given(
    st.text()
    | st.binary().map(lambda token: b64encode(token).decode())
    | st.tuples(st.sampled_from(list(TOKENS.values())), st.integers(0, 400), st.integers(0, 255)).map(
        lambda made: b64encode(made[0][: made[1]] + bytes([made[2]]) + made[0][made[1] + 1 :]).decode()
    )
)
def test_whatever_is_given_it_is_words_or_one_sentence(written: str) -> None:
    try:
        said = describe(written)
    except ConfigurationError as error:
        said = [str(error)]

    assert all(line.isprintable() for line in said)
