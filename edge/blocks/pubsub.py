"""Publish: find the component, wrap the payload, hand it over durably. Every rule of Dapr's publish API lives here.

Source: dapr pkg/api/http/http.go onPublish, pkg/runtime/pubsub/publisher @1.18.3; differs: where a broker's acknowledgement would have
to be waited for, the answer comes when the message is on disk or the broker has it, whichever is first (edge/blocks/outbox_pump.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from edge import errors
from edge.app import App, Part, Parts
from edge.blocks.retries import PolicyOf, no_policy
from edge.blocks.scopes import PUBLISH, topic_allowed
from edge.component import Feature, Typed
from edge.errors import ComponentError, EdgeError, Full, ResourceInfo
from edge.events import NO_TRACE_CONTEXT, Envelope, EventError, LocalTime, Trace, new_id, raw_payload
from edge.model import NO_METADATA, Message
from edge.received import traceparent
from edge.record import record
from edge.resiliency import Policy

if TYPE_CHECKING:
    from edge.telemetry.spans import Tracer

MOST_TOPICS = 4096
BULK_AT_ONCE = 100


@record
class PublishOptions:
    """content_type: of the payload, "" = none given. metadata: of the request. traceparent, tracestate: the caller's headers, "" = none.

    idempotency_key: a publish that repeats one (to the same topic) is answered with success and not accepted again, "" = none; of a bulk
    publish each entry by its own id.
    span: the name of each event's span in a bulk publish.
    raw_trace: a raw payload's metadata say the trace context, as of daprd's gRPC API.
    """

    content_type: str = ""
    metadata: Mapping[str, str] = NO_METADATA
    traceparent: str = ""
    tracestate: str = ""
    idempotency_key: str = ""
    span: str = ""
    raw_trace: bool = False


@record
class BulkEntry:
    """One event of a bulk publish. metadata: the entry's own, with those of the request merged in where Dapr does."""

    entry_id: str
    data: bytes
    content_type: str
    metadata: Mapping[str, str] = NO_METADATA


@record
class BulkFailure:
    """An entry that was not published, and why."""

    entry_id: str
    error: str


