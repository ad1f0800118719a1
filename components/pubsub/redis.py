"""`pubsub.redis`: Redis streams with consumer groups, entries laid out as daprd's, so that both can share a server.

Source: components-contrib pubsub/redis @1.18.4; differs: a start without the server is a start; what could not be delivered is tried again
(daprd acknowledges it); entries that a killed edged left pending come again at its next start, not after `processingTimeout`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from components._redis import Client, RedisFields
from components.pubsub._outgoing import fail
from components.pubsub._streams import Reader, Settings
from components.pubsub._window import end
from edge import gojson
from edge.component import Context, Deliver, Feature, Unsubscribe
from edge.errors import Closed, ComponentError, Full, Unavailable
from edge.model import Message
from edge.record import record
from edge.spec import Duration, meta
from edge.tasks import Tasks

MS = 0.001
WINDOW = 1024
BATCH = 128
PASSING = ("LOADING", "MASTERDOWN", "READONLY", "TRYAGAIN", "CLUSTERDOWN", "BUSY")


@record
class Fields(RedisFields):
    """Metadata of the component."""

    consumer_id: str = meta("", name="consumerID", doc="Name of the consumer group and of the consumer in it; the app id unless given.")
    redeliver_interval: Duration = meta(Duration(15), doc="How often pending entries are looked at; 0 = never.", bare=MS, least=0)
    processing_timeout: Duration = meta(Duration(60), doc="Entries pending for longer are delivered again; 0 = never.", bare=MS, least=0)
    queue_depth: int = meta(100, doc="Most entries read at once, and most under way per topic.", least=1)
    concurrency: int = meta(10, doc="1 = one entry of a topic after the other; more = up to `queueDepth`, started in order.", least=1)
    max_len_approx: int = meta(0, doc="About how many entries a stream keeps; 0 = all.", least=0)
    stream_ttl: Duration = meta(
        Duration(0), name="streamTTL", doc="How long a stream keeps entries, about; not with `maxLenApprox`.", least=0
    )


class PubSub:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()
    journal_out: ClassVar[bool] = True
    journal_in: ClassVar[bool] = True

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._context = context
        self._client = Client(metadata, context, self._reached)
        wait = metadata.read_timeout if metadata.read_timeout > 0 else 3.0
        patient = replace(metadata, pool_size=4096, read_timeout=Duration(2 * wait + 5), redis_max_retries=-1)
        self._reading = Client(patient, context)
        self._wait = wait
        self._readers: dict[Reader, None] = {}
        self._queue: list[tuple[Message, asyncio.Future[None]]] = []
        self._there = asyncio.Event()
        self._more = asyncio.Event()
        self._tasks: Tasks | None = None
        self._opened_reading = asyncio.Lock()

    async def open(self) -> None:
        """Connecting goes on behind it. Raises ComponentError (address, TLS material, refused login)."""
        await self._client.open()
        self._tasks = self._context.tasks
        self._publisher = self._tasks.spawn(f"redis-publish[{self._context.name}]", self._publish_queued)

    async def close(self) -> None:
        """What is under way may end; what was not acknowledged comes again."""
        if self._tasks is None:
            return
        self._tasks = None
        await asyncio.gather(*(reader.close() for reader in list(self._readers)))
        await end(self._publisher)
        for _, future in self._queue:
            fail(future, Closed(f"pubsub {self._context.name} is closed"))
        self._queue.clear()
        self._there.set()
        if self._reading.redis is not None:
            await self._reading.close()
        await self._client.close()

    def unhealthy(self) -> str | None:
        return self._client.server.unhealthy()

    # --- out
    async def publish(self, message: Message) -> None:
        """Return when the entry is in its stream; waits while the server is away. Raises Closed, Full, Unavailable, ComponentError."""
        await self._there.wait()
        await self.send(message)

    def send(self, message: Message) -> asyncio.Future[None]:
        """See edge.component.Sender. Entries go out on one connection, all that have queued in one round trip, in order."""
        if self._tasks is None:
            raise Closed(f"pubsub {self._context.name} is closed")
        if not self._there.is_set() or len(self._queue) >= WINDOW:
            raise Unavailable(self._client.server.unhealthy() or "too many messages on their way")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((message, future))
        self._more.set()
        return future

    async def _reached(self) -> None:
        self._there.set()

    async def _publish_queued(self) -> None:
        """What the server did not confirm stays first in the queue, so that nothing overtakes it."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._queue:
                await self._there.wait()
                batch = self._queue[:BATCH]
                results = await self._try([message for message, _ in batch])
                if results is None:
                    continue
                del self._queue[: len(batch)]
                for (_, future), result in zip(batch, results, strict=True):
                    if isinstance(result, BaseException):
                        fail(future, _refused(result))
                    elif not future.done():
                        future.set_result(None)

    async def _try(self, messages: list[Message]) -> list[Any] | None:
        """A result or an error for each; None when the server is away."""
        try:
            return await self._client.run(lambda: self._add(messages))
        except Unavailable as error:
            self._there.clear()
            self._client.server.failed(error)
            return None
        except ComponentError as error:
            return [error] * len(messages)

    async def _add(self, messages: list[Message]) -> list[Any]:
        pipe = self._client.redis.pipeline(transaction=False)
        for message in messages:
            entry = {"data": message.data, "metadata": gojson.encode(dict(message.metadata))}
            pipe.xadd(message.topic, entry, **self._trimming())
        found: list[Any] = await pipe.execute(raise_on_error=False)
        return found

    def _trimming(self) -> dict[str, Any]:
        fields = self.metadata
        if fields.max_len_approx:
            return {"maxlen": fields.max_len_approx, "approximate": True}
        if fields.stream_ttl:
            return {"minid": self._oldest(), "approximate": True}
        return {}

    def _oldest(self) -> str:
        import time  # the wall clock, as entry ids have it

        return f"{int((time.time() - self.metadata.stream_ttl) * 1000)}-1"

    # --- in
    async def subscribe(self, topic: str, deliver: Deliver, metadata: Mapping[str, str], app_id: str) -> Unsubscribe:
        """A member of the group `consumerID` (by default the app's id), from the beginning of the stream when the group is new."""
        if self._tasks is None:
            raise Closed(f"pubsub {self._context.name} is closed")
        async with self._opened_reading:
            if self._reading.redis is None:
                await self._reading.open()
        fields = self.metadata
        group = fields.consumer_id if fields.consumer_id not in ("", self._context.app_id) else app_id
        limit = fields.queue_depth if fields.concurrency > 1 else 1
        timing = (self._wait, float(fields.processing_timeout), float(fields.redeliver_interval))
        reader = Reader(self._reading, Settings(topic, group, group, fields.queue_depth, limit, *timing), deliver, self._tasks)
        self._readers[reader] = None

        async def unsubscribe() -> None:
            self._readers.pop(reader, None)
            await reader.close()

        return unsubscribe


def _refused(error: BaseException) -> ComponentError:
    if isinstance(error, ComponentError):
        return error
    text = f"redis streams: error from publish: {error}"
    word = type(error).__name__.upper()
    if str(error).startswith("OOM") or "OUTOFMEMORY" in word:
        return Full(text)
    passing = str(error).startswith(PASSING) or any(name in word for name in ("BUSYLOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN"))
    return Unavailable(text) if passing else ComponentError(text)
