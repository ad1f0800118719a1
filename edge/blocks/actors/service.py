"""The actor API as fronts call it: every rule that callers see, in Dapr's words.

Source: Dapr pkg/api/universal/actors.go, pkg/actors/router @1.18.3; differs: a type nobody hosts is looked for during 5 s without
polling, an app whose stream ended counts as such a type (there a call hangs).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from edge.actor import CANCELLED, ActorCall, ActorFailed, ActorHost, ActorTick, HostGone
from edge.app import App, AppUnavailable
from edge.blocks.actors import config
from edge.blocks.actors.guarded import TimedHost, before_turn
from edge.blocks.actors.hosting import Hosting
from edge.blocks.actors.placement import Place, Placement
from edge.blocks.actors.reminders import Reminder, ReminderRequest, Reminders
from edge.blocks.actors.state import ActorState, StateOperation
from edge.blocks.actors.table import ActorType
from edge.blocks.actors.timers import TimerRequest, Timers
from edge.blocks.actors.turns import StackTooDeep
from edge.blocks.metadata import ActorStatus
from edge.blocks.names import check_name, normal_method
from edge.blocks.policies import AppPolicies
from edge.blocks.series import Keeper
from edge.clock import Clock
from edge.errors import (
    ACTOR_CLOSED,
    ACTOR_INACTIVE,
    ACTOR_INVOKE,
    ACTOR_REMINDER_CREATE,
    ACTOR_REMINDER_DELETE,
    ACTOR_REMINDER_EXISTS,
    ACTOR_REMINDER_GET,
    ACTOR_REMINDER_MISSING,
    ACTOR_REMINDER_NOT_HOSTED,
    ACTOR_RESERVED,
    ACTOR_STACK_DEPTH,
    ACTOR_TIMER_CREATE,
    BAD_REQUEST,
    ComponentError,
    EdgeError,
    Grpc,
)
from edge.gointeger import quote
from edge.model import InvokeResponse, StateItem
from edge.resiliency import Rules
from edge.tasks import Tasks
from edge.telemetry.metrics import Metrics

T = TypeVar("T")
RESERVED = "dapr.internal."
LOOKUP = 5.0
MOVED = "remote actor moved"
STAMPED = frozenset(("dapr-api-call", "dapr-caller-app-id", "dapr-caller-namespace", "dapr-api-token"))


class ActorService:
    """The actors of all apps of this daemon."""

    def __init__(
        self,
        tasks: Tasks,
        clock: Clock,
        series: Keeper,
        state: ActorState,
        placement: Placement | None = None,
        policies: AppPolicies | None = None,
    ) -> None:
        self.state = state
        self._policies = policies or AppPolicies(lambda app_id: Rules())
        self._placement = placement or Placement()
        self._timers = Timers(tasks, clock, self._tick_timer)
        self._reminders = Reminders(series, clock, self._remind)
        self._hosting = Hosting(tasks, self._placement, self._reminders)
        self._streams: dict[str, list[tuple[ActorHost, Mapping[str, config.TypeConfig]]]] = {}
        self._closed = False

    # --- hosts
    async def register(self, app: App, host: ActorHost | None, raw: Mapping[str, Any]) -> None:
        """The app is there and hosts what `raw` says (`GET /dapr/config`), possibly nothing; replaces what it hosted before."""
        await self._register(app, host, config.parse(raw))

    async def _register(self, app: App, host: ActorHost | None, types: Mapping[str, config.TypeConfig]) -> None:
        await self._hosting.register(app, None if host is None else TimedHost(host, self._policies.of(app)), types)

    async def unregister(self, app: App, patience: float | None = None) -> None:
        """The app is gone or unhealthy: its actors are deactivated, reminders and calls wait. patience: seconds for running turns."""
        await self._hosting.unregister(app, patience)

    async def connect(self, app: App, host: ActorHost, raw: Mapping[str, Any]) -> None:
        """The app opened a stream, maybe one of several: it gets all calls from now on, also those of an earlier stream's types."""
        self._streams.setdefault(app.id, []).append((host, config.parse(raw)))
        await self._register_streams(app)

    async def disconnect(self, app: App, host: ActorHost) -> None:
        """A stream ended: the newest of those that are left takes over; types that no other stream names go."""
        streams = self._streams.get(app.id, [])
        streams[:] = [stream for stream in streams if stream[0] is not host]
        if streams:
            await self._register_streams(app)
        else:
            await self._hosting.unregister(app, 0.0)

    async def _register_streams(self, app: App) -> None:
        """What all open streams name is hosted by the newest; of two settings of a type the later ones hold."""
        streams = self._streams[app.id]
        types = {name: settings for _, named in streams for name, settings in named.items()}
        await self._register(app, streams[-1][0], types)

    async def close(self, patience: float | None = None) -> None:
        """Deactivate all actors of all apps; further calls are refused."""
        self._closed = True
        self._timers.close()
        await self._hosting.close(patience)

    def status(self, app: App) -> ActorStatus:
        return self._hosting.status(app)

    def measure(self, app: App, metrics: Metrics) -> None:
        """Set the gauges of the app's types."""
        for kind in self._hosting.types(app):
            metrics.set("runtime_actor_pending_actor_calls", (kind.name,), kind.waiting())
            metrics.set("runtime_actor_timers", (kind.name,), self._timers.count(app.namespace, kind.name))

    # --- methods
    async def invoke(self, app: App, call: ActorCall) -> InvokeResponse:
        """Call a method; the answer is the app's, status 200. Raises EdgeError BAD_REQUEST, ACTOR_INVOKE, ACTOR_STACK_DEPTH."""
        for what, name in (("actorType", call.type), ("actorId", call.id)):
            _check(name, f"invalid {what}: ")
        try:
            method = normal_method(call.method)
        except ValueError as error:
            raise EdgeError(BAD_REQUEST, error=error, grpc_message=f"invalid actor method: {error}") from None
        await self._ready(app)
        if not call.type or not call.id:
            call = replace(call, type="", id="")  # as Dapr says it: nobody hosts that
        call = replace(call, method=method, headers=_stamped(app, call.headers))
        return await self._answered(
            before_turn(self._policies, app, call, lambda: self._reach(app.namespace, call.type, call.id, lambda p: p.invoke(call)))
        )

    async def take(self, app: App, call: ActorCall) -> InvokeResponse:
        """A call that another sidecar passed on, for an actor of this app. Raises EdgeError ACTOR_INVOKE, ACTOR_STACK_DEPTH."""
        await self._ready(app)
        known = any(name == "dapr-caller-app-id" for name, _ in call.headers)
        headers = call.headers if known else _stamped(app, call.headers)
        call = replace(call, headers=(*headers, ("x-dapr-remote", "true")))
        return await self._answered(self._local(app, call.type, call.id).invoke(call))

    async def take_reminder(self, app: App, tick: ActorTick) -> None:
        """A reminder that another sidecar passed on. Raises EdgeError ACTOR_INVOKE."""
        await self._ready(app)
        await self._answered(self._local(app, tick.type, tick.id).remind(tick))

    def _local(self, app: App, type_: str, id_: str) -> ActorType:
        """The type on this daemon. Raises EdgeError ACTOR_INVOKE when the actor is elsewhere meanwhile."""
        place = self._placement.find(app.namespace, type_, id_)
        if not isinstance(place, ActorType):
            raise EdgeError(ACTOR_INVOKE, error=MOVED)
        return place

    @staticmethod
    async def _answered(work: Awaitable[T]) -> T:
        """What went wrong, in Dapr's words."""
        try:
            return await work
        except StackTooDeep:
            raise EdgeError(ACTOR_STACK_DEPTH) from None
        except HostGone as error:
            text = f"failed to lookup actor: api error: code = FailedPrecondition desc = {error}"
            raise EdgeError(ACTOR_INVOKE, error=text, grpc=Grpc.FAILED_PRECONDITION, grpc_message=text) from None
        except (ActorFailed, AppUnavailable) as error:
            raise EdgeError(ACTOR_INVOKE, error=error) from error

    # --- state
    async def get_state(self, app: App, type_: str, id_: str, key: str) -> StateItem | None:
        """One value; an actor need not be active to be read."""
        reject_reserved(type_)
        await self._ready(app)
        return await self.state.get(app, type_, id_, key)

    async def transact(self, app: App, type_: str, id_: str, operations: Iterable[StateOperation]) -> None:
        """Save state of an active actor, all or nothing. `operations` is read late: its ValueError is the save's."""
        reject_reserved(type_)
        await self._ready(app)
        if not self._hosting.is_active(app, type_, id_):
            raise EdgeError(ACTOR_INACTIVE)
        await self.state.transact(app, type_, id_, operations)

    # --- timers
    async def set_timer(self, app: App, request: TimerRequest) -> None:
        """Set or replace a timer, on an active actor or not. Raises EdgeError ACTOR_TIMER_CREATE."""
        reject_reserved(request.type)
        _check(request.name, "")
        await self._ready(app)
        if not self._hosting.hosts(app, request.type):
            text = f"can't create timer for actor {request.type}||{request.id}: actor type not registered"
            raise EdgeError(ACTOR_TIMER_CREATE, error=text)
        try:
            self._timers.set(app.namespace, request)
        except ValueError as error:
            raise EdgeError(ACTOR_TIMER_CREATE, error=error) from None

    async def delete_timer(self, app: App, type_: str, id_: str, name: str) -> None:
        """End a timer, if there is one."""
        reject_reserved(type_)
        await self._ready(app)
        self._timers.delete(app.namespace, type_, id_, name)

    # --- reminders
    async def set_reminder(self, app: App, request: ReminderRequest) -> None:
        """Set a reminder; on return it is on disk. Raises EdgeError ACTOR_REMINDER_CREATE, _EXISTS, _NOT_HOSTED."""
        reject_reserved(request.type)
        _check(request.name, "")
        await self._hosted(app, request.type)
        try:
            stored = await self._reminders.set(app.namespace, request)
        except (ValueError, ComponentError) as error:
            raise EdgeError(ACTOR_REMINDER_CREATE, error=error) from None
        if not stored:
            raise EdgeError(ACTOR_REMINDER_EXISTS, name=request.name)

    async def get_reminder(self, app: App, type_: str, id_: str, name: str) -> Reminder:
        """A set reminder. Raises EdgeError ACTOR_REMINDER_MISSING, _NOT_HOSTED."""
        reject_reserved(type_)
        await self._hosted(app, type_)
        try:
            reminder = await self._reminders.get(app.namespace, type_, id_, name)
        except (ComponentError, ValueError) as error:
            text = f"api error: code = Internal desc = failed to get job due to: {error}"
            raise EdgeError(ACTOR_REMINDER_GET, error=text) from None
        if reminder is None:
            raise EdgeError(ACTOR_REMINDER_MISSING, name=name)
        return reminder

    async def list_reminders(self, app: App, type_: str, id_: str | None) -> list[Reminder]:
        """The reminders of a type, or of one actor."""
        reject_reserved(type_)
        await self._hosted(app, type_)
        return await self._reminders.list(app.namespace, type_, id_)

    async def delete_reminder(self, app: App, type_: str, id_: str, name: str) -> None:
        """End a reminder, if there is one."""
        reject_reserved(type_)
        await self._hosted(app, type_)
        await _deleted(self._reminders.delete(app.namespace, type_, id_, name))

    async def delete_reminders(self, app: App, type_: str, id_: str | None) -> None:
        """End all reminders of a type, or of one actor."""
        reject_reserved(type_)
        await self._hosted(app, type_)
        await _deleted(self._reminders.delete_all(app.namespace, type_, id_))

    # --- ways inside
    async def _ready(self, app: App) -> None:
        """Wait until the app's actor types are known, as long as the caller does."""
        if self._closed:
            raise EdgeError(ACTOR_CLOSED)
        await self._hosting.ready(app)

    async def _hosted(self, app: App, type_: str) -> None:
        await self._ready(app)
        if not self._hosting.hosts(app, type_):
            raise EdgeError(ACTOR_REMINDER_NOT_HOSTED)

    async def _reach(self, namespace: str, type_: str, id_: str, work: Callable[[Place], Awaitable[T]]) -> T:
        """Do `work` where the actor is. Raises HostGone when nobody hosts it within 5 s, and what `work` raises."""
        place = self._placement.find(namespace, type_, id_)
        deadline = asyncio.get_running_loop().time() + LOOKUP
        while True:
            if place is not None:
                try:
                    return await work(place)
                except HostGone:
                    pass
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or not type_ or not id_:
                name = f"{type_}/{id_}" if type_ and id_ else "/"
                raise HostGone(f"did not find address for actor '{name}'")
            await self._placement.changed(left if place is None else min(left, 1.0))
            place = self._placement.find(namespace, type_, id_)

    async def _remind(self, namespace: str, tick: ActorTick) -> None:
        await self._reach(namespace, tick.type, tick.id, lambda place: place.remind(tick))

    async def _tick_timer(self, namespace: str, tick: ActorTick) -> None:
        if await self._reach(namespace, tick.type, tick.id, lambda place: place.timer(tick)):
            raise ActorFailed(CANCELLED)


def reject_reserved(type_: str) -> None:
    """Raises EdgeError ACTOR_RESERVED for the types of the workflow runtime."""
    if type_.startswith(RESERVED):
        raise EdgeError(ACTOR_RESERVED, type=quote(type_))


def _check(name: str, prefix: str) -> None:
    try:
        check_name(name)
    except ValueError as error:
        raise _bad(f"{prefix}{error}") from None


def _bad(text: str) -> EdgeError:
    """Over gRPC Dapr leaves out its `invalid request: ` where it names the argument."""
    return EdgeError(BAD_REQUEST, error=text, grpc_message=text if text.startswith("invalid ") else None)


def _stamped(app: App, headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The caller's headers and who the caller is, which it cannot say itself."""
    kept = tuple(item for item in headers if item[0] not in STAMPED)
    own = (("dapr-api-call", "true"), ("dapr-caller-app-id", app.id), ("dapr-caller-namespace", app.namespace))
    return kept + own


async def _deleted(work: Awaitable[None]) -> None:
    try:
        await work
    except (ComponentError, ValueError) as error:
        raise EdgeError(ACTOR_REMINDER_DELETE, error=error) from error
