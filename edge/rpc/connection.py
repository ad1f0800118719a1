"""One HTTP/2 connection on one asyncio protocol, for both roles (RFC 9113): frames in and out, flow control, settings, pings, GOAWAY.

A role says what a header block opens (`opened`); a `Stream` gets what belongs to it. What one read causes goes out in one write.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, replace

from edge.rpc.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FIRST_WINDOW,
    GOAWAY,
    H2,
    HEAD_SIZE,
    HEADERS,
    MAX_FRAME,
    MAX_STREAM_ID,
    MAX_WINDOW,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    ConnectionFault,
    Setting,
    StreamFault,
    frame,
    goaway_frame,
    read_settings,
    reset_frame,
    settings_frame,
    unpack_head,
    unpack_long,
    window_frame,
)
from edge.rpc.hpack import Decoder, Encoder
from edge.rpc.pace import Bucket
from edge.rpc.stream import Stream

READ_SIZE = 64 << 10
WRITE_HIGH = 256 << 10  # above this the transport asks us to pause
WRITE_MOST = 4 << 20  # a peer that lets this much pile up is not reading
CONTINUATIONS = 1024
LINGER = 1.0  # seconds in which a peer that was sent away may read why
REMEMBERED_RESETS = 256
DRAIN_PING = b"edged-go"
ALIVE_PING = b"edged-up"


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


class Connection(asyncio.BufferedProtocol):
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
    def opened(self, stream_id: int, block: bytes, end: bool) -> None:
        """The peer opened a stream with this header block (a client never allows that)."""
        raise ConnectionFault(H2.PROTOCOL_ERROR, "the peer opened a stream")

    def ended(self, error: Exception | None) -> None:
        """The connection is gone."""

    def eof_received(self) -> bool | None:
        """The peer says no more: nor do we."""
        return None

    # --- asyncio
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH)
        if self.client:
            self.greet(PREFACE)
            self.flush()
        limits = self.limits
        first = min(wait for wait in (limits.handshake, limits.ping_interval, limits.idle) if wait)
        self._timer = self.loop.call_later(first, self._tick)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer: one read, whatever frames are in it."""
        self._last_read = self.loop.time()
        if self.closed:
            return
        if self._rest:
            data = self._rest + data
        self._corked = True
        try:
            used = self._parse(data)
            self._rest = data[used:] if used < len(data) else b""
        except ConnectionFault as fault:
            self.fail(fault)
        finally:
            self._corked = False
        self.flush()

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

    # --- in
    def greet(self, first: bytes = b"") -> None:
        """Send our preface, once."""
        if self._greeted:
            return
        self._greeted = True
        limits = self.limits
        ours = [(Setting.INITIAL_WINDOW_SIZE, limits.stream_window), (Setting.MAX_HEADER_LIST_SIZE, limits.max_header_list)]
        ours.append((Setting.ENABLE_PUSH, 0) if self.client else (Setting.MAX_CONCURRENT_STREAMS, limits.max_streams))
        self._out += [first, settings_frame(ours), window_frame(0, limits.connection_window - FIRST_WINDOW)]

    def _parse(self, data: bytes) -> int:
        """Handle every whole frame; the number of bytes used."""
        position = 0
        if self._greeting:
            size = len(self._greeting)
            if not data.startswith(self._greeting[: len(data)]):
                raise ConnectionFault(H2.PROTOCOL_ERROR, "this is not HTTP/2")
            if len(data) < size:
                return 0
            position, self._greeting = size, b""
            self.greet()
        end = len(data)
        while end - position >= HEAD_SIZE and not self.closed:
            high, low, kind, flags, stream_id = unpack_head(data, position)
            stop = position + HEAD_SIZE + (high << 8 | low)
            if stop - position > HEAD_SIZE + MAX_FRAME:
                raise ConnectionFault(H2.FRAME_SIZE_ERROR, "frame too large")
            if stop > end:
                break
            payload = data[position + HEAD_SIZE : stop]
            position = stop
            try:
                if self._block is not None:
                    self._continued(kind, flags, stream_id & MAX_STREAM_ID, payload)
                elif kind == DATA:
                    self._data(flags, stream_id & MAX_STREAM_ID, payload)
                elif kind == HEADERS and self.settled:
                    self._headers(flags, stream_id & MAX_STREAM_ID, payload)
                else:
                    self._other(kind, flags, stream_id & MAX_STREAM_ID, payload)
            except StreamFault as fault:
                self._stream_fault(fault)
        return end if self.closed else position

    def _stream_fault(self, fault: StreamFault) -> None:
        stream = self.streams.get(fault.stream_id)
        self._resets.append(fault.stream_id)
        self.send(reset_frame(fault.stream_id, fault.code))
        if stream is not None:
            self.forget(stream)
            stream.reset_by(fault.code)

    def _data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        self._receive_left -= size
        if self._receive_left < self.limits.connection_window >> 1:
            if self._receive_left < 0:
                raise ConnectionFault(H2.FLOW_CONTROL_ERROR, "connection window")
            self.send(window_frame(0, self.limits.connection_window - self._receive_left))
            self._receive_left = self.limits.connection_window
        stream = self.streams.get(stream_id)
        if stream is None or stream.remote_closed:
            return self._stray(stream_id, DATA)
        if flags & PADDED:
            payload = _unpad(payload)
        stream.receive_left -= size
        if stream.receive_left < 0:
            raise StreamFault(stream_id, H2.FLOW_CONTROL_ERROR)
        end = bool(flags & END_STREAM)
        if not size and not end:
            self._bucket.take("empty DATA")
        if stream.expected >= 0:
            _check_length(stream, len(payload), end)
        stream.remote_closed = end
        stream.data(payload, end, size)

    def _stray(self, stream_id: int, kind: int) -> None:
        """A frame for no open stream: ignored if we reset that stream, else an error (§5.1). A client resets what it gives up."""
        if self._idle(stream_id):
            raise ConnectionFault(H2.PROTOCOL_ERROR, "frame on an idle stream")
        if stream_id not in self._resets and not self.client:
            if kind == HEADERS:
                raise ConnectionFault(H2.STREAM_CLOSED, "HEADERS on a closed stream")
            self._bucket.take("DATA on closed streams")
            raise StreamFault(stream_id, H2.STREAM_CLOSED)

    def _idle(self, stream_id: int) -> bool:
        if not stream_id:
            return True
        ours = bool(stream_id & 1) == self.client
        return stream_id >= self.next_id if ours else stream_id > self.last_id

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise ConnectionFault(H2.PROTOCOL_ERROR, "HEADERS on stream 0")
        if flags & (PADDED | WITH_PRIORITY):
            payload = _unpad(payload) if flags & PADDED else payload
            if flags & WITH_PRIORITY:
                _check_priority(stream_id, payload[:5])
                payload = payload[5:]
        if flags & END_HEADERS:
            self._block_complete(stream_id, payload, bool(flags & END_STREAM))
        else:
            self._block, self._block_id, self._block_flags, self._block_parts = bytearray(payload), stream_id, flags, 0

    def _continued(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind != CONTINUATION or stream_id != self._block_id or self._block is None:
            raise ConnectionFault(H2.PROTOCOL_ERROR, "a header block was not finished")
        self._block += payload
        self._block_parts += 1
        if self._block_parts > CONTINUATIONS or len(self._block) > self.limits.max_header_list:
            raise ConnectionFault(H2.ENHANCE_YOUR_CALM, "header block too large")
        if flags & END_HEADERS:
            block, self._block = bytes(self._block), None
            self._block_complete(stream_id, block, bool(self._block_flags & END_STREAM))

    def _block_complete(self, stream_id: int, block: bytes, end: bool) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None:
            fields = self.decoder.decode(block)
            if stream.remote_closed:
                raise StreamFault(stream_id, H2.STREAM_CLOSED)
            if end and stream.expected > 0 and not self.client:
                raise StreamFault(stream_id, H2.PROTOCOL_ERROR)
            stream.remote_closed = end
            stream.headers(fields, end)
        elif not self._idle(stream_id):
            self.decoder.decode(block)
            self._stray(stream_id, HEADERS)
        elif self.client or not stream_id & 1:
            raise ConnectionFault(H2.PROTOCOL_ERROR, "stream id")
        else:
            self.last_id = stream_id
            if len(self.streams) >= self.limits.max_streams:
                self.decoder.decode(block)
                self._bucket.take("refused streams")
                raise StreamFault(stream_id, H2.REFUSED_STREAM)
            self.opened(stream_id, block, end)

    def _other(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if not self.settled and (kind != SETTINGS or flags & ACK):
            raise ConnectionFault(H2.PROTOCOL_ERROR, "the first frame must be SETTINGS")
        if kind == SETTINGS:
            self._settings(flags, stream_id, payload)
        elif kind == WINDOW_UPDATE:
            self._window_update(stream_id, payload)
        elif kind == RST_STREAM:
            self._reset(stream_id, payload)
        elif kind == PING:
            self._ping(flags, stream_id, payload)
        elif kind == PRIORITY:
            _check_priority(stream_id, payload)
        elif kind == GOAWAY:
            self._goaway(stream_id, payload)
        elif kind in (PUSH_PROMISE, CONTINUATION):
            raise ConnectionFault(H2.PROTOCOL_ERROR, "unexpected frame")

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise ConnectionFault(H2.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & ACK:
            if payload:
                raise ConnectionFault(H2.FRAME_SIZE_ERROR, "SETTINGS ACK with a payload")
            return
        if self.settled:
            self._bucket.take("SETTINGS")
        self.settled = True
        self.send(frame(SETTINGS, ACK, 0))
        self.apply_settings(payload)

    def apply_settings(self, payload: bytes) -> None:
        """Take over the peer's parameters (also those of an h2c upgrade)."""
        for key, value in read_settings(payload):
            if key == Setting.INITIAL_WINDOW_SIZE:
                change, self.peer_window = value - self.peer_window, value
                for stream in list(self.streams.values()):
                    stream.send_window += change
                    if stream.send_window > MAX_WINDOW:
                        raise ConnectionFault(H2.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE")
                    stream.pump()
            elif key == Setting.MAX_FRAME_SIZE:
                self.max_frame = min(value, 1 << 16)
            elif key == Setting.HEADER_TABLE_SIZE:
                self.encoder.limit(value)
            elif key == Setting.MAX_CONCURRENT_STREAMS:
                self.peer_max_streams = value

    def _window_update(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(H2.FRAME_SIZE_ERROR, "WINDOW_UPDATE length")
        size = unpack_long(payload)[0] & MAX_WINDOW
        if not stream_id:
            self.send_window += size
            if not size or self.send_window > MAX_WINDOW:
                raise ConnectionFault(H2.FLOW_CONTROL_ERROR if size else H2.PROTOCOL_ERROR, "WINDOW_UPDATE")
            self._pump()
        elif (stream := self.streams.get(stream_id)) is not None:
            stream.send_window += size
            if not size or stream.send_window > MAX_WINDOW:
                raise StreamFault(stream_id, H2.FLOW_CONTROL_ERROR if size else H2.PROTOCOL_ERROR)
            stream.pump()
        elif self._idle(stream_id):
            raise ConnectionFault(H2.PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")

    def _reset(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(H2.FRAME_SIZE_ERROR, "RST_STREAM length")
        if self._idle(stream_id):
            raise ConnectionFault(H2.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        stream = self.streams.get(stream_id)
        if stream is not None:
            self._bucket.take("RST_STREAM")  # CVE-2023-44487
            stream.remote_closed = True
            self.forget(stream)
            stream.reset_by(unpack_long(payload)[0])

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) != 8:
            raise ConnectionFault(H2.PROTOCOL_ERROR if stream_id else H2.FRAME_SIZE_ERROR, "PING")
        if flags & ACK:
            if payload == DRAIN_PING and self.draining:
                self.send(goaway_frame(self.last_id, H2.NO_ERROR, "graceful_stop"))
                self._close_when_empty()
            return
        self._bucket.take("PING")
        now, before = self._last_read, self._last_ping
        self._last_ping = now
        if self.limits.min_ping and now - before < self.limits.min_ping:
            self._strikes += 1
            if self._strikes > 2:
                raise ConnectionFault(H2.ENHANCE_YOUR_CALM, "too_many_pings")
        self.send(frame(PING, ACK, 0, payload))

    def _goaway(self, stream_id: int, payload: bytes) -> None:
        if stream_id or len(payload) < 8:
            raise ConnectionFault(H2.PROTOCOL_ERROR if stream_id else H2.FRAME_SIZE_ERROR, "GOAWAY")
        if self.client:
            self.draining = True
            last = unpack_long(payload)[0] & MAX_STREAM_ID
            for stream in [stream for key, stream in self.streams.items() if key > last]:
                self.forget(stream)
                stream.reset_by(H2.REFUSED_STREAM)
            self._close_when_empty()

    # --- time
    def _tick(self) -> None:
        """Ends a connection that never began, that died, or that nobody used for long (gRPC keep-alive)."""
        limits, now = self.limits, self.loop.time()
        if not self.settled and now - self._idle_since >= limits.handshake:
            return self.abort()
        if self.closed:
            return None
        if self.streams or self.last_id + self.next_id != self._idle_id:
            self._idle_id, self._idle_since = self.last_id + self.next_id, now
        if limits.idle and now - self._idle_since >= limits.idle:
            self.shutdown()
        wait = limits.ping_interval or limits.idle
        if limits.ping_interval and now - self._last_read >= limits.ping_interval:
            if self._ping_sent > self._last_read:
                return self.abort()
            self._ping_sent = now
            self.send(frame(PING, 0, 0, ALIVE_PING))
            wait = limits.ping_timeout
        elif limits.ping_interval:
            wait = limits.ping_interval - (now - self._last_read)
        if wait:
            self._timer = self.loop.call_later(max(wait, 0.05), self._tick)

    def busy(self) -> None:
        """We sent the peer something that it may answer with pings (its bandwidth probes): they do not count against it."""
        self._strikes = 0


def _unpad(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(H2.PROTOCOL_ERROR, "padding")
    return payload[1 : len(payload) - payload[0]]


def _check_length(stream: Stream, size: int, end: bool) -> None:
    """The DATA frames must add up to the content-length (RFC 9113 §8.1.1)."""
    stream.expected -= size
    if stream.expected < 0 or (end and stream.expected):
        raise StreamFault(stream.id, H2.PROTOCOL_ERROR)


def _check_priority(stream_id: int, payload: bytes) -> None:
    """Priorities are ignored, but a stream can't depend on itself."""
    if not stream_id:
        raise ConnectionFault(H2.PROTOCOL_ERROR, "PRIORITY on stream 0")
    if len(payload) != 5:
        raise ConnectionFault(H2.FRAME_SIZE_ERROR, "PRIORITY length")
    if unpack_long(payload)[0] & MAX_STREAM_ID == stream_id:
        raise ConnectionFault(H2.PROTOCOL_ERROR, "a stream depends on itself")
