"""Messages on their way to the broker: an in-flight window in order, resent after a reconnect under their own packet ids.

MQTT 3.1.1 §4.3, §4.4, MQTT 5 §4.9. A message that the broker answers by closing the connection is found out and refused, so that it
holds up nothing behind it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from components._mqtt import frames
from components._mqtt.control import REFUSED, Greeting
from components._mqtt.flight import Flight, Speech, Stage
from edge.errors import Closed, ComponentError, Invalid, Unavailable

log = logging.getLogger("dapr.contrib")
COMPLAIN_EVERY = 60.0
FIRST_ID = 1024  # paho numbers SUBSCRIBE packets of a connection from 1
LAST_ID = 65535
STRIKES, KILLS = 2, 3
MOST_SECOND = 20
"""QoS 2 messages in flight in MQTT 3.1.1: mosquitto drops what exceeds its max_inflight_messages, and cannot say so (20 unless set)."""
BYTES = (16 << 10, 256 << 10, 4 << 20)
FAST_ANSWER, SLOW_ANSWER = 1.0, 4.0
PACE = 256
NO_MATCHING_SUBSCRIBERS = 0x10
BAD_MESSAGE = frozenset((0x81, 0x82, 0x90, 0x95, 0x99, 0x9A, 0x9B))
"""MQTT 5 reason codes of a DISCONNECT that a message may have caused."""
NOT_NOW = frozenset((0x80, 0x83, 0x93, 0x96, 0x97))
"""MQTT 5 reason codes that pass: unspecified, implementation specific, receive maximum, message rate, quota."""


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
        self._quiet_until = 0.0
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
        if kind == frames.PUBREC and code < REFUSED:
            flight.stage = Stage.RELEASED
            if self._send is not None:
                self._send(frames.acknowledgement(frames.PUBREL, mid))
            return
        flight.unheard = code == NO_MATCHING_SUBSCRIBERS
        self._drop(flight)
        self._adapt(self._loop.time() - flight.sent_at)
        _settle(flight, None if code < REFUSED else self._refusal(flight, code, reason))
        if self._probing and not self._flights:
            self._probing, self._strikes = False, 0
        if self._queue:
            self._fill()

    def _refusal(self, flight: Flight, code: int, reason: str) -> ComponentError:
        """What a reason code of MQTT 5 means for the caller: try later (logged once in a while), or never."""
        text = f"the broker refused the message for {flight.topic.decode(errors='replace')}: {reason} (0x{code:02x})"
        if code not in NOT_NOW:
            return Invalid(text)
        if self._loop.time() >= self._quiet_until:
            self._quiet_until = self._loop.time() + COMPLAIN_EVERY
            log.warning("%s; it is tried again later", text)
        return Unavailable(text)

    def _adapt(self, took: float) -> None:
        """Bytes in flight follow the link: a slow one must not have a backlog before its next ping or acknowledgement."""
        if took > SLOW_ANSWER:
            self._bytes = max(self._bytes // 2, BYTES[0])
        elif took < FAST_ANSWER and self._bytes < BYTES[2]:
            self._bytes += PACE


def _settle(flight: Flight, error: ComponentError | None) -> None:
    if flight.answer.done():
        return
    if error is None:
        flight.answer.set_result(None)
    else:
        flight.answer.set_exception(error)
