"""One HTTP/2 connection on one asyncio protocol, for both roles (RFC 9113): what comes in, frame by frame.

A role says what a header block opens (`opened`); a `Stream` gets what belongs to it. What one read causes goes out in one write.
"""

from __future__ import annotations

import asyncio

from edge.rpc.control import Control, check_priority
from edge.rpc.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    H2,
    HEAD_SIZE,
    HEADERS,
    MAX_FRAME,
    MAX_STREAM_ID,
    PADDED,
    PREFACE,
    WITH_PRIORITY,
    ConnectionFault,
    StreamFault,
    reset_frame,
    unpack_head,
    window_frame,
)
from edge.rpc.sending import READ_SIZE, WRITE_HIGH, Limits
from edge.rpc.stream import Stream

__all__ = ["READ_SIZE", "Connection", "Limits"]

CONTINUATIONS = 1024


class Connection(Control):
    """The part that both roles share, whole."""

    # --- for the role
    def opened(self, stream_id: int, block: bytes, end: bool) -> None:
        """The peer opened a stream with this header block (a client never allows that)."""
        raise ConnectionFault(H2.PROTOCOL_ERROR, "the peer opened a stream")

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

    # --- frames
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

    def _headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise ConnectionFault(H2.PROTOCOL_ERROR, "HEADERS on stream 0")
        if flags & (PADDED | WITH_PRIORITY):
            payload = _unpad(payload) if flags & PADDED else payload
            if flags & WITH_PRIORITY:
                check_priority(stream_id, payload[:5])
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


def _unpad(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(H2.PROTOCOL_ERROR, "padding")
    return payload[1 : len(payload) - payload[0]]


def _check_length(stream: Stream, size: int, end: bool) -> None:
    """The DATA frames must add up to the content-length (RFC 9113 §8.1.1)."""
    stream.expected -= size
    if stream.expected < 0 or (end and stream.expected):
        raise StreamFault(stream.id, H2.PROTOCOL_ERROR)
