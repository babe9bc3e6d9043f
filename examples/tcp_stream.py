"""The acceptor without HTTP: a handshake over a plain TCP stream, each token behind its length in four bytes.

python tcp_stream.py serve 127.0.0.1 7000                   # with KRB5_KTNAME=FILE:svc.keytab
python tcp_stream.py connect 127.0.0.1 7000 HTTP@localhost  # with a ticket
"""

import asyncio
import struct
import sys

import gssapi

from negotiate_mw.accept import AcceptError, Acceptor, SecStatus

MAX_TOKEN = 65536  # bytes


async def read_token(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack("!I", await reader.readexactly(4))
    if not 0 < size <= MAX_TOKEN:
        raise ValueError(f"a token of {size} bytes")
    return await reader.readexactly(size)


async def send_token(writer: asyncio.StreamWriter, token: bytes) -> None:
    writer.write(struct.pack("!I", len(token)) + token)
    await writer.drain()


async def serve(host: str, port: int) -> None:
    async with Acceptor() as acceptor:

        async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            context = None
            try:
                async with asyncio.timeout(10):
                    result = await acceptor.accept(None, await read_token(reader))
                    while result.status is SecStatus.CONTINUE_NEEDED:
                        context = result.context
                        await send_token(writer, result.token or b"")
                        result = await acceptor.accept(context, await read_token(reader))
                await send_token(writer, result.token or b"")
                await send_token(writer, f"hello {result.identity.principal}".encode())
            except AcceptError as error:  # the context is deleted already
                print(f"refused: {error}", flush=True)
            except (ValueError, OSError, EOFError, TimeoutError):
                if context is not None:
                    await acceptor.delete(context)
            finally:
                writer.close()

        server = await asyncio.start_server(on_connection, host, port)
        print("listening on", *server.sockets[0].getsockname(), flush=True)
        await server.serve_forever()


async def connect(host: str, port: int, service: str) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    name = gssapi.Name(service, gssapi.NameType.hostbased_service)
    context = gssapi.SecurityContext(name=name, usage="initiate", flags=gssapi.RequirementFlag.mutual_authentication)
    token = context.step()
    while not context.complete:
        await send_token(writer, token or b"")
        token = context.step(await read_token(reader))
    print((await read_token(reader)).decode())
    writer.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", host, port]:
            asyncio.run(serve(host, int(port)))
        case ["connect", host, port, service]:
            asyncio.run(connect(host, int(port), service))
        case _:
            sys.exit(__doc__)
