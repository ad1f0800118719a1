"""A session with a broker that outlives its connections: connects when it can, subscribes again, keeps what is under way.

Opening never waits for the broker. The client id is the session's identity: two clients that use one throw each other out, which is
noticed (connections end soon after they began, or MQTT 5 says so) and named in `unhealthy()`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from components._mqtt import frames, packets5
from components._mqtt.address import NO_CERTIFICATES, Certificates, tls_context
from components._mqtt.control import OTHER_VERSION, REFUSED, VERSION_5, Greeting, Identity, Refused, Wish, load_paho
from components._mqtt.flight import Flight
from components._mqtt.inbound import Inbound, Subscriber
from components._mqtt.link import Link
from components._mqtt.outbound import Outbound
from components._mqtt.rivals import STABLE, Rivals
from components._mqtt.topics import filter_problem, topic_problem
from edge.clock import SAYS, blamed, set_or_after
from edge.component import NOT_YET, Deliver, Unsubscribe
from edge.eager import Prompt
from edge.errors import Closed, Invalid, Unavailable
from edge.model import Message
from edge.record import record
from edge.tasks import Tasks, after_start

log = logging.getLogger("dapr.contrib")
FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0
NOBODY_THERE, WORKED_A_WHILE = 5.0, 5.0
"""Longest delays where an attempt burdens no broker, and where connections carry something before they are cut."""
A_WHILE = 2.0
"""Seconds after which a connection was of use; after STABLE the back-off starts anew."""
ACKNOWLEDGEMENTS = {frames.PUBACK: "PUBACK", frames.PUBREC: "PUBREC", frames.PUBCOMP: "PUBCOMP"}
SUBSCRIBE_BATCH = 100
GRACE = 5.0
MOST_TOPICS = 1024

Make = Callable[[str, bytes, bool, packets5.Properties], Message]
"""A message of topic, payload, retained and (MQTT 5) properties, in the words of the component."""


@record
class Settings:
    """A session's identity and its limits. window: most messages in flight towards the broker."""

    identity: Identity
    make: Make
    certificates: Certificates = NO_CERTIFICATES
    window: int = 128


