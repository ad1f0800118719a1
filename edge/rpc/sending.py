"""What an HTTP/2 connection writes, and its end: frames of one turn of the loop leave in one write (RFC 9113)."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace

from edge.rpc.frames import (
    FIRST_WINDOW,
    H2,
    MAX_FRAME,
    MAX_STREAM_ID,
    PING,
    PREFACE,
    ConnectionFault,
    Setting,
    frame,
    goaway_frame,
    reset_frame,
    settings_frame,
    window_frame,
)
from edge.rpc.hpack import Decoder, Encoder
from edge.rpc.pace import Bucket
from edge.rpc.stream import Stream

READ_SIZE = 64 << 10
WRITE_HIGH = 256 << 10  # above this the transport asks us to pause
WRITE_MOST = 4 << 20  # a peer that lets this much pile up is not reading
LINGER = 1.0  # seconds in which a peer that was sent away may read why
REMEMBERED_RESETS = 256
DRAIN_PING = b"edged-go"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection grants. Times are seconds; ping_interval 0 = no keep-alive pings, idle 0 = never closed for idleness.

    max_header_list: decoded bytes of one header list. min_ping: a peer that pings faster, three times over, is sent away.
    buffered: bytes of unfinished messages that one connection may hold.
    """

    max_streams: int = 2048
    max_header_list: int = 4 << 20
    stream_window: int = 256 << 10
    connection_window: int = 1 << 20
    buffered: int = 64 << 20
    handshake: float = 10.0
    ping_interval: float = 10.0
    ping_timeout: float = 5.0
    min_ping: float = 0.0
    idle: float = 180.0

    def with_header_list(self, size: int) -> Limits:
        """The same with another `max_header_list`."""
        return replace(self, max_header_list=size)


class Sending(asyncio.BufferedProtocol):
    """The part that both roles share. transport: None before connection_made and after the end.

    buffer: what reads go through; connections of one loop may share it (asyncio would map 256 KiB for each read).
    """

    def __init__(self, limits: Limits, *, client: bool, buffer: memoryview | None = None) -> None:
        self.limits = limits
        self._buffer = memoryview(bytearray(READ_SIZE)) if buffer is None else buffer
        self.client = client
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.streams: dict[int, Stream] = {}
        self.blocked: dict[Stream, None] = {}
        self.unsent = 0  # bytes of bodies that wait for the peer
        self.encoder = Encoder()
        self.decoder = Decoder(limits.max_header_list)
        self.paused = False
        self.closed = False
        self.draining = False
        self.send_window = FIRST_WINDOW
        self.peer_window = FIRST_WINDOW
        self.peer_max_streams = MAX_STREAM_ID
        self.max_frame = MAX_FRAME
        self.last_id = 0  # of the peer's streams
        self.next_id = 1  # of ours
        self._out: list[bytes | memoryview] = []
        self._corked = self._flush_due = False
        self._rest = b""
        self._greeting = b"" if client else PREFACE
        self._greeted = self.settled = False
        self._receive_left = limits.connection_window
        self._block: bytearray | None = None
        self._block_id = self._block_flags = self._block_parts = 0
        self._resets: deque[int] = deque(maxlen=REMEMBERED_RESETS)
        self._bucket = Bucket(2000, 500)
        self._strikes = 0
        self._last_ping = -1e9
        self._last_read = self._idle_since = self.loop.time()
        self._idle_id = 0
        self._ping_sent = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # --- for the role
    def ended(self, error: Exception | None) -> None:
        """The connection is gone."""

    # --- asyncio
    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._out.clear()
        self._drop_streams(exc)
        self.ended(exc)

    def _drop_streams(self, error: Exception | None) -> None:
        streams, self.streams = list(self.streams.values()), {}
        self.blocked.clear()
        for stream in streams:
            stream.lost(error)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._pump()

    # --- out
    def greet(self, first: bytes = b"") -> None:
        """Send our preface, once."""
        if self._greeted:
            return
        self._greeted = True
        limits = self.limits
        ours = [(Setting.INITIAL_WINDOW_SIZE, limits.stream_window), (Setting.MAX_HEADER_LIST_SIZE, limits.max_header_list)]
        ours.append((Setting.ENABLE_PUSH, 0) if self.client else (Setting.MAX_CONCURRENT_STREAMS, limits.max_streams))
        self._out += [first, settings_frame(ours), window_frame(0, limits.connection_window - FIRST_WINDOW)]

    def send(self, data: bytes | memoryview) -> None:
        """Queue bytes of whole frames; they leave with what else this turn of the loop brings."""
        self._out.append(data)
        if not self._corked and not self._flush_due:
            self._flush_due = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what is queued."""
        self._flush_due = False
        if not self._out or self.transport is None:
            return
        data = b"".join(self._out)
        self._out.clear()
        self.transport.write(data)
        if self.paused and self.transport.get_write_buffer_size() > WRITE_MOST:
            self.abort()

    def fail(self, fault: ConnectionFault) -> None:
        """Tell the peer what it did wrong and end the connection; its streams end as lost."""
        if self.transport is not None and not self.closed:
            self.closed = True
            self._out.append(goaway_frame(self.last_id, fault.code, fault.reason))
            self.flush()
            self._drop_streams(fault)
            self._leave()

    def abort(self) -> None:
        """End at once, without a word."""
        self.closed = True
        if self.transport is not None:
            self.transport.abort()

    def shutdown(self) -> None:
        """Let the peer start no more streams, finish those under way, then close (RFC 9113 §6.8)."""
        if self.closed or self.draining:
            return
        self.draining = True
        if self.client or not self.settled:
            return self._close_when_empty()
        self.send(goaway_frame(MAX_STREAM_ID, H2.NO_ERROR, "graceful_stop"))
        self.send(frame(PING, 0, 0, DRAIN_PING))

    def _close_when_empty(self) -> None:
        if not self.streams and not self.closed:
            self.closed = True
            self.flush()
            self._leave()

    def _leave(self) -> None:
        """Close once the peer has read what we wrote; a close with bytes unread would throw that away (RFC 9112 §9.6)."""
        if self.transport is None:
            return
        try:
            self.transport.write_eof()
        except (OSError, NotImplementedError):  # it is gone already, or TLS
            self.transport.close()
        else:
            self.loop.call_later(LINGER, self.abort)

    # --- streams
    def owe(self, size: int) -> None:
        """More, or less, of a body waits for the peer."""
        self.unsent += size

    def forget(self, stream: Stream) -> None:
        """A stream is closed on both sides."""
        self.streams.pop(stream.id, None)
        self.blocked.pop(stream, None)
        if self.draining and not self.streams:
            self._close_when_empty()

    def reset(self, stream: Stream, code: H2) -> None:
        """Close a stream from our side; frames of it that are still under way are ignored."""
        if stream.id in self.streams and not self.closed:
            stream.local_closed = stream.remote_closed = True
            self._resets.append(stream.id)
            self.send(reset_frame(stream.id, code))
            self.forget(stream)

    def _pump(self) -> None:
        waiting, self.blocked = list(self.blocked), {}
        for stream in waiting:
            stream.pump()
