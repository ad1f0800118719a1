"""Durable lanes of messages on a Database: a row exists from put to done; what is taken is known in memory only."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Self

from edge.clock import Clock, SystemClock
from edge.database import Database
from edge.journal.entry import Entry, LaneStats, Limits
from edge.model import Message


class Journal:
    """Lanes are made by the first put. Calls are for the loop, `put_in` for units of the database."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, database: Database, clock: Clock | None = None) -> AsyncIterator[Self]:
        """The journal of a database, its tables made or brought up to date."""
        journal = cls(database, clock)
        yield journal

    async def put(self, lane: str, *messages: Message, held: bool = False) -> list[Entry]:
        """On return the messages are on disk. held: they count as taken by the caller, who ends each with done, release, retry or bury.

        Raises Full (a limit of the lane, or the disk), Unavailable, Closed.
        """
        raise NotImplementedError

    async def put_all(self, puts: Sequence[tuple[str, Message]]) -> list[Entry]:
        """`put` into several lanes, all or nothing (one inbound message, one row per app)."""
        raise NotImplementedError

    def put_in(self, tx: sqlite3.Connection, lane: str, *messages: Message) -> None:
        """`put` inside a unit of the same database: the messages exist if and only if the unit commits."""
        raise NotImplementedError

    async def take(self, lane: str, limit: int) -> list[Entry]:
        """Wait for due entries and take up to `limit`, in the order they were put; each is ended with done, release, retry or bury."""
        raise NotImplementedError

    def take_now(self, lane: str, limit: int) -> list[Entry]:
        """What `take` would give without waiting; may be empty while the backlog is being read, `watch` tells when it isn't."""
        raise NotImplementedError

    def release(self, *entries: Entry) -> None:
        """Give taken entries back untouched, to the front of their lanes in their order (the broker went away)."""
        raise NotImplementedError

    async def done(self, *entries: Entry) -> None:
        """The entries reached their goal: their rows go with the next commit, within FLUSH_AFTER at the latest. Does not wait for it."""
        raise NotImplementedError

    async def retry(self, entry: Entry, after: float, error: str) -> None:
        """Count a failed attempt; the entry comes again in `after` seconds, the lane goes on meanwhile (see `ordered`)."""
        raise NotImplementedError

    async def bury(self, entry: Entry, reason: str) -> None:
        """Move the entry to lane "dead/<its lane>"; on return that is on disk."""
        raise NotImplementedError

    async def drop(self, entry: Entry, reason: str) -> None:
        """End the entry without delivery (DROP, expired: reason "expired"); counted by reason."""
        raise NotImplementedError

    async def peek(self, lane: str, limit: int, after: int = 0) -> list[Entry]:
        """Rows of a lane as they are on disk, taken or not, with seq > after; for people and tools."""
        raise NotImplementedError

    def set_limits(self, prefix: str, limits: Limits) -> None:
        """Bound every lane whose name starts with `prefix` (the longest prefix counts)."""
        raise NotImplementedError

    def set_ordered(self, lane: str, ordered: bool = True) -> None:
        """A retried entry holds its lane back until it is done."""
        raise NotImplementedError

    def holds(self, lane: str) -> bool:
        """The lane has rows that nobody has taken, due or not: who puts nothing new before them keeps the order."""
        raise NotImplementedError

    def lanes(self, prefix: str = "") -> list[str]:
        """Names of the lanes that hold rows."""
        raise NotImplementedError

    def watch(self, prefix: str, ready: Callable[[str], None]) -> Callable[[], None]:
        """Call ready(lane) on the loop for each lane under `prefix` that has entries to take: now, and whenever one gets some.

        Returns the function that ends it.
        """
        raise NotImplementedError

    def stats(self, prefix: str = "") -> list[LaneStats]:
        """The numbers of the lanes under `prefix`, equal to the last committed row."""
        raise NotImplementedError
