"""One connection to a broker on the event loop: TCP or TLS, packets split on arrival, writes of one loop turn in one piece."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from components._mqtt import frames
from components._mqtt.control import Control, Greeting, Identity, Wish
from components._mqtt.pulse import Peer, Pulse
from edge.reading import Reading

if TYPE_CHECKING:
    import ssl

T = TypeVar("T")
FAST = frozenset((frames.PUBLISH, frames.PUBACK, frames.PUBREC, frames.PUBREL, frames.PUBCOMP))
CONNECT_TIMEOUT = 20.0
ANSWER_TIMEOUT = 20.0
GOODBYE_TIMEOUT = 2.0


class Receiver(Protocol):
    """Who gets what the broker sends. `packet` is valid during the call only in so far as slices of it are copies."""

    def on_publish(self, first: int, packet: bytes, start: int, end: int) -> None: ...
    def on_acknowledged(self, kind: int, packet: bytes, start: int, end: int) -> None: ...
    def waiting(self) -> bool: ...


class Link(Reading):
    """Created by `open`; ends once, with `reason`, after which `ended` is set and writes go nowhere."""

    greeting: Greeting

    def __init__(self, identity: Identity, receiver: Receiver) -> None:
        self._loop = asyncio.get_running_loop()
        self._receiver = receiver
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self._out: list[bytes] = []
        self._rest = bytearray()
        self._need = 2
        self._greeted = self._begun = False
        self._socket: socket.socket | None = None
        self._pulse: Pulse | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._ponged = asyncio.Event()
        self._control = Control(identity, self.send)
        self.ended = asyncio.Event()
        self.reason = ""
        self.by_peer = False
        """The broker (or something between) closed it, not we and not a time-out."""

    @classmethod
    async def open(cls, identity: Identity, receiver: Receiver, tls: ssl.SSLContext | None) -> Link:
        """A connection that the broker has greeted. Raises OSError (unreachable, TimeoutError, TLS) and Refused."""
        link = cls(identity, receiver)
        broker = identity.broker
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await link._loop.create_connection(lambda: link, broker.host, broker.port, ssl=tls)
                link.greeting = await link._control.connect()
        except BaseException:
            link.end("not connected")
            raise
        assert link._transport is not None
        peer = Peer(link._transport, lambda: link.send(frames.PINGREQ), receiver.waiting, link.end)
        link._pulse = Pulse(peer, link.greeting.keep_alive or identity.keep_alive)
        return link

    @property
    def goodbye_code(self) -> int:
        """The reason code of the broker's own DISCONNECT (MQTT 5), 0 if it sent none."""
        return self._control.goodbye_code

    # --- writing
    def send(self, packet: bytes) -> None:
        """Put one packet on its way; those of one loop turn leave together."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(packet)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and self._transport is not None and not self.ended.is_set():
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
            if self._pulse is not None:
                self._pulse.said = self._loop.time()

    async def room(self) -> None:
        """Wait while the peer takes nothing (for packets that no window bounds)."""
        await self._room.wait()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    # --- reading
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        found = transport.get_extra_info("socket")
        if found is not None and found.family != socket.AF_UNIX:
            self._socket = found
        self._option(socket.TCP_NODELAY)

    def _option(self, name: int) -> None:
        if self._socket is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, name, 1)

    def data_received(self, data: bytes) -> None:
        if self._pulse is not None:
            self._pulse.heard = self._loop.time()
        # mosquitto leaves Nagle on: a delayed TCP acknowledgement would stall a small window 40 ms a round; the kernel forgets the
        # option, so it is set after each read
        self._option(socket.TCP_QUICKACK)
        if self._rest or self._greeted > self._begun:
            self._rest += data
            if len(self._rest) < self._need or self._greeted > self._begun:
                return
            data = bytes(self._rest)
            self._rest.clear()
        self._read(data)

    def begin(self) -> None:
        """Hand on what comes after the greeting, which may have come with it; until then nobody could acknowledge it."""
        self._begun = True
        data = bytes(self._rest)
        self._rest.clear()
        self._read(data)

    def _read(self, data: bytes) -> None:
        try:
            self._take(data)
        except (frames.Malformed, IndexError, UnicodeDecodeError) as error:
            self.end(f"the broker sent what is no MQTT: {error}")

    def _take(self, data: bytes) -> None:
        packets, rest, self._need = frames.split(data)
        receiver = self._receiver
        for first, start, end in packets:
            kind = first & 0xF0
            if kind == frames.PUBLISH:
                receiver.on_publish(first, data, start, end)
            elif kind in FAST:
                receiver.on_acknowledged(kind, data, start, end)
            elif kind == frames.PINGRESP:
                self._ponged.set()
            else:
                self._control.feed(bytes((first,)) + frames.varint(end - start) + data[start:end])
                if kind == frames.CONNACK:
                    self._greeted = True
                    rest = end
                    break
        if rest < len(data):
            self._rest += data[rest:]

    def hold(self, hold: bool) -> None:
        """Stop reading (the peer's TCP then stops sending), or go on."""
        if self._transport is not None and not self.ended.is_set():
            (self._transport.pause_reading if hold else self._transport.resume_reading)()

    # --- asking
    async def subscribe(self, wishes: Sequence[Wish]) -> list[tuple[int, str]]:
        """Per wish the granted QoS, or a code from control.REFUSED on with its name. Raises ConnectionError, TimeoutError."""
        return await self._in_time(self._control.subscribe(wishes))

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """Raises ConnectionError, TimeoutError."""
        await self._in_time(self._control.unsubscribe(filters))

    async def ping(self) -> None:
        """Return when the broker answered a ping. Raises ConnectionError, TimeoutError."""
        self._ponged.clear()
        self.send(frames.PINGREQ)
        await self._in_time(self._ponged.wait())
        if self.ended.is_set():
            raise ConnectionError(self.reason)

    async def _in_time(self, call: Awaitable[T]) -> T:
        async with asyncio.timeout(ANSWER_TIMEOUT):
            return await call

    # --- ending
    async def close(self) -> None:
        """Say DISCONNECT, let what is written leave, end."""
        if self._transport is not None and not self.ended.is_set():
            self._closing = True
            self._control.disconnect()
            self._flush()
            self._transport.close()
            try:
                async with asyncio.timeout(GOODBYE_TIMEOUT):
                    await self.ended.wait()
            except TimeoutError:
                self.end("closed")

    def end(self, reason: str) -> None:
        """Drop the connection at once."""
        if not self.ended.is_set():
            self._end(reason)
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.is_set():
            self.by_peer = not self._closing
            self._end(self._control.goodbye or (str(error) if error else "the broker closed the connection"))

    def _end(self, reason: str) -> None:
        self.reason = reason
        self.ended.set()
        self._room.set()
        self._ponged.set()
        if self._pulse is not None:
            self._pulse.stop()
        self._control.lost()
