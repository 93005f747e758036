"""What RFC 6455 lets and forbids a client, against a server of http_ws_server.py: tells what came of each case, so that
directly and through a proxy can be compared. Called with HOST:PORT and the path of the server, `/websockets` or `/wsproto`;
`short` leaves out the large messages.
"""

import asyncio
import base64
import hashlib
import json
import os
import struct
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    RejectConnection,
    Request,
    TextMessage,
)

HOST, PATH, *FLAGS = sys.argv[1:]
SHORT = "short" in FLAGS
PATIENCE = 20
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def short(message):
    """A message, or what tells it from others."""
    if len(message) <= 60:
        return message if isinstance(message, str) else message.decode("latin-1")
    raw = message.encode() if isinstance(message, str) else bytes(message)
    return f"{len(raw)} bytes, {hashlib.sha256(raw).hexdigest()[:12]}"


# --- With the websockets library


def dial(path="/echo", **options):
    return connect(f"ws://{HOST}{PATH}{path}", max_size=64 << 20, **options)


async def said_back(*messages, path="/echo", **options):
    async with dial(path, **options) as socket:
        heard = []
        for message in messages:
            await socket.send(message)
            heard.append(short(await socket.recv()))
        extensions = [extension.name for extension in socket.protocol.extensions]
    return {"heard": heard, "extensions": extensions, "close": socket.close_code}


@case
async def text():
    return await said_back("hello", "", "äöü €", "x" * 5000)


@case
async def binary():
    return await said_back(b"\0\1\2\xff", b"", bytes(range(256)) * 20)


@case
async def lengths_at_each_border():
    return await said_back(*(b"x" * size for size in (125, 126, 127, 65535, 65536, 65537)), compression=None)


@case
async def deflate():
    return await said_back("ticket " * 20000, "again", compression="deflate")


@case
async def no_deflate():
    return await said_back("ticket " * 20000, compression=None)


