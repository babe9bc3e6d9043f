"""A server that says what a test wants, over a real socket, and remembers what it was sent on which connection."""

import socket
import ssl
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Heard:
    """One request: of which connection, counted from 0; its head; its token."""

    connection: int
    head: str
    token: bytes | None


Say = Callable[[Heard], bytes]


@dataclass
class Scripted:
    """``url``, and all that it ``heard``."""

    url: str
    heard: list[Heard] = field(default_factory=list)

    @property
    def tokens(self) -> list[Heard]:
        return [one for one in self.heard if one.token is not None]


def reply(status: int, *headers: str, body: str = "") -> bytes:
    """A response."""
    lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}", *headers, "", body]
    return "\r\n".join(lines).encode()


@contextmanager
def scripted(say: Say, certificate: Path | None = None) -> Iterator[Scripted]:
    """A server that answers each request by ``say``; after ``Connection: close`` it ends the connection."""
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, certificate.with_suffix(".key"))
    listener = socket.create_server(("127.0.0.1", 0))
    server = Scripted(f"{'https' if tls else 'http'}://localhost:{listener.getsockname()[1]}/")
    threads: list[threading.Thread] = []
    sockets: list[socket.socket] = []

    def serve(connection: int, accepted: socket.socket) -> None:
        with suppress(OSError), accepted:
            wire = accepted if tls is None else tls.wrap_socket(accepted, server_side=True)
            sockets.append(wire)
            with wire, wire.makefile("rb") as lines:
                while (head := _head(lines)) is not None:
                    fields = {name.lower(): value for name, _, value in (row.partition(": ") for row in head[1:])}
                    lines.read(int(fields.get("content-length", 0)))
                    spelled = fields.get("authorization", "").partition(" ")[2]
                    heard = Heard(connection, "\n".join(head), b64decode(spelled) if spelled else None)
                    server.heard.append(heard)
                    answer = say(heard)
                    wire.sendall(answer)
                    if b"Connection: close" in answer:
                        return

    def accept() -> None:
        with suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                sockets.append(accepted)
                threads.append(threading.Thread(target=serve, args=(len(threads), accepted)))
                threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield server
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(10)
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)


def _head(lines: BinaryIO) -> list[str] | None:
    rows: list[str] = []
    for line in lines:
        if line == b"\r\n":
            return rows
        rows.append(line.decode("latin-1").rstrip())
    return None
