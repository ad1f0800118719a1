"""The thread that writes: what queued while the last flush ran shares the next commit, each unit in a savepoint of its own."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from edge.crash import reach
from edge.database.faults import Damaged, translate
from edge.errors import ComponentError

Unit = Callable[[sqlite3.Connection], Any]
Settle = Callable[[Any, Exception | None], None]
Job = tuple[Unit, Settle]
Outcome = tuple[Settle, Any, Exception | None]

MOST_UNITS = 4096
IDLE_AFTER = 2.0
QUICK = 0.001
QUICK_RUN = 32
"""A commit on the caller's thread is allowed while the last QUICK_RUN commits took less than QUICK seconds each: never on a card."""
WAKE: list[Job] = []


class Statement:
    """A unit of one statement. SQLite undoes a statement that fails by itself, so it needs no savepoint: three calls become one.

    refusal: raised when the statement changed no row, None = that is no failure.
    """

    __slots__ = ("_refusal", "_sql", "_values")

    def __init__(self, sql: str, values: tuple[Any, ...], refusal: type[Exception] | None = None) -> None:
        self._sql, self._values, self._refusal = sql, values, refusal

    def __call__(self, tx: sqlite3.Connection) -> None:
        if tx.execute(self._sql, self._values).rowcount == 0 and self._refusal is not None:
            raise self._refusal


@dataclass(slots=True)
class Counts:
    """What the writer did since it was opened."""

    commits: int = 0
    units: int = 0
    failures: int = 0


class Writer:
    """Runs units; `deliver` gets the outcomes of each commit at once (called in this thread).

    idle: called when nothing was written for a while, again as long as it says there is more to do.
    damaged: called when a page could not be read.
    """

    def __init__(
        self,
        path: str,
        deliver: Callable[[list[Outcome]], None],
        idle: Callable[[sqlite3.Connection], bool],
        damaged: Callable[[Damaged], None],
    ) -> None:
        self.counts = Counts()
        self.trouble: str | None = None
        self._path = path
        self._deliver = deliver
        self._idle = idle
        self._damaged = damaged
        self._queue: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._closing = False
        self._restless = False
        self._after: list[Outcome] = []
        self._connection: sqlite3.Connection
        self._gate = threading.Lock()
        self._quick_run = 0
        self._last = 0.0

    def hand_over(self, jobs: list[Job]) -> None:
        self._queue.put(jobs)

    def now(self, jobs: list[Job]) -> list[Outcome] | None:
        """The outcomes of one statement's commit here and now, where the writer has nothing to do and the disk is quick; else None.

        For one caller who waits: the way to the thread and back takes longer than such a flush. Other units may take their time.
        """
        if self._quick_run < QUICK_RUN or type(jobs[0][0]) is not Statement or not self._gate.acquire(blocking=False):
            return None
        try:
            if self._closing or not self._queue.empty():
                return None
            outcomes = self.commit(jobs)
        finally:
            self._gate.release()
        if not self._restless:
            self._restless = True
            self._queue.put(WAKE)
        return outcomes

    def close(self) -> None:
        """No more jobs come; `run` returns after those that are queued."""
        self._queue.put(None)

    def after_commit(self, call: Settle) -> None:
        """For the unit that runs now: `call(None, None)` on the loop when its commit is done, before the units' own outcomes."""
        self._after.append((call, None, None))

    def run(self, connection: sqlite3.Connection) -> None:
        """The thread's life, until `close`."""
        self._connection = connection
        while jobs := self._next():
            with self._gate:
                outcomes = self.commit(jobs)
            self._deliver(outcomes)
            self._restless = True

    def _next(self) -> list[Job]:
        while not self._closing:
            try:
                jobs = self._queue.get(timeout=IDLE_AFTER if self._restless else None)
            except Empty:
                self._tend()
                continue
            if jobs is None:
                self._closing = True
            elif jobs:
                return self._gather(jobs)
        return []

    def _tend(self) -> None:
        if time.monotonic() - self._last < IDLE_AFTER:
            return
        with self._gate:
            self._restless = self._idle(self._connection) and self._queue.empty()

    def _gather(self, jobs: list[Job]) -> list[Job]:
        while len(jobs) < MOST_UNITS:
            try:
                more = self._queue.get_nowait()
            except Empty:
                break
            if more is None:
                self._closing = True
                break
            jobs += more
        return jobs

    def commit(self, jobs: Sequence[Job]) -> list[Outcome]:
        """One transaction; every job has an outcome, whatever happens."""
        tx = self._connection
        self._after.clear()
        began = time.monotonic()
        try:
            tx.execute("BEGIN IMMEDIATE")
            outcomes = self._alone(jobs[0]) if len(jobs) == 1 else [self._apply(job) for job in jobs]
            reach("before-commit")
            tx.execute("COMMIT")
        except Exception as error:  # the thread lives on: without it every later write would wait for ever
            return self._fail(jobs, error)
        reach("after-commit")
        self._last = time.monotonic()
        self._quick_run = self._quick_run + 1 if self._last - began < QUICK else 0
        self.counts.commits += 1
        self.counts.units += len(jobs)
        self.trouble = None
        return [*self._after, *outcomes] if self._after else outcomes

    def _alone(self, job: Job) -> list[Outcome]:
        unit, settle = job
        try:
            return [(settle, unit(self._connection), None)]
        except Exception as error:  # the unit is its caller's, so is its error
            if not self._connection.in_transaction:
                raise
            self._after.clear()
            self._connection.execute("ROLLBACK")
            self._connection.execute("BEGIN")
            return [(settle, None, self._neutral(error))]

    def _apply(self, job: Job) -> Outcome:
        unit, settle = job
        tx = self._connection
        if type(unit) is Statement:
            return self._apply_statement(unit, settle)
        mark = len(self._after)
        tx.execute("SAVEPOINT unit")
        try:
            result = unit(tx)
        except Exception as error:  # the unit is its caller's, so is its error
            if not tx.in_transaction:  # SQLite rolled everything back (disk full, I/O error): nobody's work is left
                raise
            del self._after[mark:]
            tx.execute("ROLLBACK TO unit")
            tx.execute("RELEASE unit")
            return settle, None, self._neutral(error)
        tx.execute("RELEASE unit")
        return settle, result, None

    def _apply_statement(self, statement: Statement, settle: Settle) -> Outcome:
        try:
            statement(self._connection)
        except Exception as error:  # the statement is its caller's, so is its error
            if not self._connection.in_transaction:
                raise
            return settle, None, self._neutral(error)
        return settle, None, None

    def _fail(self, jobs: Sequence[Job], error: Exception) -> list[Outcome]:
        if self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # then the next BEGIN says what is wrong, and it is tried again
                self._connection.execute("ROLLBACK")
        neutral = self._neutral(error)
        self.counts.failures += 1
        self.trouble = str(neutral)
        return [(settle, None, neutral) for _, settle in jobs]

    def _neutral(self, error: Exception) -> Exception:
        if not isinstance(error, sqlite3.Error) or isinstance(error, ComponentError):
            return error
        neutral = translate(error, self._path)
        if isinstance(neutral, Damaged):
            self._damaged(neutral)
        return neutral
