"""Actor reminders: rows in the daemon's file, so they outlive the process; each fires late once rather than never.

They are kept per namespace and type, and wait while no app hosts the type. Source: Dapr pkg/actors/internal/scheduler @1.18.3.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from edge.actor import ActorFailed, ActorTick, HostGone
from edge.app import AppUnavailable
from edge.blocks.names import ANY, check_job
from edge.blocks.schedule import Policy, make
from edge.blocks.series import Item, Keeper, Outcome
from edge.clock import Clock
from edge.durations import format_go_duration, parse_duration
from edge.record import record
from edge.scheduler import Detach

log = logging.getLogger("dapr.runtime.actors.reminders")
SEPARATOR = "\x1f"
UNKNOWN = "rpc error: code = Unknown desc = "
Deliver = Callable[[str, ActorTick], Awaitable[None]]


@record
class ReminderRequest:
    """A reminder to be set; texts as the API has them, "" = not given. data: JSON text. policy: None = 1 s, 3 times."""

    type: str
    id: str
    name: str
    due_time: str = ""
    period: str = ""
    ttl: str = ""
    data: bytes | None = None
    overwrite: bool = True
    policy: Policy | None = None


@record
class Reminder:
    """A set reminder as the API shows it.

    period: in the scheduler's form (`@every 1h0m0s`), "" = once. ttl: only one that was given as a point in time.
    """

    type: str
    id: str
    name: str
    due_time: str = ""
    period: str = ""
    data: bytes | None = None
    ttl: str = ""


class Reminders:
    """The reminders of all apps of this daemon. deliver: a tick into its actor's turn."""

    def __init__(self, series: Keeper, clock: Clock, deliver: Deliver) -> None:
        self._series, self._clock, self._deliver = series, clock, deliver

    async def set(self, namespace: str, request: ReminderRequest) -> bool:
        """Store it; on return it is on disk. False: it exists and is not to be overwritten. Raises ValueError with Dapr's text."""
        schedule, repeats = _schedule(request.period)
        _check(namespace, request.type, request.id, request.name)
        try:
            plan = make(schedule, request.due_time or None, request.ttl or None, repeats, self._clock.now(), request.policy)
        except ValueError as error:
            raise ValueError(f"{UNKNOWN}job failed validation: {error}") from None
        data = None if request.data is None else request.data.decode()
        payload = {"type": request.type, "id": request.id, "name": request.name, "due": request.due_time, "data": data}
        if request.ttl:
            payload["ttl"] = request.ttl
        item = Item(_key(request.id, request.name), plan, payload)
        return await self._series.put(_kind(namespace, request.type), item, overwrite=request.overwrite)

    async def get(self, namespace: str, type_: str, id_: str, name: str) -> Reminder | None:
        """The reminder, until its last firing is over. Raises ValueError with Dapr's text for a name that cannot be one."""
        _check(namespace, type_, id_, name)
        item = await self._series.get(_kind(namespace, type_), _key(id_, name))
        return None if item is None else _reminder(item)

    async def list(self, namespace: str, type_: str, id_: str | None) -> list[Reminder]:
        """All of a type, or of one actor (none and "": all), in the scheduler's order of keys."""
        found = [_reminder(item) for item in await self._series.list(_kind(namespace, type_), _key(id_, "") if id_ else "")]
        return sorted(found, key=lambda one: f"{one.id}||{one.name}".encode())

    async def delete(self, namespace: str, type_: str, id_: str, name: str) -> None:
        """End a reminder; nothing if there is none. Raises ValueError with Dapr's text for a name that cannot be one."""
        _check(namespace, type_, id_, name)
        await self._series.delete(_kind(namespace, type_), _key(id_, name))

    async def delete_all(self, namespace: str, type_: str, id_: str | None) -> None:
        """End all of a type, or of one actor (none and "": all). Raises ValueError with Dapr's text for a name that cannot be one."""
        _check_job(f"actorreminder||{namespace}||{type_}||" + (f"{id_}||" if id_ else "") + ANY)
        await self._series.delete_prefix(_kind(namespace, type_), _key(id_, "") if id_ else "")

    def attach(self, namespace: str, type_: str) -> Detach:
        """Fire the reminders of that type from now on; returns how to stop."""

        async def deliver(item: Item) -> Outcome:
            data = item.payload["data"]
            tick = ActorTick(type_, item.payload["id"], item.payload["name"], None if data is None else data.encode())
            try:
                await self._deliver(namespace, tick)
            except HostGone:
                return Outcome.AWAY
            except AppUnavailable as error:
                log.debug("Error executing reminder for actor %s||%s||%s: %s", type_, tick.id, tick.name, error)
                return Outcome.FAILED if error.sent else Outcome.AWAY
            except ActorFailed as error:
                log.debug("Error executing reminder for actor %s||%s||%s: %s", type_, tick.id, tick.name, error)
                return Outcome.FAILED
            return Outcome.DONE

        return self._series.attach(_kind(namespace, type_), deliver)


def _check(namespace: str, type_: str, id_: str, name: str) -> None:
    _check_job(f"actorreminder||{namespace}||{type_}||{id_}||{name}")


def _check_job(job: str) -> None:
    try:
        check_job(job)
    except ValueError as error:
        raise ValueError(f"{UNKNOWN}{error}") from None


def _kind(namespace: str, type_: str) -> str:
    return f"reminder/{namespace}/{type_}"


def _key(id_: str, name: str) -> str:
    return f"{id_}{SEPARATOR}{name}"


def _schedule(period: str) -> tuple[str | None, int | None]:
    """The scheduler's schedule and repeats of a period. Raises ValueError with Dapr's text."""
    if not period:
        return None, None
    try:
        duration = parse_duration(period)
    except ValueError:
        raise ValueError(f"unsupported period format: {period}") from None
    if max(duration.years, duration.months, duration.days) > 0:
        raise ValueError(f"unsupported period format: {period}")
    repeats = duration.repeats if duration.repeats and duration.repeats > 0 else None
    return f"@every {format_go_duration(duration.seconds)}", repeats


def _reminder(item: Item) -> Reminder:
    data = item.payload["data"]
    given = None if data is None else data.encode()
    payload = item.payload
    ttl = payload.get("ttl", "") if "expires" in item.plan.fixed else ""
    return Reminder(payload["type"], payload["id"], payload["name"], payload["due"], item.plan.schedule, given, ttl)
