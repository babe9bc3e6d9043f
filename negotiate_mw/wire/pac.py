"""Reads buffers of an Active Directory ticket's PAC (MS-PAC) and SIDs (MS-DTYP 2.4.2). Its law: the C library
has verified who wrote the buffer, not that it is well formed, and the account's name comes out of it; so
every offset is checked, every name must be whole, and no name can end early in someone else's C string."""

from dataclasses import dataclass

from .errors import WireError

_CONSTRUCTED, _EXTENDED = 1, 2  # the flags U and S of MS-PAC 2.10
_HEADER_OCTETS, _EXTENDED_HEADER_OCTETS = 12, 20
_MAX_SUB_AUTHORITIES = 15  # MS-DTYP 2.4.2.2


@dataclass(frozen=True, slots=True, kw_only=True)
class UpnDnsInfo:
    """UPN_DNS_INFO (MS-PAC 2.10): the account that the ticket is for, whatever name was asked for.

    `upn_constructed`: the account has no userPrincipalName, `upn` was made of its sAMAccountName and the
    domain. `sam_account_name` and `sid` are both set or both None: domain controllers before late 2021 leave
    them out.
    """

    upn: str
    dns_domain: str
    upn_constructed: bool
    sam_account_name: str | None
    sid: str | None


def read_upn_dns_info(data: bytes) -> UpnDnsInfo:
    """The UPN_DNS_INFO buffer `data`, as krb5 hands it out as `urn:mspac:upn-dns-info`. Raises WireError."""
    header = _HEADER_OCTETS
    if len(data) < header:
        raise WireError("malformed", f"UPN_DNS_INFO: {len(data)} bytes, {header} are the least")
    flags = int.from_bytes(data[8:12], "little")
    sam_account_name = sid = None
    if flags & _EXTENDED:
        header = _EXTENDED_HEADER_OCTETS
        if len(data) < header:
            raise WireError("malformed", f"UPN_DNS_INFO: {len(data)} bytes, {header} are the least")
        sam_account_name = _name(data, 12, header, "SamName")
        if not sam_account_name:
            # an account without a name would equal any other such
            raise WireError("malformed", "UPN_DNS_INFO: an empty SamName")
        sid = read_sid(_payload(data, 16, header, "Sid"))
    return UpnDnsInfo(
        upn=_name(data, 0, header, "Upn"),
        dns_domain=_name(data, 4, header, "DnsDomainName"),
        upn_constructed=bool(flags & _CONSTRUCTED),
        sam_account_name=sam_account_name,
        sid=sid,
    )


def read_sid(data: bytes) -> str:
    """The string form (MS-DTYP 2.4.2.1) of the binary SID that `data` is, no more and no less. Raises
    WireError.

    read_sid(bytes.fromhex("01020000000000052000000020020000"))  # 'S-1-5-32-544'
    """
    count = data[1] if len(data) >= 8 else 0
    if not 1 <= count <= _MAX_SUB_AUTHORITIES or len(data) != 8 + 4 * count or data[0] != 1:
        raise WireError("malformed", f"SID: {len(data)} bytes that are not one")
    authority = int.from_bytes(data[2:8])
    parts = [int.from_bytes(data[at : at + 4], "little") for at in range(8, len(data), 4)]
    # above 32 bits the string form turns hexadecimal
    return "-".join(("S-1", str(authority) if authority < 2**32 else f"0x{authority:012X}", *map(str, parts)))


def _name(data: bytes, at: int, header: int, field: str) -> str:
    octets = _payload(data, at, header, field)
    try:
        name = octets.decode("utf-16-le")
    except UnicodeDecodeError:
        # an odd length, half a surrogate pair; `from None`: that error quotes the bytes
        raise WireError("malformed", f"UPN_DNS_INFO: {field} is not UTF-16") from None
    if "\0" in name:
        raise WireError("malformed", f"UPN_DNS_INFO: {field} contains a NUL")
    return name


def _payload(data: bytes, at: int, header: int, field: str) -> bytes:
    length = int.from_bytes(data[at : at + 2], "little")
    offset = int.from_bytes(data[at + 2 : at + 4], "little")
    if length and not header <= offset <= len(data) - length:
        raise WireError("malformed", f"UPN_DNS_INFO: {field}, {length} bytes at offset {offset}, exceeds the buffer")
    return data[offset : offset + length]
