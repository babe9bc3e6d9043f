"""Reads PAC_CLIENT_CLAIMS_INFO (MS-PAC 2.11), the PAC's buffer with what a domain says of a user beside the groups: a
CLAIMS_SET_METADATA (MS-ADTS 2.2.18.8) whose bytes are a CLAIMS_SET, packed or not, each in NDR with what is pointed at
behind the pointers. Its law: as for `pac.py`; and a claim that can't be read takes all others with it."""

import struct

from .claims_compression import decompress
from .errors import WireError

Claims = tuple[tuple[str, tuple[str, ...]], ...]
"""Identifiers of claims, as the domain made them, each with its values in words."""

# Type serialization version 1, little-endian (MS-RPCE 2.2.6.1); what else the two headers have is a length and filling
_VERSION = b"\x01\x10\x08\x00"
_BODY = 16
_PADDING = 7  # bytes at most, up to a multiple of eight
_POINTER = 4

# ulClaimsSetSize, ClaimsSet, usCompressionFormat, ulUncompressedClaimsSetSize, and the same reserved fields twice
_METADATA = struct.Struct("<IIH2xIH2xII")
_SET = struct.Struct("<IIH2xII")  # ulClaimsArrayCount, ClaimsArrays
_ARRAY = struct.Struct("<H2xII")  # usClaimsSourceType, ulClaimsCount, ClaimEntries
_ENTRY = struct.Struct("<IHHII")  # Id, Type, the union's Type, ValueCount, its values
_COUNTS = struct.Struct("<III")  # of a string: how many characters fit, the first that is sent, how many are

_NONE, _XPRESS_HUFF = 0, 4  # CLAIMS_COMPRESSION_FORMAT
_INT64, _UINT64, _STRING, _BOOLEAN = 1, 2, 3, 6  # CLAIM_TYPE
_NUMBERS = {_INT64: "q", _UINT64: "Q", _BOOLEAN: "Q"}


def read_claims(data: bytes) -> Claims:
    """The claims in the buffer `data`, as krb5 hands it out as `urn:mspac:13`; none if it is empty. Numbers are in
    decimal, truth is `true` or `false`. Raises WireError, which names the offset."""
    if not data:
        return ()
    outer = _Buffer(data, _METADATA.size, "CLAIMS_SET_METADATA")
    size, pointer, form, unpacked, _, reserved, reserved_pointer = outer.fixed(_METADATA)
    if reserved or reserved_pointer:
        raise outer.malformed("something in a reserved field")
    inner = outer.octets(size, pointer)
    outer.finish()
    if form == _XPRESS_HUFF:
        try:
            inner = decompress(inner, unpacked)
        except WireError as error:
            raise WireError(error.reason, f"CLAIMS_SET, packed: {error.detail}") from None
    elif form != _NONE:
        raise WireError("unsupported-version", f"claims packed by method {form}, at offset {_BODY + 12}")
    elif unpacked != size:
        raise outer.malformed(f"{size} bytes of claims that are counted as {unpacked}")
    return _read_set(inner) if inner else ()


def _read_set(data: bytes) -> Claims:
    rest = _Buffer(data, _SET.size, "CLAIMS_SET")
    count, pointer, _, reserved, reserved_pointer = rest.fixed(_SET)
    if reserved or reserved_pointer:
        raise rest.malformed("something in a reserved field")
    claims: dict[str, tuple[str, ...]] = {}
    for _, entries, entries_pointer in rest.array(_ARRAY, count, pointer):
        for id_pointer, kind, same_kind, values, values_pointer in rest.array(_ENTRY, entries, entries_pointer):
            if kind != same_kind:
                raise rest.malformed(f"a claim of type {kind} with values of type {same_kind}")
            name = rest.string(id_pointer)
            if not name or name in claims:
                raise rest.malformed("a claim without a name, or one that is there twice")
            claims[name] = rest.values(kind, values, values_pointer)
    rest.finish()
    return tuple(claims.items())


