"""Subscriptions by stream (`SubscribeTopicEventsAlpha1`): each has an intake and a lane of its own (grpc-api.md §6.2).

When a stream ends, what it did not acknowledge waits in its lane, and for `LINGER` seconds so does what comes meanwhile: an app that
restarts, or whose connection broke, misses nothing. The same after a restart of the daemon, whose broker may resend at once.
Source: dapr pkg/runtime/pubsub/streamer @1.18.3; differs: daprd unsubscribes at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from edge.app import App, Part
from edge.blocks.inbox_lane import UNWRITTEN, InLane
from edge.blocks.intake import Intake, Memory
from edge.blocks.pubsub import wire_topic
from edge.errors import ComponentError
from edge.journal import Journal
from edge.model import Subscription
from edge.tasks import Tasks

log = logging.getLogger("dapr.runtime.processor.subscription")
LINGER = 60.0
LINGER_AT_START = 300.0  # the app may come long after the daemon

Stop = Callable[[], Awaitable[None]]
MakeLane = Callable[[str], InLane]
Find = Callable[[Subscription], Part | None]
"""The component of a subscription, None: the app may not have it (any more)."""


class _Open:
    """One stream, or (ending: the task that ends it) what it left."""

    def __init__(self, subscription: Subscription, intake: Intake, ended: Callable[[], None]) -> None:
        self.subscription, self.intake, self.ended = subscription, intake, ended
        self.ending: asyncio.Task[None] | None = None


class Streams:
    """The streams of all apps, by app and lane name."""

    def __init__(self, journal: Journal, tasks: Tasks, memory: Memory | None = None, linger: float = LINGER) -> None:
        self._journal, self._tasks, self._memory, self._linger = journal, tasks, memory, linger
        self._open: dict[str, dict[str, _Open]] = {}

    async def prepare(self, app: App, find: Find) -> None:
        """Before the app is up: take and keep what the streams of last time may still want."""
        streams = self._open.setdefault(app.id, {})
        for subscription in self._memory.recall(app.id) if self._memory is not None else []:
            part = find(subscription)
            if part is None or not part.component.journal_in:
                continue
            name = _new_name(self._lane_name(app, subscription), streams)
            one = streams[name] = _Open(subscription, self._intake(app, part, subscription, name), _nobody)
            one.ending = self._tasks.start(f"linger[{name}]", self._linger_on(app, name, one, LINGER_AT_START))
            await one.intake.open()

    def of(self, app: App) -> list[Subscription]:
        """What open streams are subscribed to."""
        return [one.subscription for one in self._open.get(app.id, {}).values() if one.ending is None]

    async def open(self, app: App, part: Part, subscription: Subscription, make_lane: MakeLane, ended: Callable[[], None]) -> Stop:
        """Subscribe. Raises PermissionError when the component refuses."""
        streams = self._open.setdefault(app.id, {})
        name = _free_name(self._lane_name(app, subscription), streams)
        one = await self._taken_over(streams, name, subscription, ended)
        if one is None:
            one = streams[name] = _Open(subscription, self._intake(app, part, subscription, name), ended)
        lane = make_lane(name)
        one.intake.attach(lane)
        app.subscriptions.append(subscription)
        try:
            await one.intake.open(patient=False)
        except ComponentError as error:
            await self._close(app, name, one)
            raise PermissionError(f"failed to create subscription for {part.name}: {error}") from error
        keep = bool(part.component.journal_in) and lane.mode not in UNWRITTEN
        if keep:
            await self._remember(app)
        return lambda: self._end(app, name, one, keep=keep)

    @staticmethod
    def _lane_name(app: App, subscription: Subscription) -> str:
        return f"in-stream/{app.id}/{subscription.pubsub}/{subscription.topic}"

    def _intake(self, app: App, part: Part, subscription: Subscription, name: str) -> Intake:
        topic = wire_topic(app, part, subscription.topic)
        return Intake(name, part, topic, subscription.metadata, app.id, self._journal, self._tasks)

    async def _remember(self, app: App) -> None:
        if self._memory is not None:
            await self._memory.remember(app.id, [one.subscription for one in self._open.get(app.id, {}).values()])

    async def _taken_over(
        self, streams: dict[str, _Open], name: str, subscription: Subscription, ended: Callable[[], None]
    ) -> _Open | None:
        """What an ended stream with the same wishes left."""
        left = streams.get(name)
        if left is None or left.ending is None:
            return None
        left.ending.cancel()
        if left.subscription.metadata != subscription.metadata:
            await left.intake.close()
            return None
        left.subscription, left.ended, left.ending = subscription, ended, None
        return left

    async def release(self, part: Part) -> None:
        """The component goes: streams on it end, and apps open new ones; their messages stay."""
        for streams in self._open.values():
            for name, one in list(streams.items()):
                if one.intake.part is part:
                    one.ended()
                    del streams[name]
                    if one.ending is not None:
                        one.ending.cancel()
                    await one.intake.detach()
                    await one.intake.close()

    async def stop(self, app: App) -> None:
        """The app is served no more: its streams end, their messages stay."""
        for name, one in list(self._open.get(app.id, {}).items()):
            one.ended()
            await self._close(app, name, one)
        self._open.pop(app.id, None)

    async def _end(self, app: App, name: str, one: _Open, *, keep: bool) -> None:
        """The stream is gone. keep: what comes is kept for a while."""
        if self._open.get(app.id, {}).get(name) is not one or one.ending is not None:
            return
        _forget(app, one)
        if not keep or self._tasks.closed:
            return await self._close(app, name, one)
        one.ending = self._tasks.start(f"linger[{name}]", self._linger_on(app, name, one, self._linger))
        return await one.intake.detach()

    async def _linger_on(self, app: App, name: str, one: _Open, linger: float) -> None:
        await asyncio.sleep(linger)
        await self._close(app, name, one)
        await self._remember(app)

    async def _close(self, app: App, name: str, one: _Open) -> None:
        _forget(app, one)
        streams = self._open.get(app.id, {})
        if streams.get(name) is one:
            del streams[name]
        if one.ending is not None and one.ending is not asyncio.current_task():
            one.ending.cancel()
        await one.intake.detach()
        await one.intake.close()


def _forget(app: App, one: _Open) -> None:
    app.subscriptions = [subscription for subscription in app.subscriptions if subscription is not one.subscription]


def _free_name(name: str, streams: dict[str, _Open]) -> str:
    """The first name that no open stream has."""
    return _new_name(name, {key: one for key, one in streams.items() if one.ending is None})


def _new_name(name: str, streams: dict[str, _Open]) -> str:
    number = 1
    while (found := name if number == 1 else f"{name}#{number}") in streams:
        number += 1
    return found


def _nobody() -> None:
    """No stream is there to be told."""
