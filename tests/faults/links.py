"""Bad links and bad brokers: a proxy that cuts at a chosen packet, and a broker that says what it is told to say."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field

from components._mqtt import frames
from tests.harness_mqtt import Proxy


@dataclass
class Cut:
    """Cut at a packet of that kind (frames.PUBLISH…), after `skip` others of the kind. upward: to the broker. passed: it still arrives."""

    kind: int
    upward: bool
    passed: bool
    skip: int = 3


class Scissors(Proxy):
    """Cuts the connection at each of `cuts`, one after the other."""

    def __init__(self, target: int, cuts: list[Cut]) -> None:
        super().__init__(target)
        self.cuts = deque(cuts)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, upward: bool) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                rest += data
                packets, end, _ = frames.split(rest)
                at = 0
                for first, _, stop in packets:
                    cut = self._due(first & 0xF0, upward)
                    if cut is None or cut.passed:
                        sink.write(rest[at:stop])
                    if cut is not None:
                        await sink.drain()
                        sink.close()
                        self.cut()
                        return
                    at = stop
                rest = rest[end:]
                await sink.drain()
        sink.transport.abort()

    def _due(self, kind: int, upward: bool) -> Cut | None:
        if not self.cuts or (self.cuts[0].kind, self.cuts[0].upward) != (kind, upward):
            return None
        if self.cuts[0].skip:
            self.cuts[0].skip -= 1
            return None
        return self.cuts.popleft()


@dataclass
class Scripted:
    """A broker of MQTT 5 for one test. connack: its properties. puback: reason codes for the next messages, then success.

    `published`: (first byte, topic, properties block and payload) of each PUBLISH; `unanswered` is the most that were open at once.
    """

    connack: bytes = b""
    puback: deque[int] = field(default_factory=deque)
    only_version: int = 0
    slow: float = 0.0
    published: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    unanswered: int = 0
    most_unanswered: int = 0
    connects: list[int] = field(default_factory=list)
    port: int = 0
    writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Scripted:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        if self.writer is not None:
            self.writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        rest = b""
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                rest += data
                packets, end, _ = frames.split(rest)
                for first, start, stop in packets:
                    self._take(first, rest[start:stop], writer)
                rest = rest[end:]
        writer.transport.abort()

    def _take(self, first: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        match first & 0xF0:
            case 0x10:
                self.connects.append(body[6])
                if self.only_version and body[6] != self.only_version:
                    writer.write(b"\x20\x02\x00\x01")
                    writer.close()
                    return
                block = bytes((len(self.connack),)) + self.connack if body[6] == 5 else b""
                writer.write(b"\x20" + bytes((2 + len(block),)) + b"\x00\x00" + block)
            case 0x80:
                writer.write(b"\x90" + (b"\x04" + body[:2] + b"\x00\x01" if self.connects[-1] == 5 else b"\x03" + body[:2] + b"\x01"))
            case 0xC0:
                writer.write(b"\xd0\x00")
            case 0x30:
                self._publish(first, body, writer)

    def _publish(self, first: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        size = body[0] << 8 | body[1]
        mid = body[2 + size : 4 + size]
        self.published.append((first, body[2 : 2 + size], body[4 + size :]))
        self.unanswered += 1
        self.most_unanswered = max(self.most_unanswered, self.unanswered)
        code = self.puback.popleft() if self.puback else 0
        asyncio.get_running_loop().call_later(self.slow, self._answer, mid, code, writer)

    def _answer(self, mid: bytes, code: int, writer: asyncio.StreamWriter) -> None:
        self.unanswered -= 1
        writer.write(b"\x40\x03" + mid + bytes((code,)) if code else b"\x40\x02" + mid)
