"""One attempt to deliver a broker message to an app: decode, expiry, route, call, verdict, dead letter (app-channel.md §5).

Source: dapr pkg/runtime/subscription/subscription.go, bulksubscription.go @1.18.3; differs: what can't be decoded or routed, or spends its
attempts, is kept in the dead lane when there is no dead-letter topic, where daprd leaves it with the broker for good.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edge.app import App, AppUnavailable, Delivery, Part
from edge.blocks.outcome import DELIVERED, End, Outcome
from edge.blocks.retries import Attempts
from edge.blocks.traced import delivered, event_span
from edge.cel import CelError, Condition
from edge.errors import ComponentError, EdgeError
from edge.events import new_id
from edge.goscanner import JsonError
from edge.model import BulkTopicEvent, Message, Rule, Status, Subscription, TopicEvent
from edge.received import Received, expired, unwrap
from edge.record import record
from edge.resiliency import TimedOut

if TYPE_CHECKING:
    from edge.telemetry.spans import Span

log = logging.getLogger("dapr.runtime.processor.subscription")
DEAD_LETTER_TIMEOUT = 30.0
FORWARD_PAUSE = 1.0
GONE = Outcome(End.DROPPED, "dead-letter")
NOT_SENT = {"expired": "drop", "no-route": "success"}
"""Why the app does not get a message, and the status by which that is counted (recorded)."""

Deliver = Callable[[TopicEvent], Awaitable[Delivery]]
DeliverBulk = Callable[[BulkTopicEvent], Awaitable[dict[str, Delivery]]]
Forward = Callable[[App, Part, str, Message], Awaitable[None]]


class _Refused(Exception):
    """The app said RETRY: a failure in the eyes of a circuit breaker."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        super().__init__(delivery.reason)


