"""What a broker's consumer hands on: started in order, many at once, settled each when it was taken, tried again when it was not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from edge.component import Deliver
from edge.errors import Closed
from edge.model import Message
from edge.record import record

log = logging.getLogger("dapr.contrib")
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0

Settle = Callable[[], Awaitable[None]]


@record
class _Item:
    """number: of its arrival."""

    number: int
    message: Message
    settle: Settle


class Window:
    """The messages of one subscription between broker and deliver(). limit: most at once; more wait with the broker."""

    def __init__(self, name: str, deliver: Deliver, limit: int) -> None:
        self._name, self._deliver, self._limit = name, deliver, limit
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: list[_Item] = []
        self._retrying = False
        self._changed, self._turn = asyncio.Event(), asyncio.Lock()
        self._count = 0

    @property
    def empty(self) -> bool:
        """Nothing is under way."""
        return not self._tasks and not self._failed

    async def put(self, message: Message, settle: Settle) -> None:
        """Hand a message on as soon as there is room and nothing before it waits to be tried again; `settle` runs when it was taken."""
        async with self._turn:  # which is fair: nobody overtakes who waits
            while self._retrying or len(self._tasks) >= self._limit:
                self._changed.clear()
                await self._changed.wait()
            self._count += 1
            self._spawn(self._hand_over(_Item(self._count, message, settle)))

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s: acknowledging failed: %s", self._name, error)

    async def _hand_over(self, item: _Item) -> None:
        try:
            await self._deliver(item.message)
        except Exception as error:  # whatever it was, the message is not taken
            self._failed.append(item)
            if not self._retrying:
                self._retrying = True
                level = logging.DEBUG if isinstance(error, Closed) else logging.WARNING
                log.log(level, "Messages of %s wait, the last was not taken: %s", self._name, error)
                self._spawn(self._retry())
            return
        await item.settle()

    async def _retry(self) -> None:
        pause = FIRST_PAUSE
        while self._failed:
            await asyncio.sleep(pause)
            self._failed.sort(key=_number)
            item = self._failed[0]
            try:
                await self._deliver(item.message)
            except Exception as error:
                log.debug("%s: still not taken: %s", self._name, error)
                pause = min(max(pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
                continue
            self._failed.remove(item)
            pause = 0.0
            await item.settle()
        self._retrying = False

    async def close(self, grace: float) -> None:
        """What is in deliver() gets so many seconds; then it is cut and stays unacknowledged."""
        self._failed.clear()
        if self._tasks and grace > 0 and not self._retrying:
            await asyncio.wait(tuple(self._tasks), timeout=grace)
        while self._tasks:
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.wait(tuple(self._tasks))


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks until they have ended: client libraries may take a cancellation for a broken connection and go on."""
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=0.2)


def _number(item: _Item) -> int:
    return item.number
