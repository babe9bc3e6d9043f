"""An NTLM client for the tests, right and wrong, whose messages and cryptography are not those under test."""

import hmac
import struct
from dataclasses import dataclass
from hashlib import md5

from spnego._ntlm_raw.md4 import md4

UNICODE, OEM, SIGN, SEAL, NTLM, ANONYMOUS = 0x1, 0x2, 0x10, 0x20, 0x200, 0x800
ALWAYS_SIGN, EXTENDED, IDENTIFY, VERSION = 0x8000, 0x80000, 0x100000, 0x2000000
KEY_128, KEY_EXCHANGE, KEY_56 = 0x20000000, 0x40000000, 0x80000000
ASKED = UNICODE | SIGN | SEAL | NTLM | ALWAYS_SIGN | EXTENDED | VERSION | KEY_128 | KEY_EXCHANGE | KEY_56
WEB = UNICODE | NTLM | ALWAYS_SIGN | EXTENDED | VERSION | KEY_128  # as a browser asks: no integrity

EXPORTED_KEY = bytes(range(16))


def hmac_md5(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, "md5").digest()


def rc4(key: bytes, data: bytes) -> bytes:
    state, j, out = list(range(256)), 0, bytearray()
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i = j = 0
    for octet in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(octet ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def negotiate(flags: int = ASKED) -> bytes:
    return b"NTLMSSP\0" + struct.pack("<II", 1, flags) + bytes(16) + bytes(8)


def av(kind: int, value: bytes) -> bytes:
    return struct.pack("<HH", kind, len(value)) + value


def bindings_hash(application_data: bytes) -> bytes:
    """RFC 4121 4.1.1.2, over no addresses and the application data."""
    return md5(bytes(16) + struct.pack("<I", len(application_data)) + application_data).digest()


@dataclass
class Client:
    """Answers a challenge. Change an attribute to do it wrong."""

    domain: str = "CORP"
    user: str = "alice"
    password: str = "secret"
    asked: int = ASKED
    flags: int | None = None  # of AUTHENTICATE; None: those of the challenge
    mic: str = "right"  # "right", "wrong", "none", "taken out" (said but not there), "unsaid" (there but not said)
    bindings: bytes | None = None  # MsvAvChannelBindings
    pairs: bytes = b""  # more AV pairs
    nt: bytes | None = None  # another NtChallengeResponse
    lm: bytes = bytes(24)
    session_key: bytes | None = None  # another EncryptedRandomSessionKey
    key: bytes = b""

    def negotiate(self) -> bytes:
        return negotiate(self.asked)

    def authenticate(self, challenge: bytes) -> bytes:
        assert challenge.startswith(b"NTLMSSP\0\x02\0\0\0")
        offered = int.from_bytes(challenge[20:24], "little")
        flags = offered if self.flags is None else self.flags
        key = hmac_md5(md4(self.password.encode("utf-16-le")), (self.user.upper() + self.domain).encode("utf-16-le"))
        blob = b"\1\1" + bytes(6) + bytes(8) + b"nonce-8." + bytes(4)
        if self.mic in ("right", "wrong", "taken out"):
            blob += av(6, b"\2\0\0\0")
        if self.bindings is not None:
            blob += av(10, self.bindings)
        blob += self.pairs + bytes(4) + bytes(4)
        proof = hmac_md5(key, challenge[24:32] + blob)
        base_key = hmac_md5(key, proof)
        exchanged = b""
        self.key = base_key
        if flags & KEY_EXCHANGE and flags & (SIGN | SEAL):
            self.key, exchanged = EXPORTED_KEY, rc4(base_key, EXPORTED_KEY)
        encoding = "utf-16-le" if flags & UNICODE else "ascii"
        mic_octets = 0 if self.mic in ("none", "taken out") else 16
        message = self._message(
            flags,
            [
                self.lm,
                proof + blob if self.nt is None else self.nt,
                self.domain.encode(encoding),
                self.user.encode(encoding),
                "PC1".encode(encoding),
                exchanged if self.session_key is None else self.session_key,
            ],
            mic_octets,
        )
        if mic_octets:
            mic = hmac_md5(self.key, self.negotiate() + challenge + message)
            if self.mic != "right":
                mic = bytes([mic[0] ^ 1]) + mic[1:]
            message = message[:72] + mic + message[88:]
        return message

    def signature(self, message: bytes, side: str = "client-to-server", flags: int = ASKED) -> bytes:
        """MS-NLMP 3.4.4.2, of the first message."""
        signing = md5(self.key + f"session key to {side} signing key magic constant\0".encode()).digest()
        sealing = md5(self.key + f"session key to {side} sealing key magic constant\0".encode()).digest()
        checksum = hmac_md5(signing, bytes(4) + message)[:8]
        return b"\1\0\0\0" + (rc4(sealing, checksum) if flags & KEY_EXCHANGE else checksum) + bytes(4)

    @staticmethod
    def _message(flags: int, payloads: list[bytes], mic_octets: int) -> bytes:
        header = b"NTLMSSP\0" + struct.pack("<I", 3)
        offset = 64 + 8 + mic_octets
        for payload in payloads:
            header += struct.pack("<HHI", len(payload), len(payload), offset)
            offset += len(payload)
        return header + struct.pack("<I", flags) + bytes(8) + bytes(mic_octets) + b"".join(payloads)
