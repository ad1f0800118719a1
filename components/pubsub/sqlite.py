"""`pubsub.sqlite`: durable publish/subscribe between the apps of this daemon, without a broker, in its own file.

A message goes straight to the subscriptions that are there; it is written only when somebody who may want it is away: a subscription
known from before, or an app that has not said yet what it subscribes to. So an app may come minutes after the messages.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import ClassVar

from components.pubsub._log import Consumer, Log
from components.pubsub._patterns import matches
from edge.component import Context, Deliver, Feature, Unsubscribe
from edge.errors import Closed
from edge.model import Message
from edge.spec import Size, meta, truthy
from edge.tasks import Tasks

log = logging.getLogger("dapr.contrib")
BATCH = 100
SETTLED_AFTER = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0


@dataclass(frozen=True, slots=True)
class Fields:
    """Metadata of the component."""

    max_bytes: Size = meta(Size(64 << 20), doc="Most payload bytes kept for consumers that are away; then the oldest go.", least=0)
    max_messages: int = meta(100_000, doc="Most messages kept for consumers that are away; then the oldest go.", least=0)


@dataclass(slots=True, eq=False)
class Subscriber:
    """One subscription. live: it has everything that was kept, so messages go to it directly."""

    consumer: Consumer
    deliver: Deliver
    live: bool = False
    kept: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def exact(self) -> str | None:
        """Its topic, None when it is a pattern."""
        return None if self.consumer[1].endswith("*") else self.consumer[1]


class PubSub:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.SUBSCRIBE_WILDCARDS})
    journal_out: ClassVar[bool] = False
    journal_in: ClassVar[bool] = True

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._context = context
        self._subscribers: list[Subscriber] = []
        self._last_subscribe: dict[str, float] = {}
        self._stack = AsyncExitStack()
        self._tasks: Tasks | None = None
        self._adding = 0
        self._log: Log

    async def open(self) -> None:
        """Raises what opening the daemon's file raises."""
        self._log = Log(await self._context.database(), self._context.name, self.metadata.max_messages, self.metadata.max_bytes)
        await self._log.open()
        self._tasks = await self._stack.enter_async_context(Tasks(f"pubsub[{self._context.name}]"))

    async def close(self) -> None:
        self._tasks = None
        self._subscribers.clear()
        await self._stack.aclose()

    # --- out
    async def publish(self, message: Message) -> None:
        """Return when every subscription took the message and it is kept for those that are away. Raises Full, Unavailable, Closed."""
        if self._tasks is None:
            raise Closed(f"pubsub {self._context.name} is closed")
        wanted = [one for one in self._subscribers if matches(one.consumer[1], message.topic)]
        live = [one for one in wanted if one.live]
        keep = len(live) < len(wanted) or self._someone_is_away(message.topic, wanted)
        if len(live) == 1 and not keep:
            await live[0].deliver(message)
            return
        steps: list[Awaitable[object]] = [one.deliver(message) for one in live]
        if not keep:
            await _all(steps)
            return
        self._adding += 1  # before the first wait: a subscriber that catches up meanwhile must not think it has everything
        try:
            await _all([*steps, self._log.add(message, [one.consumer for one in live])])
        finally:
            self._adding -= 1
            for subscriber in self._subscribers:
                subscriber.kept.set()

    def _someone_is_away(self, topic: str, there: Iterable[Subscriber]) -> bool:
        if self._apps_to_come():
            return True
        attached = {one.consumer for one in there}
        return any(matches(consumer[1], topic) and consumer not in attached for consumer in self._log.consumers)

    def _apps_to_come(self) -> bool:
        """Some app has not subscribed to anything yet, or may be about to name its next topic."""
        now = asyncio.get_running_loop().time()
        return any(now - self._last_subscribe.get(app, now) < SETTLED_AFTER for app in self._context.app_ids)

    # --- in
    async def subscribe(self, topic: str, deliver: Deliver, metadata: Mapping[str, str], app_id: str) -> Unsubscribe:
        """`topic` may end in `*`. First comes what was kept, then what is published. `unsubscribeOnClose`: nothing is kept afterwards."""
        if self._tasks is None:
            raise Closed(f"pubsub {self._context.name} is closed")
        self._last_subscribe[app_id] = asyncio.get_running_loop().time()
        subscriber = Subscriber((app_id, topic), deliver)
        self._subscribers.append(subscriber)
        worker = self._tasks.spawn(f"catch-up[{topic}]", lambda: self._catch_up(subscriber))
        forget = truthy(metadata.get("unsubscribeOnClose", ""))

        async def unsubscribe() -> None:
            worker.cancel()
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)
            if forget:
                await self._log.forget(subscriber.consumer)

        return unsubscribe

    async def _catch_up(self, subscriber: Subscriber) -> None:
        """Hand over what was kept, in order, until nothing is left: from then on it is live."""
        seq = self._log.consumers.get(subscriber.consumer, 0)
        while True:
            subscriber.kept.clear()
            rows = self._log.after(seq, subscriber.exact, BATCH)
            if not rows:
                if not self._adding:
                    break
                await subscriber.kept.wait()
            for number, message in rows:
                if matches(subscriber.consumer[1], message.topic):
                    await self._hand_over(subscriber, message)
                seq = number
            if rows:
                await self._log.reached(subscriber.consumer, seq, prune=False)
        subscriber.live = True
        await self._log.reached(subscriber.consumer, max(seq, self._log.last()), prune=not self._apps_to_come())

    async def _hand_over(self, subscriber: Subscriber, message: Message) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await subscriber.deliver(message)
                return
            except Exception as error:
                log.warning("%s: a kept message of topic %s waits: %s", self._context.name, message.topic, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


async def _all(steps: Sequence[Awaitable[object]]) -> None:
    """Run coroutines side by side to their end; the first failure is raised then."""
    results = await asyncio.gather(*steps, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
