"""What hostile input is made of: real tokens of other people's clients, and who may come of each.

Law: a token that was made with a key carries a *proof*, a piece of ciphertext or a keyed hash that only the holder of
the key could make. Flips elsewhere may well leave it good, for its maker; whoever is let in by a token without a proof
of theirs was let in without a key.
"""

import random
from collections import deque

from negotiate_mw.wire.spnego import NTLM
from tests.integration.tokens import neg_token_init
from tests.ntlm import answering
from tests.wire import vectors

from .child import ANOTHER_SERVICE, USER
from .tickets import Tickets

NTLM_USER = "CORP\\alice"
NTLM_USERS = "CORP:alice:secret\nCORP:bob:hunter2\n"
NTLMSSP = b"NTLMSSP\0"

_USES = 20  # of one real token, so that the replay cache has something to do
_PROOF_OCTETS = 64  # the end of the authenticator's ciphertext, which its checksum covers as a whole


class Seeds:
    """Tokens to start from, and whose they are."""

    recorded = (
        vectors.SPNEGO_KERBEROS,
        vectors.SPNEGO_KERBEROS_AD,
        vectors.KERBEROS,
        vectors.KERBEROS_ERROR,
        vectors.SPNEGO_KERBEROS_ERROR,
        vectors.SPNEGO_NTLM_NEGOTIATE,
        vectors.SPNEGO_NTLM_CHALLENGE,
        vectors.SPNEGO_NTLM_AUTHENTICATE,
        vectors.NTLM_NEGOTIATE,
        vectors.NTLM_CHALLENGE,
        vectors.NTLM_AUTHENTICATE,
    )

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._tickets = Tickets()
        self._elsewhere = Tickets(ANOTHER_SERVICE)
        self._real = (b"", b"")
        self._uses = 0
        self._proofs: deque[tuple[bytes, str]] = deque(maxlen=16)

    def kerberos(self) -> bytes:
        """A real Kerberos token, without SPNEGO around it; the same one for a while."""
        return self._same_for_a_while()[0]

    def spnego(self) -> bytes:
        """A real Kerberos token in SPNEGO; the same one for a while."""
        return self._same_for_a_while()[1]

    def real(self) -> bytes:
        return self._dice.choice(self._same_for_a_while())

    def other(self) -> bytes:
        """One that is good for nobody here: recorded elsewhere, or for another service of this machine."""
        if self._dice.random() < 0.2:
            return self._dice.choice((self._elsewhere.spnego, self._elsewhere.kerberos))()
        return self._dice.choice(self.recorded)

    def any(self) -> bytes:
        return self.real() if self._dice.random() < 0.5 else self.other()

    def ntlm_first(self, *, wrapped: bool) -> bytes:
        message = answering.negotiate(self._dice.choice((answering.ASKED, answering.WEB)))
        return neg_token_init([NTLM], message) if wrapped else message

    def ntlm_last(self, challenge: bytes, *, keyed: bool) -> bytes:
        """The last message of an NTLM client that knows alice's password, or doesn't."""
        mic = self._dice.choice(("right", "right", "none")) if keyed else self._dice.choice(("right", "wrong", "none"))
        client = answering.Client(password="secret" if keyed else "guess", mic=mic)
        message = client.authenticate(challenge)
        if keyed:
            at = int.from_bytes(message[24:28], "little")
            self._proofs.append((message[at : at + 16], NTLM_USER))  # NTProofStr
        return message

    def owner(self, token: bytes) -> tuple[bytes, str] | None:
        """The proof in ``token``, and who made it."""
        return next(((proof, user) for proof, user in self._proofs if proof in token), None)

    def _same_for_a_while(self) -> tuple[bytes, bytes]:
        if self._uses % _USES == 0:
            self._real = (self._tickets.kerberos(), self._tickets.spnego())
            self._proofs.extend((token[-_PROOF_OCTETS:], USER) for token in self._real)
        self._uses += 1
        return self._real


def challenge_in(token: bytes | None) -> bytes | None:
    """The NTLM CHALLENGE that an answer carries, in SPNEGO or bare."""
    at = (token or b"").find(NTLMSSP + b"\2\0\0\0")
    return None if at < 0 else (token or b"")[at:]
