"""Publish, lanes, subscriptions and bindings put together on a real database, with real components and a real HTTP app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.app import App, Part, Parts
from edge.blocks.bindings import InputBindings, OutputBindings
from edge.blocks.gate import Gates
from edge.blocks.intake import Memory
from edge.blocks.outbox_pump import OutboxPump
from edge.blocks.pubsub import PublishOptions, PubSubService
from edge.blocks.retries import PolicyOf, no_policy
from edge.blocks.subscriptions import SubscriptionManager
from edge.channel.http import HttpChannel
from edge.component import Context
from edge.database import Database
from edge.journal import Journal
from edge.kinds import fields_of
from edge.model import Subscription
from edge.registry import load
from edge.spec import parse
from edge.tasks import Tasks
from tests.apps import Answer, ScriptedApp

JSON = "application/json"


@dataclass
class Rig:
    """One daemon without fronts. server: the app; `app.channel` calls it."""

    folder: Path
    server: ScriptedApp
    app: App
    parts: Parts
    journal: Journal
    tasks: Tasks
    outbox: OutboxPump
    pubsub: PubSubService
    gates: Gates
    subscriptions: SubscriptionManager
    outputs: OutputBindings
    inputs: InputBindings
    database: Database
    opened: list[Part] = field(default_factory=list)

    async def publish(self, name: str, topic: str, data: bytes = b'{"n":1}', content_type: str = JSON, **metadata: str) -> None:
        await self.pubsub.publish(self.app, name, topic, data, PublishOptions(content_type, metadata))

    async def start(self, *declared: Subscription) -> None:
        """As the host does when the app is up."""
        await self.subscriptions.prepare(self.app, declared)
        await self.subscriptions.start(self.app)
        await self.inputs.start(self.app)

    def pending(self, prefix: str = "") -> int:
        """Rows that are not delivered yet."""
        return sum(lane.pending for lane in self.journal.stats(prefix))


async def open_part(
    folder: Path, tasks: Tasks, shared: Database, name: str, type_: str, app_ids: Sequence[str] = ("app",), **raw: str
) -> Part:
    """An open component, as the daemon opens it. shared: the daemon's own file."""
    class_ = load(type_, "v1")
    metadata, problems = parse(class_.Metadata, raw, fields_of(type_.partition(".")[0]))
    assert not problems, problems

    async def database() -> Database:
        return shared

    context = Context(name, tuple(app_ids), "default", folder, tasks, database)
    component = class_(metadata, context)
    await component.open()
    return Part(name, type_, "v1", component, {key.lower(): value for key, value in raw.items()})


@asynccontextmanager
async def rig(
    folder: Path,
    components: Mapping[str, tuple[str, Mapping[str, str]]],
    subscriptions: Sequence[Mapping[str, Any]] = (),
    answers: Mapping[Any, Any] | None = None,
    *,
    default: Any = None,
    policy_of: PolicyOf = no_policy,
    server: ScriptedApp | None = None,
    app_id: str = "app",
) -> AsyncIterator[Rig]:
    """components: name → (type, metadata). subscriptions: what the app answers to GET /dapr/subscribe."""
    async with AsyncExitStack() as up:
        if server is None:
            server = await up.enter_async_context(ScriptedApp(default=default or Answer(200)))
        server.answers = {**(answers or {}), ("GET", "/dapr/subscribe"): Answer.json(list(subscriptions))}
        app = App(app_id, port=server.port)
        app.channel = HttpChannel(app)
        up.push_async_callback(app.channel.close)
        database = await up.enter_async_context(Database.open(folder / "edged.db"))
        journal = await up.enter_async_context(Journal.open(database))
        opening = await up.enter_async_context(Tasks("components"))
        opened = [await open_part(folder, opening, database, name, type_, (app_id,), **raw) for name, (type_, raw) in components.items()]
        for part in opened:
            up.push_async_callback(part.component.close)
        parts = Parts(opened)
        tasks = await up.enter_async_context(Tasks("rig"))
        outbox = await up.enter_async_context(OutboxPump(journal, tasks))
        outbox.send_backlog(opened)
        pubsub = PubSubService(parts, outbox)
        gates = Gates(tasks)
        manager = SubscriptionManager(parts, journal, tasks, gates, pubsub.forward, policy_of, Memory(folder), Memory(folder, "streams"))
        outputs = OutputBindings(parts, outbox)
        inputs = InputBindings(parts, outputs, journal, tasks, gates, policy_of, timeout=0.5)
        made = Rig(folder, server, app, parts, journal, tasks, outbox, pubsub, gates, manager, outputs, inputs, database, opened)
        up.push_async_callback(inputs.stop, app)
        up.push_async_callback(manager.stop, app)
        yield made
