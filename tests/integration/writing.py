"""Tickets written by hand: whatever a KDC could say, said to the C library, without a KDC.

Law: the service's key is the test's own, in a keytab of its own; what is written with it is a ticket like any other
(RFC 4120 5.3, 5.5.1), sealed by aes256-cts-hmac-sha384-192 (RFC 8009), its PAC signed with the same key ([MS-PAC] 2.8).
"""

import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import md5
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from spnego.channel_bindings import GssChannelBindings

from negotiate_mw.wire.der import encode, encode_oid
from negotiate_mw.wire.spnego import KRB5
from tests.wire import building

# [MS-PAC] 2.4
LOGON_INFO, _SERVER_SIGNATURE, _KDC_SIGNATURE, _CLIENT_INFO, DELEGATION_INFO, UPN_DNS_INFO = 1, 6, 7, 10, 11, 12
_ENCTYPE = _CHECKSUM = 20  # aes256-cts-hmac-sha384-192 and its checksum have the same number
_TICKET, _AUTHENTICATOR, _PAC = 2, 11, 17  # key usages, RFC 4120 7.5.1 and [MS-PAC] 2.8
_AD_IF_RELEVANT, _AD_WIN2K_PAC = 1, 128
_FILETIME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Service:
    """A service of a realm, and its key."""

    name: str = "HTTP/localhost"
    realm: str = "TEST.EXAMPLE"
    key: bytes = field(default_factory=lambda: os.urandom(32), repr=False)

    def keytab(self, path: Path, *others: "Service") -> Path:
        """Write the key into a keytab, and those of others with it."""
        path.write_bytes(building.keytab(*(service._record() for service in (self, *others))))
        return path

    def _record(self) -> bytes:
        components = (part.encode() for part in self.name.split("/"))
        return building.record(*components, realm=self.realm.encode(), enctype=_ENCTYPE, key=self.key)

    def token(
        self,
        client: str,
        pac: Mapping[int, bytes] | None = None,
        *,
        signed: bool = True,
        said_by: str | None = None,
        bindings: bytes | None = None,
        flags: int = 0,
    ) -> bytes:
        """A first token, bare Kerberos, of ``client``, such as ``"alice@TEST.EXAMPLE"``.

        Args:
            pac: buffers by their type, beside those that each PAC has; None: no PAC at all.
            signed: False: the PAC's signature is another key's.
            said_by: whom the PAC says that it is of; None: the client.
            bindings: application data of the channel bindings that the client sends.
            flags: what the client asks of the context (RFC 4121 4.1.1.1).
        """
        name, _, realm = client.rpartition("@")
        began = datetime.now(UTC).replace(microsecond=0)
        session_key = os.urandom(32)
        authorization = b""
        if pac is not None:
            wrapped = self._pac(pac, said_by or name, began, signed=signed)
            inner = encode(0x30, _authorization_data(_AD_WIN2K_PAC, wrapped))
            authorization = encode(0xAA, encode(0x30, _authorization_data(_AD_IF_RELEVANT, inner)))
        within = encode(
            0x63,
            encode(
                0x30,
                encode(0xA0, encode(0x03, b"\0\0\0\0\0")),
                encode(0xA1, encode(0x30, _integer(0xA0, _ENCTYPE), _octets(0xA1, session_key))),
                encode(0xA2, encode(0x1B, realm.encode())),
                _name(0xA3, name),
                encode(0xA4, encode(0x30, _integer(0xA0, 1), _octets(0xA1, b""))),
                _time(0xA5, began),
                _time(0xA7, began + timedelta(hours=1)),
                authorization,
            ),
        )
        ticket = encode(
            0x61,
            encode(
                0x30,
                _integer(0xA0, 5),
                encode(0xA1, encode(0x1B, self.realm.encode())),
                _name(0xA2, self.name),
                _encrypted(0xA3, self.key, _TICKET, within),
            ),
        )
        channel = bytes(16) if bindings is None else md5(GssChannelBindings(application_data=bindings).pack()).digest()
        bound = (16).to_bytes(4, "little") + channel + flags.to_bytes(4, "little")  # RFC 4121 4.1.1
        authenticator = encode(
            0x62,
            encode(
                0x30,
                _integer(0xA0, 5),
                encode(0xA1, encode(0x1B, realm.encode())),
                _name(0xA2, name),
                encode(0xA3, encode(0x30, _integer(0xA0, 0x8003), _octets(0xA1, bound))),
                _integer(0xA4, int.from_bytes(os.urandom(2))),
                _time(0xA5, began),
            ),
        )
        ap_req = encode(
            0x6E,
            encode(
                0x30,
                _integer(0xA0, 5),
                _integer(0xA1, 14),
                encode(0xA2, encode(0x03, b"\0\0\0\0\0")),
                encode(0xA3, ticket),
                _encrypted(0xA4, session_key, _AUTHENTICATOR, authenticator),
            ),
        )
        return encode(0x60, encode(0x06, encode_oid(KRB5)), b"\x01\x00", ap_req)

    def _pac(self, buffers: Mapping[int, bytes], said_by: str, began: datetime, *, signed: bool) -> bytes:
        since = int((began - _FILETIME_EPOCH).total_seconds()) * 10_000_000
        name = said_by.encode("utf-16-le")
        unsigned = _CHECKSUM.to_bytes(4, "little") + bytes(24)
        all_buffers = {
            **buffers,
            _CLIENT_INFO: since.to_bytes(8, "little") + len(name).to_bytes(2, "little") + name,
            _SERVER_SIGNATURE: unsigned,
            _KDC_SIGNATURE: unsigned,
        }
        header = len(all_buffers).to_bytes(4, "little") + bytes(4)
        data = b""
        start = len(header) + 16 * len(all_buffers)
        at = {}
        for kind, buffer in all_buffers.items():
            at[kind] = start + len(data)
            header += b"".join((kind.to_bytes(4, "little"), len(buffer).to_bytes(4, "little")))
            header += at[kind].to_bytes(8, "little")
            data += buffer + bytes(-len(buffer) % 8)
        pac = bytearray(header + data)
        signature = _mac(_derived(self.key if signed else bytes(32), _PAC, 0x99, 24), bytes(pac))
        pac[at[_SERVER_SIGNATURE] + 4 : at[_SERVER_SIGNATURE] + 28] = signature
        return bytes(pac)


