"""Reads KERB_VALIDATION_INFO (MS-PAC 2.5), the PAC's buffer with an account's groups: one fixed structure in NDR
(MS-RPCE 2.2.6, C706 14), its strings, arrays and SIDs behind it in the order of their pointers. Its law: as for
`pac.py`; and what is counted twice has to be counted alike."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import WireError
from .pac import read_sid

# Type serialization version 1, little-endian (MS-RPCE 2.2.6.1); what else the two headers have is a length and filling
_VERSION = b"\x01\x10\x08\x00"
_BODY = 16
_PADDING = 7  # bytes at most, up to a multiple of eight

_FIXED = struct.Struct(
    "<I48x"  # the pointer to it all; six times
    "HHIHHIHHIHHIHHIHHI4x"  # EffectiveName, FullName, LogonScript, ProfilePath, HomeDirectory, HomeDirectoryDrive
    "IIIII16x"  # UserId, PrimaryGroupId, GroupCount, GroupIds, UserFlags; session key
    "HHIHHII40x"  # LogonServer, LogonDomainName, LogonDomainId
    "IIIII"  # SidCount, ExtraSids, ResourceGroupDomainSid, ResourceGroupCount, ResourceGroupIds
)
_COUNTS = struct.Struct("<III")  # of a string: how many characters fit, the first that is sent, how many are

# SE_GROUP_ENABLED and SE_GROUP_USE_FOR_DENY_ONLY ([SIDATT]): who has the first and not the second is a member
_ENABLED, _DENY_ONLY = 0x04, 0x10
_EITHER = _ENABLED | _DENY_ONLY


@dataclass(frozen=True, slots=True, kw_only=True)
class LogonInfo:
    """Who an account is and which groups it is in, as the KDC of its own domain says; groups that aren't enabled, or
    that may only deny, are left out.

    `account_name` is the sAMAccountName. The `resource_rids` are those of domain local groups, `resource_domain_sid` is
    None where there are none. `user_flags` say how the user logged on, and which parts the KDC filled in.
    """

    account_name: str
    domain_name: str
    user_sid: str
    domain_sid: str
    primary_group_rid: int
    group_rids: tuple[int, ...]
    extra_sids: tuple[str, ...]
    resource_domain_sid: str | None
    resource_rids: tuple[int, ...]
    user_flags: int

    def group_sids(self) -> frozenset[str]:
        """The SIDs of all groups: the primary one, global and universal ones, those of elsewhere, domain local ones."""
        domain, resource_domain = self.domain_sid, self.resource_domain_sid
        return frozenset(
            (
                f"{domain}-{self.primary_group_rid}",
                *[f"{domain}-{rid}" for rid in self.group_rids],
                *self.extra_sids,
                *[f"{resource_domain}-{rid}" for rid in self.resource_rids],
            )
        )


def read_logon_info(data: bytes) -> LogonInfo:
    """The buffer `data`, as krb5 hands it out as `urn:mspac:logon-info`. Raises WireError, which names the offset."""
    end = _end(data)
    fixed = _FIXED.unpack_from(data, _BODY)
    user_rid, primary_group_rid, group_count, groups, user_flags = fixed[19:24]
    domain, sid_count, sids, resource_domain, resource_count, resources = fixed[30:]
    if not fixed[0] or not domain:
        raise WireError("malformed", f"a null pointer to what has to be there, at offset {_BODY}")
    rest = _Rest(data, _BODY + _FIXED.size, end)
    account_name = rest.name(*fixed[1:4])
    for at in range(4, 19, 3):
        rest.text(*fixed[at : at + 3])
    group_rids = rest.rids(group_count, groups)
    rest.text(*fixed[24:27])
    domain_name = rest.name(*fixed[27:30])
    domain_sid = rest.sid()
    extra_sids = rest.sids(sid_count, sids)
    resource_domain_sid = rest.sid() if resource_domain else None
    resource_rids = rest.rids(resource_count, resources)
    if not 0 <= end - rest.at <= _PADDING:
        raise WireError("trailing-bytes", f"the last array ends at offset {rest.at}, the buffer at {end}")
    if resource_rids and resource_domain_sid is None:
        raise WireError("malformed", f"groups of a domain that isn't named, before offset {rest.at}")
    user_sid = f"{domain_sid}-{user_rid}"
    if not user_rid:  # then the first of ExtraSids is the account's own
        if not extra_sids:
            raise WireError("malformed", f"an account without a SID, before offset {rest.at}")
        (user_sid, _), *extra_sids = extra_sids
    return LogonInfo(
        account_name=account_name,
        domain_name=domain_name,
        user_sid=user_sid,
        domain_sid=domain_sid,
        primary_group_rid=primary_group_rid,
        group_rids=group_rids,
        extra_sids=tuple([sid for sid, flags in extra_sids if flags & _EITHER == _ENABLED]),
        resource_domain_sid=resource_domain_sid,
        resource_rids=resource_rids,
        user_flags=user_flags,
    )


class _Rest:
    """What follows the fixed part: each method reads the next thing and goes on behind it."""

    __slots__ = ("_domains", "at", "data", "end")

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data = data
        self.at = at
        self.end = end
        self._domains: dict[bytes, str] = {}  # of SIDs, all but the last number; spares putting it into words again

    def text(self, octets: int, room: int, referent: int) -> bytes:
        """An RPC_UNICODE_STRING's characters; `octets` and `room` as its fixed part has them."""
        at = self.at
        if not referent:
            if octets:
                raise WireError("malformed", f"a null pointer to a string of {octets} bytes, before offset {at}")
            return b""
        start, stop = at + 12, at + 12 + octets
        if stop > self.end:
            raise WireError("malformed", f"a string of {octets} bytes at offset {at} exceeds the buffer")
        most, first, count = _COUNTS.unpack_from(self.data, at)
        if first or 2 * count != octets or most < count or room < octets:
            raise WireError("malformed", f"a string of {octets} bytes at offset {at} that is counted otherwise there")
        self.at = stop + (-stop & 3)
        return self.data[start:stop]

    def name(self, octets: int, room: int, referent: int) -> str:
        """A string that somebody is known by."""
        at = self.at
        try:
            name = self.text(octets, room, referent).decode("utf-16-le")
        except UnicodeDecodeError:
            raise WireError("malformed", f"a name at offset {at} that is not UTF-16") from None  # it quotes the bytes
        if "\0" in name:
            raise WireError("malformed", f"a name at offset {at} with a NUL in it")
        return name

    def rids(self, count: int, referent: int) -> tuple[int, ...]:
        """Relative identifiers of GROUP_MEMBERSHIPs (MS-PAC 2.2.2)."""
        pairs = self._pairs(count, referent)
        return tuple([rid for rid, flags in zip(pairs[::2], pairs[1::2], strict=True) if flags & _EITHER == _ENABLED])

    def sids(self, count: int, referent: int) -> list[tuple[str, int]]:
        """KERB_SID_AND_ATTRIBUTES (MS-PAC 2.2.1)."""
        pairs = self._pairs(count, referent)
        if not all(pairs[::2]):
            raise WireError("malformed", f"a null pointer to a SID, before offset {self.at}")
        return [(self.sid(), flags) for flags in pairs[1::2]]

    def sid(self) -> str:
        """An RPC_SID (MS-DTYP 2.4.2.3): how many sub-authorities there are comes before it, too."""
        at, data = self.at, self.data
        start = at + 4
        count = data[start + 1] if at + 12 <= self.end else 0
        stop = start + 8 + 4 * count
        if not count or stop > self.end or data[at] != count or data[at + 1 : start] != b"\0\0\0":
            raise WireError("malformed", f"no whole SID at offset {at}")
        self.at = stop
        domain = self._domains.get(data[start : stop - 4])
        if domain is not None:
            return f"{domain}-{int.from_bytes(data[stop - 4 : stop], 'little')}"
        try:
            sid = read_sid(data[start:stop])
        except WireError as error:
            raise WireError(error.reason, f"{error.detail}, at offset {start}") from None
        self._domains[data[start : stop - 4]] = sid.rpartition("-")[0]
        return sid

    def _pairs(self, count: int, referent: int) -> Sequence[int]:
        """An array of pairs of numbers, flat."""
        at = self.at
        if not referent:
            if count:
                raise WireError("malformed", f"a null pointer to an array of {count}, before offset {at}")
            return ()
        start, stop = at + 4, at + 4 + 8 * count
        if stop > self.end or int.from_bytes(self.data[at:start], "little") != count:
            raise WireError("malformed", f"an array of {count} at offset {at} exceeds the buffer, or counts otherwise")
        self.at = stop
        return struct.unpack_from(f"<{2 * count}I", self.data, start)


def _end(data: bytes) -> int:
    least = _BODY + _FIXED.size
    if len(data) < least:
        raise WireError("malformed", f"{len(data)} bytes, {least} are the least")
    if data[:4] != _VERSION:
        raise WireError("unsupported-version", "no little-endian type serialization of version 1, at offset 0")
    end = _BODY + int.from_bytes(data[8:12], "little")
    if not least <= end <= len(data) <= end + _PADDING:
        raise WireError("malformed", f"{len(data)} bytes that say they end at offset {end}, at offset 8")
    return end
