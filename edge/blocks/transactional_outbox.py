"""Dapr's transactional outbox: what a state transaction changes is published if and only if it is committed.

Where the state lies in edged's own file, transaction and messages are one commit: the messages are rows of the journal. Else Dapr's
protocol: an intent for each key goes to the internal topic, the transaction writes a marker for each, and whoever gets the intent
publishes it once the marker is there (edge/blocks/outbox_relay.py). Both reach subscribers at least once.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from edge import errors
from edge.app import App, Part, Parts
from edge.blocks.gate import Gate
from edge.blocks.inbox_lane import HOLD, LaneSettings
from edge.blocks.inbox_pump import SingleLane
from edge.blocks.intake import Intake
from edge.blocks.outbox_event import Operation, OutboxConfig, Told, split, tell, trace_of
from edge.blocks.outbox_relay import Relay, Teller
from edge.blocks.pubsub import PubSubService, wire_topic
from edge.blocks.subscriptions import LOCAL_HOLD
from edge.component import TransactsIn
from edge.database import Database
from edge.errors import ComponentError, EdgeError
from edge.events import LocalTime
from edge.journal import Journal
from edge.model import Message, SetItem
from edge.tasks import Tasks

Run = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


class TransactionalOutbox:
    """The outboxes of all stores of all apps."""

    def __init__(self, parts: Parts, pubsub: PubSubService, journal: Journal, database: Database, tasks: Tasks) -> None:
        self._parts, self._pubsub, self._journal, self._database, self._tasks = parts, pubsub, journal, database, tasks
        self._now = LocalTime()
        self._relays: dict[tuple[str, str], tuple[Part, Relay, Intake]] = {}
        self._tellers: dict[tuple[str, str], tuple[Part, OutboxConfig, SingleLane]] = {}

    def enabled(self, part: Part) -> bool:
        """The store's metadata name a pub/sub component and a topic."""
        return OutboxConfig.of(part) is not None

    # --- a transaction
    async def transact(
        self, app: App, part: Part, operations: Sequence[Operation], metadata: Mapping[str, str], trace: Mapping[str, str], run: Run
    ) -> None:
        """Commit the operations and what is told of them. operations: stored keys, values as stored. run: under the store's policy.

        Raises EdgeError PUBLISH_OUTBOX, ComponentError (the store's).
        """
        config = OutboxConfig.of(part)
        assert config is not None
        stored, projections = split(operations)
        told = [tell(app, op, projections.get(op.key), trace_of(trace), self._now) for op in stored if isinstance(op, SetItem)]
        if not told:
            await run(lambda: part.component.transact(stored, metadata))
            return
        if self._in_own_file(part.component):
            await run(lambda: self._together(app, part, config, stored, told))
            return
        await self._by_intents(app, part, config, stored, told, metadata, run)

    def _in_own_file(self, component: Any) -> bool:
        return isinstance(component, TransactsIn) and component.unit_database is self._database

    async def _together(self, app: App, part: Part, config: OutboxConfig, stored: Sequence[Operation], told: Sequence[Told]) -> None:
        """One commit."""
        target = self._parts.find("pubsub", config.pubsub, app)
        if target is None:
            raise self._unpublished(app, f"pubsub '{config.pubsub}' not found")
        topic = wire_topic(app, target, config.topic)
        lane = f"out/{target.name}/{topic}" if target.component.journal_out else self._teller(app, part, config)
        messages = [Message(topic, one.text(config.pubsub, config.topic), id=one.marker) for one in told]

        def unit(tx: sqlite3.Connection) -> None:
            part.component.transact_in(tx, stored)
            if messages:
                self._journal.put_in(tx, lane, *messages)

        try:
            await self._database.write(unit)
        except sqlite3.Error as error:
            raise ComponentError(str(error)) from error
        if target.component.journal_out:
            self._pubsub.wake(target)

    def _teller(self, app: App, part: Part, config: OutboxConfig) -> str:
        """The journal's lane from which a component without a way out of its own is told."""
        key, name = (app.id, part.name), f"outbox/{app.id}/{part.name}"
        found = self._tellers.get(key)
        if found is None or found[0] is not part:
            gate = Gate(app, None, self._tasks)
            gate.start()
            lane = SingleLane(LaneSettings(name, "journal"), Teller(app, config, self._pubsub), self._journal, gate, self._tasks)
            self._tellers[key] = (part, config, lane)
        return name

    async def _by_intents(
        self,
        app: App,
        part: Part,
        config: OutboxConfig,
        stored: Sequence[Operation],
        told: Sequence[Told],
        metadata: Mapping[str, str],
        run: Run,
    ) -> None:
        relay = await self._relay(app, part, config)
        for one in told:
            relay.expect(one.marker)
        try:
            await self._publish_intents(app, config, told)
            markers = [SetItem(one.marker, b'"0"', True) for one in told]
            await run(lambda: part.component.transact([*stored, *markers], metadata))
        except (EdgeError, ComponentError) as error:
            if not isinstance(error, errors.Unavailable):  # that may have been committed all the same
                for one in told:
                    relay.abort(one.marker)
            raise
        finally:
            for one in told:
                relay.settle(one.marker)

    async def _publish_intents(self, app: App, config: OutboxConfig, told: Sequence[Told]) -> None:
        """Raises EdgeError PUBLISH_OUTBOX."""
        topic = config.internal_topic(app)
        try:
            for one in told:
                message = Message("", one.text(config.internal, ""), id=one.marker)
                await self._pubsub.publish_own(app, config.internal, topic, message)
        except (EdgeError, ComponentError) as error:
            raise self._unpublished(app, error) from error

    @staticmethod
    def _unpublished(app: App, error: object) -> EdgeError:
        info = {"appID": app.id, "error": str(error)}
        return EdgeError(errors.PUBLISH_OUTBOX, info=info, error=error)

    # --- intents
    async def start(self, app: App) -> None:
        """Take the intents of the app's stores from their topics: those of before a restart as well."""
        for part in self._parts.of("state", app):
            config = OutboxConfig.of(part)
            if config is None or self._parts.find("pubsub", config.internal, app) is None:
                continue
            if self._in_own_file(part.component):
                self._teller(app, part, config)
            else:
                await self._relay(app, part, config)

    async def stop(self, app: App) -> None:
        """Take nothing more. Idempotent."""
        gone = [key for key in self._relays if key[0] == app.id]
        tellers = [key for key in self._tellers if key[0] == app.id]
        await asyncio.gather(*(self._relays.pop(key)[2].close() for key in gone), *(self._tellers.pop(key)[2].close() for key in tellers))

    async def release(self, part: Part) -> None:
        """A state store or a pub/sub component goes: its relays end, their intents stay."""
        for key, (store, _, intake) in list(self._relays.items()):
            if store is part or intake.part is part:
                del self._relays[key]
                await intake.close()

        for key, (store, config, lane) in list(self._tellers.items()):
            if store is part or (part.kind == "pubsub" and part.name == config.pubsub):
                del self._tellers[key]
                await lane.close()

    async def _relay(self, app: App, part: Part, config: OutboxConfig) -> Relay:
        """The one of this store, made at its first need. Raises EdgeError PUBLISH_OUTBOX when its pub/sub is not there."""
        key = (app.id, part.name)
        found = self._relays.get(key)
        if found is not None and found[0] is part:
            return found[1]
        internal = self._parts.find("pubsub", config.internal, app)
        if internal is None:
            raise self._unpublished(app, f"pubsub '{config.internal}' not found")
        relay = Relay(app, part, config, self._pubsub)
        name = f"in/{app.id}/{internal.name}/{config.internal_topic(app)}/{part.name}"
        topic = wire_topic(app, internal, config.internal_topic(app))
        intake = Intake(name, internal, topic, {}, app.id, self._journal, self._tasks)
        gate = Gate(app, None, self._tasks)
        gate.start()
        hold = HOLD if internal.component.journal_out else LOCAL_HOLD
        intake.attach(SingleLane(LaneSettings(name, hold=hold), relay, self._journal, gate, self._tasks))
        self._relays[key] = (part, relay, intake)
        await intake.open()
        if found is not None:
            await found[2].close()
        return relay
