"""Builds PAC_CLIENT_CLAIMS_INFO, right and wrong, and packs it; with an encoder that is not the one under test."""

from collections.abc import Sequence

INT64, UINT64, STRING, BOOLEAN = 1, 2, 3, 6
Entry = tuple[str, int, Sequence[str | int]]


def number(value: int, octets: int = 4) -> bytes:
    return (value % (1 << 8 * octets)).to_bytes(octets, "little")


def framed(body: bytes) -> bytes:
    """The two headers of a type serialization, and filling."""
    body += bytes(-len(body) % 8)
    return b"\x01\x10\x08\0\xcc\xcc\xcc\xcc" + number(len(body)) + bytes(4) + body


def claims_set(entries: Sequence[Entry], *, arrays: int = 1) -> bytes:
    """CLAIMS_SET, each of whose arrays has the same entries."""
    body = number(0x20000) + number(arrays) + number(0x20004 if arrays else 0) + bytes(12)
    if arrays:
        body += number(arrays) + (number(1) + number(len(entries)) + number(0x20008 if entries else 0)) * arrays
    for _ in range(arrays if entries else 0):
        body += number(len(entries))
        for _, kind, values in entries:
            body += number(0x2000C) + number(kind, 2) * 2 + number(len(values)) + number(0x20010 if values else 0)
        for name, kind, values in entries:
            body += _string(name)
            body += bytes(-len(body) % 4) + (number(len(values)) if values else b"")
            if kind == STRING:
                body += number(0x20014) * len(values)
            for value in values:
                if isinstance(value, str):
                    body += bytes(-len(body) % 4) + _string(value)
                else:
                    body += bytes(-len(body) % 8) + number(value, 8)
            body += bytes(-len(body) % 4)
    return framed(body)


def claims_info(
    entries: Sequence[Entry] = (),
    *,
    arrays: int = 1,
    inner: bytes | None = None,
    form: int = 0,
    size: int | None = None,
) -> bytes:
    """CLAIMS_SET_METADATA; ``form`` 4 packs what is in it. ``size``: what it says of the size unpacked."""
    inner = claims_set(entries, arrays=arrays) if inner is None else inner
    size = len(inner) if size is None else size
    inner = packed(inner) if form == 4 else inner
    there = number(0x20004) if inner else number(0)
    body = number(0x20000) + number(len(inner)) + there + number(form) + number(size) + bytes(12)
    return framed(body + (number(len(inner)) + inner if inner else b""))


def packed(plain: bytes) -> bytes:
    """LZ77+Huffman (MS-XCA 2.1) with a table in which every code has nine bits, and so is its own symbol."""
    out = bytearray(b"\x99" * 256 + bytes(4))
    words, bits, at = [256, 258], "", 0

    def put(value: int, count: int) -> None:
        nonlocal bits
        bits += f"{value:0{count}b}" if count else ""
        if len(bits) > 16 * (len(words) - 1):
            words.append(len(out))
            out.extend(bytes(2))

    while at < len(plain):
        before = plain.rfind(plain[at : at + 3], max(0, at - 65535), at + 2) if at + 3 <= len(plain) else -1
        if before < 0:
            put(plain[at], 9)
            at += 1
            continue
        length = 3
        while at + length < len(plain) and plain[before + length] == plain[at + length]:
            length += 1
        distance = at - before
        put(256 + 16 * (distance.bit_length() - 1) + min(length - 3, 15), 9)
        if length - 3 >= 15 + 255:
            out += b"\xff" + number(length - 3, 2)
        elif length - 3 >= 15:
            out.append(length - 3 - 15)
        put(distance - (1 << distance.bit_length() - 1), distance.bit_length() - 1)
        at += length
    put(256, 9)  # the end
    bits = bits.ljust(16 * len(words), "0")
    for index, word in enumerate(words):
        out[word : word + 2] = number(int(bits[16 * index : 16 * index + 16], 2), 2)
    return bytes(out)


def _string(text: str) -> bytes:
    octets = text.encode("utf-16-le") + b"\0\0"
    units = number(len(octets) // 2)
    return units + number(0) + units + octets
