"""Who wants which topic: declared, told by the app, or by a stream; and the lanes that carry what comes (app-channel.md §3, §5).

Messages are taken from the broker and kept from the moment a subscription is known: a declared one at once, one that the app told at its
last start as well (`memory`), so that an app may come long after its messages. Source: dapr pkg/runtime/processor/subscriber,
pkg/runtime/compstore/subscriptions.go @1.18.3; differs: daprd subscribes when the app is up and loses what a session's broker sends before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from edge import errors
from edge.app import App, AppUnavailable, Delivery, Part, Parts
from edge.blocks.delivery import Deliver, DeliverBulk, Forward, Router, Target, TopicCourier
from edge.blocks.gate import Gate, Gates
from edge.blocks.inbox_bulk import BulkLane
from edge.blocks.inbox_lane import HOLD, InLane, LaneSettings
from edge.blocks.inbox_pump import SingleLane, StreamLane
from edge.blocks.intake import Intake, Memory, first_contact
from edge.blocks.pubsub import wire_topic
from edge.blocks.retries import Attempts, PolicyOf, no_policy
from edge.blocks.scopes import SUBSCRIBE, topic_allowed
from edge.blocks.streams import Stop, Streams
from edge.cel import CelError
from edge.component import Keeps
from edge.errors import EdgeError
from edge.journal import Journal
from edge.journal.keeping import keeping
from edge.model import NO_METADATA, BulkTopicEvent, Rule, Subscription, SubscriptionType
from edge.tasks import Tasks

log = logging.getLogger("dapr.runtime.processor.subscription")
FETCH_DELAYS = (1.0, 60.0)
LOCAL_HOLD = 0.005  # the publisher waits for it
ORDERED = frozenset(("1", "t", "true", "y", "yes", "on"))


class Hosted:
    """What runs for one app. told: the app's own list, None until it was asked."""

    def __init__(self, declared: tuple[Subscription, ...] = ()) -> None:
        self.declared = declared
        self.told: list[Subscription] | None = None
        self.intakes: dict[tuple[str, str], Intake] = {}
        self.asking: asyncio.Task[None] | None = None


