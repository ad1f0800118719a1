"""One lane in memory: a bounded window of loaded entries; what is behind it stays on disk. What is taken is known here only."""

from __future__ import annotations

import asyncio
import heapq
from bisect import bisect
from collections import deque
from collections.abc import Collection, Iterable

from edge.journal.bounds import UNBOUND, Bound
from edge.journal.entry import Entry
from edge.journal.rows import SHIFT, first_of
from edge.model import LaneStats

WINDOW = 256
MOST_ASIDE = 1024
"""Most entries of a lane that wait for their next attempt; then the lane waits with them, since they are all in memory."""


class Lane:
    """number: of the lane's rows, 0 = it has none yet. cursor: the last seq that was loaded or put directly; tail: the last one on disk:
    between them nothing is in memory but the seqs in `skip` (taken or ended when they were put).
    """

    __slots__ = ("bound", "cursor", "name", "number", "outstanding", "ready", "retries", "skip", "stats", "tail", "timer", "waiters")

    def __init__(self, name: str, number: int = 0, stats: LaneStats | None = None, tail: int = 0) -> None:
        self.name, self.number = name, number
        self.stats = stats or LaneStats(name)
        self.ready: deque[Entry] = deque()
        self.retries: list[tuple[float, int, Entry]] = []
        self.skip: set[int] = set()
        self.cursor, self.tail = 0, tail
        self.outstanding: set[int] = set()
        self.bound: Bound = UNBOUND
        self.timer: asyncio.TimerHandle | None = None
        self.waiters: list[asyncio.Future[None]] = []

    @property
    def behind(self) -> bool:
        """There are rows that are not loaded."""
        return self.cursor < self.tail

    def holds(self) -> bool:
        """Rows that nobody has taken, due or not."""
        return bool(self.ready or self.retries or self.behind)

    def stored(self, entry: Entry, held: bool) -> None:
        """A row was committed. A gap before it = another process put some, which are to be read."""
        if not self.number:
            self.number = entry.seq >> SHIFT
            self.cursor = self.tail = first_of(self.number)
        was_behind = self.behind or entry.seq != self.tail + 1
        self.tail = entry.seq
        if held:
            self.outstanding.add(entry.seq)
            if was_behind:
                self.skip.add(entry.seq)
            else:
                self.cursor = self.tail
        elif not was_behind and len(self.ready) < WINDOW:
            self.ready.append(entry)
            self.cursor = self.tail

    def loaded(self, entries: Iterable[Entry], asked: int) -> None:
        """Rows behind the cursor were read; fewer than asked for means that there are no more."""
        count = 0
        for entry in entries:
            count += 1
            self.cursor = max(self.cursor, entry.seq)
            if entry.seq in self.skip:
                self.skip.discard(entry.seq)
            else:
                self.ready.append(entry)
        if count < asked:
            self.cursor = self.tail
            self.skip.clear()

    def take(self, limit: int, now: float) -> list[Entry]:
        """Entries that are due, in order; those that were tried before first, since they are older."""
        found: list[Entry] = []
        while self.retries and len(found) < limit and self.retries[0][0] <= now:
            found.append(heapq.heappop(self.retries)[2])
        if len(self.retries) < MOST_ASIDE:
            while self.ready and len(found) < limit:
                found.append(self.ready.popleft())
        self.outstanding.update(entry.seq for entry in found)
        return found

    def give_back(self, entries: list[Entry]) -> None:
        """Taken entries, untouched, to their places in the order; where that is behind the window they are read again."""
        entries.sort(key=_seq, reverse=True)
        for entry in entries:
            self.outstanding.discard(entry.seq)
            if entry.seq in self.skip:
                self.skip.discard(entry.seq)
            elif not self.ready or entry.seq < self.ready[0].seq:
                self.ready.appendleft(entry)
            else:
                self.ready.insert(bisect(self.ready, entry.seq, key=_seq), entry)

    def later(self, entry: Entry) -> None:
        """A taken entry comes again when it is due."""
        self.outstanding.discard(entry.seq)
        heapq.heappush(self.retries, (entry.due, entry.seq, entry))

    def gone(self, seqs: Collection[int]) -> None:
        """Rows were removed that nobody had taken."""
        self.ready = deque(entry for entry in self.ready if entry.seq not in seqs)
        self.retries = [item for item in self.retries if item[1] not in seqs]
        heapq.heapify(self.retries)


def _seq(entry: Entry) -> int:
    return entry.seq
