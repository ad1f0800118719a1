"""`pubsub.mqtt3`: publish/subscribe over MQTT 3.1.1, with a broker session that survives restarts.

Source of fields and texts: components-contrib pubsub/mqtt3 @1.18.4; differs: a start without the broker is a start, a delivery that
failed is tried again without a reconnect, a QoS 0 publish says when there is no connection, back-off ends at 60 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from components._mqtt import Certificates, Identity, Session, Settings, parse_url
from components._mqtt.fields import parse_bool
from components._mqtt.packets5 import Properties
from edge.component import Context, Deliver, Feature, Unsubscribe
from edge.errors import Invalid
from edge.model import Message
from edge.record import record
from edge.spec import Duration, meta, truthy

RETAINED: Mapping[str, str] = {"retained": "true"}
FRESH: Mapping[str, str] = {"retained": "false"}


@record
class Fields:
    """Metadata of the component."""

    url: str = meta(
        doc="Broker address: tcp:// or mqtt://, ssl:// (mqtts, tcps, tls) for TLS. User and password may stand in it.",
        sensitive=True,
        example="tcp://localhost:1883",
        missing="missing url",
    )
    consumer_id: str = meta("", name="consumerID", doc="MQTT client id; the app id unless given. No two clients may share one.")
    qos: int = meta(1, doc="Delivery guarantee of publish and subscribe (MQTT 3.1.1 §4.3).", choices=(0, 1, 2))
    retain: bool = meta(False, doc="Publish with the retain flag; the publish metadata `retain` overrides it.")
    clean_session: bool = meta(False, doc="Forget the session at each connect: what was sent meanwhile is lost.")
    keep_alive: Duration = meta(Duration(30), doc="Longest silence before a ping. Not in daprd (there 30 s).", least=1)
    max_inflight: int = meta(128, doc="Most messages on their way to the broker. Not in daprd.", least=1, most=60000)
    ca_cert: str = meta("", doc="PEM text of the authority that signed the broker's certificate.")
    client_cert: str = meta("", doc="PEM text of the client's certificate.")
    client_key: str = meta("", doc="PEM text of the client's key, unencrypted.", sensitive=True)


class PubSub:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.SUBSCRIBE_WILDCARDS})
    journal_out: ClassVar[bool] = True
    journal_in: ClassVar[bool] = True

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._client_id = metadata.consumer_id or context.app_id
        self._session: Session

    async def open(self) -> None:
        """Connecting goes on behind it. Raises Invalid for an address or TLS material that cannot work."""
        fields = self.metadata
        identity = Identity(parse_url(fields.url), self._client_id, fields.clean_session, fields.keep_alive)
        certificates = Certificates(fields.ca_cert, fields.client_cert, fields.client_key)
        self._session = Session(Settings(identity, _message, certificates, fields.max_inflight))
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
        """Return at PUBACK (PUBCOMP); waits while the broker is away. Raises Invalid, Closed, and Unavailable at QoS 0."""
        await self._session.publish(message, self.metadata.qos, retain=self._retain(message))

    def send(self, message: Message) -> asyncio.Future[None]:
        """See edge.component.Sender."""
        return self._session.send(message, self.metadata.qos, retain=self._retain(message))

    def _retain(self, message: Message) -> bool:
        if not message.metadata or (text := message.metadata.get("retain")) is None:
            return self.metadata.retain
        try:
            return parse_bool(text)
        except ValueError as error:
            raise Invalid(f"mqtt invalid retain {text}, {error}") from None

    async def subscribe(self, topic: str, deliver: Deliver, metadata: Mapping[str, str], app_id: str) -> Unsubscribe:
        """`topic` may hold wildcards and begin with `$share/<group>/`; `unsubscribeOnClose` tells the broker at the end."""
        tell = self.metadata.clean_session or truthy(metadata.get("unsubscribeOnClose", ""))
        return await self._session.subscribe(topic, self.metadata.qos, deliver, unsubscribe=tell)


def _message(topic: str, data: bytes, retained: bool, _: Properties) -> Message:
    return Message(topic, data, RETAINED if retained else FRESH)
