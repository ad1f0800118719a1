"""The frames of an HTTP/2 connection that are about itself: settings, windows, pings, GOAWAY, resets; and its keep-alive (RFC 9113 §6)."""

from __future__ import annotations

from edge.rpc.frames import (
    ACK,
    CONTINUATION,
    GOAWAY,
    H2,
    MAX_STREAM_ID,
    MAX_WINDOW,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ConnectionFault,
    Setting,
    StreamFault,
    frame,
    goaway_frame,
    read_settings,
    unpack_long,
)
from edge.rpc.sending import DRAIN_PING, Sending

ALIVE_PING = b"edged-up"


class Control(Sending):
    """Handles what is no HEADERS, CONTINUATION or DATA."""

    def _idle(self, stream_id: int) -> bool:
        if not stream_id:
            return True
        ours = bool(stream_id & 1) == self.client
        return stream_id >= self.next_id if ours else stream_id > self.last_id

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
            check_priority(stream_id, payload)
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


def check_priority(stream_id: int, payload: bytes) -> None:
    """Priorities are ignored, but a stream can't depend on itself."""
    if not stream_id:
        raise ConnectionFault(H2.PROTOCOL_ERROR, "PRIORITY on stream 0")
    if len(payload) != 5:
        raise ConnectionFault(H2.FRAME_SIZE_ERROR, "PRIORITY length")
    if unpack_long(payload)[0] & MAX_STREAM_ID == stream_id:
        raise ConnectionFault(H2.PROTOCOL_ERROR, "a stream depends on itself")
