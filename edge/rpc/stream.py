"""One HTTP/2 stream: what the peer sent arrives by callbacks, what we send waits for both flow-control windows."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from edge.rpc.frames import DATA, END_STREAM, H2, frame, head, header_frames, window_frame
from edge.rpc.hpack import Field, Fields

if TYPE_CHECKING:
    from edge.rpc.connection import Connection

QUEUE_HIGH = 64 << 10  # a sender that asked `writable()` waits above this
TURN = 256 << 10  # as much goes to the transport at once; then it says whether it wants more


class Stream:
    """Flow control and the two half-closes. Subclasses say what headers, data and resets mean.

    Attributes of the class are the defaults of the instance: a unary call sets few of them.
    """

    remote_closed = False
    local_closed = False
    expected = -1  # bytes of the body still to come by content-length, -1 = not said
    queued = 0
    _queue: deque[bytes | memoryview] | None = None
    _tail: Fields | None = None  # what ends our half after the queue: trailers, or () = END_STREAM on the last DATA
    _owed = 0
    _withheld = 0
    _waiter: asyncio.Future[None] | None = None

    def __init__(self, connection: Connection, stream_id: int) -> None:
        self.connection = connection
        self.id = stream_id
        self.send_window = connection.peer_window
        self.receive_left = connection.limits.stream_window

    # --- from the connection
    def headers(self, fields: list[Field], end: bool) -> None:
        """A further header block: a response's head, or trailers."""
        raise NotImplementedError

    def data(self, payload: bytes, end: bool, size: int) -> None:
        """Bytes of the body. size: what they took of the window; hand it to `credit()` when they are dealt with."""
        raise NotImplementedError

    def reset_by(self, code: int) -> None:
        """The stream ended by RST_STREAM, from the peer or because it broke the protocol."""
        self._gone()

    def lost(self, error: Exception | None) -> None:
        """The connection ended."""
        self._gone()

    def _gone(self) -> None:
        self.remote_closed = self.local_closed = True
        queued, self._queue, self._tail, self.queued = self.queued, None, None, 0
        if queued:
            self.connection.owe(-queued)
        self._wake()

    # --- in
    def credit(self, size: int) -> None:
        """Let the peer send `size` more bytes; told in steps of half a window."""
        self._owed += size
        if self._owed >= self.connection.limits.stream_window >> 1 and not self.remote_closed:
            self.receive_left += self._owed
            self.connection.send(window_frame(self.id, self._owed))
            self._owed = 0

    def grant(self, size: int, *, later: bool) -> None:
        """Credit for what was taken; later: not before `settle`, since its reader is slower than the peer."""
        if later:
            self._withheld += size
        else:
            self.credit(size)

    def settle(self) -> None:
        """The reader caught up: give what was withheld."""
        if self._withheld:
            withheld, self._withheld = self._withheld, 0
            self.credit(withheld)

    # --- out
    def send_headers(self, fields: Fields, *, end: bool = False) -> None:
        """A header block ahead of any DATA."""
        if self.local_closed:
            return
        connection = self.connection
        block = connection.encoder.encode(fields)
        connection.send(header_frames(self.id, block, END_STREAM if end else 0, connection.max_frame))
        if end:
            self._end()

    def send_data(self, data: bytes, *, end: bool = False) -> None:
        """Bytes of the body, at once if the windows allow, else as they open."""
        if self.local_closed:
            return
        connection, size = self.connection, len(data)
        if (
            self._queue is None
            and size <= connection.max_frame
            and size <= self.send_window
            and size <= connection.send_window
            and not connection.paused
        ):
            self.send_window -= size
            connection.send_window -= size
            connection.send(frame(DATA, END_STREAM if end else 0, self.id, data))
            if end:
                self._end()
            return
        if self._queue is None:
            self._queue = deque()
        if data:
            self._queue.append(memoryview(data))
            self.queued += size
            connection.owe(size)
        if end:
            self._tail = ()
        self.pump()

    def send_trailers(self, fields: Fields) -> None:
        """The last header block, after all DATA."""
        if self.local_closed:
            return
        connection = self.connection
        if self._queue is None:
            connection.send(header_frames(self.id, connection.encoder.encode(fields), END_STREAM, connection.max_frame))
            self._end()
        else:
            self._tail = fields

    async def writable(self) -> None:
        """Wait until little is queued. Returns also when the stream is gone."""
        while self.queued > QUEUE_HIGH and not self.local_closed:
            self._waiter = self.connection.loop.create_future()
            await self._waiter

    def pump(self) -> None:
        """Send what the windows allow."""
        queue, connection = self._queue, self.connection
        if queue is None:
            return
        least = self.queued - TURN
        while queue:
            if self.queued < least:
                connection.flush()  # the transport says when it has enough, also within a large window
                least = self.queued - TURN
            if connection.paused or connection.send_window <= 0:
                connection.blocked[self] = None
                return self._wake()
            room = min(self.send_window, connection.send_window, connection.max_frame)
            if room <= 0:
                return self._wake()
            self._send_piece(queue, room)
        self._queue = None
        self._wake()
        if self._tail is not None:
            self._send_tail()

    def _send_piece(self, queue: deque[bytes | memoryview], room: int) -> None:
        piece = queue.popleft()
        if len(piece) > room:
            queue.appendleft(piece[room:])
            piece = piece[:room]
        size = len(piece)
        self.send_window -= size
        self.connection.send_window -= size
        self.queued -= size
        self.connection.owe(-size)
        last = not queue and self._tail == ()
        self.connection.busy()
        self.connection.send(head(size, DATA, END_STREAM if last else 0, self.id))
        self.connection.send(piece)
        if last:
            self._tail = None
            self._end()

    def _send_tail(self) -> None:
        tail, self._tail = self._tail, None
        if tail:
            return self.send_trailers(tail)
        self.connection.send(frame(DATA, END_STREAM, self.id))
        self._end()

    def _end(self) -> None:
        """Our half is closed."""
        self.local_closed = True
        if self.remote_closed:
            self.connection.forget(self)
        elif not self.connection.client:
            self.connection.reset(self, H2.NO_ERROR)  # answered early: the rest of the request is not needed (RFC 9113 §8.1)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done() and (self.queued <= QUEUE_HIGH or self.local_closed):
            self._waiter.set_result(None)
