"""Lane → app, many messages in one call."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial

from edge.blocks.gate import Gate
from edge.blocks.inbox_lane import InLane, Item, LaneSettings
from edge.blocks.outcome import BulkCourier
from edge.journal import Journal
from edge.model import BulkSubscribe
from edge.tasks import Tasks


class BulkLane(InLane):
    """One call of the app for up to `max_messages`, which are collected for at most `max_await` seconds."""

    def __init__(
        self, settings: LaneSettings, bulk: BulkSubscribe, courier: BulkCourier, journal: Journal, gate: Gate, tasks: Tasks
    ) -> None:
        self._courier, self._bulk = courier, bulk
        self._queue: deque[Item] = deque()
        self._arrived = asyncio.Event()
        super().__init__(settings, journal, gate, tasks)
        self._worker = tasks.spawn(f"inbox[{self.name}]", self._work)

    def _enqueue(self, item: Item) -> None:
        self._queue.append(item)
        self._arrived.set()

    async def _work(self) -> None:
        while True:
            await self._collect()
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._bulk.max_messages))]
            try:
                outcomes = await self._until_sent(partial(self._courier.attempt_bulk, [(item.message, item.failures) for item in batch]))
            except BaseException:
                self._queue.extendleft(reversed(batch))
                raise
            for item, outcome in zip(batch, outcomes, strict=True):
                await self._ended(item, outcome)

    async def _collect(self) -> None:
        """Return when there is a batch to send."""
        while not self._queue:
            self._arrived.clear()
            await self._arrived.wait()
        until = self._loop.time() + self._bulk.max_await
        while len(self._queue) < self._bulk.max_messages and (left := until - self._loop.time()) > 0:
            self._arrived.clear()
            try:
                async with asyncio.timeout(left):
                    await self._arrived.wait()
            except TimeoutError:
                return

    async def close(self) -> None:
        await super().close()
        self._worker.cancel()
        await asyncio.wait((self._worker,))
