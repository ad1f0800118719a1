"""What came from a broker for one subscription or binding: taken, kept, and ended. How it is handed to the app: edge/blocks/inbox_pump.py.

Modes (metadata `durability` of the component). journal: a message is on disk before the broker is acknowledged. broker: it is
acknowledged when the app has it, nothing is written. either (default): the app gets it at once and the broker is acknowledged at its
success; what the app has not taken within `HOLD` seconds, or refuses, is written, so that the broker's window never fills.
none: as broker for components that keep nothing themselves (pubsub.in-memory); what is refused for good is theirs to drop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from edge.app import AppUnavailable
from edge.blocks.gate import Gate
from edge.blocks.outcome import End, Outcome
from edge.blocks.retries import PROBE_PAUSE, BreakerOpen
from edge.crash import reach
from edge.errors import Closed, ComponentError, Unavailable
from edge.journal import Entry, Journal
from edge.journal.keeping import Keeping
from edge.model import Message
from edge.record import record
from edge.tasks import Tasks

T = TypeVar("T")
log = logging.getLogger("dapr.runtime.processor.subscription")
MODES = ("either", "journal", "broker", "none")
UNWRITTEN = ("broker", "none")
LOADED = 64
HOLD = 0.05
FULL_DELAY = 1.0


@record
class LaneSettings:
    """name: of the journal's lane. ordered: a message that fails holds back those behind it.

    hold: seconds for which a message may be without a row in mode either. keeping: limits and dedupe of the component.
    """

    name: str
    mode: str = "either"
    ordered: bool = False
    hold: float = HOLD
    keeping: Keeping = Keeping()


class Item:
    """One message in the hands of the lane. entry: its row. waiter: the component that waits to acknowledge. outcome: once it ended.

    since: loop time of its arrival. order: its place among all that the lane loaded.
    """

    __slots__ = ("entry", "failures", "message", "order", "outcome", "since", "waiter", "writing")

    def __init__(self, message: Message, entry: Entry | None, waiter: asyncio.Future[None] | None, since: float) -> None:
        self.message, self.entry, self.waiter, self.since = message, entry, waiter, since
        self.failures = 0 if entry is None else entry.attempts
        self.outcome: Outcome | None = None
        self.order = 0
        self.writing = False

    def acknowledge(self) -> None:
        """It is on disk or it ended: the component may acknowledge."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def refuse(self, error: BaseException) -> None:
        """Neither: the component keeps it unacknowledged."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(error)


class InLane:
    """Takes messages from a component (`deliver`) and from the journal, and ends them by their outcome.

    A subclass hands them to the app: `_enqueue` is given each item once (again after a failure in mode broker), `_ended` takes it back.
    """

    def __init__(self, settings: LaneSettings, journal: Journal, gate: Gate, tasks: Tasks) -> None:
        self.name, self.ordered, self._hold = settings.name, settings.ordered, settings.hold
        self._keeping = settings.keeping
        self.mode = settings.mode if settings.mode in MODES else "either"
        if self._keeping.dedupe and self.mode != "none":
            self.mode = "journal"  # a key is known if and only if its message was stored
        self._journal, self._gate, self._tasks = journal, gate, tasks
        self._loop = asyncio.get_running_loop()
        self._items: dict[Item, None] = {}
        self._bare: dict[Item, None] = {}
        self._puts = self._loaded = 0
        self._behind = self.mode != "none" and journal.holds(self.name)
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False
        self._unwatch = _nothing if self.mode == "none" else journal.watch(self.name, self._on_ready)

    # --- from the component
    async def deliver(self, message: Message) -> None:
        """Return once the message is on disk or the app has it: then the component may acknowledge. Raises Closed, Full, Unavailable."""
        if self._closed:
            raise Closed(f"{self.name} is not subscribed any more")
        if not self._admits():
            await self._put(message)
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        item = Item(message, None, waiter, self._loop.time())
        self._bare[item] = None
        if self._sweep is None and self.mode == "either":
            self._sweep = self._loop.call_later(self._hold, self._on_sweep)
        self._load(item)
        await waiter

    def _admits(self) -> bool:
        """May this message go to the app without a row?"""
        if self.mode != "either":
            return self.mode in UNWRITTEN
        if self._behind and not self._puts and not self._journal.holds(self.name):
            self._behind = False
        return not self._behind and self._gate.is_open and len(self._items) < LOADED

    async def _put(self, message: Message) -> None:
        """A row; those without one before it get theirs first, and nothing overtakes it on the short way meanwhile."""
        bare = [item for item in self._bare if not item.writing]
        self._behind = True
        self._puts += 1
        reach("before-inbox-put")
        try:
            written = self._submit(bare) if bare else None
            try:
                await self._store(message)
            finally:
                if written is not None:
                    await self._finish_overdue(bare, written)
        finally:
            self._puts -= 1
        reach("after-inbox-put")

    async def _store(self, message: Message) -> None:
        keys = self._keeping.keys(self.name, (message,))
        await self._journal.put(self.name, message, keys=keys, remember=self._keeping.dedupe)

    # --- rows
    def wait_for_rows(self) -> None:
        """Somebody else is writing rows for this lane: nothing overtakes them."""
        self._behind = True

    def _on_sweep(self) -> None:
        """Called while items may be without a row: those that are overdue get one."""
        self._sweep, now = None, self._loop.time()
        overdue: list[Item] = []
        for item in self._bare:
            if item.writing:
                continue
            if now - item.since < self._hold:
                self._sweep = self._loop.call_later(max(item.since + self._hold - now, 0.001), self._on_sweep)
                break
            overdue.append(item)
        if overdue:
            self._tasks.start(f"inbox-write[{self.name}]", self._finish_overdue(overdue, self._submit(overdue)))

    async def _finish_overdue(self, items: list[Item], written: asyncio.Future[list[Entry]]) -> None:
        try:
            await self._finish(items, written)
        except ComponentError as error:  # no room: the broker keeps them, unacknowledged, until the app has them
            log.warning("%s: messages could not be journalled: %s", self.name, error)
            self._loop.call_later(FULL_DELAY, self._on_sweep)

    def _submit(self, items: list[Item]) -> asyncio.Future[list[Entry]]:
        """Have rows written for items, before those of what comes later; `_finish` belongs to it."""
        for item in items:
            item.writing = True
        try:
            return self._journal.submit(self.name, *(item.message for item in items), held=True)
        except ComponentError as error:
            refused: asyncio.Future[list[Entry]] = self._loop.create_future()
            refused.set_exception(error)
            return refused

    async def _write(self, items: list[Item]) -> None:
        await self._finish(items, self._submit(items))

    async def _finish(self, items: list[Item], written: asyncio.Future[list[Entry]]) -> None:
        """The items have rows: let the component acknowledge them; those that ended meanwhile are ended again, in the journal."""
        try:
            entries = await written
        finally:
            for item in items:
                item.writing = False
        for item, entry in zip(items, entries, strict=True):
            item.entry = entry
            self._bare.pop(item, None)
            item.acknowledge()
            if item.outcome is not None:
                await self._end(item, item.outcome)

    # --- from the journal
    def _on_ready(self, lane: str) -> None:
        if lane == self.name and not self._closed:
            self.wait_for_rows()  # perhaps not ours
            self._feed()

    def _feed(self) -> None:
        """Load rows up to the bound; the rest of the backlog stays on disk."""
        room = LOADED - len(self._items)
        if room <= 0:
            return
        now = self._loop.time()
        for entry in self._journal.take_now(self.name, room):
            self._load(Item(entry.message, entry, None, now))

    def _load(self, item: Item) -> None:
        self._loaded += 1
        item.order = self._loaded
        self._items[item] = None
        self._gate.pressure.arrived(len(self._items))
        self._enqueue(item)

    def _enqueue(self, item: Item) -> None:
        raise NotImplementedError

    async def _until_sent(self, send: Callable[[], Awaitable[T]]) -> T:
        """Call until the app was there for it and its breaker let it through."""
        while True:
            if not self._gate.is_open:
                await self._gate.passed()
            try:
                return await send()
            except AppUnavailable:
                self._gate.away()
            except BreakerOpen:
                await asyncio.sleep(PROBE_PAUSE)

    # --- the end of an item
    async def _ended(self, item: Item, outcome: Outcome) -> None:
        """An attempt is over."""
        if outcome.end is End.AGAIN and self.mode in UNWRITTEN:
            item.failures += 1
            self._loop.call_later(outcome.after, self._once_more, item)
            return
        item.outcome = outcome
        self._items.pop(item, None)
        if not item.writing:  # else `_write` ends it
            await self._end(item, outcome)
        if self._behind:
            self._feed()

    def _once_more(self, item: Item) -> None:
        if not self._closed:
            self._enqueue(item)

    async def _end(self, item: Item, outcome: Outcome) -> None:
        try:
            if item.entry is None:
                await self._end_bare(item, outcome)
            else:
                reach("after-app-answer")
                await self._end_row(item.entry, outcome)
        except ComponentError as error:  # no room for the change: as if there had been no attempt
            log.warning("%s: %s", self.name, error)
            await asyncio.sleep(FULL_DELAY)
            self._bare.pop(item, None)
            item.refuse(error)
            if item.entry is not None:
                self._journal.release(item.entry)

    async def _end_bare(self, item: Item, outcome: Outcome) -> None:
        if outcome.end in (End.DELIVERED, End.DROPPED):
            self._bare.pop(item, None)
            item.acknowledge()
        elif self.mode == "none":
            self._bare.pop(item, None)
            item.refuse(Unavailable(outcome.reason))
        else:
            await self._write([item])

    async def _end_row(self, entry: Entry, outcome: Outcome) -> None:
        match outcome.end:
            case End.DELIVERED:
                await self._journal.done(entry)
            case End.DROPPED:
                await self._journal.drop(entry, outcome.reason)
            case End.AGAIN:
                self._behind = True
                await self._journal.retry(entry, outcome.after, outcome.reason)
            case End.DEAD:
                log.warning("%s: message %d is dead: %s", self.name, entry.seq, outcome.reason)
                await self._journal.bury(entry, outcome.reason)

    async def settle(self) -> None:
        """Give rows to messages that have none, so that they outlive this lane. Nothing where nothing is written."""
        if self.mode in UNWRITTEN or not (bare := [item for item in self._bare if not item.writing]):
            return
        try:
            await self._write(bare)
        except ComponentError as error:
            log.warning("%s: messages could not be journalled, the broker keeps them: %s", self.name, error)

    async def close(self) -> None:
        """Take nothing more; what has no row stays unacknowledged with the broker, rows are given back. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._unwatch()
        if self._sweep is not None:
            self._sweep.cancel()
        for item in self._bare:
            item.refuse(Closed(f"{self.name} is not subscribed any more"))
        if rows := [item.entry for item in self._items if item.entry is not None]:
            self._journal.release(*rows)
        self._items.clear()
        self._bare.clear()


def _nothing() -> None:
    """There is nothing to end."""
