"""`pubsub.rabbitmq`: a fanout exchange per topic and a queue per consumer and topic, named and declared as daprd does.

Source: components-contrib pubsub/rabbitmq @1.18.4; differs: a start without the broker is a start, publishing always waits for the
broker's confirmation, messages are persistent unless `deliveryMode` says otherwise, and a failed delivery is tried again, not rejected.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from components.pubsub._amqp import Consumer, Topology, published
from components.pubsub._outgoing import Outgoing
from components.pubsub._window import end
from edge.clock import blamed
from edge.component import NOT_YET, Context, Deliver, Feature, Unsubscribe
from edge.errors import Closed, ComponentError, Invalid, Unavailable
from edge.model import Message
from edge.record import record
from edge.spec import Duration, meta
from edge.tasks import Tasks

log = logging.getLogger("dapr.contrib")
FIRST_PAUSE = 0.2


@record
class Fields:
    """Metadata of the component."""

    connection_string: str = meta("", doc="AMQP address.", aliases=("host",), sensitive=True, example="amqp://user:password@localhost:5672")
    protocol: str = meta("", doc="`amqp` or `amqps`, where there is no connection string.", choices=("", "amqp", "amqps"))
    hostname: str = meta("localhost", doc="Host and port, where there is no connection string.")
    username: str = meta("", doc="User name.")
    password: str = meta("", doc="Password.", sensitive=True)
    consumer_id: str = meta("", name="consumerID", doc="Begin of the queues' names; the app id unless given.")
    durable: bool = meta(True, doc="Exchanges and queues outlive the broker.")
    deleted_when_unused: bool = meta(
        True, doc="Exchanges and queues go with their last user. `false` keeps messages for subscribers that are away."
    )
    auto_ack: bool = meta(False, doc="The broker forgets messages as it sends them: what edged has not stored is lost when it dies.")
    delivery_mode: int = meta(2, doc="0 and 1: messages do not outlive the broker; 2: they do. daprd's default is 0.", choices=(0, 1, 2))
    requeue_in_failure: bool = meta(False, doc="Accepted and not needed: a failed delivery is tried again here.")
    prefetch_count: int = meta(0, doc="Most messages without acknowledgement per subscription; 0 = 128.", least=0, most=255)
    reconnect_wait_seconds: Duration = meta(Duration(3), doc="Longest pause before a new connection.")
    concurrency: str = meta(
        "parallel", aliases=("concurrencyMode",), doc="`single`: one message after the other.", choices=("parallel", "single")
    )
    publisher_confirm: bool = meta(False, doc="Accepted and not needed: publishing always waits for the confirmation.")
    enable_dead_letter: bool = meta(False, doc="Queues have a dead-letter exchange `dlx-<queue>` with a queue `dlq-<queue>`.")
    max_len: int = meta(0, doc="Most messages of a queue.", least=0)
    max_len_bytes: int = meta(0, doc="Most bytes of a queue.", least=0)
    exchange_kind: str = meta("fanout", doc="Kind of the exchanges.", choices=("fanout", "topic", "direct", "headers"))
    client_name: str = meta("", doc="Name of the connection.")
    heart_beat: Duration = meta(Duration(10), doc="How often both sides say that they are there.")
    sasl_external: bool = meta(False, doc="The client certificate says who we are.")
    ca_cert: str = meta("", doc="PEM text of the authority that signed the broker's certificate.")
    client_cert: str = meta("", doc="PEM text of the client's certificate.")
    client_key: str = meta("", doc="PEM text of its key.", sensitive=True)
    ttl_in_seconds: int = meta(0, doc="How long messages live that do not say it themselves; 0 = for ever.", least=0)
    publish_message_properties_to_metadata: bool = meta(
        False, doc="Properties and headers of a message are its metadata (`metadata.<name>`)."
    )


class PubSub:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.MESSAGE_TTL})
    journal_out: ClassVar[bool] = True
    journal_in: ClassVar[bool] = True

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._context = context
        self._out = Outgoing(f"pubsub {context.name}", self._start)
        self._topology = Topology(metadata)
        self._consumers: dict[Consumer, None] = {}
        self._tasks: Tasks | None = None
        self._connection: Any = None
        self._channel: Any = None
        self._exchanges: dict[str, Any] = {}
        self._trouble: str | None = NOT_YET

    async def open(self) -> None:
        """Connecting goes on behind it. Raises Invalid for an address or TLS material that cannot work."""
        import aio_pika  # noqa: F401  # the extra `rabbitmq`

        logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # it writes an error at each attempt; `_down` says why, once
        url, where = self._address()
        tls = await asyncio.to_thread(self._tls) if urlsplit(url).scheme == "amqps" else None
        self._tasks = self._context.tasks
        self._living = self._tasks.spawn(f"rabbitmq[{self._context.name}]", lambda: self._live(url, where, tls))
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

    def unhealthy(self) -> str | None:
        return self._trouble

    # --- the connection
    def _address(self) -> tuple[str, str]:
        """The URL, and what of it may be told."""
        fields = self.metadata
        url = fields.connection_string
        if not url:
            login = f"{quote(fields.username, safe='')}:{quote(fields.password, safe='')}@" if fields.username else ""
            url = f"{fields.protocol or 'amqp'}://{login}{fields.hostname}"
        parts = urlsplit(url)
        if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
            raise Invalid("rabbitmq pub/sub error: invalid connection string: AMQP scheme must be either 'amqp://' or 'amqps://'")
        if fields.protocol and fields.protocol != parts.scheme:
            raise Invalid(f"rabbitmq pub/sub error: protocol does not match connection string, protocol: {fields.protocol}")
        if fields.sasl_external and not (fields.ca_cert and fields.client_cert and fields.client_key):
            raise Invalid("saslExternal can only be set to true, when all these properties are set: caCert, clientCert, clientKey")
        more = [f"heartbeat={max(round(fields.heart_beat), 1)}", *(["auth=external"] if fields.sasl_external else [])]
        path = parts.path or "/"
        query = "&".join(filter(None, (parts.query, *more)))
        port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
        return f"{parts.scheme}://{parts.netloc}{path}?{query}", f"{parts.hostname}:{port}"

    def _tls(self) -> Any:
        from components.bindings._pem import client_context  # OpenSSL, for those who need it

        fields = self.metadata
        return client_context(("caCert", fields.ca_cert), ("clientCert", fields.client_cert), ("clientKey", fields.client_key), None)

    async def _live(self, url: str, where: str, tls: Any) -> None:
        import aio_pika

        pause = FIRST_PAUSE
        properties = {"connection_name": self.metadata.client_name or self._context.app_id}
        while True:
            try:
                self._connection = await aio_pika.connect(url, ssl_context=tls, timeout=10, client_properties=properties)
            except (aio_pika.exceptions.AMQPError, OSError, TimeoutError) as error:
                self._down(f"{where}: {blamed(str(error)) or type(error).__name__}")
            else:
                pause = FIRST_PAUSE
                try:
                    await self._serve(where)
                finally:
                    with contextlib.suppress(aio_pika.exceptions.AMQPError, OSError, TimeoutError, RuntimeError):
                        async with asyncio.timeout(2):
                            await self._connection.close()
            await asyncio.sleep(pause)
            pause = min(pause * 2, max(self.metadata.reconnect_wait_seconds, FIRST_PAUSE))

    async def _serve(self, where: str) -> None:
        """From a connection to its end. Queues come first, so that what is published finds them."""
        lost = asyncio.Event()
        self._connection.close_callbacks.add(lambda *_: lost.set())
        self._channel, self._exchanges = None, {}
        self._trouble = None
        await asyncio.gather(*(consumer.connect(self._connection) for consumer in list(self._consumers)))
        self._out.up()
        log.info("rabbitmq: connected to %s", where)
        await lost.wait()
        self._down(f"{where}: the connection is broken")

    def _down(self, why: str) -> None:
        if why != self._trouble:
            log.warning("rabbitmq: %s", why)
        self._trouble = why
        for consumer in self._consumers:
            consumer.disconnected()
        self._out.down(why)

    # --- out
    async def publish(self, message: Message) -> None:
        """Return at the broker's confirmation; waits while it is away. Raises Closed, Unavailable, ComponentError."""
        await self._out.publish(message)

    def send(self, message: Message) -> asyncio.Future[None]:
        """See edge.component.Sender."""
        return self._out.send(message)

    async def _start(self, message: Message) -> asyncio.Future[None]:
        from aio_pika.exceptions import AMQPError

        try:
            exchange = await self._exchange(message.topic)
        except AMQPError as error:
            self._channel = None  # the broker closed it with its refusal
            raise self._refused(error) from error
        return asyncio.ensure_future(self._confirmed(exchange, message))

    async def _exchange(self, topic: str) -> Any:
        if self._channel is None or self._channel.is_closed:
            self._channel, self._exchanges = await self._connection.channel(publisher_confirms=True), {}
        found = self._exchanges.get(topic)
        if found is None:
            found = self._exchanges[topic] = await self._topology.exchange(self._channel, topic)
        return found

    async def _confirmed(self, exchange: Any, message: Message) -> None:
        from aio_pika.exceptions import AMQPError, DeliveryError

        try:
            await exchange.publish(published(message, self.metadata), message.metadata.get("routingKey", ""), mandatory=False)
        except DeliveryError as error:
            raise Unavailable("did not receive confirmation of publishing") from error
        except AMQPError as error:  # an exchange that went with its last queue is declared again
            self._channel = None
            raise self._refused(error) from error

    @staticmethod
    def _refused(error: Exception) -> ComponentError:
        from aio_pika.exceptions import ChannelPreconditionFailed

        text = f"rabbitmq pub/sub error: {error}"
        return ComponentError(text) if isinstance(error, ChannelPreconditionFailed) else Unavailable(text)

    # --- in
    async def subscribe(self, topic: str, deliver: Deliver, metadata: Mapping[str, str], app_id: str) -> Unsubscribe:
        """metadata: `queueName`, `routingKey` (several with commas), `maxPriority`, `queueType`, `singleActiveConsumer`, `maxLen`,
        `maxLenBytes`. Raises Invalid for a queue type or a number that is none.
        """
        if self._tasks is None:
            raise Closed(f"pubsub {self._context.name} is closed")
        consumer_id = self.metadata.consumer_id
        owner = consumer_id if consumer_id not in ("", self._context.app_id) else app_id
        consumer = Consumer(self._topology, topic, metadata.get("queueName") or f"{owner}-{topic}", deliver, metadata, self._tasks)
        self._consumers[consumer] = None
        if self._out.is_up:
            await consumer.connect(self._connection)

        async def unsubscribe() -> None:
            self._consumers.pop(consumer, None)
            await consumer.close()

        return unsubscribe
