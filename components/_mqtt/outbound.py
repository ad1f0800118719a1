"""Messages on their way to the broker: an in-flight window in order, resent after a reconnect under their own packet ids.

MQTT 3.1.1 §4.3, §4.4, MQTT 5 §4.9. A message that the broker answers by closing the connection is found out and refused, so that it
holds up nothing behind it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from components._mqtt import frames
from components._mqtt.control import Greeting
from components._mqtt.packets5 import NONE, Block
from edge.errors import Closed, ComponentError, Invalid, Unavailable

FIRST_ID = 1024  # paho numbers SUBSCRIBE packets of a connection from 1
LAST_ID = 65535
STRIKES, KILLS = 2, 3
MOST_SECOND = 20
"""QoS 2 messages in flight in MQTT 3.1.1: mosquitto drops what exceeds its max_inflight_messages, and cannot say so (20 unless set)."""
BYTES = (16 << 10, 256 << 10, 4 << 20)
FAST_ANSWER, SLOW_ANSWER = 1.0, 4.0
PACE = 256
ALIAS_COST = 3
"""Bytes of an alias in a packet: shorter topics gain nothing."""
NO_MATCHING_SUBSCRIBERS = 0x10
EMPTY = Block(NONE, 0.0)
BAD_MESSAGE = frozenset((0x81, 0x82, 0x90, 0x95, 0x99, 0x9A, 0x9B))
"""MQTT 5 reason codes of a DISCONNECT that a message may have caused."""
NOT_NOW = frozenset((0x80, 0x83, 0x93, 0x96, 0x97))
"""MQTT 5 reason codes that pass: unspecified, implementation specific, receive maximum, message rate, quota."""


class Stage(Enum):
    """How far a message is."""

    WAITING = auto()
    SENT = auto()
    RELEASED = auto()
    """QoS 2: the broker has it (PUBREC), PUBREL was sent."""


@dataclass(slots=True, eq=False)
class Flight:
    """One message. properties: what MQTT 5 says beside it, None = nothing. sent_at: loop time. unheard: the broker knew no subscriber."""

    topic: bytes
    data: bytes
    qos: int
    retain: bool
    answer: asyncio.Future[None]
    properties: Block | None = None
    stage: Stage = Stage.WAITING
    mid: int = 0
    sent_at: float = 0.0
    kills: int = 0
    forgotten: bool = False
    unheard: bool = False
    size: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.size = frames.publish_size(len(self.topic), len(self.data), self.qos, 0 if self.properties is None else self.properties.size)

    def outlived(self, now: float) -> bool:
        """It waited here too long, and the broker knows nothing of it."""
        return self.stage is Stage.WAITING and self.properties is not None and self.properties.over(now)


class Speech:
    """How the present connection wants its PUBLISH packets: the version, the broker's limits, and the topic aliases given so far."""

    def __init__(self, greeting: Greeting, *, five: bool, now: Callable[[], float]) -> None:
        self._five, self._now = five, now
        self._qos, self._retain = greeting.maximum_qos, greeting.retain_available
        self._free = greeting.topic_alias_maximum
        self._aliases: dict[bytes, int] = {}
        self.largest = greeting.largest_packet or frames.LARGEST

    def packet(self, flight: Flight, *, dup: bool = False) -> bytes:
        """The PUBLISH packet. The broker's highest QoS and its word on retained messages win over the flight's (MQTT 5 §3.2.2.3)."""
        qos, retain, topic, block = min(flight.qos, self._qos), flight.retain and self._retain, flight.topic, b""
        if self._five:
            alias = self._aliases.get(topic, 0)
            if alias:
                topic = b""
            elif self._free and len(topic) > ALIAS_COST and flight.size + ALIAS_COST <= self.largest:
                self._aliases[topic] = alias = len(self._aliases) + 1
                self._free -= 1
            block = (flight.properties or EMPTY)(self._now(), alias)
        return frames.publish(topic, flight.data, qos, flight.mid, retain=retain, dup=dup, properties=block)


