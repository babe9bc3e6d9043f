"""Reads and writes credential cache files (MIT krb5's "Credential cache file format", version 4), as far as picking
tickets out of one and putting them into another goes. Its law: an entry that is kept is kept byte for byte; what can't
be read to its end is refused whole, since what isn't understood must not be handed on."""

import struct
from dataclasses import dataclass, field

from .errors import WireError

_VERSION = b"\x05\x04"
_NO_HEADER = b"\0\0"
_TIMES = struct.Struct(">IIIIBI")  # authtime, starttime, endtime, renew_till; is_skey; ticket flags
_CONFIGURATION = b"X-CACHECONF:"  # the realm of what is no ticket but a note of the library's
_NT_PRINCIPAL = 1


@dataclass(frozen=True, slots=True)
class Principal:
    """A name as it is in a cache. Its type is a mere hint (RFC 4120 6.2), so names are equal whatever theirs are."""

    realm: bytes
    components: tuple[bytes, ...]
    name_type: int = field(default=_NT_PRINCIPAL, compare=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """One ticket: whose, for which service, and all of it as it is in the file."""

    client: Principal
    server: Principal
    octets: bytes = field(repr=False)

    @property
    def is_note(self) -> bool:
        """True for the library's own notes, which are no tickets."""
        return self.server.realm == _CONFIGURATION

    @property
    def grants_tickets(self) -> bool:
        """True for a ticket-granting ticket, of whatever realm: with it, its owner gets tickets for anything."""
        return self.server.components[:1] == (b"krbtgt",)


def read_ccache(data: bytes) -> tuple[Entry, ...]:
    """Everything in a credential cache file. Raises WireError."""
    if data[:2] != _VERSION:
        raise WireError("unsupported-version", "no credential cache of version 4")
    reader = _Reader(data, 2)
    reader.octets(2)
    reader.principal()
    entries = []
    while reader.at < len(data):
        begin = reader.at
        client, server = reader.principal(), reader.principal()
        reader.number(2)
        reader.octets(4)
        reader.skip(_TIMES.size)
        for _ in range(2):  # addresses, authorisation data
            for _ in range(reader.number(4)):
                reader.number(2)
                reader.octets(4)
        for _ in range(2):  # the ticket, a second one
            reader.octets(4)
        entries.append(Entry(client, server, data[begin : reader.at]))
    return tuple(entries)


def write_ccache(owner: Principal, *entries: bytes) -> bytes:
    """A credential cache file of `owner` with these entries, as `Entry.octets` or the functions below have them."""
    return b"".join((_VERSION, _NO_HEADER, _principal(owner), *entries))


def ticket_entry(client: Principal, server: Principal, ticket: bytes, *, flags: int, end: int) -> bytes:
    """An entry for a ticket whose session key isn't known: nobody can use it but the KDC, as evidence (MS-SFU 3.1.5.2).

    Args:
        flags: of the ticket (RFC 4120 5.3), bit 0 the uppermost of 32.
        end: of the ticket, in seconds since 1970.
    """
    key = b"\0\0" + _counted(b"")
    names, times = _principal(client) + _principal(server), _TIMES.pack(0, 0, end, 0, 0, flags)
    return b"".join((names, key, times, _number(0), _number(0), _counted(ticket), _counted(b"")))


def impersonator_note(owner: Principal, impersonator: str) -> bytes:
    """The library's note that the tickets of `owner` were got by a service, which gets further ones by S4U2Proxy."""
    server = Principal(_CONFIGURATION, (b"krb5_ccache_conf_data", b"proxy_impersonator"), 0)
    return ticket_entry(owner, server, impersonator.encode(), flags=0, end=0)


class _Reader:
    """Each method reads the next thing and goes on behind it."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def skip(self, octets: int) -> int:
        begin = self.at
        self.at += octets
        if self.at > len(self.data):
            raise WireError("malformed", f"a credential cache that ends within what begins at offset {begin}")
        return begin

    def number(self, octets: int) -> int:
        begin = self.skip(octets)
        return int.from_bytes(self.data[begin : self.at])

    def octets(self, counted_by: int) -> bytes:
        begin = self.skip(self.number(counted_by))
        return self.data[begin : self.at]

    def principal(self) -> Principal:
        name_type, count = self.number(4), self.number(4)
        return Principal(self.octets(4), tuple([self.octets(4) for _ in range(count)]), name_type)


def _number(value: int) -> bytes:
    return value.to_bytes(4)


def _counted(octets: bytes) -> bytes:
    return _number(len(octets)) + octets


def _principal(name: Principal) -> bytes:
    parts = map(_counted, (name.realm, *name.components))
    return b"".join((_number(name.name_type), _number(len(name.components)), *parts))
