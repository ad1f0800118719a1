"""`pubsub.kafka`: topics of a Kafka cluster, a consumer group per app; metadata are headers both ways, as with daprd.

Experimental: there is no packaged Kafka to run the conformance suite against. Source: components-contrib common/component/kafka @1.18.4;
differs: a start without the cluster is a start; OIDC, AWS and schema registries are not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from components.pubsub._kafka import Consumer
from components.pubsub._outgoing import Outgoing
from components.pubsub._window import end
from edge.clock import blamed
from edge.component import NOT_YET, Context, Deliver, Feature, Unsubscribe
from edge.errors import Closed, ComponentError, Invalid, Unavailable
from edge.model import Message
from edge.record import record
from edge.spec import Duration, Size, meta, truthy
from edge.tasks import Tasks

log = logging.getLogger("dapr.contrib")
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
ACKS: Mapping[str, int | str] = {"all": "all", "local": 1, "none": 0}
MECHANISMS = {"sha-256": "SCRAM-SHA-256", "sha-512": "SCRAM-SHA-512", "plaintext": "PLAIN", "": "PLAIN"}
AUTH = ("none", "password", "mtls", "certificate")


@record
class Fields:
    """Metadata of the component."""

    brokers: str = meta(
        doc="Bootstrap servers, comma separated.", example="localhost:9092", missing="kafka error: missing 'brokers' attribute"
    )
    consumer_id: str = meta("", name="consumerID", doc="The group where `consumerGroup` is not given; the app id unless given.")
    consumer_group: str = meta("", doc="Name of the consumer group.")
    client_id: str = meta("", name="clientId", doc="Name of this client; the app id unless given.", aliases=("clientID",))
    auth_type: str = meta("", doc="How we sign in.", choices=("", *AUTH))
    auth_required: str = meta("", doc="Old form of authType: `true` = password or mtls, `false` = none.")
    sasl_username: str = meta("", doc="User name, for password.")
    sasl_password: str = meta("", doc="Password.", sensitive=True)
    sasl_mechanism: str = meta("", doc="`SHA-256`, `SHA-512` or `PLAINTEXT`, for password.")
    initial_offset: str = meta("newest", doc="Where a new group begins.", choices=("newest", "oldest"))
    max_message_bytes: Size = meta(Size(1 << 20), doc="Longest message that is published.", least=1)
    disable_tls: bool = meta(False, name="disableTls", doc="No TLS although a password is sent.")
    skip_verify: bool = meta(False, doc="Accept any certificate of the servers.")
    ca_cert: str = meta("", doc="PEM text of the authority that signed the servers' certificates.")
    client_cert: str = meta("", doc="PEM text of the client's certificate.")
    client_key: str = meta("", doc="PEM text of its key.", sensitive=True)
    heartbeat_interval: Duration = meta(Duration(3), doc="How often a group member says that it is there.")
    session_timeout: Duration = meta(Duration(10), doc="After this silence a group member counts as gone.")
    consumer_group_rebalance_strategy: str = meta("range", doc="How partitions are shared.", choices=("range", "roundrobin", "sticky"))
    consume_retry_enabled: bool = meta(True, doc="Accepted and not needed: a failed delivery is always tried again.")
    consume_retry_interval: Duration = meta(Duration(0.1), doc="Accepted and not needed.")
    compression: str = meta("none", doc="Compression of what is published.", choices=("none", "gzip", "snappy", "lz4", "zstd"))
    producer_required_acks: str = meta("all", doc="Who must have a message.", choices=tuple(ACKS))
    exclude_header_meta_regex: str = meta("", doc="Metadata names that match are no headers, and headers that match no metadata.")
    escape_headers: bool = meta(False, doc="Header values are URL-escaped in metadata.")
    version: str = meta("", doc="Accepted and not needed: the client asks the servers.")


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

        self._how = await asyncio.to_thread(self._connection)
        self._tasks = self._context.tasks
        connected = asyncio.Event()
        self._living = self._tasks.spawn(f"kafka[{self._context.name}]", lambda: self._connect(connected))
        self._out.run(self._tasks)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._context.init_timeout / 2):
                await connected.wait()

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
    def _connection(self) -> dict[str, Any]:
        """What producer and consumers share. Raises Invalid."""
        fields, auth = self.metadata, self._auth()
        try:
            self._excluded = re.compile(fields.exclude_header_meta_regex) if fields.exclude_header_meta_regex else None
        except re.error as error:
            raise Invalid(f"excludeHeaderMetaRegex: {error}") from error
        found: dict[str, Any] = {
            "bootstrap_servers": [broker.strip() for broker in fields.brokers.split(",")],
            "client_id": fields.client_id or self._context.app_id,
            "request_timeout_ms": 10_000,
            "retry_backoff_ms": 100,
        }
        tls = auth in ("mtls", "certificate") or (auth == "password" and not fields.disable_tls) or bool(fields.ca_cert)
        if tls and not fields.disable_tls:
            from components.bindings._pem import client_context  # OpenSSL, for those who need it

            pems = ("caCert", fields.ca_cert), ("clientCert", fields.client_cert), ("clientKey", fields.client_key)
            found["ssl_context"] = context = client_context(*pems, None)
            if fields.skip_verify:
                context.check_hostname, context.verify_mode = False, 0  # type: ignore[assignment]
        protocol = "SSL" if "ssl_context" in found else "PLAINTEXT"
        if auth == "password":
            found |= {"sasl_mechanism": MECHANISMS.get(fields.sasl_mechanism.lower(), "PLAIN")}
            found |= {"sasl_plain_username": fields.sasl_username, "sasl_plain_password": fields.sasl_password}
            protocol = f"SASL_{protocol}"
        return found | {"security_protocol": protocol}

    def _auth(self) -> str:
        fields = self.metadata
        auth = fields.auth_type
        if not auth and fields.auth_required:
            auth = ("password" if fields.sasl_password else "mtls") if truthy(fields.auth_required) else "none"
        if not auth:
            raise Invalid("kafka error: 'authType' attribute was missing or empty")
        if auth == "password" and not (fields.sasl_username and fields.sasl_password):
            missing = "Password" if fields.sasl_username else "Username"
            raise Invalid(f"kafka error: missing SASL {missing} for authType 'password'")
        return auth

    async def _connect(self, connected: asyncio.Event) -> None:
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
                self._trouble = f"{fields.brokers}: {blamed(str(error)) or type(error).__name__}"
            finally:
                if not getattr(producer, "_sender", None) or producer._sender.sender_task is None:
                    with contextlib.suppress(Exception):
                        await producer.stop()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        self._producer, self._trouble = producer, None
        self._out.up()
        connected.set()

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
            raise _refused(error) from error
        return asyncio.ensure_future(_confirmed(landed))

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
        raise Invalid(f'invalid partitionNumber metadata value "{text}": it is no number that is not negative')
    return int(text)


async def _confirmed(landed: asyncio.Future[Any]) -> None:
    from aiokafka.errors import KafkaError

    try:
        await landed
    except KafkaError as error:
        raise _refused(error) from error


def _refused(error: Exception) -> ComponentError:
    """Whether it is worth trying again."""
    from aiokafka.errors import KafkaError, KafkaTimeoutError

    text = f"kafka error: {error}"
    if isinstance(error, KafkaTimeoutError) or getattr(error, "retriable", False):
        return Unavailable(text)
    return ComponentError(text) if isinstance(error, KafkaError) else Invalid(text)
