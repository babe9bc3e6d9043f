"""Builds tokens for the tests, right and wrong ones, with an encoder that is not the one under test."""

from collections.abc import Sequence
from itertools import count

from hypothesis import settings

# every run tries the same examples, so that a red test is red again; no deadline, as machines that test are
# busy
PROPERTY = settings(derandomize=True, deadline=None, max_examples=300)

SPNEGO_OID = bytes.fromhex("06062b0601050502")
KRB5_OID = bytes.fromhex("06092a864886f712010202")
MS_KRB5_OID = bytes.fromhex("06092a864882f712010202")
NTLM_OID = bytes.fromhex("060a2b06010401823702020a")
NEGOEX_OID = bytes.fromhex("060a2b06010401823702021e")


def tlv(tag: int, *contents: bytes) -> bytes:
    """One DER element."""
    body = b"".join(contents)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    size = len(body).to_bytes(4, "big").lstrip(b"\0")
    return bytes([tag, 0x80 | len(size)]) + size + body


def mech_types(*oids: bytes) -> bytes:
    return tlv(0xA0, tlv(0x30, *oids))


def neg_token_init(*fields: bytes) -> bytes:
    return tlv(0x60, SPNEGO_OID, tlv(0xA0, tlv(0x30, *fields)))


def neg_token_resp(*fields: bytes) -> bytes:
    return tlv(0xA1, tlv(0x30, *fields))


def octets(tag: int, contents: bytes) -> bytes:
    return tlv(tag, tlv(0x04, contents))


def integer(tag: int, contents: bytes) -> bytes:
    return tlv(tag, tlv(0x02, contents))


PVNO = integer(0xA0, b"\x05")
MSG_TYPE = integer(0xA1, b"\x0e")
AP_OPTIONS = tlv(0xA2, tlv(0x03, b"\x00\x00\x00\x00\x00"))
REALM = tlv(0xA1, tlv(0x1B, b"TEST.EXAMPLE"))


def sname(*components: bytes, name_type: bytes = b"\x03") -> bytes:
    names = tlv(0x30, *(tlv(0x1B, component) for component in components))
    return tlv(0xA2, tlv(0x30, integer(0xA0, name_type), tlv(0xA1, names)))


def encrypted(tag: int, *, enctype: bytes = b"\x12", kvno: bytes | None = b"\x01", cipher: bytes = b"cipher") -> bytes:
    version = b"" if kvno is None else integer(0xA1, kvno)
    return tlv(tag, tlv(0x30, integer(0xA0, enctype), version, octets(0xA2, cipher)))


SERVICE = sname(b"HTTP", b"www.test.example")
ENC_PART = encrypted(0xA3)
AUTHENTICATOR = encrypted(0xA4, kvno=None, cipher=b"authenticator")


def ticket(*fields: bytes) -> bytes:
    return tlv(0xA3, tlv(0x61, tlv(0x30, *fields)))


TICKET = ticket(PVNO, REALM, SERVICE, ENC_PART)


def ap_req(*fields: bytes, oid: bytes = KRB5_OID, tok_id: bytes = b"\x01\x00") -> bytes:
    return tlv(0x60, oid, tok_id, tlv(0x6E, tlv(0x30, *fields)))


def record(
    *components: bytes,
    realm: bytes = b"TEST.EXAMPLE",
    kvno: int = 3,
    enctype: int = 18,
    key: bytes = bytes(32),
    tail: bytes = b"",
    count: int | None = None,
) -> bytes:
    """One keytab record, its size in front."""

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, "big", signed=value < 0)

    names = (number(len(text), 2) + text for text in (realm, *components))
    body = number(len(components) if count is None else count, 2) + b"".join(names)
    body += number(1, 4) + number(1_700_000_000, 4) + number(kvno, 1) + number(enctype, 2)
    body += number(len(key), 2) + key + tail
    return number(len(body), 4) + body


def keytab(*records: bytes) -> bytes:
    return b"\x05\x02" + b"".join(records)


def upn_dns_info(
    upn: bytes,
    dns_domain: bytes,
    sam_account_name: bytes = b"",
    sid: bytes = b"",
    *,
    flags: int = 2,
) -> bytes:
    """A UPN_DNS_INFO buffer with its payloads one after the other."""
    payloads = (upn, dns_domain, sam_account_name, sid) if flags & 2 else (upn, dns_domain)
    header = 20 if flags & 2 else 12
    offsets = [header + sum(map(len, payloads[:index])) for index in range(len(payloads))]
    pairs = [
        len(payload).to_bytes(2, "little") + offset.to_bytes(2, "little")
        for payload, offset in zip(payloads, offsets, strict=True)
    ]
    return b"".join((*pairs[:2], flags.to_bytes(4, "little"), *pairs[2:], *payloads))


