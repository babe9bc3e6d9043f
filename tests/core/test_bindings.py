"""The channel binding of the certificate in use."""

import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256, sha384
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from negotiate_mw import bindings
from negotiate_mw.bindings import EndPoint
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.policy import ChannelBinding


def make(folder: Path, name: str, algorithm: hashes.HashAlgorithm | None) -> tuple[Path, bytes]:
    """A self-signed certificate with its key in one PEM file, and its DER."""
    key = ed25519.Ed25519PrivateKey.generate() if algorithm is None else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, algorithm)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / f"{name}.pem"
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path, certificate.public_bytes(serialization.Encoding.DER)


def context_of(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@pytest.mark.parametrize(("algorithm", "digest"), [(hashes.SHA256(), sha256), (hashes.SHA384(), sha384)])
def test_the_binding_is_the_certificates_hash_under_its_signatures_algorithm(
    tmp_path: Path, algorithm: hashes.HashAlgorithm, digest: type
) -> None:
    pem, der = make(tmp_path, "a", algorithm)

    expected = b"tls-server-end-point:" + digest(der).digest()

    assert bindings.of_certificate(der) == expected
    assert bindings.of_file(pem) == expected
    assert bindings.of_context(context_of(pem)) == expected


def test_a_certificate_whose_signature_has_no_hash_has_no_binding(tmp_path: Path) -> None:
    pem, der = make(tmp_path, "ed25519", None)

    assert bindings.of_certificate(der) is None
    with pytest.raises(ConfigurationError, match="nothing can be bound"):
        bindings.of_file(pem)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_certificate_of_a_context_is_found_under_either_tls_version(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    pem, der = make(tmp_path, "a", hashes.SHA256())
    context = context_of(pem)
    context.minimum_version = context.maximum_version = version

    assert bindings.of_context(context) == bindings.of_certificate(der)


def test_a_context_that_wants_its_clients_certificates_is_read_all_the_same(tmp_path: Path) -> None:
    pem, der = make(tmp_path, "a", hashes.SHA256())
    context = context_of(pem)
    context.load_verify_locations(pem)
    context.verify_mode = ssl.CERT_REQUIRED

    assert bindings.of_context(context) == bindings.of_certificate(der)


def test_a_context_without_a_certificate_has_no_binding() -> None:
    assert bindings.of_context(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) is None


@pytest.mark.parametrize("content", ["", "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n"])
def test_a_file_without_a_certificate_says_what_to_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.pem").write_text(content)

    with pytest.raises(ConfigurationError, match="name the file of the certificate"):
        bindings.of_file(tmp_path / "x.pem")
    with pytest.raises(ConfigurationError, match="name the PEM file"):
        bindings.of_file(tmp_path / "missing.pem")


def test_off_looks_at_nothing(tmp_path: Path) -> None:
    pem, _ = make(tmp_path, "a", hashes.SHA256())
    end_point = EndPoint(ChannelBinding.off())

    end_point.start(None)

    assert end_point.of(context_of(pem)) is None


def test_a_named_file_counts_whatever_the_socket_is(tmp_path: Path) -> None:
    proxys, der = make(tmp_path, "proxy", hashes.SHA256())
    own, _ = make(tmp_path, "own", hashes.SHA256())
    end_point = EndPoint(ChannelBinding.when_present(certfile=str(proxys)))

    end_point.start(None)

    assert end_point.of(None) == end_point.of(context_of(own)) == bindings.of_certificate(der)


def test_required_cannot_start_where_no_certificate_is_to_be_seen(tmp_path: Path) -> None:
    pem, _ = make(tmp_path, "a", hashes.SHA256())
    unusable, _ = make(tmp_path, "ed25519", None)

    EndPoint(ChannelBinding.required()).start(context_of(pem))
    for context in (None, context_of(unusable)):
        with pytest.raises(ConfigurationError, match="--ssl-certfile"):
            EndPoint(ChannelBinding.required()).start(context)


def test_required_cannot_start_on_windows_which_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem, _ = make(tmp_path, "a", hashes.SHA256())
    context = context_of(pem)
    monkeypatch.setattr(sys, "platform", "win32")

    with pytest.raises(ConfigurationError, match="on Windows"):
        EndPoint(ChannelBinding.required()).start(context)


def test_a_certificate_is_looked_at_again_after_a_mismatch_but_not_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, old_der = make(tmp_path, "old", hashes.SHA256())
    new, new_der = make(tmp_path, "new", hashes.SHA256())
    context, clock = context_of(old), [100.0]
    monkeypatch.setattr("negotiate_mw.bindings.time.monotonic", lambda: clock[0])
    end_point = EndPoint(ChannelBinding.when_present())
    assert end_point.of(context) == bindings.of_certificate(old_der)

    context.load_cert_chain(new)
    before = end_point.of(context)
    end_point.doubt()
    after = end_point.of(context)
    context.load_cert_chain(old)
    end_point.doubt()  # in the same second
    too_soon = end_point.of(context)
    clock[0] += 1.1
    end_point.doubt()

    assert before == bindings.of_certificate(old_der)
    assert after == too_soon == bindings.of_certificate(new_der)
    assert end_point.of(context) == bindings.of_certificate(old_der)


def test_a_renewed_file_is_read_again_after_a_mismatch(tmp_path: Path) -> None:
    pem, _ = make(tmp_path, "a", hashes.SHA256())
    end_point = EndPoint(ChannelBinding.required(certfile=str(pem)))
    end_point.start(None)

    _, renewed = make(tmp_path, "a", hashes.SHA256())
    end_point.doubt()

    assert end_point.of(None) == bindings.of_certificate(renewed)


def test_nothing_heavy_is_loaded_without_tls() -> None:
    script = (
        "import sys, negotiate_mw.middleware; print([m for m in ('cryptography.x509','redis') if m in sys.modules])"
    )

    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout

    assert loaded.strip() == "[]"


def test_a_hidden_socket_is_on_the_channel_that_the_server_started_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pem, der = make(tmp_path, "a", hashes.SHA256())
    seen, unseen = EndPoint(ChannelBinding.when_present()), EndPoint(ChannelBinding.when_present())
    seen.start(context_of(pem))
    unseen.start(None)

    over_tls, said_to_be_plain = seen.of(None, is_https=True), seen.of(None)  # by a header that anybody may send
    unknown = [unseen.of(None, is_https=True) for _ in range(3)]

    assert over_tls == said_to_be_plain == bindings.of_certificate(der)
    assert unknown == [None, None, None]
    assert caplog.text.count("channel bindings are not checked") == 1


def test_a_certificate_that_only_tls_can_read_has_no_binding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: bytes) -> None:
        raise ValueError("5 is not a valid X509 version")

    pem, _ = make(tmp_path, "a", hashes.SHA256())
    monkeypatch.setattr(bindings, "of_certificate", refuse)

    assert bindings.of_context(context_of(pem)) is None
