"""`pubsub.sqlite`: durable publish/subscribe between the apps of this daemon, without a broker, in its own file.

A message goes straight to the subscriptions that are there; it is written only when somebody who may want it is away: a subscription
known from before, or an app that has not said yet what it subscribes to. So an app may come minutes after the messages.

What is kept has limits. What nobody known waits for makes room first, the oldest of it; then `whenFull` says what happens. What is
discarded is counted by reason (`edged journal stats`, lanes `kept/…`) and logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import ClassVar

from components.pubsub._log import DELIVERED, GIVEN_UP, UNWANTED, Bounds, Consumer, Fate, Log
from components.pubsub._patterns import matches
from edge.component import Context, Deliver, Feature, Unsubscribe
from edge.errors import Closed
from edge.model import LaneStats, Message
from edge.spec import Size, meta, truthy
from edge.tasks import Tasks

log = logging.getLogger("dapr.contrib")
BATCH = 100
SETTLED_AFTER = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 4.0


@dataclass(frozen=True, slots=True)
class Fields:
    """Metadata of the component."""

    max_messages: int = meta(100_000, doc="Most messages kept for consumers that are away; 0 = no limit.", least=0)
    max_bytes: Size = meta(Size(64 << 20), doc="Most payload bytes kept for consumers that are away; 0 = no limit.", least=0)
    when_full: str = meta(
        "reject",
        doc="At a limit the oldest messages that no known subscription waits for go first. Then: `reject` (HTTP 507, gRPC "
        "RESOURCE_EXHAUSTED), `drop-oldest`, `drop-newest`. What goes is counted and logged.",
        choices=("reject", "drop-oldest", "drop-newest"),
    )


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
        self._tidying: asyncio.TimerHandle | None = None
        self._adding = 0
        self._log: Log

    async def open(self) -> None:
        """Raises what opening the daemon's file raises."""
        bounds = Bounds(self.metadata.max_messages, self.metadata.max_bytes, self.metadata.when_full)
        self._log = Log(await self._context.database(), self._context.name, bounds)
        await self._log.open()
        self._tasks = await self._stack.enter_async_context(Tasks(f"pubsub[{self._context.name}]"))

    async def close(self) -> None:
        self._tasks = None
        if self._tidying is not None:
            self._tidying.cancel()
        self._subscribers.clear()
        await self._stack.aclose()

    # --- numbers
    def kept(self) -> Sequence[LaneStats]:
        """What waits here for consumers that are away, and what became of the rest, per topic."""
        return list(self._log.lanes.values())

    async def recount(self) -> None:
        """Rows came or went by another hand."""
        await self._log.recount()

    def settled(self, app_id: str) -> None:
        """The app has told what it subscribes to: nothing is kept for what it might still name."""
        if self._tasks is not None:
            self._last_subscribe.setdefault(app_id, asyncio.get_running_loop().time())
            self._tidy_later()

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
            await _all([*steps, self._log.add(message, [one.consumer for one in live], self._free)])
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

    # --- what is kept
    def _waiting(self, topic: str) -> list[int]:
        """How far each known consumer is that wants the topic and gets it from what is kept."""
        live = {one.consumer for one in self._subscribers if one.live}
        new = [0 for one in self._subscribers if one.consumer not in self._log.consumers and matches(one.consumer[1], topic)]
        known = self._log.consumers.items()
        return new + [seq for consumer, seq in known if matches(consumer[1], topic) and consumer not in live]

    def _wanted(self, topic: str) -> bool:
        return any(matches(consumer[1], topic) for consumer in self._log.consumers)

    def _free(self, own: str) -> dict[str, Fate]:
        """Topics whose messages nobody waits for: no subscription is known, or all have them, or only those that an app gave up.

        own: a topic that counts although nothing of it is kept yet.
        """
        stale, found = self._given_up(), dict[str, Fate]()
        attached = {one.consumer for one in self._subscribers if not one.live}
        live = {one.consumer for one in self._subscribers if one.live}
        for topic in {*self._log.waiting(), own}:
            known = {one for one in (*self._log.consumers, *attached) if matches(one[1], topic)}
            if not known - live - stale:
                found[topic] = GIVEN_UP if known & stale else DELIVERED if known else UNWANTED
        return dict(sorted(found.items(), key=lambda item: -self._log.kept_bytes(item[0])))

    def _given_up(self) -> set[Consumer]:
        """Subscriptions of before that their app, which has told what it wants, did not name again; or whose app is gone."""
        now = asyncio.get_running_loop().time()
        settled = {app for app in self._context.app_ids if now - self._last_subscribe.get(app, now) >= SETTLED_AFTER}
        there = {one.consumer for one in self._subscribers}
        known = self._log.consumers
        return {one for one in known if one not in there and (one[0] in settled or one[0] not in self._context.app_ids)}

    def _tidy_later(self) -> None:
        """Once everybody has settled, what nobody needs any more goes."""
        if self._tidying is not None:
            self._tidying.cancel()
        self._tidying = asyncio.get_running_loop().call_later(SETTLED_AFTER, self._on_settled)

    def _on_settled(self) -> None:
        self._tidying = None
        if self._tasks is not None:
            self._tasks.start("tidy", self._tidy())

    async def _tidy(self) -> None:
        if self._apps_to_come():
            return
        last, done = self._log.last(), dict[str, tuple[int, Fate]]()
        for topic in self._log.waiting():
            done[topic] = (min(self._waiting(topic), default=last), DELIVERED if self._wanted(topic) else UNWANTED)
        if done:
            await self._log.prune(done)

    # --- in
    async def subscribe(self, topic: str, deliver: Deliver, metadata: Mapping[str, str], app_id: str) -> Unsubscribe:
        """`topic` may end in `*`. First comes what was kept, then what is published. `unsubscribeOnClose`: nothing is kept afterwards."""
        if self._tasks is None:
            raise Closed(f"pubsub {self._context.name} is closed")
        self._last_subscribe[app_id] = asyncio.get_running_loop().time()
        self._tidy_later()
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
                self._tidy_later()

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
                await self._log.reached(subscriber.consumer, seq)
        subscriber.live = True
        await self._log.reached(subscriber.consumer, max(seq, self._log.last()))
        await self._tidy()

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
