"""What a client does with Kerberos: log in, get a ticket for a service, make a token of it.

Law: nothing here touches the process environment. Programs get theirs as an argument; python-gssapi gets a credential
cache by name and finds the service's ticket in it already, so that it needs neither krb5.conf nor a KDC.
"""

import base64
import os
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from negotiate_mw.errors import NegotiateError

if TYPE_CHECKING:
    import gssapi

Wrapping = Literal["spnego", "kerberos"]

OIDS: Mapping[Wrapping, str] = {"kerberos": "1.2.840.113554.1.2.2", "spnego": "1.3.6.1.5.5.2"}

# brew's krb5 goes before the system's, which on macOS is Heimdal; the others are where KDC programs hide from users
KEGS = tuple(f"{keg}/{d}" for keg in ("/opt/homebrew/opt/krb5", "/usr/local/opt/krb5") for d in ("bin", "sbin"))
SBIN = ("/usr/sbin", "/sbin")

FOREIGN = (
    # set from outside, each would make a throwaway realm's client or acceptor use something that isn't the realm's
    "KRB5_CLIENT_KTNAME",
    "KRB5_KTNAME",
    "KRB5RCACHENAME",
    "KRB5RCACHETYPE",
    "GSS_USE_PROXY",
    "NTLM_USER_FILE",
)


class RealmError(NegotiateError):
    """A program of the throwaway realm failed.

    Attributes:
        command: the program's name and arguments.
        output: what it said, on both streams.
    """

    def __init__(self, command: str, output: str) -> None:
        super().__init__(command, output)
        self.command = command
        self.output = output

    def __str__(self) -> str:
        return f"{self.command}: {self.output.strip()}"


def search_path() -> str:
    """``PATH``, and where MIT's programs may be besides."""
    return os.pathsep.join(dict.fromkeys((*KEGS, *os.environ.get("PATH", os.defpath).split(os.pathsep), *SBIN)))


def environ(env: Mapping[str, str], ccache: Path | None = None) -> dict[str, str]:
    """This process's environment, without what would lead out of the realm, with the realm's ``env`` over it."""
    merged = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    merged.update(env)
    if ccache is not None:
        merged["KRB5CCNAME"] = f"FILE:{ccache}"
    return merged


def at(clock: timedelta | None, env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program whose clock is off by ``clock``; needs the ``faketime`` program's library."""
    if clock is None:
        return dict(env)
    library = run(env, "faketime", "-f", "+0", "printenv", "LD_PRELOAD").strip()
    return {**env, "LD_PRELOAD": library, "FAKETIME": f"{clock.total_seconds():+.0f}"}


def run(env: Mapping[str, str], *command: str, stdin: str = "") -> str:
    """Run one short program to its end and return what it said; it failing, or not being there, is a RealmError."""
    try:
        done = subprocess.run(
            command, env=dict(env), input=stdin, text=True, stdout=-1, stderr=subprocess.STDOUT, timeout=60
        )
    except OSError as exc:
        raise RealmError(" ".join(command), str(exc)) from exc
    if done.returncode != 0:
        raise RealmError(" ".join(command), done.stdout)
    return done.stdout


def kinit(
    env: Mapping[str, str],
    ccache: Path,
    principal: str,
    password: str,
    *,
    lifetime: timedelta | None = None,
    options: Sequence[str] = (),
) -> Path:
    """Log ``principal`` in and put its ticket-granting ticket into the file ``ccache``."""
    life = [] if lifetime is None else ["-l", f"{lifetime.total_seconds():.0f}s"]
    run(env, "kinit", "-c", f"FILE:{ccache}", *life, *options, "--", principal, stdin=password + "\n")
    return ccache


def initiator(
    env: Mapping[str, str],
    ccache: Path,
    service: str,
    *,
    wrapping: Wrapping = "spnego",
    mutual: bool = True,
    delegate: bool = False,
    bindings: bytes | None = None,
) -> "gssapi.SecurityContext":
    """The client's half of a handshake with ``service`` (a full principal name), at its beginning.

    ``delegate=True`` makes the library ask the KDC for a ticket to forward, for which this process's own environment
    must lead to the realm (``KerberosRealm.apply``).
    """
    import gssapi

    run(environ(env, ccache), "kvno", "-q", service)
    krb5, mech = (gssapi.OID.from_int_seq(OIDS[name]) for name in ("kerberos", wrapping))
    creds = gssapi.Credentials(
        usage="initiate", mechs=list(dict.fromkeys((krb5, mech))), store={"ccache": f"FILE:{ccache}"}
    )
    if wrapping == "spnego":
        gssapi.raw.set_neg_mechs(creds, [krb5])
    # integrity goes without saying in Kerberos; but python-gssapi takes no flag at all for its default, which is mutual
    flag = gssapi.RequirementFlag
    flags = flag.integrity | flag.mutual_authentication * mutual | flag.delegate_to_peer * delegate
    return gssapi.SecurityContext(
        name=gssapi.Name(service, gssapi.NameType.kerberos_principal),
        creds=creds,
        usage="initiate",
        mech=mech,
        flags=flags,
        channel_bindings=None if bindings is None else gssapi.raw.ChannelBindings(application_data=bindings),
    )


def token(
    env: Mapping[str, str], ccache: Path, service: str, *, wrapping: Wrapping = "spnego", clock: timedelta | None = None
) -> bytes:
    """A first token for ``service``; by a client whose clock is off by ``clock``, if given."""
    if clock is None:
        return initiator(env, ccache, service, wrapping=wrapping).step() or b""
    child = at(clock, environ(env, ccache))
    return base64.b64decode(run(child, sys.executable, "-m", __name__, str(ccache), service, wrapping))


def overdue(ccache: Path, source: Path) -> Path:
    """Copy the credential cache ``source``, each ticket's end moved to tomorrow in the copy.

    Only what the client believes changes: the true end is sealed inside the ticket. So a library that would not send an
    expired ticket sends it. The format is that of krb5's file credential caches, version 4.
    """
    data = bytearray(source.read_bytes())
    tomorrow = int((datetime.now(UTC) + timedelta(days=1)).timestamp())
    if data[:2] != b"\x05\x04":
        raise RealmError("overdue", f"{source} is not a version 4 credential cache")

    def long(at: int) -> int:
        return int(struct.unpack_from(">I", data, at)[0])

    def counted(at: int) -> int:
        return at + 4 + long(at)

    def principal(at: int) -> int:
        parts, at = long(at + 4), at + 8
        for _ in range(parts + 1):  # the realm is one more
            at = counted(at)
        return at

    def tagged(at: int) -> int:
        many, at = long(at), at + 4
        for _ in range(many):
            at = counted(at + 2)
        return at

    offset = principal(4 + struct.unpack_from(">H", data, 2)[0])
    while offset < len(data):
        offset = counted(principal(principal(offset)) + 2)  # client, server; key type, key
        struct.pack_into(">I", data, offset + 8, tomorrow)  # authtime, starttime, endtime, renew_till
        offset = tagged(tagged(offset + 16 + 1 + 4))  # is_skey, flags; addresses, authorisation data
        offset = counted(counted(offset))  # ticket, second ticket
    ccache.write_bytes(data)
    ccache.chmod(0o600)
    return ccache


def _main() -> None:
    cache, name, wrapped = sys.argv[1:]
    made = token(os.environ, Path(cache), name, wrapping="kerberos" if wrapped == "kerberos" else "spnego")
    sys.stdout.write(base64.b64encode(made).decode())


if __name__ == "__main__":
    _main()
