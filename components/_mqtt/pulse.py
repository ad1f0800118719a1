"""Is the peer still there? Keep-alive that tells a slow link, where bytes still trickle, from a dead one (MQTT 3.1.1 §3.1.2.10)."""

from __future__ import annotations

import asyncio
import fcntl
import struct
from collections.abc import Callable

from edge.record import record

SIOCOUTQ = 0x5411
PATIENCE = (1.0, 20.0)
STEP = 0.05


@record
class Peer:
    """What the pulse needs of a connection. waiting: an answer is due. give_up: called once with the reason."""

    transport: asyncio.Transport
    ping: Callable[[], None]
    waiting: Callable[[], bool]
    give_up: Callable[[str], None]


class Pulse:
    """One timer per connection. `heard` and `said` are loop times of the last bytes in and out, set by the connection itself."""

    def __init__(self, peer: Peer, keep_alive: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._peer = peer
        self._keep_alive = keep_alive
        self._patience = min(max(keep_alive / 2, PATIENCE[0]), PATIENCE[1])
        self.heard = self.said = self._loop.time()
        self._pinged: float | None = None
        self._moved = 0.0
        self._unsent = 0
        self._timer = self._loop.call_later(self._patience, self._beat)

    def stop(self) -> None:
        self._timer.cancel()

    def _beat(self) -> None:
        now = self._loop.time()
        if self._pinged is not None and self.heard > self._pinged:
            self._pinged = None
        after = self._look(now) if self._pinged is None else self._wait(now)
        if after is not None:
            self._timer = self._loop.call_later(max(after, STEP), self._beat)

    def _look(self, now: float) -> float:
        """Ask when it is time; seconds until the next look."""
        quiet = self._patience if self._peer.waiting() else self._keep_alive
        due = min(self.said + self._keep_alive * 0.8, self.heard + quiet)
        if now < due:
            return due - now
        self._pinged, self._moved, self._unsent = now, now, self._queued()
        self._peer.ping()
        return self._patience / 4

    def _wait(self, now: float) -> float | None:
        """A ping is out. Bytes that leave the send queue count as a sign of life: the link is slow, not dead."""
        unsent = self._queued()
        if unsent < self._unsent:
            self._moved = now
        self._unsent = unsent
        if now - self._moved < self._patience:
            return self._patience / 4
        self._peer.give_up(f"the broker has not answered a ping for {now - self._moved:.0f} s (half-open connection or dead link)")
        return None

    def _queued(self) -> int:
        """Bytes that the peer's TCP has not acknowledged, ours and the kernel's."""
        sock = self._peer.transport.get_extra_info("socket")
        answer = fcntl.ioctl(sock.fileno(), SIOCOUTQ, b"\0" * 4) if sock is not None and sock.fileno() >= 0 else b"\0" * 4
        unacknowledged: int = struct.unpack("i", answer)[0]
        return self._peer.transport.get_write_buffer_size() + unacknowledged
