"""Lane → app: messages of a topic start in order; one that fails goes aside and comes again; a slow one is overtaken after a while.

Only an app that has a message can be slow: while it is away, or its circuit breaker is open, the messages of a topic wait in line.
Unless the subscription says `ordered`: then the next message of a topic waits for the end of the one before, failures included.
"""

from __future__ import annotations

import asyncio
from collections import deque
from math import inf

from edge.app import AppUnavailable
from edge.blocks.gate import Gate
from edge.blocks.inbox_lane import InLane, Item, LaneSettings
from edge.blocks.outcome import Courier, End, Outcome
from edge.blocks.retries import PROBE_PAUSE, BreakerOpen
from edge.errors import Unavailable
from edge.journal import Journal
from edge.tasks import Tasks

WORKERS = 32
PATIENCE = 0.1


class Turn:
    """One worker's service of a topic. since: loop time at which its message went to the app; inf while none does."""

    __slots__ = ("since",)

    def __init__(self) -> None:
        self.since = inf


class SingleLane(InLane):
    """One call of the app per message."""

    def __init__(self, settings: LaneSettings, courier: Courier, journal: Journal, gate: Gate, tasks: Tasks) -> None:
        self._courier = courier
        self._queues: dict[str, deque[Item]] = {}
        self._busy: dict[str, Turn] = {}
        self._turns: dict[str, bool] = {}
        self._parked: deque[asyncio.Future[None]] = deque()
        self._workers: list[asyncio.Task[None]] = []
        self._look: asyncio.TimerHandle | None = None
        super().__init__(settings, journal, gate, tasks)

    def _enqueue(self, item: Item) -> None:
        topic = item.message.topic
        queue = self._queues.get(topic)
        if queue is None:
            self._queues[topic] = deque((item,))
        else:
            queue.append(item)
        if topic not in self._busy and (queue is None or len(queue) == 1):
            self._give_turn(topic)
        elif self._look is None and not self.ordered:
            self._look = self._loop.call_later(PATIENCE, self._on_look)

    def _give_turn(self, topic: str, *, overtake: bool = False) -> None:
        """Let a worker serve the topic. overtake: although another one still does."""
        self._turns[topic] = overtake or self._turns.get(topic, False)
        while self._parked:
            worker = self._parked.popleft()
            if not worker.done():
                worker.set_result(None)
                return
        if len(self._workers) < WORKERS:
            self._workers.append(self._tasks.spawn(f"inbox[{self.name}]", self._work))

    def _on_look(self) -> None:
        """Some messages wait for one of their topic: where that takes long, the next may start."""
        self._look, now, waiting = None, self._loop.time(), False
        for topic, turn in self._busy.items():
            if self._queues.get(topic):
                waiting = True
                if now - turn.since >= PATIENCE:
                    self._give_turn(topic, overtake=True)
        if waiting:
            self._look = self._loop.call_later(PATIENCE / 2, self._on_look)

    async def _work(self) -> None:
        while True:
            while not self._turns:
                parked: asyncio.Future[None] = self._loop.create_future()
                self._parked.append(parked)
                await parked
            topic = next(iter(self._turns))
            overtake = self._turns.pop(topic)
            queue = self._queues.get(topic)
            if queue and (overtake or topic not in self._busy):
                await self._serve(topic, queue)

    async def _serve(self, topic: str, queue: deque[Item]) -> None:
        """Deliver from one topic until it is empty, or another topic waits for its turn."""
        turn = self._busy[topic] = Turn()
        try:
            while queue:
                if not self._gate.is_open:
                    await self._gate.passed()
                turn.since = self._loop.time()
                pause = await self._hand_over(queue.popleft())
                if self._busy.get(topic) is not turn:
                    return  # overtaken: another worker serves the topic
                turn.since = inf
                if pause:
                    await asyncio.sleep(pause)
                if self._turns:
                    break
        except Exception:
            self._leave(topic, turn)
            raise
        self._leave(topic, turn)

    async def _hand_over(self, item: Item) -> float:
        """One delivery. An item that was not sent stands in line again; return seconds to wait for the breaker."""
        try:
            await self._deliver(item)
        except AppUnavailable:
            self._gate.away()
            self._put_back(item)
        except BreakerOpen:
            self._put_back(item)
            return PROBE_PAUSE
        return 0.0

    def _put_back(self, item: Item) -> None:
        """In its old place: whoever overtook it may not have been sent either."""
        topic = item.message.topic
        queue = self._queues.setdefault(topic, deque())
        queue.insert(next((at for at, other in enumerate(queue) if other.order > item.order), len(queue)), item)
        if topic not in self._busy:
            self._give_turn(topic)

    def _leave(self, topic: str, turn: Turn) -> None:
        """This worker serves the topic no more, unless another one took over."""
        if self._busy.get(topic) is not turn:
            return
        del self._busy[topic]
        if self._queues.get(topic):
            self._give_turn(topic)
        else:
            self._queues.pop(topic, None)

    async def _deliver(self, item: Item) -> None:
        """Raises AppUnavailable, BreakerOpen: it was not sent, and is as it was before."""
        began = self._loop.time()
        try:
            outcome = await self._attempt(item)
        except (AppUnavailable, BreakerOpen):
            raise
        except BaseException:
            self._abandon(item)
            raise
        self._gate.pressure.ended(len(self._items), self._loop.time() - began)
        await self._ended(item, outcome)

    async def _attempt(self, item: Item) -> Outcome:
        while True:
            outcome = await self._courier.attempt(item.message, item.failures)
            if outcome.end is not End.AGAIN or not self.ordered:
                return outcome
            item.failures += 1
            await asyncio.sleep(outcome.after)
            if not self._gate.is_open:
                await self._gate.passed()

    def _abandon(self, item: Item) -> None:
        """The attempt was cancelled or met a bug: the row is given back, without one the broker keeps the message."""
        self._items.pop(item, None)
        self._bare.pop(item, None)
        if self._closed:
            return
        if item.entry is not None:
            self._journal.release(item.entry)
        else:
            item.refuse(Unavailable("the delivery was interrupted"))

    async def close(self) -> None:
        await super().close()
        if self._look is not None:
            self._look.cancel()
        for worker in self._workers:
            worker.cancel()
        if self._workers:
            await asyncio.wait(self._workers)


class StreamLane(SingleLane):
    """Each message goes to the stream as it comes: the app answers in its own order and time."""

    def __init__(self, settings: LaneSettings, courier: Courier, journal: Journal, gate: Gate, tasks: Tasks) -> None:
        self._calls: set[asyncio.Task[None]] = set()
        super().__init__(settings, courier, journal, gate, tasks)

    def _enqueue(self, item: Item) -> None:
        call = self._tasks.start(f"stream[{self.name}]", self._until_sent(lambda: self._deliver(item)))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def close(self) -> None:
        await super().close()
        if self._calls:
            for call in self._calls:
                call.cancel()
            await asyncio.wait(self._calls)
