"""`nameresolution.mqtt`: apps are called through an MQTT 5 broker, for sidecars that can reach it and not each other (behind NAT).

Not in daprd. A call is a message to `<topicPrefix>/requests/<namespace>/<app id>` with response topic and correlation data, the answer is a
message back, both with QoS 1 and an expiry; instances of an app share its requests. What is in them: edge/mesh/carried.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import zlib
from typing import ClassVar

from components._mqtt import Certificates, Identity, Session, Settings, parse_url
from components._mqtt.answers import ERROR, Answers
from components._mqtt.control import VERSION_5
from components._mqtt.mapping5 import incoming_event
from components._mqtt.packets5 import Properties
from components._mqtt.requests import QOS, Nobody, Requests, Silent
from components._mqtt.topics import SHARE
from edge.component import Answering, Context, Feature, Unsubscribe
from edge.errors import Invalid, NotFound, Unavailable
from edge.model import Address, Message
from edge.record import record
from edge.spec import Duration, Size, meta

FIRST_ATTEMPT = 5.0
LEVELS = frozenset("/+#")


@record
class Fields:
    """Fields of the component."""

    url: str = meta(
        doc="Broker address: tcp:// or mqtt://, ssl:// (mqtts, tcps, tls) for TLS. User and password may stand in it.",
        sensitive=True,
        example="tcp://localhost:1883",
        missing="missing url",
    )
    client_id: str = meta(
        "", name="clientID", doc="MQTT client id; made of the app id and this machine unless given. No two may share one."
    )
    topic_prefix: str = meta("edged/invoke", doc="What the topics of calls begin with; the same for all sidecars that call each other.")
    timeout: Duration = meta(Duration(60), doc="Longest wait for an answer; a request that is older is not carried out.", least=1)
    session_expiry: Duration = meta(
        Duration(30), doc="How long the broker keeps what comes for a sidecar whose link broke. Whole seconds.", least=1
    )
    keep_alive: Duration = meta(Duration(30), doc="Longest silence before a ping.", least=1)
    max_packet_size: Size = meta(Size(0), doc="Largest packet that the broker may send; 0 = any.", least=0, most=268435455)
    ca_cert: str = meta("", doc="PEM text of the authority that signed the broker's certificate.")
    client_cert: str = meta("", doc="PEM text of the client's certificate.")
    client_key: str = meta("", doc="PEM text of the client's key, unencrypted.", sensitive=True)


class Resolver:
    """The calls of one daemon's apps. See edge.component.Carrier."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata, self._context = metadata, context
        self._prefix = metadata.topic_prefix.strip("/")
        self._client_id = metadata.client_id or f"{context.app_id}-calls-{_place(context):08x}"
        self._session: Session
        self._requests: Requests
        self._answers: Answers
        self._served: dict[tuple[str, str], Unsubscribe] = {}

    async def open(self) -> None:
        """Connecting goes on behind it. Raises Invalid for an address, a prefix or TLS material that cannot work."""
        fields = self.metadata
        if not self._prefix or set("+#") & set(self._prefix):
            raise Invalid(f"topicPrefix {fields.topic_prefix} is no topic; it looks like edged/invoke")
        who = Identity(
            parse_url(fields.url),
            self._client_id,
            keep_alive=fields.keep_alive,
            version=VERSION_5,
            session_expiry=max(round(fields.session_expiry), 1),
            largest_packet=fields.max_packet_size,
            anew=True,  # what an earlier process was asked is not for this one
        )
        certificates = Certificates(fields.ca_cert, fields.client_cert, fields.client_key)
        self._session = Session(Settings(who, incoming_event, certificates))
        self._requests = Requests(self._session, f"{self._prefix}/answers/{self._client_id}")
        self._answers = Answers(self._session, self._context.tasks, fields.timeout)
        await self._session.open()

    async def close(self) -> None:
        """Nobody asks here any more; whoever waits for an answer gets Closed."""
        served, self._served = list(self._served.values()), {}
        for end in served:
            await end()
        self._requests.close()
        await self._session.close()

    def unhealthy(self) -> str | None:
        return self._session.unhealthy()

    async def register(self, app_id: str, address: Address) -> None:
        """Nobody needs the address: see `serve`."""

    async def resolve(self, app_id: str, namespace: str) -> Address:
        """Raises NotFound: there are no addresses here."""
        raise NotFound(f"{app_id} is reached through the MQTT broker only")

    async def serve(self, app_id: str, namespace: str, answer: Answering) -> None:
        """Raises Invalid."""
        if (app_id, namespace) not in self._served:
            shared = f"{SHARE}{app_id}/{self._topic(app_id, namespace)}"
            take = self._answers.serving(answer)
            self._served[app_id, namespace] = await self._session.subscribe(shared, QOS, take, unsubscribe=True)

    async def ask(self, app_id: str, namespace: str, call: bytes) -> bytes:
        """See edge.component.Carrier."""
        topic, timeout = self._topic(app_id, namespace), self.metadata.timeout
        await self._ready()
        wanted = Properties(expiry=math.ceil(timeout))
        try:
            answer = await self._requests.ask(Message(topic, call), wanted, timeout)
        except Nobody:
            raise NotFound(f"couldn't find service: {app_id}: no sidecar is subscribed to {topic}") from None
        except Silent as error:
            raise TimeoutError(str(error)) from None
        if ERROR in answer.metadata:
            raise Invalid(answer.metadata[ERROR])
        return answer.data

    async def _ready(self) -> None:
        """Raises Unavailable: without a connection nothing is sent, so that it can be tried again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_ATTEMPT):
                await self._session.attempted()
        if not self._session.connected:
            raise Unavailable(self._session.unhealthy() or "the connection with the broker is broken")

    def _topic(self, app_id: str, namespace: str) -> str:
        if not app_id or LEVELS & set(app_id + namespace):
            raise NotFound(f"couldn't find service: {app_id} in namespace {namespace}: no name of an app")
        return f"{self._prefix}/requests/{namespace}/{app_id}"


def _place(context: Context) -> int:
    """This machine and data directory: another instance of the app has another, and after a restart it is the same."""
    return zlib.crc32(f"{socket.gethostname()}|{context.data_dir.absolute()}".encode())
