"""The two ends of a log-in without HTTP: making a client's tokens, and the C library's accept call in a tight loop.

Law: nothing here reads the environment; credential cache, keytab and replay cache are named by argument.
"""

import time
from base64 import b64decode, b64encode
from pathlib import Path

import gssapi
from gssapi import raw

KRB5 = gssapi.OID.from_int_seq("1.2.840.113554.1.2.2")
SPNEGO = gssapi.OID.from_int_seq("1.3.6.1.5.5.2")


def make_tokens(ccache: Path, service: str, count: int, bindings: bytes | None = None) -> list[str]:
    """First tokens for ``service``, each with an authenticator of its own, in base64.

    The service's ticket must be in ``ccache``. Acceptors take a token for about five minutes. ``bindings`` is the
    application data of channel bindings.
    """
    channel = None if bindings is None else raw.ChannelBindings(application_data=bindings)
    name = gssapi.Name(service, gssapi.NameType.kerberos_principal)
    store: dict[bytes | str, bytes | str] = {"ccache": f"FILE:{ccache}"}
    creds = gssapi.Credentials(usage="initiate", mechs=[KRB5, SPNEGO], store=store)
    raw.set_neg_mechs(creds, [KRB5])
    flags = gssapi.RequirementFlag.mutual_authentication

    def token() -> str:
        context = gssapi.SecurityContext(
            name=name, creds=creds, usage="initiate", mech=SPNEGO, flags=flags, channel_bindings=channel
        )
        return b64encode(context.step() or b"").decode()

    return [token() for _ in range(count)]


def accept_all(keytab: Path, rcache: Path, tokens: list[str], keep: bool = False) -> tuple[float, float]:
    """Accept each token with one shared credential; the wall and CPU time that took, in seconds.

    Nothing but the call: no name, no flags, no account check. Replays are looked for, in a file under ``rcache``.
    ``keep`` lets the last context live until the next one is there, which saves the library's allocator some work.
    """
    store: dict[bytes | str, bytes | str] = {"keytab": str(keytab), "rcache": f"file2:{rcache / 'raw.rcache2'}"}
    acceptor = raw.import_name(b"HTTP", raw.NameType.hostbased_service)
    creds = raw.acquire_cred_from(store, acceptor, usage="accept", mechs=[KRB5, SPNEGO]).creds
    raw.set_neg_mechs(creds, [KRB5])
    decoded = [b64decode(token) for token in tokens]
    accept = raw.accept_sec_context
    began, cpu = time.perf_counter(), time.process_time()
    for token in decoded:
        done = accept(token, creds)
        if done.more_steps:
            raise RuntimeError("a log-in took more than one leg")
        if not keep:
            del done
    return time.perf_counter() - began, time.process_time() - cpu