class Session:
    """publish() and subscribe() work with or without a connection."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._identity = settings.identity
        self._loop = asyncio.get_running_loop()
        self._stack = AsyncExitStack()
        self._link: Link | None = None
        self._outbound: Outbound
        self._inbound = Inbound(self._acknowledge, self._hold)
        self._topics: dict[str, bytes] = {}
        self._aliases: dict[int, str] = {}
        self._trouble: str | None = NOT_YET
        self.reasons: Counter[tuple[str, str]] = Counter()
        """See edge.component.Coded."""
        self._rivals = Rivals()
        self._closed = False
        self._attempted = asyncio.Event()

    # --- life
    async def open(self) -> None:
        """Start to connect; returns at once. Raises Invalid for TLS material that is no good."""
        tls = None
        if self._identity.broker.tls or self._settings.certificates:
            tls = tls_context(self._settings.certificates)
        self._outbound = Outbound(self._settings.window)
        self._tls = tls if self._identity.broker.tls else None
        tasks = await self._stack.enter_async_context(Tasks(f"mqtt[{self._identity.client_id}]"))
        tasks.spawn(f"mqtt[{self._identity.client_id}]", self._live)

    async def close(self) -> None:
        """Let running deliveries end (a few seconds) and acknowledge them, say DISCONNECT. Idempotent."""
        if self._closed:
            return
        self._closed = True
        await self._inbound.close(GRACE)
        link, self._link = self._link, None
        if link is not None:
            await link.close()
        self._outbound.close()
        await self._stack.aclose()

    def unhealthy(self) -> str | None:
        """Why nothing can be sent or received now, None when it can; also names a second client with our id."""
        rival = self._rivals.suspected(self._identity)
        if self._trouble is None:
            return rival
        return f"{self._identity.broker}: {self._trouble}" + (f"; {rival}" if rival else "")

    @property
    def connected(self) -> bool:
        """Something can be sent now."""
        return self._trouble is None

    @property
    def version(self) -> int:
        """Of MQTT: 5, or 4 = 3.1.1 (asked for, or fallen back to)."""
        return self._identity.version

    # --- connecting
    async def attempted(self) -> None:
        """Return when the first attempt to connect is over."""
        await self._attempted.wait()

    async def _live(self) -> None:
        await after_start()
        await load_paho()
        delay = FIRST_DELAY
        while True:
            longest = min(await self._connection(), LONGEST_DELAY)
            delay = min(delay, longest)
            pause = delay * random.uniform(0.5, 1.0)
            await (asyncio.sleep(pause) if self._tls is None else set_or_after(pause))
            delay = min(delay * 2, longest) if longest > FIRST_DELAY else FIRST_DELAY

    async def _connection(self) -> float:
        """One connection from its attempt to its end; the longest time to wait before the next."""
        try:
            link = await Link.open(self._identity, self, self._tls)
        except (OSError, Refused) as error:
            self._attempted.set()
            self._count("CONNACK", getattr(error, "code", 0))
            self._rivals.away()
            self._down(_words(error) + self._advice(error))
            return LONGEST_DELAY if isinstance(error, Refused) else NOBODY_THERE
        began = self._loop.time()
        try:
            await self._use(link)
            self._attempted.set()
            await link.ended.wait()
        except (OSError, Refused) as error:
            link.end(_words(error))
        except asyncio.CancelledError:
            if not self._closed:
                link.end("cancelled")
            raise
        finally:
            self._attempted.set()
            self._lose(link)
        lasted = self._loop.time() - began
        self._rivals.ended(link, lasted, self._identity, blameless=self._outbound.suspicious)
        if not self._closed:
            self._down(link.reason)
        return self._longest_delay(lasted)

    def _longest_delay(self, lasted: float) -> float:
        """After a connection of that many seconds."""
        if lasted > STABLE or self._outbound.suspicious:  # a message that the broker hangs up on is soon found out
            return FIRST_DELAY
        return WORKED_A_WHILE if lasted > A_WHILE and self._rivals.suspected(self._identity) is None else LONGEST_DELAY

    def _advice(self, error: Exception) -> str:
        """A broker that does not speak MQTT 5 is asked in 3.1.1 from now on, where the settings allow it."""
        if self._identity.version != VERSION_5 or getattr(error, "code", 0) not in OTHER_VERSION:
            return ""
        if not self._identity.fallback:
            return " (protocolVersion auto or 3.1.1 would speak to it)"
        self._identity = replace(self._identity, version=4)
        return " (going on with MQTT 3.1.1)"

    async def _use(self, link: Link) -> None:
        """Bring a fresh connection to work: subscriptions, then what waits to be sent."""
        self._check(link.greeting)
        self._identity = replace(self._identity, anew=False)
        self._link = link
        self._aliases.clear()
        self._inbound.connected(session_present=link.greeting.session_present)
        link.begin()
        wishes = [Wish(topic_filter, qos) for topic_filter, qos in self._inbound.filters.items()]
        for start in range(0, len(wishes), SUBSCRIBE_BATCH):
            batch = wishes[start : start + SUBSCRIBE_BATCH]
            self._report(batch, await link.subscribe(batch))
        if self._outbound.probing:
            await link.ping()
        self._outbound.connected(link.send, link.greeting, five=self._identity.version == VERSION_5)
        if self._trouble is not None:
            log.info("Connected to %s as %s", self._identity.broker, self._identity.client_id)
        self._trouble = None

    def _check(self, greeting: Greeting) -> None:
        """What the broker grants less of than was asked for. Raises Refused where that cannot do."""
        if not greeting.maximum_qos:
            raise Refused("the broker takes QoS 0 only, so nothing would be sure to arrive")
        kept, asked = greeting.session_expiry, self._identity.session_expiry
        if kept is not None and kept < asked and self._trouble is not None:
            log.warning("%s keeps a session for %d s only, asked for were %d", self._identity.broker, kept, asked)

    def _report(self, wishes: Sequence[Wish], answers: Sequence[tuple[int, str]]) -> None:
        for wish, (code, reason) in zip(wishes, answers, strict=False):
            if code >= REFUSED:
                self._count("SUBACK", code)
                log.error("The broker refused the subscription to %s: %s", wish.topic_filter, reason)

    def _count(self, packet: str, code: int) -> None:
        if code:
            self.reasons[packet, f"0x{code:02x}"] += 1

    def _lose(self, link: Link) -> None:
        self._count("DISCONNECT", link.goodbye_code)
        if self._link is link:
            self._link = None
        self._inbound.lost()
        self._outbound.lost(by_peer=link.by_peer, code=link.goodbye_code)

    def _down(self, reason: str) -> None:
        if self._trouble is None:
            log.warning("Connection with broker %s lost; error: %s", self._identity.broker, reason)
        elif self._trouble.partition(SAYS)[0] != reason.partition(SAYS)[0]:
            log.warning("No connection with broker %s: %s", self._identity.broker, reason)
        self._trouble = reason

    # --- out
    async def publish(self, message: Message, qos: int, *, retain: bool, properties: packets5.Properties = packets5.NONE) -> bool:
        """Return when the broker has the message: QoS 1 at PUBACK, 2 at PUBCOMP; QoS 0 when it was handed to a live connection.

        False: the broker says that nobody is subscribed to that topic now (MQTT 5; not all say it).

        QoS 1 and 2 wait as long as the broker is away and are sent first thing when it is back: a caller with less patience cancels,
        and the message is not sent again. Raises Invalid (never possible), Unavailable (QoS 0 offline, broker says later), Closed.
        """
        flight = self._flight(message, qos, retain, properties)
        if not qos:
            link = self._throw(flight)
            await link.room()
            return True
        self._outbound.publish(flight)
        try:
            await flight.answer
        except asyncio.CancelledError:
            self._outbound.forget(flight)
            raise
        return not flight.unheard

    def send(self, message: Message, qos: int, *, retain: bool, properties: packets5.Properties = packets5.NONE) -> asyncio.Future[None]:
        """`publish` for many: on the wire at once, the future ends as `publish` would. Raises Unavailable offline or with a full window."""
        flight = self._flight(message, qos, retain, properties)
        if not qos:
            self._throw(flight)
            flight.answer.set_result(None)
        elif not self._outbound.ready(flight):
            raise Unavailable(self._trouble or "the window of messages in flight is full")
        else:
            self._outbound.publish(flight)
        return flight.answer

    def _flight(self, message: Message, qos: int, retain: bool, properties: packets5.Properties) -> Flight:
        if self._closed:
            raise Closed("the MQTT session is closed")
        try:
            block = None if properties is packets5.NONE else packets5.Block(properties, self._loop.time())
        except (frames.Malformed, UnicodeEncodeError) as error:
            raise Invalid(f"the message's metadata are no MQTT 5 properties: {error}") from None
        return Flight(self._topic(message.topic), message.data, qos, retain, Prompt(self._loop), block)

    def _throw(self, flight: Flight) -> Link:
        if self._link is None or self._trouble is not None:
            raise Unavailable(f"no connection with the broker, and a QoS 0 message does not wait for one: {self._trouble}")
        self._outbound.check_size(flight)
        self._link.send(self._outbound.packet(flight))
        return self._link

    def _topic(self, topic: str) -> bytes:
        known = self._topics.get(topic)
        if known is None:
            self.check(topic)
            if len(self._topics) >= MOST_TOPICS:
                self._topics.clear()
            known = self._topics[topic] = topic.encode()
        return known

    def check(self, topic: str) -> None:
        """Raises Invalid for a topic to which nothing can be published."""
        if (problem := topic_problem(topic)) is not None:
            raise Invalid(problem)

    # --- in
    async def subscribe(self, topic_filter: str, qos: int, deliver: Deliver, *, unsubscribe: bool) -> Unsubscribe:
        """Deliver what matches until the returned function is called. unsubscribe: tell the broker then, so that it keeps nothing more.

        Raises Invalid: the filter is wrong, or the broker (when connected) refuses it.
        """
        if (problem := filter_problem(topic_filter)) is not None:
            raise Invalid(problem)
        subscriber = self._inbound.add(topic_filter, qos, deliver)
        link = self._link
        if link is not None:
            try:
                ((code, reason),) = await link.subscribe([Wish(topic_filter, qos)])
            except OSError:
                pass  # the connection ended: the next one subscribes
            else:
                if code >= REFUSED:
                    self._count("SUBACK", code)
                    self._inbound.remove(subscriber)
                    raise Invalid(f"the broker refused the subscription to {topic_filter}: {reason}")
        return lambda: self._unsubscribe(subscriber, tell=unsubscribe)

    async def _unsubscribe(self, subscriber: Subscriber, *, tell: bool) -> None:
        self._inbound.remove(subscriber)
        if tell and self._link is not None and subscriber.topic_filter not in self._inbound.filters:
            try:
                await self._link.unsubscribe([subscriber.topic_filter])
            except OSError as error:
                log.debug("UNSUBSCRIBE %s: %s", subscriber.topic_filter, error)

    def _acknowledge(self, kind: int, mid: int) -> None:
        if self._link is not None:
            self._link.send(frames.acknowledgement(kind, mid))

    def _hold(self, hold: bool) -> None:
        if self._link is not None:
            self._link.hold(hold)

    # --- what the link calls
    def on_publish(self, first: int, packet: bytes, start: int, end: int) -> None:
        """A PUBLISH (§3.3); `packet[start:end]` is what follows its length."""
        qos = first >> 1 & 3
        body = start + 2 + (packet[start] << 8 | packet[start + 1])
        topic = packet[start + 2 : body].decode()
        mid = 0
        if qos:
            mid = packet[body] << 8 | packet[body + 1]
            body += 2
        properties = packets5.NONE
        if self._identity.version == VERSION_5:
            properties, body = packets5.read(packet, body)
            if properties.alias:
                topic = self._aliased(topic, properties.alias)
        message = self._settings.make(topic, packet[body:end], bool(first & 1), properties)
        self._inbound.take(message, mid, qos, dup=bool(first & 8))

    def _aliased(self, topic: str, alias: int) -> str:
        if topic:
            self._aliases[alias] = topic
            return topic
        if alias not in self._aliases:
            raise frames.Malformed(f"topic alias {alias} was never given")
        return self._aliases[alias]

    def on_acknowledged(self, kind: int, packet: bytes, start: int, end: int) -> None:
        """PUBACK, PUBREC, PUBREL or PUBCOMP."""
        mid = packet[start] << 8 | packet[start + 1]
        if kind == frames.PUBREL:
            self._inbound.released(mid)
            return
        code, reason = (0, "") if end - start == 2 else packets5.read_reason(packet, start + 2, end)
        if code:
            self._count(ACKNOWLEDGEMENTS[kind], code)
        self._outbound.on_acknowledged(kind, mid, code, reason)

    def waiting(self) -> bool:
        return self._outbound.in_flight > 0


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return blamed(str(error)) or type(error).__name__