class _Buffer:
    """One serialized structure: each method reads the next thing and goes on behind it."""

    __slots__ = ("_at", "_data", "_end", "_what")

    def __init__(self, data: bytes, fixed: int, what: str) -> None:
        self._data = data
        self._what = what
        self._at = least = _BODY + _POINTER
        least += fixed
        if len(data) < least:
            raise WireError("malformed", f"{what}: {len(data)} bytes, {least} are the least")
        if data[:4] != _VERSION:
            raise WireError(
                "unsupported-version", f"{what}: no little-endian type serialization of version 1, at offset 0"
            )
        self._end = _BODY + int.from_bytes(data[8:12], "little")
        if not least <= self._end <= len(data) <= self._end + _PADDING or not any(data[_BODY : self._at]):
            raise self.malformed(f"{len(data)} bytes that say they end at offset {self._end}, or a null pointer")

    def fixed(self, form: struct.Struct) -> tuple[int, ...]:
        return form.unpack(self._next(form.size))

    def array(self, form: struct.Struct, count: int, pointer: int) -> list[tuple[int, ...]]:
        """A conformant array of ``count`` structures."""
        if not self._is_there(count, pointer):
            return []
        return list(form.iter_unpack(self._next(form.size * count)))

    def octets(self, count: int, pointer: int) -> bytes:
        """A conformant array of bytes."""
        return self._next(count) if self._is_there(count, pointer) else b""

    def string(self, pointer: int) -> str:
        """A conformant and varying string of UTF-16, which a NUL ends."""
        if not pointer:
            raise self.malformed("a null pointer to a string")
        self._align(4)
        most, first, count = self.fixed(_COUNTS)
        if first or not 0 < count <= most:
            raise self.malformed(f"a string of {count} characters that is counted otherwise")
        try:
            text, nul, more = self._next(2 * count).decode("utf-16-le").partition("\0")
        except UnicodeDecodeError:
            raise self.malformed("a string that is not UTF-16") from None  # it quotes the bytes
        if not nul or more:
            raise self.malformed("a string without a NUL at its end, or with more of them")
        return text

    def values(self, kind: int, count: int, pointer: int) -> tuple[str, ...]:
        """A claim's values, in words."""
        if kind == _STRING:
            pointers = self.array(struct.Struct("<I"), count, pointer)
            return tuple([self.string(string) for (string,) in pointers])
        number = _NUMBERS.get(kind)
        if number is None:
            raise self.malformed(f"a claim of the unknown type {kind}")
        if not self._is_there(count, pointer):
            return ()
        self._align(8)
        numbers = struct.unpack(f"<{count}{number}", self._next(8 * count))
        if kind != _BOOLEAN:
            return tuple(map(str, numbers))
        if max(numbers) > 1:
            raise self.malformed("a claim that is neither true nor false")
        return tuple(["true" if number else "false" for number in numbers])

    def finish(self) -> None:
        if self._end - self._at > _PADDING:
            raise WireError("trailing-bytes", f"{self._what}: it ends at offset {self._at}, the buffer at {self._end}")

    def malformed(self, detail: str) -> WireError:
        return WireError("malformed", f"{self._what}: {detail}, before offset {self._at}")

    def _is_there(self, count: int, pointer: int) -> bool:
        if bool(count) is not bool(pointer):
            raise self.malformed(f"a pointer that doesn't fit an array of {count}")
        if not count:
            return False
        self._align(4)
        if int.from_bytes(self._next(4), "little") != count:
            raise self.malformed(f"an array of {count} that is counted otherwise")
        return True

    def _align(self, size: int) -> None:
        self._at += -self._at % size

    def _next(self, size: int) -> bytes:
        begin, stop = self._at, self._at + size
        if stop > self._end:
            raise self.malformed(f"something of {size} bytes that exceeds the buffer")
        self._at = stop
        return self._data[begin:stop]
