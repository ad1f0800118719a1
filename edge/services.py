"""The building blocks of one daemon, wired to its components. What no app asked for yet is made at its first use."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge.app import ActorConfig, App, Part, Parts
from edge.attendance import Attendance
from edge.blocks import Blocks
from edge.blocks.bindings import InputBindings, OutputBindings
from edge.blocks.gate import Gates
from edge.blocks.health import HealthService
from edge.blocks.intake import Memory
from edge.blocks.invoke import InvokeService
from edge.blocks.metadata import MetadataService, Named, Sources
from edge.blocks.metered import Observing, meter, meter_configuration, meter_conversation, meter_crypto
from edge.blocks.outbox_pump import OutboxPump
from edge.blocks.policies import AppPolicies
from edge.blocks.pubsub import PubSubService
from edge.blocks.secrets import SecretService
from edge.blocks.state import StateService
from edge.blocks.subscriptions import SubscriptionManager
from edge.blocks.transactional_outbox import TransactionalOutbox
from edge.clustering import cluster_of, keeper_of
from edge.component import NOT_YET, Healthy, Keeps
from edge.config.plan import Plan
from edge.database import Database
from edge.datadir import DataDir
from edge.journal import Journal
from edge.mesh.sidecars import Mesh
from edge.meshing import Endpoints, make_mesh
from edge.settings import DaemonSettings
from edge.tasks import Tasks

if TYPE_CHECKING:
    from edge.blocks.workflow.service import WorkflowService
    from edge.telemetry.metrics import Metrics

log = logging.getLogger("dapr.runtime")

Learned = Callable[[App, ActorConfig], Awaitable[None]]
Turned = Callable[[App, bool], Awaitable[None]]


class OnDemand:
    """Stands for a block until somebody uses it. make: gives the block, once."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._block: Any = None

    @property
    def made(self) -> bool:
        """Somebody used it."""
        return self._block is not None

    def __getattr__(self, name: str) -> Any:
        if self._block is None:
            self._block = self._make()
        return getattr(self._block, name)


@dataclass(slots=True)
class Services:
    """blocks: for the fronts. learned, turned: who wants to know what apps say and how they are."""

    blocks: Blocks
    subscriptions: SubscriptionManager
    inputs: InputBindings
    tasks: Tasks
    attendance: Attendance
    intents: TransactionalOutbox
    outbox: OutboxPump
    mesh: Mesh
    apps: list[App] = field(default_factory=list)
    learned: list[Learned] = field(default_factory=list)
    turned: list[Turned] = field(default_factory=list)
    workflow: WorkflowService | None = None

    def add(self, app: App) -> None:
        """An app is hosted."""
        self.apps.append(app)

    def send_backlog(self, parts: Parts) -> None:
        """What waited in the journal before this start goes out; the subscriptions that are known are made."""
        self.outbox.send_backlog(part for kind in ("pubsub", "bindings") for part in parts.all(kind))

    async def release(self, part: Part) -> None:
        """A component is about to be closed or exchanged: nothing uses it any more, what waits for it stays in the journal."""
        if part.kind == "pubsub":
            await self.subscriptions.release(part)
        if part.kind == "bindings":
            await self.inputs.release(part)
        if part.kind in ("pubsub", "bindings"):
            await self.outbox.remove(part)
        await self.intents.release(part)
        self.blocks.pubsub.forget()

    async def adopt(self, part: Part, apps: Sequence[App]) -> None:
        """A component was opened: what wants it gets it."""
        self.blocks.pubsub.forget()
        for app in apps:
            if part.kind == "pubsub":
                await self.subscriptions.renew(app)
            if part.kind == "bindings" and app.healthy:
                await self.inputs.start(app)
            if part.kind in ("pubsub", "state"):
                await self.intents.start(app)
        self.outbox.send_backlog((part,))
        if part.kind == "configuration" and self.blocks.configuration is not None:
            await self.blocks.configuration.renew(part)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, plan: Plan, parts: Parts, database: Database, journal: Journal, tasks: Tasks, settings: DaemonSettings, data: DataDir
    ) -> AsyncIterator[Services]:
        """All blocks; pumps start here and stop with the block."""
        gates = Gates(tasks)
        policies = AppPolicies(plan.rules, lambda app: Observing(app, plan.resiliency_name(app.id)))
        apps: list[App] = []
        mesh = make_mesh(plan, database, tasks, settings, data, lambda: apps)
        async with OutboxPump(journal, tasks, gates.pressure) as outbox:
            pubsub = PubSubService(parts, outbox, policies.outbound("pubsub"))
            outputs = OutputBindings(parts, outbox, policies.outbound("bindings"))
            inbound = policies.inbound("pubsub")
            memories = Memory(data.path), Memory(data.path, "streams")
            subscriptions = SubscriptionManager(parts, journal, tasks, gates, pubsub.forward, inbound, *memories)
            timeout = settings.apps[0].binding_options_timeout if settings.apps else 3.0
            inputs = InputBindings(parts, outputs, journal, tasks, gates, policies.inbound("bindings"), timeout=timeout)
            scopes = {scope.store_name: scope for scope in plan.configuration.secrets.scopes}
            intents = TransactionalOutbox(parts, pubsub, journal, database, tasks)
            blocks = Blocks(
                state=StateService(parts, policies.outbound("state"), intents),
                pubsub=pubsub,
                secrets=SecretService(parts, lambda app, store: scopes.get(store), policies.outbound("secretstores")),
                invoke=InvokeService(policies, Endpoints(plan, parts, settings), mesh),
                metadata=MetadataService(parts, features(plan)),
                health=HealthService(),
                bindings=outputs,
                subscriptions=subscriptions,
            )
            cluster, keeper = cluster_of(settings, mesh, tasks), keeper_of(settings, tasks)
            attendance = Attendance(
                parts, database, tasks, data.path, policies, ttl="ActorStateTTL" in features(plan), cluster=cluster, keeper=keeper
            )
            services = cls(blocks, subscriptions, inputs, tasks, attendance, intents, outbox, mesh, apps)
            services.learned.append(attendance.learned)
            services.turned.append(attendance.turned)
            blocks.configuration, blocks.lock, blocks.crypto = services.stores(parts, policies)
            blocks.conversation = services.conversation(parts, policies)
            blocks.jobs, blocks.actors = OnDemand(attendance.jobs), OnDemand(attendance.actors)
            blocks.workflow = OnDemand(lambda: services.workflows(database, plan))
            blocks.metadata.sources = Sources(actors=attendance.status, workers=services.workers, named=lambda app: named(plan))
            blocks.metadata.sources.notes = lambda app: notes(app, journal, database, parts, mesh)
            meter(blocks)
            try:
                yield services
            finally:
                await mesh.close()
                await blocks.invoke.close()
                if blocks.configuration.made:
                    await blocks.configuration.close()

    @staticmethod
    def stores(parts: Parts, policies: AppPolicies) -> tuple[OnDemand, OnDemand, OnDemand]:
        """Configuration, locks and cryptography, which few apps use."""

        def configuration() -> Any:
            from edge.blocks.configuration import ConfigurationService

            return meter_configuration(ConfigurationService(parts, policies.outbound("configuration"), policies.inbound("configuration")))

        def lock() -> Any:
            from edge.blocks.lock import LockService

            return LockService(parts, policies.outbound("lock"))

        def crypto() -> Any:
            from edge.blocks.crypto import CryptoService

            return meter_crypto(CryptoService(parts, policies.outbound("crypto")))

        return OnDemand(configuration), OnDemand(lock), OnDemand(crypto)

    @staticmethod
    def conversation(parts: Parts, policies: AppPolicies) -> OnDemand:
        """The conversation block; it comes with the first call."""

        def make() -> Any:
            from edge.blocks.conversation import ConversationService

            return meter_conversation(ConversationService(parts, policies.outbound("conversation")))

        return OnDemand(make)

    def workflows(self, database: Database, plan: Plan) -> WorkflowService:
        """The workflow block; it comes with the first call, protobuf with it."""
        if self.workflow is None:
            from edge.blocks.workflow.access import access_of
            from edge.blocks.workflow.engine import Engine
            from edge.blocks.workflow.limits import limits_of
            from edge.blocks.workflow.manager import Manager
            from edge.blocks.workflow.measured import meter_manager
            from edge.blocks.workflow.service import WorkflowService

            def metrics_of(app_id: str) -> Metrics | None:
                return next((app.metrics for app in self.apps if app.id == app_id), None)

            def make() -> Manager:
                limits, access = limits_of(plan.configuration.workflow), access_of(plan.others)
                manager = Manager(Engine(database, self.tasks, limits, metrics_of, access))
                if any(app.metrics is not None for app in self.apps):
                    meter_manager(manager, metrics_of)
                return manager

            self.workflow = WorkflowService(make)
        return self.workflow

    def workers(self, app: App) -> int:
        """Workflow workers connected for an app."""
        return self.workflow.manager.engine.workers(app.id) if self.workflow is not None and self.workflow.started else 0


