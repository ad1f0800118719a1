"""`configuration.redis`: items are plain keys of a Redis server, `value||version`; changes come by keyspace events.

The server must send them (`notify-keyspace-events KEA`). Source: components-contrib configuration/redis @1.18.4; differs: a
subscription outlives a broken connection and tells what changed meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import ClassVar

from components._redis import Client, RedisFields
from edge.component import Context, Feature, Unsubscribe
from edge.errors import ComponentError, Unavailable
from edge.model import ConfigItem
from edge.record import record

log = logging.getLogger("dapr.contrib")
Changed = Callable[[dict[str, ConfigItem]], Awaitable[None]]
SEPARATOR = "||"
LISTEN = 1.0
PAUSE, LONGEST_PAUSE = 0.1, 5.0
SCAN_COUNT = 1000
IDLE = 60.0


@record
class Fields(RedisFields):
    """Fields of the component."""


class Store:
    """One database of one server."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        self._context, self._prefix = context, f"__keyspace@{metadata.redis_db}__:"
        self._client = Client(metadata, context)
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Raises ComponentError; a server that is away is none."""
        await self._client.open()

    async def close(self) -> None:
        for task in tuple(self._tasks):
            await _end(task)
        await self._client.close()

    def unhealthy(self) -> str | None:
        return self._client.server.unhealthy()

    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> dict[str, ConfigItem]:
        """The items that are there and not empty; no keys = all. Keys that hold no text are left out."""
        return await self._client.run(lambda: self._read(list(keys)))

    async def _read(self, keys: list[str]) -> dict[str, ConfigItem]:
        redis = self._client.redis
        if not keys:
            keys = sorted([key.decode(errors="replace") async for key in redis.scan_iter(count=SCAN_COUNT)])
        pipeline = redis.pipeline(transaction=False)
        for key in keys:
            pipeline.get(key)
        found = await pipeline.execute(raise_on_error=False) if keys else []
        items = {}
        for key, text in zip(keys, found, strict=True):
            if isinstance(text, bytes) and (item := _item(text)).value:
                items[key] = item
        return items

    async def subscribe(self, keys: Sequence[str], changed: Changed, metadata: Mapping[str, str]) -> Unsubscribe:
        """Call `changed` with each item that was written; one that was deleted is an empty item."""
        watch = _Watch(self, self._prefix, tuple(keys), changed)
        task = self._context.tasks.spawn(f"configuration[{self._context.name}]", watch.run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(watch.listening.wait(), LISTEN)

        async def unsubscribe() -> None:
            await _end(task)

        return unsubscribe

    @property
    def client(self) -> Client:
        return self._client


class _Watch:
    """One subscription. It keeps what the subscriber knows, to tell after a break what is different."""

    def __init__(self, store: Store, prefix: str, keys: tuple[str, ...], changed: Changed) -> None:
        self._store, self._prefix, self._keys, self._changed = store, prefix, keys, changed
        self._known: dict[str, ConfigItem] | None = None
        self._pause = PAUSE
        self.listening = asyncio.Event()

    async def run(self) -> None:
        client = self._store.client
        while True:
            try:
                await self._listen(client)
            except Unavailable as error:
                client.server.failed(error)
            except ComponentError as error:
                log.error("a configuration subscription on %s failed and is tried again: %s", self._prefix, error)
            await asyncio.sleep(self._pause)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    async def _listen(self, client: Client) -> None:
        """Until the connection breaks."""
        async with client.pubsub() as pubsub:
            if self._keys:
                await client.attempt(lambda: pubsub.subscribe(*(self._prefix + key for key in self._keys)))
            else:
                await client.attempt(lambda: pubsub.psubscribe(self._prefix + "*"))
            now = await self._store.get(self._keys, {})
            before, self._known = self._known, now
            if before is not None and (missed := _difference(before, now)):
                await self._changed(missed)
            self.listening.set()
            self._pause = PAUSE
            while True:
                message = await client.attempt(lambda: pubsub.get_message(ignore_subscribe_messages=True, timeout=IDLE))
                if message is not None:
                    await self._tell(message["channel"].decode(errors="replace").removeprefix(self._prefix), now)

    async def _tell(self, key: str, known: dict[str, ConfigItem]) -> None:
        item = (await self._store.get([key], {})).get(key)
        if item is None:
            known.pop(key, None)
        else:
            known[key] = item
        await self._changed({key: item or ConfigItem("")})


def _item(text: bytes) -> ConfigItem:
    value, _, rest = text.decode(errors="replace").partition(SEPARATOR)
    return ConfigItem(value, rest.partition(SEPARATOR)[0])


def _difference(before: dict[str, ConfigItem], now: dict[str, ConfigItem]) -> dict[str, ConfigItem]:
    return {key: item for key, item in now.items() if before.get(key) != item} | {key: ConfigItem("") for key in before if key not in now}


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
