"""The packets that come once per connection or subscription, by paho-mqtt: CONNECT, CONNACK, SUBSCRIBE, UNSUBSCRIBE, DISCONNECT.

One paho client stands for one connection. It is given bytes and hands out bytes; socket, reconnect, keep-alive and messages are ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from components._mqtt.address import Broker
from edge import lean
from edge.record import record

if TYPE_CHECKING:
    from paho.mqtt.client import Client

VERSION_5 = 5
OTHER_VERSION = (0x84, 1)
"""The broker does not speak this version, as MQTT 5 and 3.1.1 say it."""
REFUSED = 0x80


@record
class Identity:
    """Who connects, and how. version: 4 = MQTT 3.1.1, 5. fallback: 3.1.1 will do for a broker that does not speak 5.

    keep_alive and session_expiry: seconds; session_expiry and what follows it are MQTT 5's. Their 0 = not said.
    anew: the first connection begins a new session, the later ones go on with it.
    """

    broker: Broker
    client_id: str
    clean: bool = False
    keep_alive: float = 30.0
    version: int = 4
    session_expiry: int = 0
    receive_maximum: int = 0
    largest_packet: int = 0
    topic_alias_maximum: int = 0
    fallback: bool = False
    anew: bool = False


@record
class Greeting:
    """The broker's CONNACK. The limits are MQTT 5's; None where the broker named none."""

    session_present: bool = False
    receive_maximum: int | None = None
    largest_packet: int | None = None
    topic_alias_maximum: int = 0
    keep_alive: float | None = None
    session_expiry: int | None = None
    maximum_qos: int = 2
    retain_available: bool = True


@record
class Wish:
    """One line of a SUBSCRIBE. no_local, retain_handling, identifier: MQTT 5."""

    topic_filter: str
    qos: int
    no_local: bool = False
    retain_handling: int = 0


class Refused(Exception):
    """The broker does not let us in; the text is its reason. code: MQTT 5 reason code or 3.1.1 return code."""

    def __init__(self, reason: str, code: int = 0) -> None:
        super().__init__(reason)
        self.code = code


async def load_paho() -> None:
    """Import paho off the loop: it takes some 25 ms, in which a starting daemon answers already."""
    await asyncio.get_running_loop().run_in_executor(None, _import_paho)


def _import_paho() -> None:
    with lean.postponed("ssl", "hashlib", "urllib.request"):  # for its own sockets, websockets and proxies: 2 MB, none of it used here
        import_module("paho.mqtt.client")


@dataclass(slots=True)
class _Pipe:
    """What paho takes for its socket: reads are fed, writes are handed on."""

    write: Callable[[bytes], None]
    fed: bytes = b""
    taken: int = field(default=0)

    def recv(self, size: int) -> bytes:
        if self.taken >= len(self.fed):
            raise BlockingIOError
        piece = self.fed[self.taken : self.taken + size]
        self.taken += len(piece)
        return piece

    def send(self, data: bytes) -> int:
        self.write(bytes(data))
        return len(data)

    def close(self) -> None:
        self.write = _nowhere

    def fileno(self) -> int:
        return -1

    def setblocking(self, _: bool) -> None: ...


def _nowhere(_: bytes) -> None:
    """Writes after the end go nowhere."""


class Control:
    """paho's side of one connection. Calls raise Refused when the broker says no, ConnectionError when the connection ends first."""

    def __init__(self, identity: Identity, write: Callable[[bytes], None]) -> None:
        from paho.mqtt.client import CallbackAPIVersion, Client, MQTTProtocolVersion

        five = identity.version == VERSION_5
        self._identity = identity
        self._pipe = pipe = _Pipe(write)

        class OverPipe(Client):  # type: ignore[misc]
            def _create_socket(self) -> _Pipe:
                return pipe

            def _sock_recv(self, size: int) -> bytes:
                return pipe.recv(size)

            def _sock_send(self, data: bytes) -> int:
                return pipe.send(data)

        self._client: Client = OverPipe(
            CallbackAPIVersion.VERSION2,
            client_id=identity.client_id,
            clean_session=None if five else identity.clean,
            protocol=MQTTProtocolVersion(identity.version),
            reconnect_on_failure=False,
        )
        self._client.username_pw_set(identity.broker.username, identity.broker.password)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._client.on_unsubscribe = self._on_granted
        self._client.on_disconnect = self._on_disconnect
        self._greeting: asyncio.Future[Greeting] = asyncio.get_running_loop().create_future()
        self._asked: dict[int, asyncio.Future[list[tuple[int, str]]]] = {}
        self.goodbye = ""
        """Why the broker said it ends the connection (MQTT 5), "" if it did not say."""
        self.goodbye_code = 0

    def feed(self, packet: bytes) -> None:
        """One whole packet from the broker that is none of the fast ones. Raises ConnectionError when paho finds it wrong."""
        self._pipe.fed, self._pipe.taken = packet, 0
        if self._client.loop_read() and not self._greeting.done():
            self._greeting.set_exception(Refused("the broker does not speak this version of MQTT", OTHER_VERSION[0]))

    async def connect(self) -> Greeting:
        """Say CONNECT; the broker's answer. Raises Refused."""
        identity, options = self._identity, {}
        if identity.version == VERSION_5:
            options = {"clean_start": identity.clean or identity.anew, "properties": self._connect_properties()}
        self._client.connect(identity.broker.host, identity.broker.port, round(identity.keep_alive), **options)
        return await self._greeting

    def _connect_properties(self) -> Any:
        from paho.mqtt.properties import PacketTypes, Properties

        properties = Properties(PacketTypes.CONNECT)
        if self._identity.session_expiry:
            properties.SessionExpiryInterval = self._identity.session_expiry
        if self._identity.receive_maximum:
            properties.ReceiveMaximum = self._identity.receive_maximum
        if self._identity.largest_packet:
            properties.MaximumPacketSize = self._identity.largest_packet
        if self._identity.topic_alias_maximum:
            properties.TopicAliasMaximum = self._identity.topic_alias_maximum
        return properties

    async def subscribe(self, wishes: Sequence[Wish]) -> list[tuple[int, str]]:
        """Per wish the granted QoS or a code from REFUSED on, and its name."""
        if self._identity.version == VERSION_5:
            from paho.mqtt.subscribeoptions import SubscribeOptions

            topics: Any = [(w.topic_filter, SubscribeOptions(w.qos, w.no_local, False, w.retain_handling)) for w in wishes]
        else:
            topics = [(wish.topic_filter, wish.qos) for wish in wishes]
        return await self._answer(self._client.subscribe(topics)[1])

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        await self._answer(self._client.unsubscribe(list(filters))[1])

    async def _answer(self, mid: int | None) -> list[tuple[int, str]]:
        if mid is None:
            raise ConnectionError("not connected")
        future: asyncio.Future[list[tuple[int, str]]] = asyncio.get_running_loop().create_future()
        self._asked[mid] = future
        try:
            return await future
        finally:
            self._asked.pop(mid, None)

    def disconnect(self) -> None:
        """Say DISCONNECT."""
        self._client.disconnect()

    def lost(self) -> None:
        """The connection is gone: whoever waits gets ConnectionError."""
        self._pipe.close()
        waiting: list[asyncio.Future[Any]] = [self._greeting, *self._asked.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(ConnectionError(self.goodbye or "connection lost"))
                future.exception()  # marks it as seen: a caller that was cancelled does not look any more

    def _on_connect(self, _client: Any, _data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self._greeting.done():
            return
        if reason.is_failure:
            text = getattr(properties, "ReasonString", "") or str(reason)
            self._greeting.set_exception(Refused(text, reason.value))
            return
        self._greeting.set_result(
            Greeting(
                session_present=flags.session_present,
                receive_maximum=getattr(properties, "ReceiveMaximum", None),
                largest_packet=getattr(properties, "MaximumPacketSize", None),
                topic_alias_maximum=getattr(properties, "TopicAliasMaximum", 0),
                keep_alive=getattr(properties, "ServerKeepAlive", None),
                session_expiry=getattr(properties, "SessionExpiryInterval", None),
                maximum_qos=getattr(properties, "MaximumQoS", 2),
                retain_available=bool(getattr(properties, "RetainAvailable", 1)),
            )
        )

    def _on_granted(self, _client: Any, _data: Any, mid: int, reasons: Any, _properties: Any) -> None:
        if (future := self._asked.get(mid)) is not None and not future.done():
            future.set_result([(reason.value, str(reason)) for reason in reasons])

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self.goodbye = getattr(properties, "ReasonString", "") or str(reason)
            self.goodbye_code = reason.value
