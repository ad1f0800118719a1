"""Dapr's outbox, the way of an intent: from the internal topic, once its transaction was committed, to the topic of the operator.

An intent whose marker is in the store is published and the marker removed; one without marker is looked at again, first soon, then
rarely. Source: dapr pkg/runtime/pubsub/outbox.go @1.18.3; differs: daprd waits a second before the first look, and looks for 10 s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from edge import gojson
from edge.app import App, Part
from edge.blocks.outbox_event import OutboxConfig
from edge.blocks.outcome import DELIVERED, End, Outcome
from edge.blocks.pubsub import PubSubService
from edge.errors import ComponentError, EdgeError
from edge.goscanner import JsonError
from edge.model import DeleteItem, Message

log = logging.getLogger("dapr.outbox")
FIRST, LONGEST = 0.25, 30.0
PATIENCE = 10.0
FORGOTTEN = 3600.0
MOST_ABORTED = 10_000


class Relay:
    """Carries the intents of one store of one app. A `Courier` (edge/blocks/outcome.py)."""

    def __init__(self, app: App, part: Part, config: OutboxConfig, pubsub: PubSubService) -> None:
        self._app, self._part, self._config, self._pubsub = app, part, config, pubsub
        self._since: dict[str, float] = {}
        self._aborted: dict[str, None] = {}
        self._pending: dict[str, asyncio.Event] = {}

    def expect(self, marker: str) -> None:
        """A transaction with this marker is under way here: its intent waits for the end of it."""
        self._pending[marker] = asyncio.Event()

    def settle(self, marker: str) -> None:
        """It ended, whichever way."""
        if (pending := self._pending.pop(marker, None)) is not None:
            pending.set()

    def abort(self, marker: str) -> None:
        """The transaction failed here: its intent ends."""
        if len(self._aborted) >= MOST_ABORTED:
            self._aborted.pop(next(iter(self._aborted)))
        self._aborted[marker] = None

    async def attempt(self, message: Message, failures: int) -> Outcome:
        try:
            event = gojson.parse_object(message.data)
        except JsonError as error:
            return Outcome(End.DROPPED, f"no event: {error}")
        marker = str(event.get("id", ""))
        if (pending := self._pending.get(marker)) is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(pending.wait(), PATIENCE)
        if marker in self._aborted:
            del self._aborted[marker]
            return Outcome(End.DROPPED, "not-committed")
        try:
            if await self._part.component.get(marker) is None:
                return self._missing(marker, failures)
            await self._publish(event)
            await self._part.component.delete(DeleteItem(marker))
        except (ComponentError, EdgeError) as error:
            log.warning("failed to publish outbox topic to pubsub %s: %s, trying again", self._config.pubsub, error)
            return Outcome(End.AGAIN, str(error), _pause(failures))
        self._since.pop(marker, None)
        return DELIVERED

    async def _publish(self, event: dict[str, object]) -> None:
        """The scopes of apps are no matter here: the operator named the topic."""
        event |= {"topic": self._config.topic, "pubsubname": self._config.pubsub}
        content_type = str(event.get("datacontenttype", ""))
        message = Message("", gojson.encode(event), content_type=content_type, id=str(event["id"]))
        await self._pubsub.publish_own(self._app, self._config.pubsub, self._config.topic, message)

    def _missing(self, marker: str, failures: int) -> Outcome:
        """Not committed, or not yet."""
        waited = time.monotonic() - self._since.setdefault(marker, time.monotonic())
        if waited < PATIENCE:
            return Outcome(End.AGAIN, "outbox state not found", min(_pause(failures), 1.0))
        if self._config.discard or waited > FORGOTTEN:
            self._since.pop(marker, None)
            log.error("failed to publish outbox topic to pubsub %s: outbox state not found, discarding message", self._config.pubsub)
            return Outcome(End.DROPPED, "not-committed")
        return Outcome(End.AGAIN, "outbox state not found", _pause(failures))


class Teller:
    """Publishes what a transaction in edged's own file left in the journal. A `Courier`."""

    def __init__(self, app: App, config: OutboxConfig, pubsub: PubSubService) -> None:
        self._app, self._config, self._pubsub = app, config, pubsub

    async def attempt(self, message: Message, failures: int) -> Outcome:
        try:
            await self._pubsub.publish_own(self._app, self._config.pubsub, self._config.topic, message)
        except (ComponentError, EdgeError) as error:
            log.warning("failed to publish outbox topic to pubsub %s: %s, trying again", self._config.pubsub, error)
            return Outcome(End.AGAIN, str(error), _pause(failures))
        return DELIVERED


def _pause(failures: int) -> float:
    return min(FIRST * 2.0 ** min(failures, 16), LONGEST)
