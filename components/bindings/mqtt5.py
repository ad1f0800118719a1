"""`bindings.mqtt5`: MQTT 5 messages as events for the app, messages by operation `create`, questions by `request`.

Not in daprd. Fields and behaviour are those of `bindings.mqtt3` where both have them (client ids `<consumerID>-consumer` and `-producer`);
what MQTT 5 adds stands in components/_mqtt/mapping5.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from components._mqtt import Broker, Certificates, Session, Settings, parse_url
from components._mqtt.address import tls_context
from components._mqtt.fields5 import VERSIONS, identity
from components._mqtt.mapping5 import incoming_event, outgoing
from components._mqtt.requests import Requests
from components._mqtt.topics import SHARE
from edge.component import Context, DeliverEvent, Feature, Unsubscribe
from edge.errors import Closed, Invalid, Unsupported
from edge.model import BindingEvent, BindingResult, Message
from edge.spec import Duration, Size, meta, parse_duration

CREATE, REQUEST = "create", "request"


@dataclass(frozen=True, slots=True)
class Fields:
    """Metadata of the component."""

    url: str = meta(
        doc="Broker address: tcp:// or mqtt://, ssl:// (mqtts, tcps, tls) for TLS. User and password may stand in it.",
        sensitive=True,
        example="tcp://localhost:1883",
        missing="missing url",
    )
    topic: str = meta(doc="Topic filter to read from, and topic to write to unless the request names one.", missing="missing topic")
    consumer_id: str = meta(name="consumerID", doc="Stem of the MQTT client ids.", missing="missing consumerID", example="greenhouse-7")
    protocol_version: str = meta("5", doc="`auto`: MQTT 5, and 3.1.1 for a broker that refuses it.", choices=VERSIONS)
    consumer_group: str = meta("", doc="Read as a member of this group: each message reaches one of them (`$share/<group>/…`).")
    qos: int = meta(1, doc="Delivery guarantee of `create` and of reading (MQTT 5 §4.3).", choices=(0, 1, 2))
    retain: bool = meta(False, doc="Publish with the retain flag.")
    response_topic: str = meta(
        "", doc="Where answers to `request` come; `edged/answers/<client id>` unless given. No two clients may share it."
    )
    request_timeout: Duration = meta(Duration(10), doc="Longest wait for an answer; the metadata `timeout` of a request overrides it.")
    clean_session: bool = meta(False, doc="Forget the session at each connect: what was sent meanwhile is lost.")
    session_expiry: Duration = meta(Duration(0), doc="How long the broker keeps the session of a client that is away; 0 = for ever.")
    keep_alive: Duration = meta(Duration(30), doc="Longest silence before a ping.", least=1)
    receive_maximum: int = meta(256, doc="Most messages that the broker may have on their way to edged.", least=1, most=65535)
    max_packet_size: Size = meta(Size(0), doc="Largest packet that the broker may send; 0 = any.", least=0, most=268435455)
    ca_cert: str = meta("", doc="PEM text of the authority that signed the broker's certificate.")
    client_cert: str = meta("", doc="PEM text of the client's certificate.")
    client_key: str = meta("", doc="PEM text of the client's key, unencrypted.", sensitive=True)


class Binding:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.INPUT_BINDING, Feature.OUTPUT_BINDING})
    operations: ClassVar[tuple[str, ...]] = (CREATE, REQUEST)
    journal_out: ClassVar[bool] = True
    journal_in: ClassVar[bool] = True

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._broker: Broker
        self._certificates = Certificates(metadata.ca_cert, metadata.client_cert, metadata.client_key)
        self._sessions: dict[str, Session] = {}
        self._requests: Requests | None = None
        self._closed = False

    async def open(self) -> None:
        """Connects to nothing yet. Raises Invalid for an address or TLS material that cannot work."""
        self._broker = parse_url(self.metadata.url)
        if self._certificates:
            tls_context(self._certificates)

    async def close(self) -> None:
        """Events under way may end; the sessions stay with the broker."""
        self._closed = True
        if self._requests is not None:
            self._requests.close()
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()

    async def attempted(self) -> None:
        """See edge.component.Connects."""
        if (session := self._sessions.get("consumer")) is not None:
            await session.attempted()

    def unhealthy(self) -> str | None:
        return next((trouble for session in self._sessions.values() if (trouble := session.unhealthy())), None)

    def reasons(self) -> Mapping[tuple[str, str], int]:
        """See edge.component.Coded."""
        return sum((session.reasons for session in self._sessions.values()), Counter())

    def ready(self) -> bool:
        """See edge.component.Ready. The session that writes begins with the first message."""
        session = self._sessions.get("producer")
        return session is None or session.connected

    async def _session(self, role: str) -> Session:
        if self._closed:
            raise Closed("the binding is closed")
        session = self._sessions.get(role)
        if session is None:
            who = identity(self.metadata, self._broker, f"{self.metadata.consumer_id}-{role}")
            session = self._sessions[role] = Session(Settings(who, incoming_event, self._certificates))
            await session.open()
        return session

    # --- in
    async def read(self, deliver: DeliverEvent) -> Unsubscribe:
        """Events have the metadata `topic`, `retained`, user properties, and `responseTopic` where an answer is wanted."""

        async def pass_on(message: Message) -> None:
            await deliver(BindingEvent(message.data, message.metadata))

        fields = self.metadata
        session = await self._session("consumer")
        topic = f"{SHARE}{fields.consumer_group}/{fields.topic}" if fields.consumer_group else fields.topic
        await session.subscribe(topic, fields.qos, pass_on, unsubscribe=fields.clean_session)

        async def stop() -> None:
            if self._sessions.pop("consumer", None) is session:
                await session.close()

        return stop

    def reply_to(self, event: BindingEvent) -> Mapping[str, str] | None:
        """See edge.component.Replies."""
        topic = event.metadata.get("responseTopic")
        if not topic:
            return None
        names = ("correlationData", "correlationDataBase64")
        return {"topic": topic} | {name: event.metadata[name] for name in names if name in event.metadata}

    # --- out
    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> BindingResult | None:
        """`create`: return at PUBACK; waits while the broker is away. `request`: the answer to a message.

        metadata: `topic`, `timeout` (of a request), and as for `pubsub.mqtt5`. Raises Invalid, Closed, Unavailable, Unsupported.
        """
        if operation not in self.operations:
            raise Unsupported(f"operation {operation} is not supported")
        session = await self._session("producer")
        message = Message(metadata.get("topic") or self.metadata.topic, data, metadata)
        properties = outgoing(message, attributes=False)
        if operation == CREATE:
            await session.publish(message, self.metadata.qos, retain=self.metadata.retain, properties=properties)
            return None
        if session.version != 5:
            raise Unsupported("operation request needs MQTT 5, the broker is spoken to in 3.1.1")
        if self._requests is None:
            self._requests = Requests(session, self.metadata.response_topic or f"edged/answers/{self.metadata.consumer_id}-producer")
        answer = await self._requests.ask(message, properties, self._timeout(metadata))
        return BindingResult(answer.data, answer.metadata, answer.content_type or "")

    def _timeout(self, metadata: Mapping[str, str]) -> float:
        text = metadata.get("timeout", "")
        try:
            return (parse_duration(text) if text else 0) or self.metadata.request_timeout
        except ValueError:
            raise Invalid(f"timeout {text} is no duration, such as 5s") from None
