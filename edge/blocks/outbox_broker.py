"""Lane → broker: what was published goes out in order per topic, many at a time, and nothing waits for a topic that is stuck.

Three modes per component (metadata `durability`). journal: a message is on disk before the answer. broker: the answer is the broker's.
either (default): the message is sent at once and the answer comes with the broker's acknowledgement; only what is not acknowledged
within `HOLD` seconds, or meets a broken connection, is written. Order holds because a lane with a backlog takes no short cut, and
because the messages in flight are written before the first one that is only written.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from edge.app import Part
from edge.blocks.outbox_lane import Lane, Send
from edge.blocks.pace import Pace
from edge.component import Sender
from edge.crash import reach
from edge.eager import Prompt
from edge.errors import Closed, ComponentError, Unavailable
from edge.journal import REMEMBER, Entry, Journal
from edge.journal.keeping import keeping
from edge.journal.ttl import aged
from edge.model import Message
from edge.tasks import Tasks

log = logging.getLogger("dapr.runtime.pubsub.publisher")
MODES = ("either", "journal", "broker")
WINDOW, LANE_WINDOW = 128, 64
BACKLOG_WINDOW = 96
"""The rest of the window is for what is published now: a topic without a backlog does not wait for those that have one."""
MOST_LANES = 4096
HOLD = 0.05
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0
FULL_DELAY = 1.0
BROKER_TIMEOUT = 20.0  # as daprd's mqtt3: then the publish fails


class Target(Protocol):
    """What messages are sent to: a pub/sub component (perhaps a `Sender`), or an output binding's `create`."""

    async def publish(self, message: Message) -> None: ...


