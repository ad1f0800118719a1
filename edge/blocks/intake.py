"""One subscription at a broker: opened patiently, its messages kept until there is a lane to the app; and the memory of what apps told."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from edge.app import Part
from edge.blocks.inbox_lane import InLane
from edge.component import Connects, Unsubscribe
from edge.errors import Closed, ComponentError
from edge.journal import Journal
from edge.journal.keeping import keeping
from edge.model import Message, Rule, Subscription
from edge.tasks import Tasks

log = logging.getLogger("dapr.runtime.processor.subscription")
FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0
FIRST_CONTACT = 2.0


class Intake:
    """Takes what a component delivers for one topic: to its lane, before there is one into the journal.

    name: of the journal's lane. topic: as the broker sees it.
    """

    def __init__(self, name: str, part: Part, topic: str, metadata: Mapping[str, str], app_id: str, journal: Journal, tasks: Tasks) -> None:
        self.name = name
        self.lane: InLane | None = None
        self.part, self._topic, self._metadata, self._app_id = part, topic, metadata, app_id
        self._journal, self._tasks = journal, tasks
        self._keeping = keeping(part.properties)
        self._keeping.bind(journal, name[: len(name) - len(topic)] if name.endswith(topic) else name)
        self._unsubscribe: Unsubscribe | None = None
        self._opening: asyncio.Task[None] | None = None
        self._puts = 0
        self._closed = False

    def attach(self, lane: InLane) -> None:
        """From now on messages go through the lane."""
        if self._puts:
            lane.wait_for_rows()
        self.lane = lane

    async def detach(self) -> None:
        """The lane goes, its messages stay: from now on they are kept until there is another one."""
        lane, self.lane = self.lane, None
        if lane is not None:
            await lane.settle()
            await lane.close()

    async def open(self, *, patient: bool = True) -> None:
        """Subscribe, once. patient: a component that refuses is asked again for ever; else its ComponentError is raised."""
        if self._unsubscribe is not None or self._opening is not None:
            return
        try:
            await self._subscribe()
        except ComponentError as error:
            if not patient:
                raise
            log.error("failed to subscribe to topic %s: %s", self._topic, error)
            self._opening = self._tasks.start(f"subscribe[{self.name}]", self._insist())

    async def _subscribe(self) -> None:
        self._unsubscribe = await self.part.component.subscribe(self._topic, self._deliver, self._metadata, self._app_id)

    async def _insist(self) -> None:
        delay = FIRST_DELAY
        while self._unsubscribe is None and not self._closed:
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)
            try:
                await self._subscribe()
            except ComponentError as error:
                log.debug("failed to subscribe to topic %s: %s", self._topic, error)

    async def _deliver(self, message: Message) -> None:
        if self.lane is not None and not self._puts:
            await self.lane.deliver(message)
        elif self._closed:
            raise Closed(f"{self.name} is not subscribed any more")
        else:
            await self._put(message)

    async def _put(self, message: Message) -> None:
        """A row; what comes before those of earlier messages are written gets one too, though there may be a lane by then."""
        self._puts += 1
        try:
            keys = self._keeping.keys(self.name, (message,))
            await self._journal.put(self.name, message, keys=keys, remember=self._keeping.dedupe)
        finally:
            self._puts -= 1

    async def close(self) -> None:
        """Unsubscribe; calls of the app under way are cut, their messages stay. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._opening is not None:
            self._opening.cancel()
        if self.lane is not None:
            await self.lane.close()
        if self._unsubscribe is not None:
            await self._unsubscribe()


async def first_contact(parts: Iterable[Part]) -> None:
    """Wait, for a short while, until these components know whether their servers are there: who sees the app ready may publish then."""
    trying = [part.component.attempted() for part in parts if isinstance(part.component, Connects)]
    if not trying:
        return
    try:
        async with asyncio.timeout(FIRST_CONTACT):
            await asyncio.gather(*trying)
    except TimeoutError:
        log.debug("a broker does not answer; its subscriptions begin when it does")


class Memory:
    """What each app wanted at its last start, in files of the data directory: enough to take its messages before it is up.

    kind: "subscriptions" that it told, or "streams" that it opened.
    """

    def __init__(self, folder: Path, kind: str = "subscriptions") -> None:
        self._folder, self._kind = folder, kind

    def _path(self, app_id: str) -> Path:
        return self._folder / f"{self._kind}-{re.sub(r'[^A-Za-z0-9_-]', '_', app_id)}.json"

    def recall(self, app_id: str) -> list[Subscription]:
        """What the app told; nothing when there is no readable memory."""
        try:
            rows = json.loads(self._path(app_id).read_text())
            return [Subscription(row["pubsub"], row["topic"], (Rule("", "/"),), metadata=dict(row["metadata"])) for row in rows]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    async def remember(self, app_id: str, told: Sequence[Subscription]) -> None:
        """Keep the list for the next start; failing to is no reason to stop."""
        rows = [{"pubsub": one.pubsub, "topic": one.topic, "metadata": dict(one.metadata)} for one in told]
        try:
            await asyncio.to_thread(self._write, self._path(app_id), json.dumps(rows))
        except OSError as error:
            log.warning("the subscriptions of app %s are not remembered: %s", app_id, error)

    @staticmethod
    def _write(path: Path, text: str) -> None:
        if path.exists() and path.read_text() == text:
            return
        new = path.with_suffix(".new")
        new.write_text(text)
        new.replace(path)
