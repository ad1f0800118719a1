"""Bytes on their way from a connection to one reader, with backpressure: shared by server, client and HTTP/2."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self

HIGH_WATER = 64 << 10


class BodyTooLarge(Exception):
    """The body is longer than the limit; the text is what Dapr's body reader says."""

    def __init__(self) -> None:
        super().__init__("stream too large")


class ClosedEarly(ConnectionError):
    """The peer closed the connection in the middle of a message, or before its answer began (the client's `ClientResponse`)."""


class ByteStream:
    """A body in pieces: the producer feeds, one reader iterates.

    pause(True) is called when more than `HIGH_WATER` bytes wait unread, pause(False) when the reader took them.
    wanted() is called once, when the reader first has to wait (the server then answers `Expect: 100-continue`).
    """

    __slots__ = ("_ended", "_error", "_pause", "_paused", "_pieces", "_size", "_waiter", "_wanted")

    def __init__(self, pause: Callable[[bool], None] | None = None, wanted: Callable[[], None] | None = None) -> None:
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._pause = pause
        self._wanted = wanted
        self._paused = False
        self._ended = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None

    # --- the producer's side
    def feed(self, data: bytes) -> None:
        """Add a piece; may call pause(True)."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER and self._pause is not None and not self._paused:
            self._paused = True
            self._pause(True)
        self._wake()

    def finish(self) -> None:
        """No more pieces: the body is complete, what else the connection brings may come."""
        self._ended = True
        if self._paused:
            self._resume()
        self._pause = None
        self._wake()

    def fail(self, error: BaseException) -> None:
        """The body ends here with an error, raised to the reader after the pieces that it has not taken yet."""
        if not self._ended:
            self._error = error
            self.finish()

    @property
    def ended(self) -> bool:
        """The producer is done (well or not)."""
        return self._ended

    # --- the reader's side
    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next piece. Raises what the producer failed with (`ClosedEarly`)."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            await self._wait()
        piece = self._pieces.popleft()
        self._size -= len(piece)
        if self._paused and self._size <= HIGH_WATER // 2:
            self._resume()
        return piece

    async def read(self, limit: int = -1) -> bytes:
        """Everything that is left. limit: bytes allowed, <= 0 means no limit. Raises BodyTooLarge."""
        pieces, size = [], 0
        async for piece in self:
            size += len(piece)
            if 0 < limit < size:
                raise BodyTooLarge
            pieces.append(piece)
        return b"".join(pieces)

    async def _wait(self) -> None:
        if self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            wanted()
        if self._waiter is not None:
            raise RuntimeError("a body has one reader at a time")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _resume(self) -> None:
        self._paused = False
        if self._pause is not None:
            self._pause(False)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
