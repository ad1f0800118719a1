"""`bindings.mqtt3`: MQTT messages as events for the app, and messages by operation `create`. Two clients, each when it is needed.

Source: components-contrib bindings/mqtt3 @1.18.4 (QoS is always 1, client ids `<consumerID>-consumer` and `-producer`); differs: a
delivery that failed is tried again without a reconnect and without an end (`backOffMaxRetries` is read and not needed).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from components._mqtt import Broker, Certificates, Identity, Session, Settings, parse_url
from components._mqtt.address import tls_context
from components._mqtt.packets5 import Properties
from edge.component import Context, DeliverEvent, Feature, Unsubscribe
from edge.errors import Closed, Unsupported
from edge.model import BindingEvent, BindingResult, Message
from edge.spec import Duration, meta

QOS = 1


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
    retain: bool = meta(False, doc="Publish with the retain flag.")
    clean_session: bool = meta(False, doc="Forget the session at each connect: what was sent meanwhile is lost.")
    keep_alive: Duration = meta(Duration(30), doc="Longest silence before a ping. Not in daprd (there 30 s).", least=1)
    qos: int = meta(QOS, doc="Ignored, as daprd does: always 1.")
    back_off_max_retries: int = meta(0, doc="Ignored: a failed delivery is tried again until it is taken.")
    ca_cert: str = meta("", doc="PEM text of the authority that signed the broker's certificate.")
    client_cert: str = meta("", doc="PEM text of the client's certificate.")
    client_key: str = meta("", doc="PEM text of the client's key, unencrypted.", sensitive=True)


class Binding:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.INPUT_BINDING, Feature.OUTPUT_BINDING})
    operations: ClassVar[tuple[str, ...]] = ("create",)
    journal_out: ClassVar[bool] = True
    journal_in: ClassVar[bool] = True

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._broker: Broker
        self._certificates = Certificates(metadata.ca_cert, metadata.client_cert, metadata.client_key)
        self._sessions: dict[str, Session] = {}
        self._closed = False

    async def open(self) -> None:
        """Connects to nothing yet. Raises Invalid for an address or TLS material that cannot work."""
        self._broker = parse_url(self.metadata.url)
        if self._certificates:
            tls_context(self._certificates)

    async def close(self) -> None:
        """Events under way may end; the sessions stay with the broker."""
        self._closed = True
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
            fields = self.metadata
            identity = Identity(self._broker, f"{fields.consumer_id}-{role}", fields.clean_session, fields.keep_alive)
            session = self._sessions[role] = Session(Settings(identity, _message, self._certificates))
            await session.open()
        return session

    async def read(self, deliver: DeliverEvent) -> Unsubscribe:
        """Events have the metadata `topic`. Ending it ends the connection, and the session's messages wait at the broker."""

        async def pass_on(message: Message) -> None:
            await deliver(BindingEvent(message.data, message.metadata))

        session = await self._session("consumer")
        await session.subscribe(self.metadata.topic, QOS, pass_on, unsubscribe=self.metadata.clean_session)

        async def stop() -> None:
            if self._sessions.pop("consumer", None) is session:
                await session.close()

        return stop

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> BindingResult | None:
        """`create`: return at PUBACK; waits while the broker is away. metadata: `topic`. Raises Invalid, Closed."""
        if operation != "create":
            raise Unsupported(f"operation {operation} is not supported")
        session = await self._session("producer")
        message = Message(metadata.get("topic") or self.metadata.topic, data)
        await session.publish(message, QOS, retain=self.metadata.retain)
        return None


def _message(topic: str, data: bytes, _retained: bool, _properties: Properties) -> Message:
    return Message(topic, data, {"topic": topic})