class SubscriptionManager:
    """The subscriptions of all apps.

    forward: publishes dead letters. policy_of: inbound policies. memory, stream_memory: remember what apps told, and their streams.
    """

    def __init__(
        self,
        parts: Parts,
        journal: Journal,
        tasks: Tasks,
        gates: Gates,
        forward: Forward,
        policy_of: PolicyOf = no_policy,
        memory: Memory | None = None,
        stream_memory: Memory | None = None,
    ) -> None:
        self._parts, self._journal, self._tasks, self._gates = parts, journal, tasks, gates
        self._forward, self._policy_of, self._memory = forward, policy_of, memory
        self._hosted: dict[str, Hosted] = {}
        self.streams = Streams(journal, tasks, stream_memory)

    # --- life of an app
    async def prepare(self, app: App, declared: Sequence[Subscription] = ()) -> None:
        """Before the app is up: take from the brokers what is known to be wanted, and keep it. Raises CelError for a bad declared rule."""
        for subscription in declared:
            Router(subscription.rules)
        hosted = self._hosted[app.id] = Hosted(_first_of_each(declared))
        remembered = self._memory.recall(app.id) if self._memory is not None else []
        for subscription in merge(hosted.declared, remembered):
            part = self._parts.find("pubsub", subscription.pubsub, app)
            if part is not None and part.component.journal_in and self._allowed(app, part, subscription):
                await self._intake(app, hosted, part, subscription).open()
        await self.streams.prepare(app, lambda subscription: self._find_allowed(app, subscription))

    def _find_allowed(self, app: App, subscription: Subscription) -> Part | None:
        part = self._parts.find("pubsub", subscription.pubsub, app)
        return part if part is not None and self._allowed(app, part, subscription) else None

    async def start(self, app: App, *, ask: bool = True) -> None:
        """The app is up: ask it for its subscriptions (once), then deliver. ask: False with --disable-init-endpoints subscribe."""
        hosted = self._hosted.setdefault(app.id, Hosted())
        self._gates.of(app).start()
        if hosted.told is None:
            hosted.told = await self._ask(app, hosted) if ask and self._parts.any("pubsub", app) else []
        await self._apply(app, hosted)

    async def redeclare(self, app: App, declared: Sequence[Subscription]) -> None:
        """The app's declared subscriptions are others now. One whose rules changed goes on where it was; nothing that came is lost."""
        hosted = self._hosted.get(app.id)
        if hosted is None:
            return
        try:
            for subscription in declared:
                Router(subscription.rules)
        except CelError as error:
            log.error("the subscriptions of app %s stay as they were: %s", app.id, error)
            return
        before = {(one.pubsub, one.topic): one for one in merge(hosted.declared, hosted.told or ())}
        hosted.declared = _first_of_each(declared)
        after = {(one.pubsub, one.topic): one for one in merge(hosted.declared, hosted.told or ())}
        for key, intake in list(hosted.intakes.items()):
            new = after.get(key)
            if new is None or new.metadata != before.get(key, new).metadata:
                await hosted.intakes.pop(key).close()
            elif new != before.get(key):
                await intake.detach()
        await self.renew(app)

    async def release(self, part: Part) -> None:
        """The component is about to close: nothing is taken from it any more, what came stays in its lanes. Streams on it end."""
        for hosted in self._hosted.values():
            for key in [key for key, intake in hosted.intakes.items() if intake.part is part]:
                await hosted.intakes.pop(key).close()
        await self.streams.release(part)

    async def renew(self, app: App) -> None:
        """Components or declarations are new: what is wanted and not there yet begins."""
        hosted = self._hosted.get(app.id)
        if hosted is None:
            return
        if hosted.told is not None:
            await self._apply(app, hosted)
            return
        for subscription in merge(hosted.declared, self._memory.recall(app.id) if self._memory is not None else []):
            part = self._find_allowed(app, subscription)
            if part is not None and part.component.journal_in:
                await self._intake(app, hosted, part, subscription).open()

    def pause(self, app: App) -> None:
        """The app is unhealthy: what comes is kept."""
        self._gates.of(app).stop()

    def resume(self, app: App) -> None:
        """The app is well again."""
        self._gates.of(app).start()

    async def stop(self, app: App) -> None:
        """Take nothing more for the app; calls under way are cut, their messages stay. Idempotent."""
        await self.streams.stop(app)
        hosted = self._hosted.pop(app.id, None)
        if hosted is None:
            return
        if hosted.asking is not None:
            hosted.asking.cancel()
        self._gates.of(app).stop()
        await asyncio.gather(*(intake.close() for intake in hosted.intakes.values()))

    # --- what the app tells
    async def _ask(self, app: App, hosted: Hosted) -> list[Subscription] | None:
        """The app's list; None when it could not be asked: then it is asked again in the background."""
        if app.channel is None:
            return []
        try:
            told = await app.channel.subscriptions()
        except AppUnavailable as error:
            log.warning("failed to subscribe to topics: %s ", error)
            if hosted.asking is None:
                hosted.asking = self._tasks.start(f"subscribe[{app.id}]", self._ask_again(app, hosted))
            return None
        try:
            for subscription in told:
                Router(subscription.rules)
        except CelError as error:
            log.warning("failed to subscribe to topics: %s ", error)
            return []
        _announce(told)
        if self._memory is not None:
            await self._memory.remember(app.id, told)
        return told

    async def _ask_again(self, app: App, hosted: Hosted) -> None:
        delay, longest = FETCH_DELAYS
        while hosted.told is None:
            await asyncio.sleep(delay)
            delay = min(delay * 2, longest)
            await self._gates.of(app).passed()
            hosted.told = await self._ask(app, hosted)
        await self._apply(app, hosted)

    async def _apply(self, app: App, hosted: Hosted) -> None:
        """Make the lanes fit the list."""
        merged = merge(hosted.declared, hosted.told or ())
        wanted = {(subscription.pubsub, subscription.topic) for subscription in merged}
        if hosted.told is not None:
            for key in [key for key in hosted.intakes if key not in wanted]:
                await hosted.intakes.pop(key).close()
        for subscription in merged:
            await self._begin(app, hosted, subscription)
        await first_contact({intake.part.name: intake.part for intake in hosted.intakes.values()}.values())
        app.subscriptions = [*merged, *self.streams.of(app)]
        if hosted.told is not None and app.channel is not None:
            self._say_settled(app)

    def _say_settled(self, app: App) -> None:
        """The app's list is complete (one without a channel may open a stream at any time)."""
        for part in self._parts.all("pubsub"):
            if isinstance(part.component, Keeps) and part in self._parts.visible(app):
                part.component.settled(app.id)

    async def _begin(self, app: App, hosted: Hosted, subscription: Subscription) -> None:
        part = self._parts.find("pubsub", subscription.pubsub, app)
        if part is None:
            log.error("subscription to topic '%s': pubsub '%s' is not found", subscription.topic, subscription.pubsub)
            return
        if not self._allowed(app, part, subscription):
            return
        intake = self._intake(app, hosted, part, subscription)
        if intake.lane is None and app.channel is not None:
            channel = app.channel
            intake.attach(self._lane(app, part, subscription, intake.name, self._gates.of(app), channel.deliver, channel.deliver_bulk))
        await intake.open()

    def _allowed(self, app: App, part: Part, subscription: Subscription) -> bool:
        allowed = topic_allowed(part.properties, SUBSCRIBE, app.id, subscription.topic)
        if not allowed:
            log.error("subscription to topic '%s' on pubsub '%s' is not allowed", subscription.topic, part.name)
        return allowed

    def _intake(self, app: App, hosted: Hosted, part: Part, subscription: Subscription) -> Intake:
        key = (subscription.pubsub, subscription.topic)
        intake = hosted.intakes.get(key)
        if intake is None:
            topic = wire_topic(app, part, subscription.topic)
            name = f"in/{app.id}/{part.name}/{subscription.topic}"
            intake = Intake(name, part, topic, subscription.metadata, app.id, self._journal, self._tasks)
            hosted.intakes[key] = intake
        return intake

    def _lane(
        self, app: App, part: Part, subscription: Subscription, name: str, gate: Gate, deliver: Deliver, deliver_bulk: DeliverBulk
    ) -> InLane:
        journalled = part.component.journal_in
        attempts = Attempts(self._policy_of(app, part.name), forever=journalled and not subscription.dead_letter_topic)
        prefix = wire_topic(app, part, "")
        courier = TopicCourier(Target(app, part, subscription, deliver, deliver_bulk, self._forward, attempts, prefix))
        mode = part.properties.get("durability", "either").lower() if journalled else "none"
        ordered = subscription.metadata.get("ordered", "").lower() in ORDERED
        hold = HOLD if part.component.journal_out else LOCAL_HOLD
        settings = LaneSettings(name, mode, ordered, hold, keeping(part.properties))
        if subscription.type is SubscriptionType.STREAMING and not ordered:
            return StreamLane(settings, courier, self._journal, gate, self._tasks)
        if subscription.bulk.enabled:
            return BulkLane(settings, subscription.bulk, courier, self._journal, gate, self._tasks)
        return SingleLane(settings, courier, self._journal, gate, self._tasks)

    # --- streams
    async def stream(self, app: App, subscription: Subscription, deliver: Deliver, ended: Callable[[], None]) -> Stop:
        """Deliver a topic to a stream until the returned function is called; what it did not acknowledge waits for the next one.

        ended: called when the app is served no more. Several streams on a topic are subscriptions of their own.
        Raises EdgeError PUBSUB_NOT_FOUND, PermissionError (scopes, or the broker refuses).
        """
        part = self._parts.find("pubsub", subscription.pubsub, app)
        if part is None:
            raise EdgeError(errors.PUBSUB_NOT_FOUND, info=NO_METADATA, name=subscription.pubsub)
        if not topic_allowed(part.properties, SUBSCRIBE, app.id, subscription.topic):
            text = f"subscription to topic '{subscription.topic}' on pubsub '{part.name}' is not allowed"
            raise PermissionError(f"failed to create subscription for {part.name}: {text}")
        gate, bulk = self._gates.streams(app), _no_bulk
        stop = await self.streams.open(
            app, part, subscription, lambda name: self._lane(app, part, subscription, name, gate, deliver, bulk), ended
        )
        try:
            await first_contact([part])
        except asyncio.CancelledError:
            await stop()
            raise
        return stop