def bit_flips(data: bytes) -> list[bytes]:
    """Every version of `data` with one bit changed."""
    return [data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :] for at in range(len(data)) for bit in range(8)]


def length_edits(data: bytes) -> list[bytes]:
    """Every version of `data` with one byte made a length that is off by one, extreme, indefinite or too
    long."""
    return [
        data[:at] + bytes([new & 0xFF]) + data[at + 1 :]
        for at in range(len(data))
        for new in (data[at] - 1, data[at] + 1, 0x00, 0x7F, 0x80, 0x81, 0x84, 0x88, 0xFF)
    ]


def nested(tags: bytes, depth: int) -> bytes:
    """`depth` elements, one in the other, that bear `tags` in turn; in linear time."""
    size, headers = 0, []
    for level in reversed(range(depth)):
        octets_ = size.to_bytes(4, "big").lstrip(b"\0") if size >= 0x80 else b""
        headers.append(bytes([tags[level % len(tags)], 0x80 | len(octets_) if octets_ else size]) + octets_)
        size += len(headers[-1])
    return b"".join(reversed(headers))


def sid_octets(text: str) -> bytes:
    """``"S-1-5-21-1-2-3"`` as bytes."""
    _, _, authority, *parts = text.split("-")
    return (
        bytes([1, len(parts)])
        + int(authority).to_bytes(6)
        + b"".join(int(part).to_bytes(4, "little") for part in parts)
    )


def logon_info(
    account: str = "alice",
    *,
    domain: str = "CORP",
    domain_sid: str = "S-1-5-21-1-2-3",
    rid: int = 1102,
    primary: int = 513,
    groups: Sequence[tuple[int, int]] = ((513, 7), (1106, 7)),
    extra: Sequence[tuple[str, int]] = (("S-1-18-1", 7),),
    resource_domain_sid: str | None = None,
    resource: Sequence[tuple[int, int]] = (),
    flags: int = 0x20,
    null_for_empty: bool = False,
) -> bytes:
    """KERB_VALIDATION_INFO: the structure's fields in order, and what they point to collected on the way.

    ``null_for_empty``: a text that is empty is a null pointer, instead of a pointer to no characters.
    """
    fixed, behind = bytearray(), bytearray()
    referents = count(0x20000, 4)

    def number(value: int) -> None:
        fixed.extend(value.to_bytes(4, "little"))

    def pointer(to: bytes | None) -> None:
        number(0 if to is None else next(referents))
        behind.extend(to or b"")
        behind.extend(bytes(-len(behind) % 4))

    def string(value: str) -> None:
        octets = value.encode("utf-16-le")
        fixed.extend(len(octets).to_bytes(2, "little") * 2)
        units = (len(octets) // 2).to_bytes(4, "little")
        pointer(None if null_for_empty and not octets else units + bytes(4) + units + octets)

    def sid(value: str) -> bytes:
        octets = sid_octets(value)
        return octets[1].to_bytes(4, "little") + octets

    def memberships(members: Sequence[tuple[int, int]]) -> None:
        number(len(members))
        pairs = b"".join(rid.to_bytes(4, "little") + bits.to_bytes(4, "little") for rid, bits in members)
        pointer(len(members).to_bytes(4, "little") + pairs if members else None)

    number(next(referents))
    fixed.extend(b"\xff" * 48)
    for text in (account, "Alice Liddell", "", "", "", ""):
        string(text)
    fixed.extend(bytes(4))
    number(rid)
    number(primary)
    memberships(groups)
    number(flags)
    fixed.extend(bytes(16))
    string("DC1")
    string(domain)
    pointer(sid(domain_sid))
    fixed.extend(bytes(40))
    number(len(extra))
    pairs = b"".join(next(referents).to_bytes(4, "little") + bits.to_bytes(4, "little") for _, bits in extra)
    sids = b"".join(sid(text) for text, _ in extra)
    pointer(len(extra).to_bytes(4, "little") + pairs + sids if extra else None)
    pointer(None if resource_domain_sid is None else sid(resource_domain_sid))
    memberships(resource)
    body = bytes(fixed + behind) + bytes(-len(fixed + behind) % 8)
    return b"\x01\x10\x08\0\xcc\xcc\xcc\xcc" + len(body).to_bytes(4, "little") + bytes(4) + body
