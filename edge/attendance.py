"""Which apps are there to take jobs and actor calls, and the two blocks that call them.

Both blocks are made when somebody needs them: an API call, an app that hosts actors, or something pending from before in the file.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.app import ActorConfig, App, Parts
from edge.blocks.policies import AppPolicies
from edge.clock import SystemClock
from edge.component import Context, StateStore
from edge.database import Database
from edge.tasks import Tasks

if TYPE_CHECKING:
    from edge.actor import ActorHost
    from edge.blocks.actors.placement import Placement
    from edge.blocks.actors.service import ActorService
    from edge.blocks.jobs import JobService
    from edge.blocks.metadata import ActorStatus
    from edge.blocks.series import Keeper
    from edge.scheduler import Scheduler
    from edge.telemetry.metrics import Metrics

log = logging.getLogger("dapr.runtime")
TABLE = "actor_state"
CLEAN_UP = 3600.0
HTTP = ("http", "https", "h2c")


class Attendance:
    """The apps of a daemon by presence. ttl: the feature ActorStateTTL is on. data_dir: where the daemon's own file lies.

    cluster: makes the placement of a Dapr cluster, None = the daemon is its own.
    keeper: makes what keeps jobs and reminders, None = the daemon's file does.
    """

    def __init__(
        self,
        parts: Parts,
        database: Database,
        tasks: Tasks,
        data_dir: Path,
        policies: AppPolicies,
        *,
        ttl: bool,
        cluster: Callable[[], Placement] | None = None,
        keeper: Callable[[], Keeper] | None = None,
    ) -> None:
        self._parts, self._database, self._tasks, self._data_dir, self._ttl = parts, database, tasks, data_dir, ttl
        self._policies, self._cluster, self._keeper = policies, cluster, keeper
        self._clock = SystemClock()
        self._made: Scheduler | None = None
        self._configs: dict[str, Mapping[str, Any]] = {}
        self._present: dict[str, App] = {}
        self._jobs: JobService | None = None
        self._actors: ActorService | None = None
        self._store: StateStore | None = None
        self._opening = asyncio.Lock()

    @property
    def _scheduler(self) -> Scheduler:
        if self._made is None:
            from edge.scheduler import Scheduler  # when an app is there, not before the API is

            self._made = Scheduler(self._database, self._tasks, self._clock)
        return self._made

    def _series(self) -> Keeper:
        from edge.blocks.series import Series  # with the block that needs it

        return Series(self._scheduler) if self._keeper is None else self._keeper()

    def jobs(self) -> JobService:
        """The jobs block; from its making on, jobs of the apps that are present run."""
        if self._jobs is None:
            from edge.blocks.jobs import JobService  # when somebody needs it

            self._jobs = JobService(self._series(), self._clock)
            for app in self._present.values():
                self._jobs.attach(app)
        return self._jobs

    def actors(self) -> ActorService:
        """The actor block; it knows the apps that are present."""
        if self._actors is None:
            from edge.blocks.actors.service import ActorService  # when somebody needs it
            from edge.blocks.actors.state import ActorState

            state = ActorState(self._parts, self._embedded, ttl=self._ttl)
            placement = None if self._cluster is None else self._cluster()
            self._actors = ActorService(self._tasks, self._clock, self._series(), state, placement, policies=self._policies)
            for app in self._present.values():
                self._tasks.start(f"actors[{app.id}]", self._register(self._actors, app))
        return self._actors

    def status(self, app: App) -> ActorStatus:
        """For the metadata API."""
        from edge.blocks.metadata import ActorStatus

        if self._actors is not None:
            return self._actors.status(app)
        was_there = app.channel is None or app.id in self._present or app.id in self._configs
        return ActorStatus() if was_there else ActorStatus("INITIALIZING", placement="")

    def measure(self, app: App, metrics: Metrics) -> None:
        """Set the gauges of the app's actors, if there are any."""
        if self._actors is not None:
            self._actors.measure(app, metrics)

    async def learned(self, app: App, config: ActorConfig) -> None:
        """What the app's /dapr/config says."""
        self._configs[app.id] = config.raw

    async def turned(self, app: App, healthy: bool) -> None:
        """The app came up, went away or came back."""
        if healthy:
            config = self._configs.get(app.id, {})
            hosts = any(key.lower() == "entities" and value for key, value in config.items())
            actors = self.actors() if self._actors is not None or hosts else None
            jobs = self.jobs() if self._jobs is not None or self._keeper is not None or self._scheduler.pending() else None
            self._present[app.id] = app
            if jobs is not None:
                jobs.attach(app)
            if actors is not None:
                await self._register(actors, app)
            return
        self._present.pop(app.id, None)
        if self._jobs is not None:
            await self._jobs.detach(app)
        if self._actors is not None and app.protocol in HTTP:
            await self._actors.unregister(app)

    async def drain(self) -> None:
        """Deactivate all actors, let jobs end that are with an app; nothing fires any more."""
        work: list[Awaitable[None]] = []
        if self._jobs is not None:
            work += [self._jobs.detach(app, 2.0) for app in self._present.values()]
        if self._actors is not None:
            work.append(self._actors.close())
        await asyncio.gather(*work)

    async def _register(self, actors: ActorService, app: App) -> None:
        await actors.register(app, self._host(app), self._configs.get(app.id, {}))

    @staticmethod
    def _host(app: App) -> ActorHost | None:
        if app.channel is None or app.protocol not in HTTP:
            return None
        from edge.channel.actor_http import HttpActors  # chosen by protocol

        return HttpActors(app.channel)

    async def _embedded(self) -> StateStore:
        """The actor store for those who configured none: a table in the daemon's own file."""
        async with self._opening:
            if self._store is None:
                from edge import registry

                kind: Any = registry.load("state.sqlite")
                path = str(self._data_dir / "edged.db")
                about = f"{TABLE}_metadata"
                fields = kind.Metadata(connection_string=path, table_name=TABLE, metadata_table_name=about, cleanup_interval=CLEAN_UP)
                store: StateStore = kind(fields, Context("edged", (), "default", self._data_dir, self._tasks, self._own))
                await store.open()
                self._store = store
            return self._store

    async def _own(self) -> Database:
        return self._database
