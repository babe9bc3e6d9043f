"""A C client, gss-ntlmssp, in a process of its own, since it takes its password from NTLM_USER_FILE: prints each token
in base64, reads each answer likewise. Arguments: ``ntlm`` or ``spnego``, user, flags (RFC 2744), bindings in hex."""

import base64
import sys

from gssapi import OID, raw

NTLM = OID.from_int_seq("1.3.6.1.4.1.311.2.2.10")
SPNEGO = OID.from_int_seq("1.3.6.1.5.5.2")


def main(wrapping: str, user: str, flags: str, bindings: str) -> None:
    mechanism = NTLM if wrapping == "ntlm" else SPNEGO
    name = raw.import_name(user.encode(), raw.NameType.user)
    credential = raw.acquire_cred(name, usage="initiate", mechs=[NTLM, SPNEGO] if mechanism is SPNEGO else [NTLM]).creds
    if mechanism is SPNEGO:
        raw.set_neg_mechs(credential, [NTLM])
    target = raw.import_name(b"HTTP@www.corp.example", raw.NameType.hostbased_service)
    channel = raw.ChannelBindings(application_data=bytes.fromhex(bindings)) if bindings else None
    context = token = None
    while True:
        done = raw.init_sec_context(
            target, credential, context, mechanism, int(flags), channel_bindings=channel, input_token=token
        )
        context = done.context
        print(base64.b64encode(done.token or b"").decode(), flush=True)
        if not done.more_steps:
            print("complete", flush=True)
            return
        token = base64.b64decode(sys.stdin.readline())


if __name__ == "__main__":
    main(*sys.argv[1:])
