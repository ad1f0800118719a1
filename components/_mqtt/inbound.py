"""Messages from the broker: handed on in order, acknowledged in the order received and only after every deliver() returned.

Many may be in deliver() at once, so that one commit covers them. One that fails is tried again here, with back-off and in order: on the
same connection the broker would not send it again (MQTT 3.1.1 §4.4, §4.6). QoS 2 is acknowledged (PUBREC) after the hand-over as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from components._mqtt import frames
from components._mqtt.repeats import Repeats
from components._mqtt.topics import has_wildcard, matcher
from edge.component import Deliver
from edge.errors import Closed
from edge.model import Message

log = logging.getLogger("dapr.contrib")
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
MOST_WAITING, MOST_BYTES = 1000, 8 << 20
MOST_TOPICS = 4096
ORPHANED = 60.0
"""Seconds after which a message that no subscription wants counts as one of a filter that the broker remembers and nobody else."""


@dataclass(slots=True, eq=False)
class Arrival:
    """A message from the broker. open: subscribers that have not taken it yet, None = nobody has subscribed so far."""

    message: Message
    mid: int
    qos: int
    number: int
    open: int | None = None


@dataclass(slots=True, eq=False)
class Subscriber:
    """One subscribe() call. failed: in order, to be tried again; held: came after a failure, wait for their turn."""

    topic_filter: str
    qos: int
    deliver: Deliver
    matches: Callable[[str], bool]
    failed: list[Arrival] = field(default_factory=list)
    held: deque[Arrival] = field(default_factory=deque)
    retrier: asyncio.Task[None] | None = None


class Inbound:
    """What one session receives. acknowledge(kind, packet id): on the present connection. hold(bool): stop reading, go on."""

    def __init__(self, acknowledge: Callable[[int, int], None], hold: Callable[[bool], None]) -> None:
        self._acknowledge = acknowledge
        self._hold = hold
        self._holding = False
        self._subscribers: list[Subscriber] = []
        self._known: dict[str, tuple[Subscriber, ...]] = {}
        self._order: deque[Arrival] = deque()
        self._before: dict[int, Arrival] = {}
        self._second: dict[int, Arrival] = {}
        self._repeats = Repeats()
        self._orphans: list[Arrival] = []
        self._orphanage: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0
        self._waiting = self._waiting_bytes = 0
        self._closed = False

    # --- who wants what
    @property
    def filters(self) -> dict[str, int]:
        """Every subscribed filter with the highest QoS asked for."""
        found: dict[str, int] = {}
        for one in self._subscribers:
            found[one.topic_filter] = max(one.qos, found.get(one.topic_filter, 0))
        return found

    def add(self, topic_filter: str, qos: int, deliver: Deliver) -> Subscriber:
        """From now on messages that match go to `deliver`, also those that came before anybody wanted them."""
        subscriber = Subscriber(topic_filter, qos, deliver, matcher(topic_filter))
        self._subscribers.append(subscriber)
        self._known.clear()
        orphans, self._orphans = self._orphans, []
        for arrival in orphans:
            if subscriber.matches(arrival.message.topic):
                arrival.open = arrival.open or 1
                self._start(subscriber, arrival)
            else:
                self._orphans.append(arrival)
        self._expect_no_one()
        return subscriber

    def remove(self, subscriber: Subscriber) -> None:
        """It gets nothing new; what it has not taken stays unacknowledged."""
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)
        self._known.clear()
        if subscriber.retrier is not None:
            subscriber.retrier.cancel()
        self._keep_orphans(*sorted([*subscriber.failed, *subscriber.held], key=_number))

    def _matching(self, topic: str) -> tuple[Subscriber, ...]:
        found = self._known.get(topic)
        if found is None:
            if len(self._known) >= MOST_TOPICS:
                self._known.clear()
            matching = [one for one in self._subscribers if one.matches(topic)]
            found = self._known[topic] = tuple(sorted(matching, key=lambda one: has_wildcard(one.topic_filter)))
        return found

    # --- arrival
    def take(self, message: Message, mid: int, qos: int, *, dup: bool) -> None:
        """One PUBLISH. A repetition of what is still under way, or done but not acknowledged in time, is not handed on again."""
        if qos:
            earlier = (self._second if qos == frames.Qos.EXACTLY_ONCE else self._before).pop(mid, None)
            # §4.3.3: until its PUBREL a QoS 2 id stands for the same message, whatever DUP says
            again = dup or qos == frames.Qos.EXACTLY_ONCE
            if earlier is not None and again and earlier.qos == qos and _same(earlier.message, message):
                self._expect(earlier)
                return
            if qos == frames.Qos.EXACTLY_ONCE and self._repeats.again(mid, message, dup=dup):
                self._expect(Arrival(message, mid, qos, self._count, open=0))
                return
            self._repeats.seen(mid, first=not dup)
        arrival = Arrival(message, mid, qos, self._count)
        self._count += 1
        self._weigh(arrival, 1)
        if qos:
            self._expect(arrival)
        self._offer(arrival, self._known.get(message.topic) or self._matching(message.topic))

    def _expect(self, arrival: Arrival) -> None:
        self._order.append(arrival)
        if arrival.qos == frames.Qos.EXACTLY_ONCE:
            self._second[arrival.mid] = arrival
        if arrival.open == 0:
            self._settle()

    def _offer(self, arrival: Arrival, subscribers: Sequence[Subscriber]) -> None:
        if not subscribers:
            if arrival.qos:
                self._keep_orphans(arrival)
            else:
                self._weigh(arrival, -1)
            return
        arrival.open = len(subscribers)
        for subscriber in subscribers:
            if subscriber.retrier is not None:
                subscriber.held.append(arrival)
            else:
                self._start(subscriber, arrival)

    def _keep_orphans(self, *arrivals: Arrival) -> None:
        """Unacknowledged, they wait for a subscriber: an app may come after its messages."""
        self._orphans += arrivals
        if arrivals:
            self._expect_no_one()

    def _expect_no_one(self) -> None:
        """Give the orphans up some time after the last subscription, unless there is none at all: the app is still to come."""
        if self._orphanage is not None:
            self._orphanage.cancel()
        self._orphanage = asyncio.get_running_loop().call_later(ORPHANED, self._give_up_orphans) if self._orphans else None

    def _give_up_orphans(self) -> None:
        self._orphanage = None
        if not self._subscribers:
            return
        topics = sorted({arrival.message.topic for arrival in self._orphans})
        log.warning("%d messages have no subscription here and are dropped (topics %s)", len(self._orphans), ", ".join(topics[:5]))
        orphans, self._orphans = self._orphans, []
        for arrival in orphans:
            arrival.open = 1
            self._taken(arrival)

    def _weigh(self, arrival: Arrival, sign: int) -> None:
        self._waiting += sign
        self._waiting_bytes += sign * len(arrival.message.data)
        full = self._waiting > MOST_WAITING or self._waiting_bytes > MOST_BYTES
        if full != self._holding and (full or self._waiting < MOST_WAITING // 2):
            self._holding = full
            self._hold(full)

    # --- hand-over
    def _start(self, subscriber: Subscriber, arrival: Arrival) -> None:
        task = asyncio.create_task(self._hand_over(subscriber, arrival), name="mqtt-in")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hand_over(self, subscriber: Subscriber, arrival: Arrival) -> None:
        try:
            await subscriber.deliver(arrival.message)
        except Exception as error:
            self._failed(subscriber, arrival, error)
        else:
            self._taken(arrival)

    def _taken(self, arrival: Arrival) -> None:
        assert arrival.open
        arrival.open -= 1
        if not arrival.open:
            self._weigh(arrival, -1)
            self._settle()

    def _settle(self) -> None:
        """Acknowledge what is done, up to the first that is not."""
        while self._order and self._order[0].open == 0:
            arrival = self._order.popleft()
            self._acknowledge(frames.PUBREC if arrival.qos == frames.Qos.EXACTLY_ONCE else frames.PUBACK, arrival.mid)

    def _failed(self, subscriber: Subscriber, arrival: Arrival, error: Exception) -> None:
        if subscriber not in self._subscribers:  # it was removed meanwhile: the next one on that topic gets it
            if not self._closed:
                self._keep_orphans(arrival)
            return
        subscriber.failed.append(arrival)
        if subscriber.retrier is None and not self._closed:
            level = logging.DEBUG if isinstance(error, Closed) else logging.WARNING
            log.log(level, "Messages of %s wait, the last was not taken: %s", subscriber.topic_filter, error)
            subscriber.retrier = asyncio.create_task(self._retry(subscriber), name=f"mqtt-retry[{subscriber.topic_filter}]")
            self._tasks.add(subscriber.retrier)
            subscriber.retrier.add_done_callback(self._tasks.discard)

    async def _retry(self, subscriber: Subscriber) -> None:
        pause = FIRST_PAUSE
        while subscriber.failed:
            await asyncio.sleep(pause)
            subscriber.failed.sort(key=_number)
            try:
                await subscriber.deliver(subscriber.failed[0].message)
            except Exception as error:
                log.debug("%s: still not taken: %s", subscriber.topic_filter, error)
                pause = min(max(pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
            else:
                self._taken(subscriber.failed.pop(0))
                pause = 0.0
        subscriber.retrier = None
        while subscriber.held:
            self._start(subscriber, subscriber.held.popleft())

    # --- the connection
    def released(self, mid: int) -> None:
        """PUBREL: the broker will not send that QoS 2 message again; also answered for one that we never knew (it was before a restart)."""
        arrival = self._second.pop(mid, None)
        if arrival is not None:
            self._repeats.released(mid, arrival.message)
        self._acknowledge(frames.PUBCOMP, mid)

    def connected(self, *, session_present: bool) -> None:
        """Without the broker's session, no packet id of before means anything."""
        if not session_present:
            self._before.clear()
            self._second.clear()
            self._repeats.forget()
        self._holding = False

    def lost(self) -> None:
        """What was not acknowledged comes again, with the same packet id."""
        self._before = {arrival.mid: arrival for arrival in self._order if arrival.qos == frames.Qos.AT_LEAST_ONCE}
        self._order.clear()

    async def close(self, grace: float) -> None:
        """Take nothing new; give what is in deliver() `grace` seconds, then cancel it."""
        self._closed = True
        if self._orphanage is not None:
            self._orphanage.cancel()
        for subscriber in self._subscribers:
            if subscriber.retrier is not None:
                subscriber.retrier.cancel()
        self._subscribers.clear()
        self._known.clear()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=grace)
        while self._tasks:
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.wait(tuple(self._tasks))


def _same(one: Message, other: Message) -> bool:
    return one.topic == other.topic and one.data == other.data


def _number(arrival: Arrival) -> int:
    return arrival.number
