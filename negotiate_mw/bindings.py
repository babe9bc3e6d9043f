"""The channel binding of the certificate in use: ``tls-server-end-point`` (RFC 5929 4), as clients compute it.

Law: what counts is the certificate that this server really presents, not the one in a file that may be newer. Python
can't read it back from an SSLContext, so it is asked for as a client asks: by a handshake, in memory.
"""

import ssl
import sys
import time
from pathlib import Path
from weakref import WeakKeyDictionary

from negotiate_mw import telemetry
from negotiate_mw.errors import ConfigurationError
from negotiate_mw.policy import ChannelBinding

_PREFIX = b"tls-server-end-point:"
_WEAK = frozenset({"md5", "sha1"})  # RFC 5929 4.1: SHA-256 stands in for them
_ROUNDS = 8  # of bytes to and fro; a TLS handshake takes two or three

_DOUBT_SECONDS = 1.0  # how often a mismatch may have us look again: a client can make mismatches at will


class EndPoint:
    """Which TLS channel the clients of one middleware have to be on.

    Args:
        binding: what the policy says of it.
    """

    def __init__(self, binding: ChannelBinding) -> None:
        self._mode = binding.mode
        self._certfile = binding.certfile
        self._serving: ssl.SSLContext | None = None
        self._warned = False
        self._of_file: bytes | None = None
        self._of_context: WeakKeyDictionary[ssl.SSLContext, bytes | None] = WeakKeyDictionary()
        self._doubt_again_at = 0.0

    def start(self, context: ssl.SSLContext | None) -> None:
        """Check that the policy can be honoured.

        Args:
            context: the server's, if it is to be seen.

        Raises:
            ConfigurationError: the certificate's file can't be used, or ``required`` can't be honoured.
        """
        if self._mode == "required" and sys.platform == "win32":
            raise ConfigurationError(
                "ChannelBinding.required() can't be honoured on Windows, since SSPI doesn't say whether a client that "
                "it let in was bound; ChannelBinding.when_present() refuses those that are bound elsewhere"
            )
        self._serving = context
        if self._certfile is not None:
            self._of_file = of_file(self._certfile)
        elif self._mode == "required" and (context is None or self.of(context) is None):
            raise ConfigurationError(
                "ChannelBinding.required() can't be honoured, since this server's TLS certificate is not to be seen: "
                "start the server with TLS (uvicorn --ssl-certfile … --ssl-keyfile …), or, where a proxy ends TLS, "
                'name its certificate: ChannelBinding.required(certfile="proxy.pem")'
            )

    def of(self, context: ssl.SSLContext | None, *, is_https: bool = False) -> bytes | None:
        """The application data of the bindings that a request's client has to match; None: there is no channel.

        Args:
            context: that of the request's own socket; None where it isn't TLS, or not to be seen: then the context that
                the server started with counts, whatever the request says of itself.
            is_https: the request says that it came over TLS.
        """
        if self._mode == "off":
            return None
        if self._certfile is not None:
            if self._of_file is None:
                self._of_file = of_file(self._certfile)
            return self._of_file
        if context is None:
            context = self._serving
            if context is None and is_https and not self._warned:
                self._warned = True
                telemetry.warned(
                    "channel-binding-unchecked",
                    "requests come over TLS, but the certificate is not to be seen here, so channel bindings are not "
                    "checked; name it: Policy(channel_binding=ChannelBinding.when_present(certfile=…))",
                )
        if context is None:
            return None
        if context not in self._of_context:
            self._of_context[context] = of_context(context)
        return self._of_context[context]

    def doubt(self) -> None:
        """A client was on another channel: have the certificates looked at again, as they may have been renewed."""
        now = time.monotonic()
        if now >= self._doubt_again_at:
            self._doubt_again_at = now + _DOUBT_SECONDS
            self._of_file = None
            self._of_context.clear()


def of_certificate(der: bytes) -> bytes | None:
    """The application data of the channel bindings for a certificate; None if RFC 5929 defines none for it.

    Args:
        der: the certificate.

    Raises:
        ValueError: it is no certificate.
    """
    # heavy, and of no use without TLS
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.hashes import SHA256, Hash

    try:
        algorithm = x509.load_der_x509_certificate(der).signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    if algorithm is None:  # Ed25519 and Ed448 have no hash of their own, and RFC 5929 no rule for that
        return None
    digest = Hash(SHA256() if algorithm.name in _WEAK else algorithm)
    digest.update(der)
    return _PREFIX + digest.finalize()


def of_file(certfile: str | Path) -> bytes:
    """The same for the first certificate of a PEM file: a proxy's, where TLS ends there.

    Raises:
        ConfigurationError: the file can't be read, or holds no certificate that can be bound to.
    """
    try:
        pem = Path(certfile).read_text("ascii", "replace")
        begin = pem.index("-----BEGIN CERTIFICATE-----")
        end = pem.index("-----END CERTIFICATE-----", begin)
        binding = of_certificate(ssl.PEM_cert_to_DER_cert(pem[begin:end] + "-----END CERTIFICATE-----\n"))
    except OSError as error:
        raise ConfigurationError(
            f"ChannelBinding(certfile={str(certfile)!r}) can't be read ({error.strerror}); "
            "name the PEM file of the certificate that clients see"
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            f"ChannelBinding(certfile={str(certfile)!r}) holds no PEM certificate; "
            "name the file of the certificate that clients see"
        ) from error
    if binding is None:
        raise ConfigurationError(
            f"{str(certfile)!r}: nothing can be bound to a certificate with this kind of signature"
        )
    return binding


def of_context(context: ssl.SSLContext) -> bytes | None:
    """The same for the certificate that a server's SSLContext presents (about 1 ms); None if it can't be found out."""
    der = _presented(context)
    try:
        return of_certificate(der) if der else None
    except ValueError:  # TLS takes it, and the certificate's reader doesn't
        return None


def _presented(context: ssl.SSLContext) -> bytes | None:
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE  # we look at our own certificate, whoever signed it
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_ROUNDS):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:  # it wants a certificate of its clients; TLS 1.3 has shown its own by then
                break
        try:
            return client.getpeercert(binary_form=True)
        except ValueError:  # not there yet
            continue
    return None
