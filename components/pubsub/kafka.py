"""`pubsub.kafka`: topics of a Kafka cluster, a consumer group per app; metadata are headers both ways, as with daprd.

Source: components-contrib common/component/kafka @1.18.4; differs: a start without the cluster is a start; OIDC, AWS and schema
registries are not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from components.pubsub._kafka import Consumer
from components.pubsub._kafka_fields import ACKS, Fields, connection, excluded, reason
from components.pubsub._outgoing import Outgoing
from components.pubsub._window import end
from edge.component import NOT_YET, Context, Deliver, Feature, Unsubscribe
from edge.errors import Closed, ComponentError, Invalid, Unavailable
from edge.model import Message
from edge.tasks import Tasks

log = logging.getLogger("dapr.contrib")
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0


class PubSub:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.BULK_PUBSUB})
    journal_out: ClassVar[bool] = True
    journal_in: ClassVar[bool] = True

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._context = context
        self._out = Outgoing(f"pubsub {context.name}", self._start)
        self._consumers: dict[Consumer, None] = {}
        self._excluded: re.Pattern[str] | None = None
        self._how: dict[str, Any] = {}
        self._tasks: Tasks | None = None
        self._producer: Any = None
        self._trouble: str | None = NOT_YET

    async def open(self) -> None:
        """Connecting goes on behind it. Raises Invalid for what cannot work."""
        import aiokafka  # noqa: F401  # the extra `kafka`

        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it writes an error at each attempt; `_down` says why, once
        self._excluded = excluded(self.metadata)
        self._how = await asyncio.to_thread(connection, self.metadata, self._context.app_id)
        self._tasks = self._context.tasks
        self._living = self._tasks.spawn(f"kafka[{self._context.name}]", self._connect)
        self._out.run(self._tasks)
        await self._out.first_up(self._context.init_timeout / 2)

    async def close(self) -> None:
        """What is under way may end."""
        if self._tasks is None:
            return
        self._tasks = None
        await asyncio.gather(*(consumer.close() for consumer in list(self._consumers)))
        self._out.close()
        await end(self._living)
        if self._producer is not None:
            with contextlib.suppress(Exception):  # the cluster may be gone
                async with asyncio.timeout(2):
                    await self._producer.stop()

    def unhealthy(self) -> str | None:
        return self._trouble

    # --- the connection
    async def _connect(self) -> None:
        from aiokafka import AIOKafkaProducer
        from aiokafka.errors import KafkaError

        fields, pause = self.metadata, FIRST_PAUSE
        more = {"acks": ACKS[fields.producer_required_acks], "max_request_size": max(fields.max_message_bytes, 1024)}
        if fields.compression != "none":
            more["compression_type"] = fields.compression
        while True:
            producer = AIOKafkaProducer(**self._how, **more)
            try:
                await producer.start()
                break
            except (KafkaError, OSError) as error:
                self._down(await reason(self._how, error))
            finally:
                if not getattr(producer, "_sender", None) or producer._sender.sender_task is None:
                    with contextlib.suppress(Exception):
                        await producer.stop()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        self._producer, self._trouble = producer, None
        self._out.up()

    def _down(self, why: str) -> None:
        if why != self._trouble:
            log.warning("kafka: %s", why)
        self._trouble = why

    # --- out
    async def publish(self, message: Message) -> None:
        """metadata: `partitionKey` (or `__key`), `partitionNumber`. Raises Closed, Unavailable, Invalid, ComponentError."""
        await self._out.publish(message)

    def send(self, message: Message) -> asyncio.Future[None]:
        """See edge.component.Sender."""
        return self._out.send(message)

    async def _start(self, message: Message) -> asyncio.Future[None]:
        from aiokafka.errors import KafkaError

        given = message.metadata
        key = given.get("partitionKey", given.get("__key"))
        headers = [(name, value.encode()) for name, value in given.items() if not self._excluded or not self._excluded.search(name)]
        try:
            landed = await self._producer.send(
                message.topic, message.data, key=None if key is None else key.encode(), partition=_partition(given), headers=headers
            )
        except (KafkaError, ValueError, AssertionError) as error:
            raise self._refused(error) from error
        return asyncio.ensure_future(self._confirmed(landed))

    async def _confirmed(self, landed: asyncio.Future[Any]) -> None:
        from aiokafka.errors import KafkaError

        try:
            await landed
        except KafkaError as error:
            raise self._refused(error) from error
        self._trouble = None

    def _refused(self, error: Exception) -> ComponentError:
        """Whether it is worth trying again."""
        from aiokafka.errors import KafkaError, KafkaTimeoutError

        text = f"kafka error: {error}"
        if isinstance(error, KafkaTimeoutError) or getattr(error, "retriable", False):
            self._down(text)
            return Unavailable(text)
        return ComponentError(text) if isinstance(error, KafkaError) else Invalid(text)

    # --- in
    async def subscribe(self, topic: str, deliver: Deliver, metadata: Mapping[str, str], app_id: str) -> Unsubscribe:
        """A member of the group `consumerGroup`, else `consumerID`, else the app's id; waits for the cluster."""
        if self._tasks is None:
            raise Closed(f"pubsub {self._context.name} is closed")
        fields = self.metadata
        own = fields.consumer_id if fields.consumer_id not in ("", self._context.app_id) else app_id
        options = {
            **self._how,
            "group_id": fields.consumer_group or own,
            "auto_offset_reset": "earliest" if fields.initial_offset == "oldest" else "latest",
            "heartbeat_interval_ms": round(fields.heartbeat_interval * 1000),
            "session_timeout_ms": round(fields.session_timeout * 1000),
        }
        strategy = fields.consumer_group_rebalance_strategy
        consumer = Consumer(topic, deliver, options, strategy, self._excluded, fields.escape_headers, self._tasks)
        self._consumers[consumer] = None

        async def unsubscribe() -> None:
            self._consumers.pop(consumer, None)
            await consumer.close()

        return unsubscribe


def _partition(metadata: Mapping[str, str]) -> int | None:
    text = metadata.get("partitionNumber", "")
    if not text:
        return None
    if not re.fullmatch("[0-9]+", text):
        why = "it is negative" if re.fullmatch("-[0-9]+", text) else f'strconv.ParseInt: parsing "{text}": invalid syntax'
        raise Invalid(f'invalid partitionNumber metadata value "{text}": {why}')
    return int(text)