def notes(app: App, journal: Journal, database: Database, parts: Parts, mesh: Mesh) -> dict[str, str]:
    """What the metadata API adds to `extended`: lanes where something waits or was given up, components that cannot work, a rescue."""
    kept = [lane for part in parts.all("pubsub") if isinstance(part.component, Keeps) for lane in part.component.kept()]
    lanes = {
        one.lane: {
            "accepted": one.accepted,
            "delivered": one.delivered,
            "pending": one.pending,
            "pendingBytes": one.pending_bytes,
            "expired": one.expired,
            "dead": one.dead,
            "dropped": one.dropped,
        }
        for one in (*journal.stats(), *kept)
        if one.pending or one.dropped or one.expired or one.dead
    }
    found = {"edgedJournal": json.dumps(lanes, separators=(",", ":"))} if lanes else {}
    if ailing := ailments(parts.visible(app), mesh.names.unhealthy()):
        found["edgedUnhealthy"] = json.dumps(ailing, separators=(",", ":"))
    return found | ({"edgedRescued": str(database.rescued)} if database.rescued is not None else {})


def ailments(parts: Sequence[Part], names: Mapping[str, str]) -> dict[str, str]:
    """Why components cannot work now, by name; one that has not tried yet is not in it."""
    asked = {**names, **{part.name: part.component.unhealthy() for part in parts if isinstance(part.component, Healthy)}}
    return {name: why for name, why in asked.items() if why and not why.endswith(NOT_YET)}


def features(plan: Plan) -> list[str]:
    """Names of enabled features, as Dapr lists them."""
    return [f for f in plan.configuration.enabled_features]


def named(plan: Plan) -> Named:
    """Names of resources that the metadata API lists."""
    return Named(
        http_endpoints=tuple(e.name for e in plan.http_endpoints),
        resiliencies=tuple(r.name for r in plan.resiliencies),
        mcp_servers=tuple(o.name for o in plan.others if o.kind == "MCPServer"),
        workflow_access_policies=tuple(o.name for o in plan.others if o.kind == "WorkflowAccessPolicy"),
    )
