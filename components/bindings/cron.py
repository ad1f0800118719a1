"""`bindings.cron`: an empty event for the app at each time of a schedule.

Source: components-contrib bindings/cron @1.18.4, dapr/kit cron; differs: what was due while edged or the app was away can be caught up.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from components.bindings._ticks import go_time, local_zone, read_schedule, ticks
from edge.component import Context, DeliverEvent, Feature, Unsubscribe
from edge.cron import Every, Schedule
from edge.errors import Closed, ComponentError
from edge.model import BindingEvent
from edge.record import record
from edge.spec import meta
from edge.tasks import Tasks

if TYPE_CHECKING:
    from edge.database import Database

log = logging.getLogger("dapr.contrib")
TABLE = "CREATE TABLE cron(binding TEXT PRIMARY KEY, schedule TEXT NOT NULL, last REAL NOT NULL);"
MOST_MISSED = 1000
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
MOST_LOOKED_AT = 1_000_000


@record
class Fields:
    """Metadata of the component."""

    schedule: str = meta(
        doc="Five fields, or six with seconds first, `@daily` and the like, or `@every <duration>`; `TZ=<zone>` in front. Local time.",
        missing="schedule not set",
        example="@every 15s",
    )
    catch_up: str = meta(
        "none",
        doc="What was due while nobody could fire it: nothing, one event for all of it, or an event for each (at most 1000). Not in daprd.",
        choices=("none", "once", "all"),
    )


class Binding:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.INPUT_BINDING})
    journal_in: ClassVar[bool] = False

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._context = context
        self._schedule: Schedule
        self._database: Database | None = None
        self._tasks: Tasks | None = None

    async def open(self) -> None:
        """Raises Invalid for a schedule that cannot be read."""
        self._schedule = read_schedule(self.metadata.schedule)
        if self.metadata.catch_up != "none":
            self._database = await self._context.database()
            await self._database.migrate("cron", [TABLE])
        self._tasks = self._context.tasks

    async def close(self) -> None:
        self._tasks = None

    async def read(self, deliver: DeliverEvent) -> Unsubscribe:
        """Fire from now on, and first what was missed. Runs may overlap, failures of the app are ignored, both as in daprd."""
        if self._tasks is None:
            raise Closed(f"binding {self._context.name} is closed")
        began = time.time()
        task = self._tasks.start(f"cron[{self._context.name}]", self._run(deliver, began))

        async def stop() -> None:
            task.cancel()

        return stop

    async def _run(self, deliver: DeliverEvent, began: float) -> None:
        since = began if self._database is None else await self._catch_up(deliver, began)
        async for due in ticks(self._schedule, since):
            if self._tasks is None or self._tasks.closed:
                return
            self._tasks.start(f"cron-fire[{self._context.name}]", self._fire_and_keep(deliver, due))

    async def _catch_up(self, deliver: DeliverEvent, began: float) -> float:
        """Fire what was missed until the app has taken it; where the schedule goes on from."""
        last = self._last()
        if last is None:
            await self._remember(began)
            return began
        while missed := self._missed(last, time.time()):
            for due in missed:
                await self._insist(deliver, due)
                await self._remember(due)
            last = missed[-1]
        return last if isinstance(self._schedule, Every) else max(last, began)

    async def _insist(self, deliver: DeliverEvent, due: float) -> None:
        pause = FIRST_PAUSE
        while not await self._fire(deliver, {"missedTimeUTC": go_time(due)}):
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _missed(self, last: float | None, until: float) -> list[float]:
        """The due times after `last`, as far as the policy wants them."""
        if last is None:
            return []
        found: list[float] = []
        at = last
        for _ in range(MOST_LOOKED_AT):
            due = self._schedule.next(at)
            if due is None or due > until:
                break
            found.append(at := due)
            if len(found) > MOST_MISSED:
                del found[0]
        return found[-1:] if self.metadata.catch_up == "once" else found

    async def _fire_and_keep(self, deliver: DeliverEvent, due: float) -> None:
        if await self._fire(deliver, {}) and self._database is not None:
            await self._remember(due)

    async def _fire(self, deliver: DeliverEvent, more: Mapping[str, str]) -> bool:
        """One event; whether the app took it."""
        metadata = {"timeZone": local_zone()[1], "readTimeUTC": go_time(time.time()), **more}
        try:
            await deliver(BindingEvent(b"", metadata))
        except ComponentError as error:
            log.debug("binding %s: the app did not take an event: %s", self._context.name, error)
            return False
        return True

    def _last(self) -> float | None:
        assert self._database is not None
        sql = "SELECT last FROM cron WHERE binding=? AND schedule=?"
        row = self._database.row_now(sql, self._context.name, self.metadata.schedule)
        return None if row is None else float(row[0])

    async def _remember(self, due: float) -> None:
        assert self._database is not None
        row = (self._context.name, self.metadata.schedule, due)
        sql = (
            "INSERT INTO cron(binding, schedule, last) VALUES (?,?,?) ON CONFLICT(binding) DO UPDATE SET"
            " last=CASE WHEN schedule=excluded.schedule THEN max(last, excluded.last) ELSE excluded.last END, schedule=excluded.schedule"
        )

        def unit(tx: sqlite3.Connection) -> None:
            tx.execute(sql, row)

        await self._database.write(unit)