class Outbox(Protocol):
    """What takes messages for brokers that acknowledge (edge/blocks/outbox_pump.py)."""

    async def accept(self, part: Part, *messages: Message, keys: Sequence[str] = ()) -> None:
        """Return when all are on disk or with the broker. keys: see edge/blocks/outbox_pump.py. Raises Full, Invalid."""
        ...

    async def once(self, key: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do it unless it was done with that key."""
        ...

    def wake(self, part: Part) -> None:
        """See to it that rows in the component's lanes are sent."""
        ...


class Route:
    """What publishing of one app to one topic needs, found once. wire_topic: as the broker sees it (with the namespace if scoped)."""

    __slots__ = ("allowed", "envelope", "part", "policy", "topic", "typed", "wire_topic")

    def __init__(self, app: App, part: Part, topic: str, policy: Policy | None, now: LocalTime) -> None:
        self.part, self.topic, self.policy = part, topic, policy
        self.wire_topic = wire_topic(app, part, topic)
        self.allowed = topic_allowed(part.properties, PUBLISH, app.id, topic)
        native = Feature.MESSAGE_TTL in part.component.features
        self.envelope = Envelope(part.name, topic, app.id, now, native_ttl=native)
        self.typed = isinstance(part.component, Typed)

    def told(self, content_type: str) -> str | None:
        """What a broker that carries content types is told of a raw payload."""
        return content_type or None if self.typed else None


class PubSubService:
    """The publish API of all apps."""

    def __init__(self, parts: Parts, outbox: Outbox, policy_of: PolicyOf = no_policy) -> None:
        """policy_of: outbound policies, for components that answer at once."""
        self._parts, self._outbox, self._policy_of = parts, outbox, policy_of
        self._now = LocalTime()
        self._routes: dict[tuple[str, str, str], Route] = {}

    def lookup(self, app: App, name: str, topic: str, metadata: Mapping[str, str] = NO_METADATA) -> Route:
        """The way to a topic, before the body is looked at, as Dapr.

        Raises EdgeError: PUBSUB_EMPTY, PUBSUB_NOT_FOUND, TOPIC_EMPTY, PUBSUB_METADATA.
        """
        route = self._routes.get((app.id, name, topic)) or self._find(app, name, topic, metadata)
        if metadata:
            self._raw(route, metadata)
        return route

    def _find(self, app: App, name: str, topic: str, metadata: Mapping[str, str]) -> Route:
        if not name:
            raise EdgeError(errors.PUBSUB_EMPTY, info=metadata, resource=ResourceInfo("pubsub", ""))
        part = self._parts.find("pubsub", name, app)
        if part is None:
            raise EdgeError(errors.PUBSUB_NOT_FOUND, info=metadata, name=name)
        if not topic:
            raise EdgeError(errors.TOPIC_EMPTY, info=metadata, resource=ResourceInfo("pubsub", name), name=name)
        if len(self._routes) >= MOST_TOPICS:
            self._routes.clear()
        route = self._routes[app.id, name, topic] = Route(app, part, topic, self._policy_of(app, name), self._now)
        return route

    def forget(self) -> None:
        """Components were reloaded: look everything up anew."""
        self._routes.clear()

    async def publish(self, app: App, name: str, topic: str, data: bytes, options: PublishOptions) -> None:
        """Accept one message for `topic`: on return it is on disk, or with the broker, and will reach it at least once.

        data: payload as sent by the app; wrapped in a CloudEvent unless metadata say rawPayload.
        Raises EdgeError: as `lookup`; PUBSUB_METADATA, PUBSUB_CLOUD_EVENT (bad input), PUBSUB_FORBIDDEN (scopes), PUBSUB_FULL (507, try
        later), PUBSUB_PUBLISH (the component failed).
        """
        route = self.lookup(app, name, topic, options.metadata)
        if options.metadata and self._raw(route, options.metadata):
            metadata = _with_trace(options) if options.raw_trace else options.metadata
            message = Message(route.wire_topic, data, metadata, route.told(options.content_type), new_id())
        else:
            message = self._wrapped(app, route, data, options)
        if not route.allowed:
            raise self._forbidden(app, route)
        try:
            if options.idempotency_key:
                await self._hand_over_once(route, message, once_key(app, name, topic, options))
            else:
                await self._hand_over(route, message)
        except ComponentError as error:
            raise self._failed(route, error) from error

    async def publish_bulk(
        self, app: App, name: str, topic: str, entries: Sequence[BulkEntry], options: PublishOptions
    ) -> list[BulkFailure]:
        """Accept many messages; those that failed are returned, the others are accepted. Raises EdgeError as `publish` for all at once."""
        route = self.lookup(app, name, topic, options.metadata)
        raw = self._raw(route, options.metadata)
        messages = []
        for entry in entries:
            if raw:
                messages.append(Message(route.wire_topic, entry.data, entry.metadata, route.told(entry.content_type), new_id()))
            else:
                parent = options.traceparent if app.tracer is None else _produced(app.tracer, options)
                one = PublishOptions(entry.content_type, entry.metadata, parent, options.tracestate)
                messages.append(self._wrapped(app, route, entry.data, one))
        if not route.allowed:
            raise self._forbidden(app, route)
        ids = [entry.entry_id for entry in entries]
        keys = [f"{once_key(app, name, topic, options)}|{id_}" for id_ in ids] if options.idempotency_key else []
        if route.part.component.journal_out:
            return await self._accept_all(route, ids, messages, keys)
        return await self._send_each(route, ids, messages, keys)

    async def forward(self, app: App, part: Part, topic: str, message: Message) -> None:
        """Publish a received message as it is to another topic of the same component (dead letters).

        Raises ComponentError, and EdgeError PUBSUB_FORBIDDEN when the app may not publish there.
        """
        route = self.lookup(app, part.name, topic)
        if not route.allowed:
            raise self._forbidden(app, route)
        copy = Message(route.wire_topic, message.data, message.metadata, message.content_type, message.id)
        await self._hand_over(route, copy)

    async def publish_own(self, app: App, name: str, topic: str, message: Message) -> None:
        """Publish an event of the daemon's own as it is; scopes bind apps only. message: its topic is set here.

        Raises EdgeError as `lookup`, ComponentError.
        """
        route = self.lookup(app, name, topic)
        await self._hand_over(route, replace(message, topic=route.wire_topic))

    def wake(self, part: Part) -> None:
        """Rows were put into a lane of this component by hand."""
        self._outbox.wake(part)

    async def _hand_over(self, route: Route, message: Message) -> None:
        component = route.part.component
        if component.journal_out:
            await self._outbox.accept(route.part, message)
        elif route.policy is None:
            await component.publish(message)
        else:
            await route.policy.run(lambda: component.publish(message))

    async def _hand_over_once(self, route: Route, message: Message, key: str) -> None:
        if route.part.component.journal_out:
            await self._outbox.accept(route.part, message, keys=(key,))
        else:
            await self._outbox.once(key, lambda: self._hand_over(route, message))

    async def _accept_all(self, route: Route, ids: Sequence[str], messages: Sequence[Message], keys: Sequence[str]) -> list[BulkFailure]:
        if not messages:
            return []
        try:
            await self._outbox.accept(route.part, *messages, keys=keys)
        except Full as error:
            raise self._failed(route, error) from error
        except ComponentError as error:
            return [BulkFailure(id_, str(error)) for id_ in ids]
        return []

    async def _send_each(self, route: Route, ids: Sequence[str], messages: Sequence[Message], keys: Sequence[str]) -> list[BulkFailure]:
        slots = asyncio.Semaphore(BULK_AT_ONCE)

        async def send(at: int, id_: str, message: Message) -> BulkFailure | None:
            async with slots:
                try:
                    await (self._hand_over_once(route, message, keys[at]) if keys else self._hand_over(route, message))
                except ComponentError as error:
                    return BulkFailure(id_, str(error))
                return None

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(send(at, *one)) for at, one in enumerate(zip(ids, messages, strict=True))]
        return [failure for task in tasks if (failure := task.result()) is not None]

    def _wrapped(self, app: App, route: Route, data: bytes, options: PublishOptions) -> Message:
        parent = traceparent(options.traceparent) if options.traceparent else ""
        trace = Trace(parent, options.tracestate) if parent else NO_TRACE_CONTEXT
        try:
            id_, event = route.envelope.wrap(data, options.content_type, options.metadata, trace)
        except EventError as error:
            info = {"appID": app.id, "error": str(error)}
            raise EdgeError(errors.PUBSUB_CLOUD_EVENT, info=info, resource=ResourceInfo("pubsub", route.part.name)) from None
        return Message(route.wire_topic, event, options.metadata, id=id_)

    @staticmethod
    def _raw(route: Route, metadata: Mapping[str, str]) -> bool:
        try:
            return raw_payload(metadata)
        except EventError as error:
            resource = ResourceInfo("pubsub", route.part.name)
            raise EdgeError(errors.PUBSUB_METADATA, info=metadata, resource=resource, error=error) from None

    @staticmethod
    def _forbidden(app: App, route: Route) -> EdgeError:
        text = errors.PUBSUB_FORBIDDEN.message.format(topic=route.topic, app=app.id)
        info = {"error": text, "topic": route.topic}
        return EdgeError(errors.PUBSUB_FORBIDDEN, message=text, info=info, resource=ResourceInfo("pubsub", route.part.name))

    @staticmethod
    def _failed(route: Route, error: ComponentError) -> EdgeError:
        full = isinstance(error, Full)
        return EdgeError(
            errors.PUBSUB_FULL if full else errors.PUBSUB_PUBLISH,
            info={"error": str(error), "topic": route.topic},
            resource=ResourceInfo("pubsub", route.part.name),
            headers=(("Retry-After", "1"),) if full else (),
            topic=route.topic,
            name=route.part.name,
            error=error,
        )


def once_key(app: App, name: str, topic: str, options: PublishOptions) -> str:
    """What a repeated `Idempotency-Key` is known by."""
    return f"key|{app.id}|{name}|{topic}|{options.idempotency_key}"


def wire_topic(app: App, part: Part, topic: str) -> str:
    """The topic as the broker sees it: a component whose metadata name `{namespace}` puts the namespace in front."""
    return f"{app.namespace}{topic}" if part.properties.get("namespacescoped") == "true" else topic


def _with_trace(options: PublishOptions) -> dict[str, str]:
    return {**options.metadata, "traceid": options.traceparent, "tracestate": options.tracestate}


def _produced(tracer: Tracer, options: PublishOptions) -> str:
    """The traceparent of one event of a bulk call: each has a span of its own."""
    span = tracer.producer(options.span, traceparent(options.traceparent), options.tracestate)
    span.end()
    return span.traceparent
