"""One subscription to a Redis stream: new entries, entries that were left pending, acknowledgements."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from components._redis import Client
from components.pubsub._window import Window, end
from edge.component import Deliver
from edge.errors import ComponentError, Unavailable
from edge.model import Message
from edge.record import record
from edge.tasks import Tasks

log = logging.getLogger("dapr.contrib")
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
ABANDONED = 2.0
"""Seconds after which an entry that was pending for this consumer at its start counts as left by one that was killed."""
GRACE, LAST_WORD = 5.0, 1.0
Entry = tuple[bytes, "dict[bytes, bytes] | None"]


@record
class Settings:
    """depth: entries read at once. limit: entries under way. Times in seconds; 0 of the last two = pending entries stay where they are."""

    topic: str
    group: str
    consumer: str
    depth: int
    limit: int
    wait: float
    processing_timeout: float
    redeliver_interval: float


class Reader:
    """Reads from its making to `close`."""

    def __init__(self, client: Client, settings: Settings, deliver: Deliver, tasks: Tasks) -> None:
        self._client, self._settings = client, settings
        self._window = Window(settings.topic, deliver, settings.limit)
        self._grouped = self._closed = False
        self._flying: set[bytes] = set()
        self._taken: list[bytes] = []
        self._settled, self._quiet = asyncio.Event(), asyncio.Event()
        self._quiet.set()
        name = f"{settings.topic}/{settings.group}"
        self._work = [
            tasks.spawn(f"redis-read[{name}]", self._read),
            tasks.spawn(f"redis-ack[{name}]", self._acknowledge),
            tasks.spawn(f"redis-reclaim[{name}]", self._reclaim),
        ]
        self._acknowledger = self._work[1]

    async def close(self) -> None:
        """Read nothing more; deliveries under way may end and are acknowledged if the server is there."""
        self._closed = True
        readers = [task for task in self._work if task is not self._acknowledger]
        await end(*readers)
        await self._window.close(GRACE)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD):
                await self._quiet.wait()
        await end(self._acknowledger)

    # --- reading
    async def _read(self) -> None:
        pause, settings = FIRST_PAUSE, self._settings
        while not self._closed:  # the client library may turn a cancellation into a broken connection
            try:
                if not self._grouped:
                    await self._create_group()
                    await self._own_first()
                answer = await self._client.attempt(self._next)
            except ComponentError as error:
                self._trouble(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            for entry in [] if self._closed else _entries(answer, settings.topic):
                await self._hand_over(entry)

    async def _next(self) -> Any:
        one = self._settings
        return await self._client.redis.xreadgroup(one.group, one.consumer, {one.topic: ">"}, one.depth, int(one.wait * 1000))

    async def _create_group(self) -> None:
        one = self._settings
        try:
            await self._client.run(lambda: self._client.redis.xgroup_create(one.topic, one.group, "0", mkstream=True))
        except ComponentError as error:
            if "BUSYGROUP" not in str(error):
                raise
        self._grouped = True

    async def _own_first(self) -> None:
        """What this consumer had in its hands when it was killed comes before anything newer; it has to be pending for a while for that."""
        loop = asyncio.get_running_loop()
        until = loop.time() + ABANDONED + 1.0
        while not self._closed and loop.time() < until:
            rows = await self._client.run(partial(self._pending, "-", True))
            if all(row["message_id"] in self._flying for row in rows):
                return
            await self._reclaim_once(ABANDONED, own=True)
            await asyncio.sleep(FIRST_PAUSE)

    def _trouble(self, error: ComponentError) -> None:
        one = self._settings
        if "NOGROUP" in str(error):
            self._grouped = False
            log.warning("redis streams: group %s of stream %s is gone (did the server lose data?); it is made again", one.group, one.topic)
        elif not isinstance(error, Unavailable):
            log.error("redis streams: error reading from stream %s: %s", one.topic, error)

    async def _hand_over(self, entry: Entry) -> None:
        number, fields = entry
        if number in self._flying:
            return
        self._flying.add(number)
        if fields is None:  # trimmed meanwhile: nothing is left to deliver
            await self._settle(number)
            return
        message = Message(self._settings.topic, fields.get(b"data", b""), _metadata(fields.get(b"metadata"), number))
        await self._window.put(message, partial(self._settle, number))

    # --- acknowledging
    async def _settle(self, number: bytes) -> None:
        self._taken.append(number)
        self._settled.set()
        self._quiet.clear()

    async def _acknowledge(self) -> None:
        one, pause = self._settings, FIRST_PAUSE
        while True:
            await self._settled.wait()
            self._settled.clear()
            while self._taken:
                numbers = self._taken[: one.depth]
                try:
                    await self._client.run(partial(self._client.redis.xack, one.topic, one.group, *numbers))
                except ComponentError as error:
                    log.debug("redis streams: acknowledging %d entries of %s: %s", len(numbers), one.topic, error)
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)
                    continue
                pause = FIRST_PAUSE
                del self._taken[: len(numbers)]
                self._flying.difference_update(numbers)
            self._quiet.set()

    # --- what was left pending
    async def _reclaim(self) -> None:
        one = self._settings
        await asyncio.sleep(ABANDONED + 0.5)
        await self._reclaim_once(ABANDONED, own=True)
        while one.processing_timeout and one.redeliver_interval:
            await self._reclaim_once(one.processing_timeout, own=False)
            await asyncio.sleep(one.redeliver_interval)

    async def _reclaim_once(self, idle: float, *, own: bool) -> None:
        """Take over entries that have been pending for so many seconds. own: only those of this consumer's name."""
        start = "-"
        try:
            while self._grouped and (rows := await self._client.run(partial(self._pending, start, own))):
                late = [row["message_id"] for row in rows if row["time_since_delivered"] >= idle * 1000]
                late = [number for number in late if number not in self._flying]
                if late:
                    await self._claim(late, idle)
                start = "(" + rows[-1]["message_id"].decode()
        except ComponentError as error:
            if not isinstance(error, Unavailable):
                log.error("error retrieving pending Redis messages: %s", error)

    async def _pending(self, start: str, own: bool) -> Sequence[Mapping[str, Any]]:
        one = self._settings
        consumer = one.consumer if own else None
        rows: list[dict[str, Any]] = await self._client.redis.xpending_range(one.topic, one.group, start, "+", one.depth, consumer)
        return rows

    async def _claim(self, numbers: list[bytes], idle: float) -> None:
        one = self._settings
        claimed = await self._client.run(lambda: self._client.redis.xclaim(one.topic, one.group, one.consumer, int(idle * 1000), numbers))
        found = [(number, fields) for number, fields in claimed if number is not None]
        for entry in found:
            await self._hand_over(entry)
        if len(found) < len(numbers):
            await self._forget_deleted(set(numbers) - {number for number, _ in found})

    async def _forget_deleted(self, numbers: Iterable[bytes]) -> None:
        """Pending entries that are in the stream no more can never be delivered."""
        one = self._settings
        for number in numbers:
            if not await self._client.run(partial(self._client.redis.xrange, one.topic, number, number)):
                await self._settle(number)


def _entries(answer: Any, topic: str) -> list[Entry]:
    """The entries of an XREADGROUP answer in either protocol version; None = nothing new."""
    if not answer:
        return []
    streams = answer.items() if isinstance(answer, dict) else answer
    found: list[Entry] = []
    for _, entries in streams:
        nested = entries[0] if entries and isinstance(entries[0], list) else entries
        found += [(number, fields) for number, fields in nested]
    return found


def _metadata(text: bytes | None, number: bytes) -> dict[str, str]:
    if not text:
        return {}
    try:
        values = json.loads(text)
    except ValueError as error:
        log.warning("Redis PubSub: Could not extract metadata for Redis message %s: %s", number.decode(), error)
        return {}
    return {name: value for name, value in values.items() if isinstance(value, str)} if isinstance(values, dict) else {}
