"""Undoes LZ77+Huffman (MS-XCA 2.2), as domain controllers pack claims that take more than a few hundred bytes. Its law:
exactly as many bytes come out as were announced, and never more than `MOST`."""

from .errors import WireError

MOST = 65536  # bytes: one block, and so one table; claims of a thousand values take less
_TABLE = 256  # bytes: the lengths of 512 symbols' codes, in bits, two to a byte
_MATCH = 256  # the first symbol that is no literal
_END = 4  # bytes at most behind the last word that is needed: of the symbol that says that it is the last


def decompress(data: bytes, size: int) -> bytes:
    """The `size` bytes that `data` was made of. Raises WireError, which names the offset."""
    if size > MOST:
        raise WireError("limit", f"{size} bytes when unpacked, {MOST} are the most")
    codes, longest = _codes(data[:_TABLE])
    bits = _Bits(data, _TABLE)
    out = bytearray()
    while len(out) < size:
        symbol, length = codes[bits.ahead >> 32 - longest]
        bits.drop(length)
        if symbol < _MATCH:
            out.append(symbol)
            continue
        distance_bits, length = divmod(symbol - _MATCH, 16)
        if length == 15:
            length = bits.long_length()
        length += 3
        distance = 1 << distance_bits | bits.ahead >> 32 - distance_bits
        bits.drop(distance_bits)
        if distance > len(out) or length > size - len(out):
            raise WireError("malformed", f"{length} bytes again from {distance} before, at offset {bits.at}")
        again = out[-distance:]
        out += (again * (length // distance + 1))[:length]  # what it repeats may begin in what it writes
    if bits.left > _END:
        raise WireError("trailing-bytes", f"{bits.left} bytes after all is unpacked, at offset {bits.at}")
    return bytes(out)


def _codes(table: bytes) -> tuple[list[tuple[int, int]], int]:
    """The symbol and the length of its code by the next bits, and how many bits these are (MS-XCA 2.2.4: shorter codes
    go first, then smaller symbols)."""
    lengths = [length for pair in table for length in (pair & 15, pair >> 4)]
    longest = max(lengths, default=0)
    codes: list[tuple[int, int]] = []
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(lengths) if length):
        codes += [(symbol, length)] * (1 << longest - length)
    if len(table) < _TABLE or len(codes) != 1 << longest or not longest:
        raise WireError("malformed", "a table of codes that are too few or too many, at offset 0")
    return codes, longest


class _Bits:
    """A stream of bits in words of 16, with bytes between the words: two words are always ahead."""

    __slots__ = ("_data", "_spare", "ahead", "at")

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at
        self.ahead = self._take(2) << 16 | self._take(2)
        self._spare = 16  # bits that can be dropped before the next word is due

    def drop(self, count: int) -> None:
        self.ahead = self.ahead << count & 0xFFFFFFFF
        self._spare -= count
        if self._spare < 0:
            self.ahead |= self._take(2) << -self._spare
            self._spare += 16

    @property
    def left(self) -> int:
        return len(self._data) - self.at

    def long_length(self) -> int:
        length = self._take(1) + 15
        if length < 255 + 15:
            return length
        length = self._take(2) or self._take(4)
        if length < 15:
            raise WireError("malformed", f"a length of {length} in the long form, before offset {self.at}")
        return length

    def _take(self, count: int) -> int:
        stop = self.at + count
        if stop > len(self._data):
            raise WireError("malformed", f"the packed bytes end at offset {len(self._data)}, before all is unpacked")
        self.at, begin = stop, self.at
        return int.from_bytes(self._data[begin:stop], "little")
