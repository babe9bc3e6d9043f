"""The certificate: is it in time, is it for this host, can tickets be bound to it?"""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from negotiate_mw.bindings import of_file
from negotiate_mw.doctor.deployed import Deployed
from negotiate_mw.doctor.report import Line, ok, problem, told, warning
from negotiate_mw.errors import ConfigurationError

SOON = timedelta(days=14)


def examine(deployed: Deployed, certfile: str | None, now: datetime | None = None) -> Iterator[Line]:
    """The certificate of ``ChannelBinding(certfile=…)``, and the one that the server is started with."""
    now = now or datetime.now(UTC)
    binding = None if deployed.policy is None else deployed.policy.channel_binding
    named = None if binding is None else binding.certfile
    for file in dict.fromkeys(filter(None, (named, certfile))):
        yield from _file(deployed, file, now)
    if binding is not None and binding.mode == "required" and not named and not certfile:
        yield warning("binding-unprovable")


def _file(deployed: Deployed, file: str, now: datetime) -> Iterator[Line]:
    try:
        of_file(file)
    except ConfigurationError as error:
        yield told("certificate", str(error))
        return
    pem = Path(file).read_text("ascii", "replace")
    begin = pem.index("-----BEGIN CERTIFICATE-----")
    end = pem.index("-----END CERTIFICATE-----", begin)
    der = ssl.PEM_cert_to_DER_cert(pem[begin:end] + "-----END CERTIFICATE-----\n")
    certificate = x509.load_der_x509_certificate(der)
    until = certificate.not_valid_after_utc
    day = f"{until:%Y-%m-%d}"
    if until < now:
        yield problem("certificate-expired", file=file, until=day)
        return
    hosts = [host for host in deployed.names_hosts if not _covers(certificate, host)]
    if hosts:
        yield warning("certificate-name", file=file, host=hosts[0])
    elif until - now < SOON:
        yield warning("certificate-ends-soon", file=file, until=day)
    else:
        yield ok(f"{file}: good until {day}, and tickets can be bound to it")


def _covers(certificate: x509.Certificate, host: str) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    dns = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    parent = "*." + host.lower().partition(".")[2]
    return host.lower() in dns or parent in dns