def merge(declared: Sequence[Subscription], told: Sequence[Subscription]) -> list[Subscription]:
    """Of declared ones the first for a topic counts, of told ones the last, and a told one takes the place of a declared one."""
    merged = {(one.pubsub, one.topic): one for one in _first_of_each(declared)}
    for subscription in told:
        merged[subscription.pubsub, subscription.topic] = subscription
    return list(merged.values())


def stream_subscription(pubsub: str, topic: str, metadata: dict[str, str], dead_letter_topic: str = "") -> Subscription:
    """The subscription that a stream's first message asks for (route `/`)."""
    return Subscription(pubsub, topic, (Rule("", "/"),), dead_letter_topic, metadata, type=SubscriptionType.STREAMING)


def _first_of_each(declared: Sequence[Subscription]) -> tuple[Subscription, ...]:
    first: dict[tuple[str, str], Subscription] = {}
    for subscription in declared:
        first.setdefault((subscription.pubsub, subscription.topic), subscription)
    return tuple(first.values())


def _announce(told: Sequence[Subscription]) -> None:
    topics: dict[str, list[str]] = {}
    for subscription in told:
        topics.setdefault(subscription.pubsub, []).append(subscription.topic)
    for pubsub, names in topics.items():
        log.info("app is subscribed to the following topics: [[%s]] through pubsub=%s", " ".join(names), pubsub)


async def _no_bulk(batch: BulkTopicEvent) -> dict[str, Delivery]:
    raise NotImplementedError("streams get one event at a time")
