"""`pubsub.mqtt5`: publish/subscribe over MQTT 5, or 3.1.1 where the broker speaks no other.

Not in daprd. Fields and behaviour are those of `pubsub.mqtt3` where both have them; what MQTT 5 adds: components/_mqtt/mapping5.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from components._mqtt import Certificates, Session, Settings, parse_url
from components._mqtt.fields import parse_bool
from components._mqtt.fields5 import VERSIONS, identity
from components._mqtt.mapping5 import incoming, outgoing, outgoing_binary
from components._mqtt.packets5 import Properties
from components._mqtt.topics import SHARE
from edge.component import Context, Deliver, Feature, Unsubscribe
from edge.errors import Invalid
from edge.model import Message
from edge.spec import Duration, Size, meta, truthy

MODES = ("structured", "binary")


@dataclass(frozen=True, slots=True)
class Fields:
    """Metadata of the component."""

    url: str = meta(
        doc="Broker address: tcp:// or mqtt://, ssl:// (mqtts, tcps, tls) for TLS. User and password may stand in it.",
        sensitive=True,
        example="tcp://localhost:1883",
        missing="missing url",
    )
    protocol_version: str = meta("5", doc="`auto`: MQTT 5, and 3.1.1 for a broker that refuses it.", choices=VERSIONS)
    consumer_id: str = meta("", name="consumerID", doc="MQTT client id; the app id unless given. No two clients may share one.")
    consumer_group: str = meta("", doc="Subscriptions are shared by all members of this group (`$share/<group>/…`). Also per subscription.")
    qos: int = meta(1, doc="Delivery guarantee of publish and subscribe (MQTT 5 §4.3).", choices=(0, 1, 2))
    retain: bool = meta(False, doc="Publish with the retain flag; the publish metadata `retain` overrides it.")
    event_mode: str = meta(
        "structured", doc="`binary`: the payload is the event's data, its attributes are user properties.", choices=MODES
    )
    event_properties: bool = meta(True, doc="In structured mode too the event's attributes are user properties (some 200 bytes).")
    clean_session: bool = meta(False, doc="Forget the session at each connect: what was sent meanwhile is lost.")
    session_expiry: Duration = meta(Duration(0), doc="How long the broker keeps the session of a client that is away; 0 = for ever.")
    keep_alive: Duration = meta(Duration(30), doc="Longest silence before a ping.", least=1)
    max_inflight: int = meta(128, doc="Most messages on their way to the broker, which may allow less.", least=1, most=60000)
    receive_maximum: int = meta(256, doc="Most messages that the broker may have on their way to edged.", least=1, most=65535)
    max_packet_size: Size = meta(Size(0), doc="Largest packet that the broker may send; 0 = any.", least=0, most=268435455)
    ca_cert: str = meta("", doc="PEM text of the authority that signed the broker's certificate.")
    client_cert: str = meta("", doc="PEM text of the client's certificate.")
    client_key: str = meta("", doc="PEM text of the client's key, unencrypted.", sensitive=True)


class PubSub:
    """See the module. features: without MESSAGE_TTL in 3.1.1, where an event's expiry stands in the event."""

    Metadata: ClassVar[type] = Fields
    features: frozenset[Feature] = frozenset({Feature.MESSAGE_TTL, Feature.SUBSCRIBE_WILDCARDS})
    journal_out: ClassVar[bool] = True
    journal_in: ClassVar[bool] = True
    content_types: ClassVar[bool] = True

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._client_id = metadata.consumer_id or context.app_id
        self._session: Session
        if metadata.protocol_version != "5":
            self.features = frozenset({Feature.SUBSCRIBE_WILDCARDS})

    async def open(self) -> None:
        """Connecting goes on behind it. Raises Invalid for an address or TLS material that cannot work."""
        fields = self.metadata
        certificates = Certificates(fields.ca_cert, fields.client_cert, fields.client_key)
        who = identity(fields, parse_url(fields.url), self._client_id)
        self._session = Session(Settings(who, incoming, certificates, fields.max_inflight))
        await self._session.open()

    async def close(self) -> None:
        """Deliveries under way may end; the session stays with the broker."""
        await self._session.close()

    async def attempted(self) -> None:
        """See edge.component.Connects."""
        await self._session.attempted()

    def unhealthy(self) -> str | None:
        return self._session.unhealthy()

    def reasons(self) -> Mapping[tuple[str, str], int]:
        """See edge.component.Coded."""
        return self._session.reasons

    async def publish(self, message: Message) -> None:
        """Return at PUBACK (PUBCOMP); waits while the broker is away. Raises Invalid, Closed, Unavailable (QoS 0, or "not now")."""
        wire, properties = self._wire(message)
        await self._session.publish(wire, self.metadata.qos, retain=self._retain(message), properties=properties)

    def send(self, message: Message) -> asyncio.Future[None]:
        """See edge.component.Sender."""
        wire, properties = self._wire(message)
        return self._session.send(wire, self.metadata.qos, retain=self._retain(message), properties=properties)

    def _wire(self, message: Message) -> tuple[Message, Properties]:
        if self.metadata.event_mode == "binary" and self._session.version == 5:
            data, properties = outgoing_binary(message)
            return replace(message, data=data), properties
        return message, outgoing(message, attributes=self.metadata.event_properties)

    def _retain(self, message: Message) -> bool:
        if not message.metadata or (text := message.metadata.get("retain")) is None:
            return self.metadata.retain
        try:
            return parse_bool(text)
        except ValueError as error:
            raise Invalid(f"mqtt invalid retain {text}, {error}") from None

    async def subscribe(self, topic: str, deliver: Deliver, metadata: Mapping[str, str], app_id: str) -> Unsubscribe:
        """`topic` may hold wildcards and begin with `$share/<group>/`; metadata: `consumerGroup`, `unsubscribeOnClose`."""
        group = metadata.get("consumerGroup") or self.metadata.consumer_group
        if group and not topic.startswith(SHARE):
            topic = f"{SHARE}{group}/{topic}"
        tell = self.metadata.clean_session or truthy(metadata.get("unsubscribeOnClose", ""))
        return await self._session.subscribe(topic, self.metadata.qos, deliver, unsubscribe=tell)