class Outbound:
    """The window of one session. send: writes a packet to the present connection, None while there is none."""

    def __init__(self, window: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._asked_window = self._window = self._second_window = window
        self._bytes = BYTES[1]
        self._used = 0
        self._speech: Speech | None = None
        self._largest = frames.LARGEST
        self._flights: dict[int, Flight] = {}
        self._queue: deque[Flight] = deque()
        self._send: Callable[[bytes], None] | None = None
        self._last_id = FIRST_ID - 1
        self._strikes = 0
        self._answered = False
        self._probing = False
        self._closed = False

    @property
    def in_flight(self) -> int:
        """Messages that the broker has not answered."""
        return len(self._flights)

    def ready(self, flight: Flight) -> bool:
        """It would go on the wire at once, or as soon as messages before it are acknowledged (a broker may allow fewer than we do)."""
        if self._send is None or self._probing or len(self._flights) + len(self._queue) >= self._asked_window:
            return False
        before = self._used + sum(waiting.size for waiting in self._queue)
        return not before or before + flight.size <= self._bytes

    def publish(self, flight: Flight) -> None:
        """Take a message of QoS 1 or 2; `flight.answer` says when the broker has it. Raises Invalid, Closed."""
        if self._closed:
            raise Closed("the MQTT session is closed")
        self.check_size(flight)
        self._queue.append(flight)
        if self._send is not None:
            self._fill()

    def check_size(self, flight: Flight) -> None:
        """Raises Invalid when the broker would not take a packet as large."""
        if flight.size > self._largest:
            raise Invalid(f"the message has {flight.size} bytes with its topic, the broker takes packets of {self._largest}")

    def forget(self, flight: Flight) -> None:
        """Nobody waits for it any more: not sent if it was not, else not sent again."""
        if flight.stage is Stage.WAITING and flight in self._queue:
            self._queue.remove(flight)
        flight.forgotten = True

    def close(self) -> None:
        """Whoever waits gets Closed."""
        self._closed = True
        for flight in (*self._flights.values(), *self._queue):
            _settle(flight, Closed("the MQTT session was closed before the broker answered"))
        self._flights.clear()
        self._queue.clear()

    # --- the window
    def _fill(self) -> None:
        while self._queue and self._room(self._queue[0]):
            flight = self._queue.popleft()
            if flight.outlived(self._loop.time()):
                _settle(flight, Unavailable("the message's time was over before the broker could get it"))
                continue
            if not flight.mid:
                flight.mid = self._next_id()
            self._flights[flight.mid] = flight
            self._used += flight.size
            self._launch(flight)

    def _room(self, flight: Flight) -> bool:
        window = 1 if self._probing else self._second_window if flight.qos == frames.Qos.EXACTLY_ONCE else self._window
        fits = self._used + flight.size <= self._bytes or not self._flights
        return fits and len(self._flights) < window and self._send is not None

    def _launch(self, flight: Flight) -> None:
        assert self._send is not None
        if flight.stage is Stage.RELEASED:
            self._send(frames.acknowledgement(frames.PUBREL, flight.mid))
            return
        self._send(self.packet(flight, dup=flight.stage is Stage.SENT))
        flight.stage, flight.sent_at = Stage.SENT, self._loop.time()

    def packet(self, flight: Flight, *, dup: bool = False) -> bytes:
        """A flight's PUBLISH for the present connection."""
        assert self._speech is not None
        return self._speech.packet(flight, dup=dup)

    def _next_id(self) -> int:
        while True:
            self._last_id = FIRST_ID if self._last_id >= LAST_ID else self._last_id + 1
            if self._last_id not in self._flights:
                return self._last_id

    def _drop(self, flight: Flight) -> None:
        del self._flights[flight.mid]
        self._used -= flight.size

    # --- the connection
    def connected(self, send: Callable[[bytes], None], greeting: Greeting, *, five: bool = False) -> None:
        """Send again, in order, what the last connection left unanswered, then what waits. five: the connection is MQTT 5."""
        self._send = send
        self._speech = Speech(greeting, five=five, now=self._loop.time)
        self._answered = False
        self._window = min(self._asked_window, greeting.receive_maximum or self._asked_window)
        self._second_window = self._window if five else min(self._window, MOST_SECOND)
        self._largest = self._speech.largest
        again = [flight for flight in self._flights.values() if not flight.forgotten]
        self._flights.clear()
        self._used = 0
        self._queue.extendleft(reversed(again))
        self._refuse_too_large()
        self._fill()

    def _refuse_too_large(self) -> None:
        for flight in [waiting for waiting in self._queue if waiting.size > self._largest]:
            self._queue.remove(flight)
            _settle(flight, Invalid(f"the message has {flight.size} bytes, the broker takes packets of {self._largest}"))

    @property
    def probing(self) -> bool:
        """The next message is a suspect: the connection must prove itself (a ping) before `connected` is called."""
        return self._probing and bool(self._flights)

    @property
    def suspicious(self) -> bool:
        """A message may be why the broker closes connections."""
        return self._strikes > 0

    def lost(self, *, by_peer: bool, code: int = 0) -> None:
        """The connection is gone. by_peer: the broker closed it, which may be its answer to a message. code: the reason it gave, if any."""
        self._send = None
        if not by_peer or self._answered or not self._flights or (code and code not in BAD_MESSAGE):
            self._strikes = 0
            return
        self._strikes += STRIKES if code else 1
        if self._probing:
            suspect = next(iter(self._flights.values()))
            suspect.kills += 1
            if suspect.kills >= KILLS:
                self._drop(suspect)
                shown = suspect.topic.decode(errors="replace")
                reason = f"the broker closes the connection whenever it gets this message ({len(suspect.data)} bytes for {shown})"
                _settle(suspect, Invalid(reason))
        self._probing = self._strikes >= STRIKES

    # --- the broker's answers
    def on_acknowledged(self, kind: int, mid: int, code: int, reason: str) -> None:
        """PUBACK, PUBREC or PUBCOMP. code, reason: MQTT 5, 0 = success."""
        flight = self._flights.get(mid)
        if flight is None:
            if kind == frames.PUBREC and self._send is not None:
                self._send(frames.acknowledgement(frames.PUBREL, mid))
            return
        self._answered = True
        if kind == frames.PUBREC and code < 0x80:
            flight.stage = Stage.RELEASED
            if self._send is not None:
                self._send(frames.acknowledgement(frames.PUBREL, mid))
            return
        flight.unheard = code == NO_MATCHING_SUBSCRIBERS
        self._drop(flight)
        self._adapt(self._loop.time() - flight.sent_at)
        _settle(flight, None if code < 0x80 else refusal(code, reason, flight.topic.decode(errors="replace")))
        if self._probing and not self._flights:
            self._probing, self._strikes = False, 0
        if self._queue:
            self._fill()

    def _adapt(self, took: float) -> None:
        """Bytes in flight follow the link: a slow one must not have a backlog before its next ping or acknowledgement."""
        if took > SLOW_ANSWER:
            self._bytes = max(self._bytes // 2, BYTES[0])
        elif took < FAST_ANSWER and self._bytes < BYTES[2]:
            self._bytes += PACE


def refusal(code: int, reason: str, topic: str) -> ComponentError:
    """What a reason code of MQTT 5 means for the caller: try later, or never."""
    text = f"the broker refused the message for {topic}: {reason} (0x{code:02x})"
    return Unavailable(text) if code in NOT_NOW else Invalid(text)


def _settle(flight: Flight, error: ComponentError | None) -> None:
    if flight.answer.done():
        return
    if error is None:
        flight.answer.set_result(None)
    else:
        flight.answer.set_exception(error)