@case
async def large():
    # wsproto unmasks byte by byte.
    sizes = [1 << 20] if SHORT or PATH == "/wsproto" else [1 << 20, 16 << 20]
    return await said_back(*(b"large" * (size // 5) for size in sizes), compression=None)


@case
async def a_thousand_messages():
    async with dial() as socket:
        for number in range(1000):
            await socket.send(str(number))
        return [await socket.recv() for _ in range(1000)] == [str(number) for number in range(1000)]


@case
async def fragments():
    return await said_back(["one", "two", "three"], [b"1", b"", b"3"])


@case
async def ping():
    async with dial() as socket:
        await (await socket.ping(b"payload"))
        await (await socket.ping())
        await socket.send("and on")
        return await socket.recv()


@case
async def subprotocol():
    chosen = []
    for offer in (["superchat", "chat"], ["other", "chat"], None):
        async with dial(subprotocols=offer) as socket:
            chosen.append(socket.subprotocol)
    return chosen


@case
async def close_codes_of_the_client():
    codes = []
    for code in (1000, 1001, 1003, 1007, 1011, 3000, 4999):
        async with dial() as socket:
            await socket.close(code, "good bye")
            codes.append((socket.close_code, socket.close_reason))
    return codes


if PATH == "/websockets":

    @case
    async def close_codes_of_the_server():
        codes = []
        for code in (1000, 1001, 1008, 1011, 1013, 4000):
            async with dial(f"/close/{code}") as socket:
                try:
                    await socket.recv()
                except ConnectionClosed as closed:
                    codes.append((closed.rcvd.code, closed.rcvd.reason))
        return codes

    @case
    async def pieces_of_the_server():
        async with dial("/pieces") as socket:
            return [piece async for piece in socket.recv_streaming()]

    @case
    async def ping_of_the_server():
        async with dial("/ping") as socket:
            return await socket.recv()

    @case
    async def cut_by_the_server():
        async with dial("/cut") as socket:
            try:
                return await socket.recv()
            except ConnectionClosed as closed:
                return str(closed.rcvd)

    @case
    async def bytes_of_the_server():
        async with dial(f"/bytes/{1 << 20 if SHORT else 30 << 20}", compression=None) as socket:
            return short(await socket.recv())

    @case
    async def forbidden():
        try:
            async with dial("/forbidden"):
                return "let in"
        except InvalidStatus as error:
            return (error.response.status_code, error.response.body.decode())

    @case
    async def fields():
        headers = {"Cookie": "a=b; c=d"}
        async with dial("/fields", origin="https://shop.example", additional_headers=headers) as socket:
            seen = json.loads(await socket.recv())
        # Token for token: their case is nobody's business (RFC 9110 section 7.6.1).
        return {name: [value.lower() for value in values] for name, values in seen.items()}


# --- With wsproto, and by hand


def frame(opcode, payload=b"", fin=True, rsv=0, mask=True):
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    size, bit = len(payload), 0x80 if mask else 0
    if size < 126:
        head = struct.pack("!BB", first, bit | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, bit | 127, size)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


def handshake(path="/echo", **changes):
    fields = {
        "Host": HOST,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return ("\r\n".join([f"GET {PATH}{path} HTTP/1.1", *lines]) + "\r\n\r\n").encode()


class Wire:
    """A connection, frame by frame."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.whole = b""

    @classmethod
    async def open(cls, request=None):
        host, port = HOST.split(":")
        wire = cls(*await asyncio.open_connection(host, int(port)))
        wire.writer.write(request or handshake())
        return wire, await wire.status()

    async def status(self):
        head = await self.reader.readuntil(b"\r\n\r\n")
        return int(head.split(b" ")[1])

    async def frame(self):
        """(opcode, whether it is the last one, payload); none: the end."""
        try:
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, first >> 7, await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def message(self):
        """What a frame or several of them come to: into how many a server cuts a message is its own affair."""
        while (one := await self.frame()) is not None:
            opcode, fin, payload = one
            if opcode == CLOSE:
                # What libraries say beside the code is their own.
                return "close", struct.unpack("!H", payload[:2])[0] if payload else None
            if opcode == PONG:
                return "pong", short(payload)
            self.whole += payload
            if fin:
                whole, self.whole = self.whole, b""
                return "message", short(whole)
        return None

    async def to_the_end(self):
        messages = []
        while (one := await self.message()) is not None:
            messages.append(one)
            if one[0] == "close":
                self.writer.write(frame(CLOSE))
        self.writer.close()
        return messages


async def conversation(*frames, answers=0):
    """Sends frames, waits for that many answers, says good bye unless the frames were to be the end."""
    wire, status = await Wire.open()
    for one in frames:
        wire.writer.write(one)
    heard = [await wire.message() for _ in range(answers)]
    # A pong may overtake a message, or not.
    heard.sort(key=str)
    if answers:
        wire.writer.write(GOOD_BYE)
    return status, heard, await wire.to_the_end()


GOOD_BYE = frame(CLOSE, struct.pack("!H", 1000))

# What is sent, and how much comes back before the good bye; 0: it is the end.
FRAMES = {
    "fragments_with_a_ping_between": (
        2,
        [frame(TEXT, b"one", fin=False), frame(PING, b"between"), frame(0, b"two", fin=False), frame(0, b"three")],
    ),
    "an_unasked_pong": (1, [frame(PONG, b"nobody asked"), frame(TEXT, b"and on")]),
    "a_ping_of_125_bytes": (1, [frame(PING, b"p" * 125)]),
    "good_text_cut_within_a_letter": (1, [frame(TEXT, b"\xc3", fin=False), frame(0, b"\xa4")]),
    "frames_byte_by_byte": (1, [bytes([byte]) for byte in frame(TEXT, b"slowly")]),
    "a_close_without_a_code": (0, [frame(CLOSE)]),
    "a_close_of_one_byte": (0, [frame(CLOSE, b"\x03")]),
    "a_close_with_a_code_that_must_not_be_sent": (0, [frame(CLOSE, struct.pack("!H", 1005))]),
    "a_close_with_bad_text": (0, [frame(CLOSE, struct.pack("!H", 1000) + b"\xff")]),
    "bad_text": (0, [frame(TEXT, b"\xc3\x28")]),
    "bad_text_over_two_frames": (0, [frame(TEXT, b"\xc3", fin=False), frame(0, b"\x28")]),
    "an_unmasked_frame": (0, [frame(TEXT, b"bare", mask=False)]),
    "an_unknown_opcode": (0, [frame(3, b"")]),
    "an_unknown_control_opcode": (0, [frame(11, b"")]),
    "a_reserved_bit": (0, [frame(TEXT, b"bit", rsv=2)]),
    "a_ping_of_126_bytes": (0, [frame(PING, b"p" * 126)]),
    "a_ping_in_fragments": (0, [frame(PING, b"p", fin=False)]),
    "a_continuation_of_nothing": (0, [frame(0, b"more")]),
    "a_message_within_a_message": (0, [frame(TEXT, b"one", fin=False), frame(TEXT, b"two")]),
}


def play(answers, frames):
    return lambda: conversation(*frames, answers=answers)


CASES |= {name: play(*what) for name, what in FRAMES.items()}


@case
async def half_close():
    wire, status = await Wire.open()
    wire.writer.write(frame(TEXT, b"before"))
    before = await wire.message()
    wire.writer.write_eof()
    return status, before, [one for one in await wire.to_the_end() if one[0] != "close"]


@case
async def gone_without_a_word():
    """The server must hear of it; the next client is served."""
    wire, _ = await Wire.open()
    wire.writer.transport.abort()
    return await conversation(frame(TEXT, b"next"), answers=1)


@case
async def handshakes_that_are_none():
    statuses = []
    changes = [
        {"Sec_WebSocket_Key": None},
        {"Sec_WebSocket_Version": "12"},
        {"Sec_WebSocket_Key": "short"},
    ]
    for change in changes:
        wire, status = await Wire.open(handshake(**change))
        wire.writer.close()
        statuses.append(status)
    return statuses


@case
async def wsproto_client():
    """The library's own view of a conversation."""
    host, port = HOST.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection, heard = WSConnection(ConnectionType.CLIENT), []
    writer.write(connection.send(Request(host=HOST, target=f"{PATH}/echo", subprotocols=["chat"])))
    while data := await reader.read(1 << 16):
        connection.receive_data(data)
        for event in connection.events():
            if isinstance(event, AcceptConnection):
                heard.append(("accepted", event.subprotocol))
                writer.write(connection.send(TextMessage("one ", message_finished=False)))
                writer.write(connection.send(Ping(b"wsproto")))
                writer.write(connection.send(TextMessage("message")))
                writer.write(connection.send(BytesMessage(b"bytes")))
            elif isinstance(event, RejectConnection):
                heard.append(("rejected", event.status_code))
            elif isinstance(event, (TextMessage, BytesMessage)):
                heard.append(short(event.data))
                if isinstance(event, BytesMessage):
                    writer.write(connection.send(CloseConnection(1001, "leaving")))
            elif isinstance(event, Pong):
                heard.append(("pong", bytes(event.payload).decode()))
            elif isinstance(event, CloseConnection):
                heard.append(("closed", event.code))
    writer.close()
    # How a message is cut into events is up to what one read brings.
    words = "".join(word for word in heard if isinstance(word, str))
    return words, [word for word in heard if not isinstance(word, str)]


async def outcome(function):
    try:
        return await asyncio.wait_for(function(), PATIENCE)
    except Exception as error:  # also an outcome, as good as any if it is the same both ways
        return f"{type(error).__name__}: {error}"


async def main():
    print(json.dumps({name: await outcome(function) for name, function in CASES.items()}))


asyncio.run(main())