class Broker:
    """The way out to one component: its lanes, its window, its task."""

    def __init__(self, part: Part, prefix: str, target: Target, journal: Journal, tasks: Tasks) -> None:
        mode = part.properties.get("durability", "").lower()
        self.part, self.mode = part, mode if mode in MODES else "either"
        self._prefix, self._target = prefix, target
        self._send = target.send if isinstance(target, Sender) else None
        self._journal, self._tasks = journal, tasks
        self._keeping = keeping(part.properties)
        self._keeping.bind(journal, prefix)
        self._pace = Pace(self._keeping.rate)
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[str, Lane] = {}
        self._ready: dict[str, None] = {}
        self._flying: dict[Send, None] = {}
        self._landed: list[Send] = []
        self._offline = False
        self._sweep: asyncio.TimerHandle | None = None
        self._event = asyncio.Event()
        self._unwatch = journal.watch(self._prefix, self._on_ready)
        self._task = tasks.spawn(f"outbox[{part.name}]", self._run)

    # --- accepting
    async def accept(self, messages: tuple[Message, ...], keys: Sequence[str] = ()) -> None:
        """Return when all are on disk or with the broker. keys: one a message, or none; what has a known one is not taken again."""
        lane = self._lane(self._prefix + messages[0].topic)
        if keys or self._keeping.dedupe:
            await self._take_once(lane, messages, keys)
        elif self.mode == "broker":
            await self._through(messages)
        elif self.mode == "journal" or self._offline or len(self._flying) + len(messages) > WINDOW or lane.is_behind():
            await lane.put(messages, patient=self._offline)
        else:
            await self._race(lane, messages)

    async def _take_once(self, lane: Lane, messages: tuple[Message, ...], keys: Sequence[str]) -> None:
        """Messages with keys always get rows: a key is known if and only if its message is."""
        keys, remember = (keys, REMEMBER) if keys else (self._keeping.keys(self._prefix, messages), self._keeping.dedupe)
        if self.mode != "broker":
            await lane.put(messages, keys, remember)
            return
        for message, one in zip(messages, keys, strict=True):
            if one:
                await self._journal.once(one, remember, partial(self._through, (message,)))
            else:
                await self._through((message,))

    async def _through(self, messages: tuple[Message, ...]) -> None:
        try:
            async with asyncio.timeout(BROKER_TIMEOUT):
                for message in messages:
                    await self._target.publish(message)
        except TimeoutError:
            raise Unavailable("failed to publish: context deadline exceeded") from None

    async def _race(self, lane: Lane, messages: tuple[Message, ...]) -> None:
        """Send at once; the answer is the acknowledgement or the row, whichever is first."""
        waiters: list[Prompt[None]] = []
        for at, message in enumerate(messages):
            waiter: Prompt[None] = Prompt(self._loop)
            if not self._start(Send(lane, message, None, waiter, self._loop.time())):
                await lane.put(messages[at:])
                break
            waiters.append(waiter)
        if waiters and self._sweep is None:
            self._sweep = self._loop.call_later(HOLD, self._on_sweep)
        for waiter in waiters:
            await waiter

    # --- in flight
    def _start(self, send: Send) -> bool:
        """Put a message on the wire; False when there is no connection."""
        try:
            if self._send is not None:
                future = self._send(send.message)
            elif self._offline:
                return False
            else:
                future = self._loop.create_task(self._target.publish(send.message))
        except Unavailable:
            return False
        except ComponentError as error:
            future = self._loop.create_future()
            future.set_exception(error)
        self._take_off(send, future)
        return True

    def _take_off(self, send: Send, future: asyncio.Future[None]) -> None:
        send.lane.sends.append(send)
        self._flying[send] = None
        future.add_done_callback(partial(self._on_landed, send))

    def _on_landed(self, send: Send, future: asyncio.Future[None]) -> None:
        send.landed = True
        send.error = Closed("the component was closed") if future.cancelled() else future.exception()
        if send.writing:
            return
        if send.error is None and send.entry is None:
            self._delivered(send)
        else:
            self._landed.append(send)
            self._event.set()

    def _delivered(self, send: Send) -> None:
        """The broker has it."""
        self._flying.pop(send, None)
        send.lane.land(send)
        send.lane.delay = 0.0
        send.accepted()
        if self._offline:
            self._back_online()
        if self._ready:
            self._event.set()

    def _on_sweep(self) -> None:
        """Called while messages may be in flight without a row: those that are overdue get one."""
        self._sweep, now = None, self._loop.time()
        overdue: dict[Lane, list[Send]] = {}
        for send in self._flying:
            if not send.bare:
                continue
            if now - send.since < HOLD:
                self._sweep = self._loop.call_later(max(send.since + HOLD - now, 0.001), self._on_sweep)
                break
            overdue.setdefault(send.lane, []).append(send)
        for lane, sends in overdue.items():
            self._tasks.start(f"outbox-write[{self.part.name}]", self._write(lane, sends))

    async def _write(self, lane: Lane, sends: list[Send]) -> None:
        """Rows for messages in flight; while there is no room for rows they go on waiting for the broker."""
        try:
            landed = await lane.write(sends)
        except ComponentError as error:
            log.warning("%s: messages in flight could not be journalled: %s", self.part.name, error)
            landed = [send for send in sends if send.landed]
            self._loop.call_later(FULL_DELAY, self._on_sweep)
        if landed:
            self._landed += landed
            self._event.set()

    # --- the component's task
    async def _run(self) -> None:
        while True:
            await self._event.wait()
            self._event.clear()
            if self._landed:
                await self._settle()
            self._fill()

    async def _settle(self) -> None:
        landed, self._landed = self._landed, []
        done: list[Entry] = []
        failed: dict[Lane, list[Send]] = {}
        for send in landed:
            if send.error is not None:
                failed.setdefault(send.lane, []).append(send)
                continue
            self._delivered(send)
            if send.entry is not None:
                done.append(send.entry)
        if done:
            reach("after-puback")
            await self._journal.done(*done)
        for lane, sends in failed.items():
            await self._fail(lane, sorted(sends, key=_by_start))

    async def _fail(self, lane: Lane, sends: list[Send]) -> None:
        passing = [send for send in sends if isinstance(send.error, Unavailable | Closed)]
        for send in sends:
            if send not in passing:
                await self._refuse(send)
                if self._offline:  # it was the one that waited for the connection, and the broker has answered
                    self._back_online()
        if passing:
            await self._give_back(lane, passing)
        for send in sends:
            self._flying.pop(send, None)
            lane.land(send)

    async def _refuse(self, send: Send) -> None:
        """It will never be taken: back to the publisher if he still waits, else to the dead lane."""
        error = send.error or Closed("refused")
        if send.entry is None:
            send.refused(error)
            return
        if not isinstance(error, ComponentError):
            log.error("%s: publishing to %s failed", self.part.name, send.message.topic, exc_info=error)
        log.error("%s: message %s for topic %s is dead: %s", self.part.name, send.message.id, send.message.topic, error)
        await self._journal.bury(send.entry, str(error) or type(error).__name__)

    async def _give_back(self, lane: Lane, sends: list[Send]) -> None:
        """What the connection lost goes to the front of its lane, which waits a little."""
        lane.behind = True
        if bare := [send for send in sends if send.entry is None]:
            for send in bare:
                send.landed = False
            try:
                await lane.write(bare)
            except ComponentError as error:
                for send in bare:
                    send.refused(error)
        self._journal.release(*(send.entry for send in sends if send.entry is not None))
        self._offline = False
        lane.delay = min(max(lane.delay * 2, FIRST_DELAY), LONGEST_DELAY)
        log.debug("%s: lane %s waits %.1f s: %s", self.part.name, lane.name, lane.delay, sends[0].error)
        if lane.waiting is None:
            lane.waiting = self._loop.call_later(lane.delay * random.uniform(0.75, 1.25), self._retry, lane)

    def _retry(self, lane: Lane) -> None:
        lane.waiting = None
        self._on_ready(lane.name)

    def _back_online(self) -> None:
        """Something reached the broker again: no lane need wait any longer."""
        self._offline = False
        for lane in self._lanes.values():
            if lane.waiting is not None:
                lane.waiting.cancel()
                lane.waiting = None
            self._ready[lane.name] = None

    def _on_ready(self, name: str) -> None:
        self._ready[name] = None
        self._event.set()

    def _fill(self) -> None:
        """Start what the window has room for, a turn to each lane that has something."""
        for name in self._in_turn():
            room = min(BACKLOG_WINDOW - len(self._flying), self._pace.room())
            if room <= 0 or self._offline:
                self._pace.again(self._event.set)
                return
            lane = self._lane(name)
            del self._ready[name]
            if lane.waiting is not None:
                continue
            room = min(room, LANE_WINDOW - len(lane.sends))
            entries = self._journal.take_now(name, room) if room > 0 else []
            if room <= 0 or len(entries) == room:
                self._ready[name] = None
            self._pace.spend(len(entries))
            self._send_all(lane, entries)

    def _in_turn(self) -> list[str]:
        """Lanes that have something: the highest priority first, else in turn."""
        if not self._keeping.topics:
            return list(self._ready)
        cut = len(self._prefix)
        return sorted(self._ready, key=lambda name: -self._keeping.priority(name[cut:]))

    def _send_all(self, lane: Lane, entries: list[Entry]) -> None:
        now, age = self._loop.time(), self._journal.age_now()
        for at, entry in enumerate(entries):
            message = aged(entry, age)
            if not self._start(Send(lane, message, entry, None, now)):
                self._ready[lane.name] = None
                self._journal.release(*entries[at + 1 :])
                self._probe(lane, entry, message)
                return

    def _probe(self, lane: Lane, entry: Entry, message: Message) -> None:
        """No connection: one message waits for it, then all lanes go on."""
        self._offline = True
        publishing = self._loop.create_task(self._target.publish(message))
        self._take_off(Send(lane, message, entry, None, self._loop.time()), publishing)

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            if len(self._lanes) >= MOST_LANES:
                self._lanes = {key: lane for key, lane in self._lanes.items() if not lane.idle}
            lane = self._lanes[name] = Lane(name, self._journal)
        return lane

    async def close(self, grace: float) -> None:
        """See `OutboxPump.close`."""
        self._unwatch()
        until = self._loop.time() + grace
        while self._flying and not self._offline and self._loop.time() < until:
            self._ready.clear()
            await asyncio.sleep(0.01)
        self._task.cancel()
        self._pace.close()
        for handle in (self._sweep, *(lane.waiting for lane in self._lanes.values())):
            if handle is not None:
                handle.cancel()
        for lane in self._lanes.values():
            if bare := [send for send in lane.sends if send.bare]:
                await lane.write(bare)


def _by_start(send: Send) -> float:
    return send.since
