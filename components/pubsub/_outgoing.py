"""Messages on their way to a broker whose client library is all coroutines: in order, many in flight, sent again where it must be."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from edge.component import NOT_YET
from edge.errors import Closed, ComponentError, Unavailable
from edge.model import Message
from edge.tasks import Tasks

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
Start = Callable[[Message], Awaitable["asyncio.Future[None]"]]
"""Put a message on the wire; the future ends when the broker has it. Unavailable from either: try again. Another ComponentError: never."""


@dataclass(slots=True, eq=False)
class Item:
    """One message and who waits for it."""

    message: Message
    future: asyncio.Future[None]


class Outgoing:
    """The `send` and `publish` of a component (edge.component.Sender).

    What was accepted ends with the broker's word only: while there is no connection it waits here, before all that comes later.
    limit: messages waiting and in flight.
    """

    def __init__(self, name: str, start: Start, limit: int = 1024) -> None:
        self._name, self._start, self._limit = name, start, limit
        self._queue: deque[Item] = deque()
        self._flying: dict[Item, None] = {}
        self._there, self._more = asyncio.Event(), asyncio.Event()
        self._why = NOT_YET
        self._pause = FIRST_PAUSE
        self._resume: asyncio.TimerHandle | None = None
        self._connected = self._closed = False
        self._task: asyncio.Task[None] | None = None

    def run(self, tasks: Tasks) -> None:
        """Work until `close`."""
        self._task = tasks.spawn(f"publish[{self._name}]", self._work)

    async def first_up(self, timeout: float) -> None:
        """Return when there is a connection, or after so many seconds: a start does not fail without one."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._there.wait()

    def up(self) -> None:
        """There is a connection."""
        self._connected = True
        self._there.set()
        self._more.set()

    def down(self, why: str) -> None:
        """The connection is gone: what it had not confirmed is sent again on the next one."""
        self._connected, self._why = False, why
        self._set_back()

    @property
    def is_up(self) -> bool:
        return self._connected

    def send(self, message: Message) -> asyncio.Future[None]:
        """Raises Closed, Unavailable at once."""
        if self._closed:
            raise Closed(f"{self._name} is closed")
        if not self._there.is_set():
            raise Unavailable(self._why)
        if len(self._queue) + len(self._flying) >= self._limit:
            raise Unavailable("too many messages on their way")
        item = Item(message, asyncio.get_running_loop().create_future())
        self._queue.append(item)
        self._more.set()
        return item.future

    async def publish(self, message: Message) -> None:
        """As `send`, but waits for a connection."""
        while True:
            if self._closed:
                raise Closed(f"{self._name} is closed")
            await self._there.wait()
            try:
                future = self.send(message)
            except Unavailable:  # no room
                await asyncio.sleep(FIRST_PAUSE)
                continue
            await future
            return

    async def _work(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            while self._queue and self._there.is_set():
                item = self._queue.popleft()
                if not item.future.cancelled():
                    await self._take_off(item)

    async def _take_off(self, item: Item) -> None:
        self._flying[item] = None
        try:
            confirmed = await self._start(item.message)
        except ComponentError as error:
            self._ended(item, error)
        except Exception as error:  # of the client library, which cannot send now
            self._ended(item, Unavailable(f"{type(error).__name__}: {error}"))
        else:
            confirmed.add_done_callback(lambda done: self._landed(item, done))

    def _landed(self, item: Item, done: asyncio.Future[None]) -> None:
        error = Unavailable("the connection was closed") if done.cancelled() else done.exception()
        if item in self._flying:  # else it is to be sent again already
            self._ended(item, error)

    def _ended(self, item: Item, error: BaseException | None) -> None:
        if isinstance(error, Unavailable) or (error is not None and not isinstance(error, ComponentError)):
            self._why = str(error)
            self._set_back()
            if self._connected and self._resume is None and not self._closed:
                self._resume = asyncio.get_running_loop().call_later(self._pause, self._go_on)
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
            return
        self._flying.pop(item, None)
        self._pause = FIRST_PAUSE
        if error is not None:
            fail(item.future, error)
        elif not item.future.done():
            item.future.set_result(None)

    def _set_back(self) -> None:
        self._there.clear()
        self._queue.extendleft(reversed(self._flying))
        self._flying.clear()

    def _go_on(self) -> None:
        self._resume = None
        if self._connected:
            self.up()

    def close(self) -> None:
        """What is not confirmed fails."""
        self._closed = True
        self.down(f"{self._name} is closed")
        for item in self._queue:
            fail(item.future, Closed(self._why))
        self._queue.clear()
        self._there.set()
        for handle in (self._task, self._resume):
            if handle is not None:
                handle.cancel()


def fail(future: asyncio.Future[None], error: ComponentError) -> None:
    """End it, though nobody may wait for it any more."""
    if not future.done():
        future.set_exception(error)
        future.exception()
