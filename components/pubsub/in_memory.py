"""`pubsub.in-memory`: publish/subscribe inside this process; what is under way is lost when it ends.

Source: components-contrib pubsub/in-memory @1.18.4: one message at a time per subscription, a failed one is dropped; differs: a
publisher waits only while a subscription has `MOST_WAITING` messages before it, and not for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import ClassVar

from components.pubsub._patterns import matches
from edge.component import Context, Deliver, Feature, Unsubscribe
from edge.errors import Closed, Full
from edge.model import Message
from edge.tasks import Tasks

log = logging.getLogger("dapr.contrib")
MOST_WAITING = 1000
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Fields:
    """It has no metadata."""


class Subscriber:
    """One subscription: its messages in order, one at a time."""

    def __init__(self, topic: str, deliver: Deliver) -> None:
        self.topic = topic
        self._deliver = deliver
        self._queue: deque[Message] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, message: Message) -> None:
        """Raises Full when it has not moved for a while."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._room.wait()
        except TimeoutError:
            raise Full(f"{len(self._queue)} messages wait for the subscriber of {self.topic}") from None
        self._queue.append(message)
        self._changed.set()
        if len(self._queue) >= MOST_WAITING:
            self._room.clear()

    async def work(self) -> None:
        while True:
            while not self._queue:
                self._changed.clear()
                await self._changed.wait()
            message = self._queue.popleft()
            self._room.set()
            try:
                await self._deliver(message)
            except Exception as error:
                log.error("in-memory: a message of topic %s was not taken and is dropped: %s", message.topic, error)


class PubSub:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.SUBSCRIBE_WILDCARDS})
    journal_out: ClassVar[bool] = False
    journal_in: ClassVar[bool] = False

    def __init__(self, metadata: Fields, context: Context) -> None:
        self._name = context.name
        self._subscribers: list[Subscriber] = []
        self._stack = AsyncExitStack()
        self._tasks: Tasks | None = None

    async def open(self) -> None:
        self._tasks = await self._stack.enter_async_context(Tasks(f"pubsub[{self._name}]"))

    async def close(self) -> None:
        self._tasks = None
        self._subscribers.clear()
        await self._stack.aclose()

    async def publish(self, message: Message) -> None:
        """Return when every subscription has it in its queue. Raises Full, Closed."""
        if self._tasks is None:
            raise Closed(f"pubsub {self._name} is closed")
        for subscriber in [one for one in self._subscribers if matches(one.topic, message.topic)]:
            await subscriber.put(message)

    async def subscribe(self, topic: str, deliver: Deliver, metadata: Mapping[str, str], app_id: str) -> Unsubscribe:
        """`topic` may end in `*`."""
        if self._tasks is None:
            raise Closed(f"pubsub {self._name} is closed")
        subscriber = Subscriber(topic, deliver)
        worker = self._tasks.spawn(f"in-memory[{topic}]", subscriber.work)
        self._subscribers.append(subscriber)

        async def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)
            worker.cancel()

        return unsubscribe