class Router:
    """The rules of a subscription, compiled. Raises CelError for an expression that can't be."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = [(Condition(rule.match) if rule.match.strip() else None, rule.path) for rule in rules]
        self._always = rules[0].path if rules and self._rules[0][0] is None else None

    def path(self, event: Mapping[str, Any] | str) -> str | None:
        """The path of the first rule that is true, None when none is. Raises CelError."""
        if self._always is not None:
            return self._always
        return next((path for condition, path in self._rules if condition is None or condition.match(event)), None)


@record
class Target:
    """Where a subscription's messages go. prefix: the namespace that the broker's topics begin with, "" = none."""

    app: App
    part: Part
    subscription: Subscription
    deliver: Deliver
    deliver_bulk: DeliverBulk
    forward: Forward
    attempts: Attempts
    prefix: str = ""


class TopicCourier:
    """Attempts for one subscription; a `Courier` and a `BulkCourier`."""

    def __init__(self, target: Target) -> None:
        self._to = target
        self._router = Router(target.subscription.rules)
        self._pubsub = target.part.name
        self._raw = target.subscription.raw

    async def attempt(self, message: Message, failures: int) -> Outcome:
        """Deliver one message. Raises AppUnavailable when no one is at the app's port, BreakerOpen."""
        event = await self._prepare(message, message.topic)
        if isinstance(event, Outcome):
            self._count_not_sent(event, message.topic, bulk=False)
            return event
        span = None
        if (tracer := self._to.app.tracer) is not None:
            span, event = event_span(tracer, event)
        began, told = time.perf_counter(), event
        delivery = await self._call(lambda: self._to.deliver(told))
        delivered(span, delivery)
        if (metrics := self._to.app.metrics) is not None:
            words = delivery.status.name.lower()
            labels = (self._pubsub, words, "retry" if delivery.status is Status.RETRY else "success", event.topic)
            metrics.both("component_pubsub_ingress", labels, began)
        if delivery.status is Status.SUCCESS:
            return DELIVERED
        return await self._judge(message, failures, delivery)

    async def attempt_bulk(self, batch: Sequence[tuple[Message, int]]) -> list[Outcome]:
        """Deliver a batch: one call for each matched route."""
        outcomes: list[Outcome | None] = [None] * len(batch)
        routes: dict[str, list[tuple[int, TopicEvent]]] = {}
        for at, (message, _) in enumerate(batch):
            event = await self._prepare(message, self._to.subscription.topic)
            if isinstance(event, Outcome):
                self._count_not_sent(event, self._to.subscription.topic, bulk=True)
                outcomes[at] = event
            else:
                routes.setdefault(event.path, []).append((at, event))
        for path, events in routes.items():
            for (at, _), delivery in zip(events, await self._call_bulk(path, [event for _, event in events]), strict=True):
                outcomes[at] = await self._judge(*batch[at], delivery)
        return [outcome or DELIVERED for outcome in outcomes]

    # --- before the call
    async def _prepare(self, message: Message, topic: str) -> TopicEvent | Outcome:
        """The event for the app, or the end of a message that it will not get."""
        topic = topic.removeprefix(self._to.prefix)
        try:
            received = unwrap(message, self._pubsub, topic, raw=self._raw)
        except JsonError as error:
            return await self._dead(message, f"error deserializing cloud event in pubsub {self._pubsub} and topic {topic}: {error}")
        event = received.event
        if "expiration" in event and expired(event, time.time()):
            log.warning("dropping expired pub/sub event %s as of %s", event.get("id"), event["expiration"])
            return await self._drop(message, "expired")
        try:
            path = self._router.path(self._matched(message, received))
        except CelError as error:
            what = f"event {event.get('id')} in pubsub {self._pubsub} and topic {topic}"
            return await self._dead(message, f"error finding matching route for {what}: {error}")
        if path is None:
            return await self._drop(message, "no-route")
        return TopicEvent(self._pubsub, topic, path, received.body, event, message, self._raw)

    def _count_not_sent(self, outcome: Outcome, topic: str, *, bulk: bool) -> None:
        """A message without a row is in no lane's numbers: what its time or the rules discard shows here."""
        metrics, status = self._to.app.metrics, NOT_SENT.get(outcome.reason)
        if metrics is None or status is None:
            return
        topic = topic.removeprefix(self._to.prefix)
        if bulk:
            metrics.count("component_pubsub_ingress_bulk_event_count", (self._pubsub, "DROP", topic))
        else:
            metrics.count("component_pubsub_ingress_count", (self._pubsub, "drop", status, topic))

    def _matched(self, message: Message, received: Received) -> Mapping[str, Any] | str:
        """What rules look at: the event; for a raw bulk subscription the text of the message (as daprd)."""
        if self._raw and self._to.subscription.bulk.enabled:
            return message.data.decode("utf-8", "replace")
        return received.event

    # --- the call
    async def _call(self, call: Callable[[], Awaitable[Delivery]]) -> Delivery:
        async def checked() -> Delivery:
            delivery = await call()
            if delivery.status is Status.RETRY:
                raise _Refused(delivery)
            return delivery

        try:
            return await self._to.attempts.run(checked)
        except _Refused as refused:
            return refused.delivery
        except AppUnavailable as error:
            if not error.sent:
                raise
            text = f"error returned from app channel while sending pub/sub event to app: retriable error occurred: {error}"
            return Delivery(Status.RETRY, text)
        except TimedOut as error:
            return Delivery(Status.RETRY, str(error))

    async def _call_bulk(self, path: str, events: Sequence[TopicEvent]) -> Sequence[Delivery]:
        spans: list[Span | None] = []
        if (tracer := self._to.app.tracer) is not None:
            marked = [event_span(tracer, event) for event in events]
            spans, events = [span for span, _ in marked], [event for _, event in marked]
        entries = tuple((new_id(), event) for event in events)
        topic = self._to.subscription.topic
        batch = BulkTopicEvent(new_id(), self._pubsub, topic, path, entries, {"pubsubName": self._pubsub})
        answers: dict[str, Delivery] = {}

        async def deliver() -> Delivery:
            answers.update(await self._to.deliver_bulk(batch))
            retry = any(delivery.status is Status.RETRY for delivery in answers.values())
            return Delivery(Status.RETRY if retry else Status.SUCCESS)

        began = time.perf_counter()
        whole = await self._call(deliver)
        lost = Delivery(Status.RETRY, "response not received")
        found = [answers.get(id_, lost) for id_, _ in entries] if answers else [whole] * len(entries)
        for span, delivery in zip(spans, found, strict=False):
            delivered(span, delivery)
        if (metrics := self._to.app.metrics) is not None:
            metrics.both("component_pubsub_ingress_bulk", (self._pubsub, "", topic), began)
            for delivery in found:
                metrics.count("component_pubsub_ingress_bulk_event_count", (self._pubsub, delivery.status.name, topic))
        return found

    # --- after the call
    async def _judge(self, message: Message, failures: int, delivery: Delivery) -> Outcome:
        if delivery.status is Status.SUCCESS:
            return DELIVERED
        if delivery.status is Status.DROP:
            log.warning("%s", delivery.reason)
            return await self._drop(message, "app") if delivery.dead_letter else Outcome(End.DROPPED, "app")
        pause = self._to.attempts.pause(failures + 1, delivery.code)
        if pause is None:
            return await self._dead(message, delivery.reason)
        log.debug("attempt %d for topic %s failed, the next in %.1f s: %s", failures + 1, message.topic, pause, delivery.reason)
        return Outcome(End.AGAIN, delivery.reason, pause)

    async def _drop(self, message: Message, reason: str) -> Outcome:
        """The app will not get it: a copy goes to the dead-letter topic if there is one; it is over either way (as daprd)."""
        topic = self._to.subscription.dead_letter_topic
        if topic and (failure := await self._forward(message, topic)) is not None:
            log.warning("failed to send dropped message to dead letter queue for topic %s: %s", message.topic, failure.reason)
            return failure if reason == "app" else Outcome(End.DROPPED, reason)
        return Outcome(End.DROPPED, reason)

    async def _dead(self, message: Message, reason: str) -> Outcome:
        """It failed for good: to the dead-letter topic, else to the dead lane."""
        topic = self._to.subscription.dead_letter_topic
        if not topic:
            return Outcome(End.DEAD, reason)
        log.warning("%s", reason)
        return await self._forward(message, topic) or GONE

    async def _forward(self, message: Message, topic: str) -> Outcome | None:
        """Publish the original bytes to the dead-letter topic; what follows when that fails, else None."""
        try:
            async with asyncio.timeout(DEAD_LETTER_TIMEOUT):
                await self._to.forward(self._to.app, self._to.part, topic, message)
        except (ComponentError, TimeoutError) as error:
            text = str(error) or "context deadline exceeded"
            log.error("error sending message to dead letter, origin topic: %s dead letter topic %s err: %s", message.topic, topic, text)
            return Outcome(End.AGAIN, f"dead letter topic {topic}: {text}", FORWARD_PAUSE)
        except EdgeError as error:
            return Outcome(End.DEAD, f"dead letter topic {topic}: {error}")
        return None
