"""The writing half of a server connection: answers in order, one write per loop iteration, backpressure, an end that clients can read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from edge.http1.encode import LAST_CHUNK, Plan, chunk
from edge.http1.streams import ClosedEarly

LINGER = 0.5  # seconds for the client to read an answer before the close (net/http rstAvoidanceDelay)
FLUSH_SIZE = 64 << 10
MAX_ANSWERS = 16  # collected for one write


class Writer:
    """Collects bytes for one transport. paused: the client reads too slowly, produce no more."""

    __slots__ = ("_drained", "_loop", "_scheduled", "_size", "_transport", "out", "paused")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._drained: asyncio.Future[None] | None = None
        self._scheduled = False
        self._size = 0
        self.out: list[bytes] = []
        self.paused = False

    @property
    def much(self) -> bool:
        """Enough was collected: many answers, or a large one."""
        return len(self.out) > MAX_ANSWERS or (bool(self.out) and len(self.out[-1]) > FLUSH_SIZE)

    def flush(self) -> None:
        """Write what was collected in `out`."""
        out = self.out
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self._size = 0
            self._transport.write(data)

    def pause(self) -> None:
        """The transport's buffer is full."""
        self.paused = True

    def resume(self) -> None:
        """The transport's buffer is (nearly) empty, or the connection is gone."""
        self.paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    async def stream(self, plan: Plan, pieces: AsyncIterator[bytes]) -> None:
        """Write an answer whose body comes in pieces, each as soon as it comes. Raises ClosedEarly when pieces end before the length."""
        left = plan.length
        self._put(plan.head)
        async for piece in pieces:
            if left is not None:
                piece = piece[:left]
                left -= len(piece)
            if piece:
                self._put(chunk(piece) if plan.chunked else piece)
                if self.paused:
                    await self._wait()
        if left:
            raise ClosedEarly("body shorter than its Content-Length")
        if plan.chunked:
            self._put(LAST_CHUNK)
        self.flush()

    def end(self, linger: bool) -> None:
        """Close when all is written. linger: the client is still sending, so it gets `LINGER` seconds to see the answer first."""
        if not linger or not self._transport.can_write_eof():
            self._transport.close()
            return
        try:
            self._transport.write_eof()
        except OSError:  # the client is gone: a reset came while its half-close was noticed
            self._transport.abort()
            return
        self._transport.resume_reading()
        self._loop.call_later(LINGER, self._transport.close)

    def _put(self, data: bytes) -> None:
        self.out.append(data)
        self._size += len(data)
        if self._size > FLUSH_SIZE:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._scheduled = False
        if not self._transport.is_closing():
            self.flush()

    async def _wait(self) -> None:
        self._drained = self._loop.create_future()
        try:
            await self._drained
        finally:
            self._drained = None
