"""What lies at a RabbitMQ broker as daprd lays it out, and one subscription to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import uuid
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from components.pubsub._window import Window
from edge.component import Deliver
from edge.errors import Invalid
from edge.model import Message
from edge.spec import truthy
from edge.tasks import Tasks

if TYPE_CHECKING:
    from components.pubsub.rabbitmq import Fields

log = logging.getLogger("dapr.contrib")
PREFETCH = 128
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
GRACE = 5.0
LONGEST_TAG = 255
TYPES = ("classic", "quorum")
PROPERTIES = {"contenttype": "content_type", "messageid": "message_id", "correlationid": "correlation_id", "type": "type"}


class Topology:
    """Declares exchanges and queues."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields

    async def exchange(self, channel: Any, name: str, kind: str = "", *, durable: bool | None = None) -> Any:
        """The exchange of a topic."""
        fields = self.fields
        lasting = fields.durable if durable is None else durable
        return await channel.declare_exchange(name, kind or fields.exchange_kind, durable=lasting, auto_delete=fields.deleted_when_unused)

    async def queue(self, channel: Any, topic: str, name: str, metadata: Mapping[str, str], arguments: Mapping[str, Any]) -> Any:
        """The queue of a subscription, bound to its topic's exchange."""
        fields, given = self.fields, dict(arguments)
        exchange = await self.exchange(channel, topic)
        if fields.enable_dead_letter:
            dead = await self.exchange(channel, f"dlx-{name}", "fanout", durable=True)
            lazy = {**self._limits(), "x-queue-mode": "lazy"}
            letters = await channel.declare_queue(f"dlq-{name}", durable=True, auto_delete=fields.deleted_when_unused, arguments=lazy)
            await letters.bind(dead, "")
            given["x-dead-letter-exchange"] = f"dlx-{name}"
        options = {"durable": fields.durable, "auto_delete": fields.deleted_when_unused}
        queue = await channel.declare_queue(name, arguments={**self._limits(), **given}, **options)
        for key in metadata.get("routingKey", "").split(","):
            await queue.bind(exchange, key)
        return queue

    def _limits(self) -> dict[str, Any]:
        fields = self.fields
        given = {"x-max-length": fields.max_len, "x-max-length-bytes": fields.max_len_bytes}
        return {name: value for name, value in given.items() if value > 0}


def queue_arguments(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What a subscription's metadata say of its queue. Raises Invalid."""
    kind = metadata.get("queueType") or "classic"
    if kind not in TYPES:
        raise Invalid(f"invalid queue type {kind}. Valid types are classic and quorum")
    found: dict[str, Any] = {"x-queue-type": kind}
    numbers = {"maxPriority": "x-max-priority", "maxLenBytes": "x-max-length-bytes", "maxLen": "x-max-length"}
    for name, argument in numbers.items():
        if text := metadata.get(name, ""):
            if not re.fullmatch("[0-9]+", text):
                raise Invalid(f"can't parse {name} {text} value on subscription metadata")
            found[argument] = min(int(text), 255) if name == "maxPriority" else int(text)
    if truthy(metadata.get("singleActiveConsumer", "")):
        found["x-single-active-consumer"] = True
    return found


class Consumer:
    """One subscription, over connections that come and go."""

    def __init__(self, topology: Topology, topic: str, queue: str, deliver: Deliver, metadata: Mapping[str, str], tasks: Tasks) -> None:
        fields = topology.fields
        self._topology, self._topic, self._queue, self._metadata, self._tasks = topology, topic, queue, metadata, tasks
        self._arguments = queue_arguments(metadata)
        self._prefetch = fields.prefetch_count or PREFETCH
        self._window = Window(topic, deliver, 1 if fields.concurrency == "single" else self._prefetch)
        self._properties = fields.publish_message_properties_to_metadata
        self._channel: Any = None
        self._tag, self._bound = "", None
        self._again: asyncio.Task[None] | None = None
        self._closed = False

    async def connect(self, connection: Any) -> None:
        """Consume on this connection; what the broker refuses is tried again."""
        if not await self._try(connection) and self._again is None:
            self._again = self._tasks.start(f"rabbitmq-consume[{self._queue}]", self._insist(connection))

    def disconnected(self) -> None:
        """What was not acknowledged comes again on the next connection."""
        self._channel = None
        if self._again is not None:
            self._again.cancel()
            self._again = None

    async def _insist(self, connection: Any) -> None:
        pause = FIRST_PAUSE
        while not self._closed:
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            if await self._try(connection):
                break
        self._again = None

    async def _try(self, connection: Any) -> bool:
        from aio_pika.exceptions import AMQPError

        fields = self._topology.fields
        try:
            self._channel = channel = await connection.channel(publisher_confirms=False)
            await channel.set_qos(self._prefetch)
            queue = await self._topology.queue(channel, self._topic, self._queue, self._metadata, self._arguments)
            tag = f"{self._queue}-{uuid.uuid4()}"[-LONGEST_TAG:]
            self._tag = await queue.consume(self._arrived, no_ack=fields.auto_ack, consumer_tag=tag)
            self._bound = queue
        except (AMQPError, OSError, RuntimeError) as error:
            log.error("rabbitmq pub/sub: error in subscriber for %s: %s", self._queue, error)
            return False
        return True

    async def _arrived(self, message: Any) -> None:
        if self._closed:
            return
        metadata = _received(message) if self._properties else {}
        await self._window.put(Message(self._topic, message.body, metadata), partial(self._settle, message))

    async def _settle(self, message: Any) -> None:
        if self._topology.fields.auto_ack:
            return
        with contextlib.suppress(Exception):  # its channel is gone: the message comes again
            await message.ack()

    async def close(self) -> None:
        """Nothing new; what is under way may end."""
        self._closed = True
        if self._again is not None:
            self._again.cancel()
        channel, self._channel = self._channel, None
        with contextlib.suppress(Exception):  # the connection may be gone, and with it all this
            async with asyncio.timeout(2):
                if self._bound is not None and channel is not None and not channel.is_closed:
                    await self._bound.cancel(self._tag)
        await self._window.close(GRACE)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2):
                if channel is not None and not channel.is_closed:
                    await channel.close()


def published(message: Message, fields: Fields) -> Any:
    """The message as it goes to the broker; metadata names are read in any case."""
    import aio_pika

    low = {name.lower(): value for name, value in message.metadata.items() if value}
    given: dict[str, Any] = {"content_type": "text/plain"} | {PROPERTIES[name]: low[name] for name in PROPERTIES if name in low}
    ttl = message.metadata.get("ttlInSeconds", "")
    if re.fullmatch("[0-9]+", ttl) and int(ttl) > 0:
        given["expiration"] = int(ttl)
    elif fields.ttl_in_seconds:
        given["expiration"] = fields.ttl_in_seconds
    if re.fullmatch("[0-9]+", priority := message.metadata.get("priority", "")):
        given["priority"] = min(int(priority), 255)
    mode = aio_pika.DeliveryMode.PERSISTENT if fields.delivery_mode == 2 else aio_pika.DeliveryMode.NOT_PERSISTENT
    return aio_pika.Message(message.data, delivery_mode=mode, **given)


def _received(message: Any) -> dict[str, str]:
    found = {f"metadata.{name}": getattr(message, attribute) for name, attribute in PROPERTIES.items()}
    for name, value in (message.headers or {}).items():
        found[f"metadata.{name}"] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return {name: str(value) for name, value in found.items() if value not in (None, "")}
