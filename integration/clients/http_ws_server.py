"""Two WebSocket servers that say back what they hear, of two libraries: websockets and wsproto. The last word of the path
asks for something else. Prints where they listen, and serves until it is killed.
"""

import asyncio
import json
import logging
import sys
import threading
from http import HTTPStatus
from socket import create_server

from websockets.asyncio.server import serve
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Request, TextMessage
from wsproto.extensions import PerMessageDeflate
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

PROTOCOLS = ["chat", "superchat"]


def choose(connection, offered):
    return next((name for name in offered if name in PROTOCOLS), None)


def admit(connection, request):
    if request.path.endswith("/forbidden"):
        return connection.respond(HTTPStatus.FORBIDDEN, "not you\n")


async def talk(socket):
    _, _, what, *rest = socket.request.path.split("/") + [""]
    if what == "close":
        await socket.close(int(rest[0]), "as asked")
    elif what == "cut":
        socket.transport.abort()
    elif what == "pieces":
        await socket.send(["one", "two", "three"])
    elif what == "ping":
        await (await socket.ping(b"are you there"))
        await socket.send("the pong came")
    elif what == "bytes":
        await socket.send(b"x" * int(rest[0]))
    elif what == "fields":
        names = ("host", "origin", "cookie", "upgrade", "connection", "sec-websocket-version")
        await socket.send(json.dumps({name: socket.request.headers.get_all(name) for name in names[1:]}))
    else:
        async for message in socket:
            await socket.send(message)


def converse(stream):
    """With wsproto: frame by frame, as they came."""
    connection = WSConnection(ConnectionType.SERVER)
    with stream:
        while connection.state is not ConnectionState.CLOSED:
            data = stream.recv(1 << 16)
            try:
                connection.receive_data(data or None)
                for event in connection.events():
                    stream.sendall(answer(connection, event))
                    if isinstance(event, CloseConnection):
                        return
            except RemoteProtocolError as error:
                if error.event_hint is not None:
                    stream.sendall(connection.send(error.event_hint))
                return
            except (LocalProtocolError, OSError):
                return  # the client has left, with a good bye or without
            if not data:
                return


def answer(connection, event):
    if isinstance(event, Request):
        chosen = choose(connection, event.subprotocols)
        return connection.send(AcceptConnection(subprotocol=chosen, extensions=[PerMessageDeflate()]))
    if isinstance(event, (TextMessage, BytesMessage)):
        return connection.send(type(event)(event.data, event.frame_finished, event.message_finished))
    if isinstance(event, (Ping, CloseConnection)):
        return connection.send(event.response())
    return b""


def wsproto_server():
    listener = create_server(("127.0.0.1", 0))

    def accept():
        while True:
            stream, _ = listener.accept()
            threading.Thread(target=converse, args=(stream,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


async def main():
    options = {"max_size": 32 << 20, "select_subprotocol": choose, "process_request": admit, "ping_interval": None}
    async with serve(talk, "127.0.0.1", 0, **options) as server:
        ports = {"websockets": server.sockets[0].getsockname()[1], "wsproto": wsproto_server()}
        print(json.dumps(ports), flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    # Broken conversations are what the cases are about.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    sys.exit(asyncio.run(main()))
