"""A request body that did not come whole with its head: collected for the handler, streamed to it, or read and dropped."""

from __future__ import annotations

from edge.http1.bodies import Framing, Malformed
from edge.http1.streams import ByteStream, ClosedEarly

MAX_DISCARD = 256 << 10  # an unread rest up to this is read to keep the connection (net/http maxPostHandlerReadBytes)


class Arriving:
    """Eats a connection's bytes until the body is done. collected: set when the handler is called only once all is here.

    broken: the end of the body cannot be found any more, so the connection ends with the answer.
    """

    __slots__ = ("_discarded", "_framing", "_stream", "broken", "collected", "waits")

    def __init__(self, framing: Framing, stream: ByteStream | None, waits: bool = False) -> None:
        """stream: where to put the body; None: collect it. waits: the client sends nothing before it sees 100 Continue."""
        self._framing = framing
        self._stream = stream
        self._discarded = 0
        self.collected: list[bytes] | None = [] if stream is None else None
        self.waits = waits
        self.broken = False

    @property
    def done(self) -> bool:
        return self._framing.done

    def take(self, data: bytes) -> bytes:
        """What follows the body in `data`."""
        if self.broken:
            return b""
        try:
            payload, rest = self._framing.take(data)
        except Malformed:
            self.fail(ClosedEarly("invalid chunked encoding"))
            return b""
        self.put(payload)
        return rest

    def put(self, payload: bytes) -> None:
        """Pass on some bytes of the body."""
        self.waits = self.waits and not payload
        if self.collected is not None:
            self.collected.append(payload)
        elif self._stream is None:
            self._discarded += len(payload)
            self.broken = self._discarded > MAX_DISCARD
        else:
            if payload:
                self._stream.feed(payload)
            if self._framing.done:
                self._stream.finish()

    def fail(self, error: ClosedEarly) -> None:
        """The rest will not come; the handler learns it when it reads."""
        self.broken = True
        if self._stream is not None:
            self._stream.fail(error)

    def reusable(self) -> bool:
        """Whether an answer given now may promise to keep the connection."""
        left = self._framing.left
        return not self.broken and not self.waits and (left is None or left < MAX_DISCARD)

    def discard(self) -> None:
        """Nobody wants the rest: the answer is complete."""
        self._stream = self.collected = None
