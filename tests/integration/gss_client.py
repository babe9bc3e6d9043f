"""GSS-API initiators in a process of their own: a mechanism plugin may crash, and reads its process's environment.

Law: one line of JSON in, one out. ``Initiators`` is the parent's side; run as a program, this file is the child's.
"""

import json
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import gssapi

from negotiate_mw.wire import der
from negotiate_mw.wire.spnego import KRB5, NTLM, SPNEGO

MECHANISMS = {"kerberos": KRB5, "ntlm": NTLM, "spnego": SPNEGO}


class Initiators:
    """A child with one user's credentials, and any number of handshakes in it.

    Args:
        env: the child's environment: ``KRB5CCNAME`` and ``NTLM_USER_FILE`` say who the user is.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", __name__], env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.communicate(timeout=10)

    def begin(self, service: str, mechanisms: list[str], *, raw: bool = False) -> "Initiator":
        """A handshake with ``service``, such as ``HTTP@localhost``.

        Args:
            mechanisms: ``"ntlm"`` and ``"kerberos"``, in the order in which to offer them.
            raw: the one mechanism alone, without SPNEGO around it.
        """
        return Initiator(self, self.ask({"do": "begin", "service": service, "mechanisms": mechanisms, "raw": raw}))

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(question) + "\n")
        self._child.stdin.flush()
        return json.loads(self._child.stdout.readline())  # type: ignore[no-any-return]


class Initiator:
    """The client's half of one handshake."""

    def __init__(self, initiators: Initiators, begun: dict[str, Any]) -> None:
        self._initiators = initiators
        self._id = begun["id"]
        self.complete = False

    def step(self, token: bytes | None = None) -> bytes | None:
        """The next token to send; None if there is none."""
        sent = None if token is None else b64encode(token).decode()
        answer = self._initiators.ask({"do": "step", "id": self._id, "token": sent})
        self.complete = answer["complete"]
        return None if answer["token"] is None else b64decode(answer["token"])


def _begin(question: dict[str, Any]) -> gssapi.SecurityContext:
    oid = {name: gssapi.raw.OID(elements=der.encode_oid(dotted)) for name, dotted in MECHANISMS.items()}
    mechanisms = [oid[name] for name in question["mechanisms"]]
    mech = mechanisms[0] if question["raw"] else oid["spnego"]
    credential = gssapi.Credentials(usage="initiate", mechs=list(dict.fromkeys([*mechanisms, mech])))
    if not question["raw"]:
        gssapi.raw.set_neg_mechs(credential, mechanisms)
    flag = gssapi.RequirementFlag
    return gssapi.SecurityContext(
        name=gssapi.Name(question["service"], gssapi.NameType.hostbased_service),
        creds=credential,
        usage="initiate",
        mech=mech,
        flags=flag.mutual_authentication | flag.integrity,
    )


def _serve() -> None:
    contexts: list[gssapi.SecurityContext] = []
    for line in sys.stdin:
        question = json.loads(line)
        if question["do"] == "begin":
            contexts.append(_begin(question))
            answer: dict[str, Any] = {"id": len(contexts) - 1}
        else:
            context = contexts[question["id"]]
            token = context.step(None if question["token"] is None else b64decode(question["token"]))
            answer = {"token": token and b64encode(token).decode(), "complete": context.complete}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
