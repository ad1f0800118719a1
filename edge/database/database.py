"""One SQLite file for everything that must be durable: group commit on a writer thread, point reads on the loop's own connection."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from edge.database import schema
from edge.database.connection import DEFAULTS, Options, open_reader, open_writer
from edge.database.faults import Damaged, is_busy, no_space, reserve, space_left, translate
from edge.database.idle import Caretaker
from edge.database.writer import Job, Outcome, Settle, Unit, Writer
from edge.eager import Prompt
from edge.errors import Closed, Full

if TYPE_CHECKING:
    import aiosqlite

    from edge.database.rescue import Report

T = TypeVar("T")
Row = tuple[Any, ...]
READER_PATIENCE = 5.0
LOOK_EVERY = 0.25


class Database:
    """What `write` returned for is on stable storage. Calls are for the loop on which it was opened."""

    def __init__(self, path: Path | str, options: Options = DEFAULTS) -> None:
        self.path = Path(path)
        self.options = options
        self.turn = 0
        """Goes up at each hand-over: units submitted in the same turn share a commit."""
        self.rescued: Report | None = None
        """What was done about a damaged file at the start."""
        self.doubted = ""
        """Why the whole file was checked at the start: somebody had met a page that cannot be read."""
        self.on_damage: Callable[[str], None] | None = None
        """Told once, on the loop, when a page cannot be read; the next `open` with `rescue` checks the whole file."""
        self._name = str(path)
        self._target = path if isinstance(path, str) and path.startswith("file:") else f"file:{_quoted(str(path))}"
        self._pending: list[Job] = []
        self._scanner: aiosqlite.Connection | None = None
        self._scanning = asyncio.Lock()
        self._closed = self._damaged = False
        self._looked, self._short = -LOOK_EVERY, False
        self._writer = Writer(self._name, self._deliver, Caretaker(self.path, shrink=options.shrink).tend, self._noticed)
        self._reader: Any
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Future[None]

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, path: Path | str, options: Options = DEFAULTS) -> AsyncIterator[Self]:
        """The file, created when missing, its WAL rolled forward. path: a path or a `file:` URI.

        Raises Unavailable (read-only, no folder), Full, Damaged: one text with the file, the reason and what to do.
        """
        database = cls(path, options)
        await database.start()
        try:
            yield database
        finally:
            await database.close()

    async def start(self) -> None:
        """Open by hand what `open` opens; `close` belongs to it."""
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = self._loop.create_future()
        self._ended = self._loop.create_future()
        threading.Thread(target=self._live, args=(opened,), name="edged-writer", daemon=True).start()
        try:
            await opened
        except BaseException:
            self._closed = True
            self._writer.close()
            raise

    def _live(self, opened: asyncio.Future[None]) -> None:
        """The writer thread, from opening (which may roll a long WAL forward) to closing (which empties the WAL)."""
        try:
            connection = self._open_writer()
            self._reader = open_reader(self._target, self._name, self.options)
        except Exception as error:
            self._on_loop(_resolve, opened, None, error)
            return
        self._on_loop(_resolve, opened, None, None)
        self._writer.run(connection)
        self._end_reading()
        connection.close()
        self._on_loop(_resolve, self._ended, None, None)

    def _end_reading(self) -> None:
        """The reader belongs to the loop: closed by another thread in the middle of a query it would bring the process down."""
        closed = threading.Event()
        if self._on_loop(self._close_reader, closed):
            closed.wait(READER_PATIENCE)
        else:
            self._close_reader(closed)

    def _close_reader(self, closed: threading.Event) -> None:
        reader, self._reader = self._reader, _NoReader(self._name)
        reader.close()
        closed.set()

    def _open_writer(self) -> sqlite3.Connection:
        if not self.options.rescue:
            return open_writer(self._target, self._name, self.options)
        from edge.database import rescue

        self.doubted = rescue.doubted(self.path)
        connection, self.rescued = rescue.open_sound(self._target, self._name, self.options)
        return connection

    def _noticed(self, error: Damaged) -> None:
        """In whichever thread met a page that cannot be read."""
        if self.options.rescue and not self._damaged:
            self._damaged = True
            self._on_loop(self._leave_word, error)

    def _leave_word(self, error: Damaged) -> None:
        from edge.database.rescue import doubt

        def tell(_: object) -> None:
            if self.on_damage is not None:
                self.on_damage(error.reason)

        self._loop.run_in_executor(None, doubt, self.path, error.reason).add_done_callback(tell)

    def _unreadable(self, error: sqlite3.Error) -> Exception:
        """What a failed read raises: a damaged page is told to whoever can do something about it."""
        neutral = translate(error, self._name)
        if not isinstance(neutral, Damaged):
            return error
        self._noticed(neutral)
        return neutral

    def _on_loop(self, call: Callable[..., None], *args: Any) -> bool:
        """False: the loop ended first, nobody waits any more."""
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            return False
        return True

    async def migrate(self, name: str, scripts: Sequence[str]) -> None:
        """Bring the tables of `name` to level len(scripts): each script runs once, in order. Raises Newer for a file from the future."""
        await self.write(lambda tx: schema.migrate(tx, self._name, name, scripts))

    async def write(self, unit: Callable[[sqlite3.Connection], T]) -> T:
        """Run `unit` in the writer's next transaction; on return it is fsynced.

        A unit that raises rolls back alone and the caller gets its exception. A cancelled caller does not undo the unit.
        Raises Full, Unavailable, Closed; an error in the unit's own SQL stays a sqlite3.Error.
        """
        future: Prompt[T] = Prompt(self._loop)
        self.submit(unit, partial(_resolve, future))
        return await future

    def submit(self, unit: Unit, settle: Settle) -> None:
        """`write` without a future: `settle(result, error)` is called on the loop after the commit."""
        if self._closed:
            raise Closed(f"database {self._name} is closed")
        if not self._pending:
            self._loop.call_soon(self._hand_over)
        self._pending.append((unit, settle))

    def after_commit(self, call: Settle) -> None:
        """Inside a unit: `call(None, None)` on the loop once the unit is committed, never if it rolls back."""
        self._writer.after_commit(call)

    def _hand_over(self) -> None:
        if self._pending:
            jobs, self._pending = self._pending, []
            self.turn += 1
            if len(jobs) == 1 and (outcomes := self._writer.now(jobs)) is not None:
                _settle(outcomes)
            else:
                self._writer.hand_over(jobs)

    def _deliver(self, outcomes: list[Outcome]) -> None:
        self._on_loop(_settle, outcomes)

    def read_now(self, sql: str, *args: Any) -> list[Row]:
        """Rows of a short query, read on the loop from the last committed state; for files in WAL mode, else see `read`."""
        try:
            rows: list[Row] = self._reader.execute(sql, args).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from error
        return rows

    def view(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """`read_now` for a function of several short queries."""
        try:
            return query(self._reader)
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from error

    def row_now(self, sql: str, *args: Any) -> Row | None:
        """The first row, or None."""
        try:
            row: Row | None = self._reader.execute(sql, args).fetchone()
        except sqlite3.DatabaseError as error:
            raise self._unreadable(error) from error
        return row

    async def read(self, sql: str, *args: Any) -> list[Row]:
        """`read_now`, but where another process's lock is in the way it waits for that off the loop. Raises neutral errors."""
        try:
            return self.read_now(sql, *args)
        except sqlite3.Error as error:
            if not is_busy(error):
                raise translate(error, self._name) from error
        return await self.write(lambda tx: tx.execute(sql, args).fetchall())

    async def scan(self, sql: str, *args: Any) -> list[Row]:
        """Rows of a long query, read in a thread of its own."""
        async with self._scanning:
            if self._closed:
                raise Closed(f"database {self._name} is closed")
            scanner = self._scanner or await self._open_scanner()
            try:
                async with scanner.execute(sql, args) as cursor:
                    return [tuple(row) for row in await cursor.fetchall()]
            except sqlite3.Error as error:
                self._unreadable(error)
                raise translate(error, self._name) from error

    async def _open_scanner(self) -> aiosqlite.Connection:
        import aiosqlite  # a thread and its import, for those who scan

        timeout = self.options.busy_timeout
        self._scanner = await aiosqlite.Connection(lambda: open_reader(self._target, self._name, self.options, busy_timeout=timeout), 64)
        return self._scanner

    def short(self) -> Full | None:
        """The error for new work when the disk has only its reserve left, which is for bookkeeping: ends, counters, checkpoints."""
        now = self._loop.time()
        if now >= self._looked + LOOK_EVERY:
            self._looked, self._short = now, space_left(self._name) < reserve(self._name)
        return no_space(self._name) if self._short else None

    def unhealthy(self) -> str | None:
        """Why the last commit failed, None when it did not."""
        return self._writer.trouble

    async def close(self) -> None:
        """Idempotent; what was submitted before is still committed."""
        if self._closed:
            return
        self._hand_over()
        self._closed = True
        async with self._scanning:
            if self._scanner is not None:
                await self._scanner.close()
        self._writer.close()
        await self._ended


class _NoReader:
    """Stands for the reader of a closed database."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        raise Closed(f"database {self._name} is closed")


def _settle(outcomes: list[Outcome]) -> None:
    for settle, result, error in outcomes:
        settle(result, error)


def _resolve(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():  # its caller was cancelled
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