def _integer(tag: int, value: int) -> bytes:
    return encode(tag, encode(0x02, value.to_bytes(value.bit_length() // 8 + 1)))


def _octets(tag: int, value: bytes) -> bytes:
    return encode(tag, encode(0x04, value))


def _time(tag: int, when: datetime) -> bytes:
    return encode(tag, encode(0x18, when.strftime("%Y%m%d%H%M%SZ").encode()))


def _name(tag: int, name: str) -> bytes:
    components = (encode(0x1B, part.encode()) for part in name.split("/"))
    return encode(tag, encode(0x30, _integer(0xA0, 1), encode(0xA1, encode(0x30, *components))))


def _authorization_data(kind: int, data: bytes) -> bytes:
    return encode(0x30, _integer(0xA0, kind), _octets(0xA1, data))


def _encrypted(tag: int, key: bytes, usage: int, plain: bytes) -> bytes:
    return encode(tag, encode(0x30, _integer(0xA0, _ENCTYPE), _octets(0xA2, _seal(key, usage, plain))))


def _derived(key: bytes, usage: int, purpose: int, octets: int) -> bytes:
    """RFC 8009 3, KDF-HMAC-SHA2."""
    label = (1).to_bytes(4) + usage.to_bytes(4) + bytes([purpose]) + b"\0" + (8 * octets).to_bytes(4)
    return hmac.digest(key, label, "sha384")[:octets]


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha384")[:24]


def _seal(key: bytes, usage: int, plain: bytes) -> bytes:
    """RFC 8009 5; AES in CBC mode with ciphertext stealing, the last two blocks exchanged (CS3)."""
    confounded = os.urandom(16) + plain
    padded = confounded + bytes(-len(confounded) % 16)
    cipher = Cipher(algorithms.AES(_derived(key, usage, 0xAA, 32)), modes.CBC(bytes(16))).encryptor()
    blocks = cipher.update(padded) + cipher.finalize()
    stolen = (blocks[:-32] + blocks[-16:] + blocks[-32:-16])[: len(confounded)]
    return stolen + _mac(_derived(key, usage, 0x55, 24), bytes(16) + stolen)
