"""One subscription to a Kafka topic: a member of a group, and offsets that are committed in order after the hand-over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote_plus

from components.pubsub._window import Window, end
from edge.component import Deliver
from edge.model import Message
from edge.tasks import Tasks

log = logging.getLogger("dapr.contrib")
LIMIT = 128
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
COMMIT_AFTER = 0.2
GRACE = 5.0
NEVER_MS = 24 * 3600 * 1000


class Offsets:
    """What of one partition has been taken: the offset up to which everything was."""

    def __init__(self) -> None:
        self._open: dict[int, bool] = {}
        self.next: int | None = None

    def begin(self, offset: int) -> None:
        self._open[offset] = False

    def end(self, offset: int) -> None:
        if offset in self._open:
            self._open[offset] = True
        while self._open and self._open[first := next(iter(self._open))]:
            del self._open[first]
            self.next = first + 1


class Consumer:
    """Works from its making to `close`. options: of aiokafka's consumer."""

    def __init__(
        self,
        topic: str,
        deliver: Deliver,
        options: Mapping[str, Any],
        strategy: str,
        excluded: re.Pattern[str] | None,
        escape: bool,
        tasks: Tasks,
    ) -> None:
        self._topic, self._options, self._strategy, self._excluded, self._escape = topic, dict(options), strategy, excluded, escape
        self._window = Window(topic, deliver, LIMIT)
        self._partitions: dict[Any, Offsets] = {}
        self._dirty: set[Any] = set()
        self._wake = asyncio.Event()
        self._consumer: Any = None
        self._work = [tasks.spawn(f"kafka-read[{topic}]", self._run), tasks.spawn(f"kafka-commit[{topic}]", self._commit_all)]

    async def close(self) -> None:
        """Nothing new; what is under way may end and is committed."""
        await end(*self._work)
        await self._window.close(GRACE)
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(Exception):  # the cluster may be gone
                async with asyncio.timeout(3):
                    await self._commit(consumer)
                    await consumer.stop()

    async def _run(self) -> None:
        from aiokafka.errors import KafkaError

        pause = FIRST_PAUSE
        while True:
            consumer = await self._make()
            try:
                await consumer.start()
                self._consumer = consumer
                pause = FIRST_PAUSE
                async for record in consumer:
                    await self._arrived(record)
            except (KafkaError, OSError) as error:
                log.log(logging.WARNING if pause == FIRST_PAUSE else logging.DEBUG, "kafka: reading %s: %s", self._topic, error)
            finally:
                if self._consumer is not consumer:
                    with contextlib.suppress(Exception):  # it never started
                        await consumer.stop()
            self._consumer = None
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _make(self) -> Any:
        from aiokafka import AIOKafkaConsumer
        from aiokafka.abc import ConsumerRebalanceListener
        from aiokafka.coordinator.assignors.range import RangePartitionAssignor
        from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
        from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

        owner = self

        class Listener(ConsumerRebalanceListener):  # type: ignore[misc]
            async def on_partitions_revoked(self, revoked: Any) -> None:
                await owner._revoked()

            async def on_partitions_assigned(self, assigned: Any) -> None: ...

        strategies = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor, "sticky": StickyPartitionAssignor}
        more = {"enable_auto_commit": False, "max_poll_interval_ms": NEVER_MS}
        consumer = AIOKafkaConsumer(**self._options, **more, partition_assignment_strategy=(strategies[self._strategy],))
        consumer.subscribe([self._topic], listener=Listener())
        return consumer

    async def _revoked(self) -> None:
        """What is done goes to the group before others take over; what is not comes again there."""
        if self._consumer is not None:
            with contextlib.suppress(Exception):  # no commit, so it comes again
                await self._commit(self._consumer)
        self._partitions.clear()
        self._dirty.clear()

    async def _arrived(self, record: Any) -> None:
        from aiokafka import TopicPartition

        place = TopicPartition(record.topic, record.partition)
        offsets = self._partitions.setdefault(place, Offsets())
        offsets.begin(record.offset)
        await self._window.put(
            Message(record.topic, record.value or b"", self._metadata(record)), partial(self._settle, place, record.offset)
        )

    async def _settle(self, place: Any, offset: int) -> None:
        if (offsets := self._partitions.get(place)) is not None:
            offsets.end(offset)
            self._dirty.add(place)
            self._wake.set()

    async def _commit_all(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(COMMIT_AFTER)
            self._wake.clear()
            if self._consumer is not None:
                with contextlib.suppress(Exception):  # a rebalance, a broken connection: the next one commits more
                    await self._commit(self._consumer)

    async def _commit(self, consumer: Any) -> None:
        done = {place: offset for place in self._dirty if (offset := self._partitions[place].next) is not None}
        if done:
            await consumer.commit(done)
        self._dirty.difference_update(place for place, offset in done.items() if self._partitions[place].next == offset)

    def _metadata(self, record: Any) -> dict[str, str]:
        shown = quote_plus if self._escape else str
        found = {
            "__offset": str(record.offset),
            "__topic": record.topic,
            "__timestamp": str(record.timestamp),
            "__partition": str(record.partition),
        }
        if record.key is not None:
            found["__key"] = shown(record.key.decode("utf-8", "replace"))
        for name, value in record.headers:
            if self._excluded is None or not self._excluded.search(name):
                found[name] = shown((value or b"").decode("utf-8", "replace"))
        return found
