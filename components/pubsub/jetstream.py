"""`pubsub.jetstream`: NATS JetStream; the streams are made by whoever runs the server, as with daprd.

Source: components-contrib pubsub/jetstream @1.18.4; differs: a start without the server is a start, a subscription waits for its stream,
and after a broken connection an ephemeral consumer goes on behind the last message that was taken (daprd starts again at the beginning).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import orjson

from components.pubsub._jetstream import Consumer
from components.pubsub._outgoing import Outgoing
from edge.clock import blamed
from edge.component import NOT_YET, Context, Deliver, Feature, Unsubscribe
from edge.errors import Closed, ComponentError, Invalid, Unavailable
from edge.model import Message
from edge.record import record
from edge.spec import Duration, meta
from edge.tasks import Tasks

log = logging.getLogger("dapr.contrib")
MESSAGE_ID = "Nats-Msg-Id"
POLICIES = {"all": "all", "": "all", "last": "last", "new": "new", "sequence": "by_start_sequence", "time": "by_start_time"}


@record
class Fields:
    """Metadata of the component."""

    nats_url: str = meta(
        name="natsURL", doc="The server, several comma separated.", example="nats://localhost:4222", missing="missing nats URL"
    )
    consumer_id: str = meta("", name="consumerID", doc="Not used: a durable name is given by `durableName`.")
    jwt: str = meta("", doc="User JWT, with `seedKey`.", sensitive=True)
    seed_key: str = meta("", doc="Seed of the user's key.", sensitive=True)
    token: str = meta("", doc="Token.", sensitive=True)
    tls_client_cert: str = meta("", name="tls_client_cert", doc="Path of the client's certificate.")
    tls_client_key: str = meta("", name="tls_client_key", doc="Path of its key.")
    name: str = meta("dapr.io - pubsub.jetstream", doc="Name of the connection.")
    stream_name: str = meta("", doc="The stream; empty = the one that has the topic.")
    durable_name: str = meta("", doc="Name of a consumer that the server remembers; empty = it forgets where a subscription was.")
    queue_group_name: str = meta("", doc="Subscribers of one group share the messages.")
    start_sequence: int = meta(0, doc="With deliverPolicy `sequence`.", least=0)
    start_time: int = meta(0, doc="With deliverPolicy `time`: seconds since 1970.", least=0)
    flow_control: bool = meta(False, doc="The server may slow itself down; needs `heartbeat`.")
    ack_wait: Duration = meta(Duration(0), doc="Longest time without an acknowledgement; 0 = the server's default, 30 s.")
    max_deliver: int = meta(0, doc="Most deliveries of a message; 0 = no limit.")
    back_off: tuple[str, ...] = meta((), doc="Pauses between deliveries, comma separated durations.")
    max_ack_pending: int = meta(0, doc="Most messages without an acknowledgement; 0 = the server's default.")
    replicas: int = meta(0, doc="Copies of the consumer's state.")
    memory_storage: bool = meta(False, doc="The consumer's state is in memory only.")
    rate_limit: int = meta(0, doc="Bits per second.", least=0)
    heartbeat: Duration = meta(Duration(0), doc="The server says that often that it is there.")
    deliver_policy: str = meta("", doc="Where a new consumer begins.", choices=tuple(POLICIES))
    ack_policy: str = meta("explicit", doc="What an acknowledgement means.", choices=("explicit", "all", "none"))
    domain: str = meta("", doc="JetStream domain.")
    api_prefix: str = meta("", name="apiPrefix", doc="Prefix of the JetStream API.")
    concurrency: str = meta(
        "single",
        aliases=("concurrencyMode",),
        doc="`single` or `parallel`; messages are started in order in both.",
        choices=("single", "parallel"),
    )


class PubSub:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()
    journal_out: ClassVar[bool] = True
    journal_in: ClassVar[bool] = True

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._context = context
        self._out = Outgoing(f"pubsub {context.name}", self._start)
        self._consumers: dict[Consumer, None] = {}
        self._tasks: Tasks | None = None
        self._nats: Any = None
        self._js: Any = None
        self._trouble: str | None = NOT_YET

    async def open(self) -> None:
        """Connecting goes on behind it. Raises Invalid for credentials that cannot work."""
        import nats.aio.client  # the extra `jetstream`

        self._check()
        options = await asyncio.to_thread(self._options)
        self._nats = nats.aio.client.Client()
        self._tasks = self._context.tasks
        self._connecting = self._tasks.spawn(f"nats[{self._context.name}]", lambda: self._connect(options))
        self._out.run(self._tasks)
        await self._out.first_up(self._context.init_timeout / 2)

    async def close(self) -> None:
        """What is under way may end."""
        if self._tasks is None:
            return
        self._tasks = None
        await asyncio.gather(*(consumer.close() for consumer in list(self._consumers)))
        self._out.close()
        self._connecting.cancel()
        with contextlib.suppress(Exception):  # the server may be gone
            async with asyncio.timeout(2.0):
                await self._nats.close()

    def unhealthy(self) -> str | None:
        return self._trouble

    # --- the connection
    def _check(self) -> None:
        fields = self.metadata
        pairs = (
            ("jwt", fields.jwt, "seed key", fields.seed_key),
            ("tls client cert", fields.tls_client_cert, "tls client key", fields.tls_client_key),
        )
        for one, first, other, second in pairs:
            if bool(first) != bool(second):
                raise Invalid(f"missing {other if first else one}")

    def _options(self) -> dict[str, Any]:
        fields = self.metadata
        found: dict[str, Any] = {"servers": [url.strip() for url in fields.nats_url.split(",")], "name": fields.name}
        if fields.jwt:
            found |= _jwt(fields.jwt, fields.seed_key)
        elif fields.tls_client_cert:
            import ssl  # only for TLS

            context = ssl.create_default_context()
            try:
                context.load_cert_chain(fields.tls_client_cert, fields.tls_client_key)
            except OSError as error:
                raise Invalid(f"tls_client_cert or tls_client_key: {error}") from error
            found["tls"] = context
        elif fields.token:
            found["token"] = fields.token
        return found

    async def _connect(self, options: Mapping[str, Any]) -> None:
        await self._nats.connect(
            **options,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.5,
            ping_interval=20,
            error_cb=self._on_error,
            disconnected_cb=self._on_down,
            reconnected_cb=self._on_up,
        )
        prefix = {"prefix": self.metadata.api_prefix} if self.metadata.api_prefix else {}
        domain = {"domain": self.metadata.domain} if self.metadata.domain else {}
        self._js = self._nats.jetstream(**prefix, **domain)
        await self._on_up()

    async def _on_up(self) -> None:
        self._trouble = None
        self._out.up()
        for consumer in self._consumers:
            consumer.connected()

    async def _on_down(self) -> None:
        self._trouble = self._trouble or f"{self.metadata.nats_url.rpartition('@')[2]}: the connection is broken"
        self._out.down(self._trouble)

    async def _on_error(self, error: Exception) -> None:
        if self._nats.is_connected:
            log.debug("nats: %s", error)
            return
        self._trouble = f"nats: {blamed(str(error)) or type(error).__name__}"

    # --- out
    async def publish(self, message: Message) -> None:
        """Return when the stream has it; waits while the server is away. Raises Closed, Unavailable, ComponentError."""
        await self._out.publish(message)

    def send(self, message: Message) -> asyncio.Future[None]:
        """See edge.component.Sender."""
        return self._out.send(message)

    async def _start(self, message: Message) -> asyncio.Future[None]:
        """A message that is sent twice within the server's window counts once: its id goes along."""
        acknowledged = await self._js.publish_async(message.topic, message.data, headers=_headers(message))
        return asyncio.ensure_future(self._confirmed(message.topic, acknowledged))

    async def _confirmed(self, topic: str, acknowledged: asyncio.Future[Any]) -> None:
        import nats.js.errors

        try:
            await acknowledged
        except nats.js.errors.NoStreamResponseError as error:
            if await self._has_no_stream(topic):
                raise ComponentError("nats: no response from stream") from error
            raise Unavailable("nats: no response from stream") from error
        except nats.js.errors.APIError as error:
            raise ComponentError(f"nats: {error.description or error}") from error

    async def _has_no_stream(self, topic: str) -> bool:
        """The server knows for sure that no stream takes the topic."""
        import nats.errors
        import nats.js.errors

        try:
            await self._js.find_stream_name_by_subject(topic)
        except nats.js.errors.NotFoundError:
            return True
        except (nats.errors.Error, OSError, TimeoutError):
            return False
        return False

    # --- in
    async def subscribe(self, topic: str, deliver: Deliver, metadata: Mapping[str, str], app_id: str) -> Unsubscribe:
        """A push consumer of the stream that has the topic; waits for server and stream."""
        if self._tasks is None:
            raise Closed(f"pubsub {self._context.name} is closed")
        consumer = Consumer(lambda: self._js, self._config(topic), self.metadata.stream_name, topic, deliver, self._tasks)
        self._consumers[consumer] = None
        if self._out.is_up:
            consumer.connected()

        async def unsubscribe() -> None:
            self._consumers.pop(consumer, None)
            await consumer.close()

        return unsubscribe

    def _config(self, topic: str) -> dict[str, Any]:
        """nats-py's ConsumerConfig, without what is not given."""
        fields = self.metadata
        start = datetime.fromtimestamp(fields.start_time, UTC) if fields.start_time else None
        given: dict[str, Any] = {
            "durable_name": fields.durable_name,
            "deliver_group": fields.queue_group_name,
            "opt_start_time": start,
            "opt_start_seq": fields.start_sequence,
            "deliver_policy": POLICIES[fields.deliver_policy],
            "ack_policy": fields.ack_policy,
            "flow_control": fields.flow_control,
            "ack_wait": float(fields.ack_wait),
            "max_deliver": fields.max_deliver,
            "backoff": [_seconds(text) for text in fields.back_off],
            "max_ack_pending": fields.max_ack_pending,
            "num_replicas": fields.replicas,
            "mem_storage": fields.memory_storage,
            "rate_limit_bps": fields.rate_limit,
            "idle_heartbeat": float(fields.heartbeat),
            "filter_subject": topic,
        }
        return {name: value for name, value in given.items() if value}


def _seconds(text: str) -> float:
    from edge.spec.parsing import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise Invalid(f"backOff: {error}") from error


def _headers(message: Message) -> dict[str, str] | None:
    """A CloudEvent's own id, as daprd; else the one that edged gave it."""
    try:
        event = orjson.loads(message.data) if message.data[:1] == b"{" else None
    except orjson.JSONDecodeError:
        event = None
    found = event.get("id") if isinstance(event, dict) else None
    number = found if isinstance(found, str) and found.isprintable() and found.isascii() and found.strip() else message.id
    return {MESSAGE_ID: number} if number else None


def _jwt(jwt: str, seed: str) -> dict[str, Any]:
    """The callbacks by which nats-py signs in. Raises Invalid for a seed that is none."""
    import base64

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        raw = base64.b32decode(seed.strip() + "=" * (-len(seed.strip()) % 8))
        key = Ed25519PrivateKey.from_private_bytes(raw[2:34])  # two bytes say what the key is for, two are a checksum
    except ValueError:
        raise Invalid("seedKey: the value is no NKEY seed") from None
    return {"user_jwt_cb": lambda: bytearray(jwt.encode()), "signature_cb": lambda nonce: base64.b64encode(key.sign(nonce.encode()))}
