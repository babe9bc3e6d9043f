"""What every Python program of a page finds: whatever host it is for, its site is the one that was started last.

A page's ports (below 10000) may be taken on this machine: to listen, any free one will do, and to connect, it is that
site's, whose port is in a file.
"""

import os
import socket
from pathlib import Path

_look_up, _bind = socket.getaddrinfo, socket.socket.bind


def _of_a_page(port: object) -> bool:
    return str(port).isdigit() and 0 < int(str(port)) < 10_000


def getaddrinfo(host, port, *rest, **more):  # type: ignore[no-untyped-def]
    if _of_a_page(port):
        host, port = "127.0.0.1", int(Path(os.environ["DOCS_PORT"]).read_text())
    return _look_up(host, port, *rest, **more)


def bind(self, address):  # type: ignore[no-untyped-def]
    if isinstance(address, tuple) and _of_a_page(address[1]):
        address = ("127.0.0.1", 0)
    return _bind(self, address)


socket.getaddrinfo = getaddrinfo
socket.socket.bind = bind  # type: ignore[method-assign]
