"""One topic on its way out: which messages are in flight, which of them have a row, and whether rows wait behind them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from edge.journal import REMEMBER, Entry, Journal
from edge.model import Message


class Send:
    """One message in flight. entry: its row, None while it flies without one. waiter: who wants to know that it is accepted.

    since: loop time of the start. landed: the broker's answer is here, `error` says which. writing: its row is being written.
    """

    __slots__ = ("entry", "error", "landed", "lane", "message", "since", "waiter", "writing")

    def __init__(self, lane: Lane, message: Message, entry: Entry | None, waiter: asyncio.Future[None] | None, since: float) -> None:
        self.lane, self.message, self.entry, self.waiter, self.since = lane, message, entry, waiter, since
        self.error: BaseException | None = None
        self.landed = self.writing = False

    @property
    def bare(self) -> bool:
        """In flight, no row, and none is being written."""
        return self.entry is None and not self.writing and not self.landed

    def accepted(self) -> None:
        """On disk or with the broker: tell the publisher."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def refused(self, error: BaseException) -> None:
        """Neither: tell the publisher."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_exception(error)


class Lane:
    """behind: rows may wait on disk, so nothing may overtake them. delay: the present back-off in seconds."""

    __slots__ = ("_journal", "behind", "delay", "name", "sends", "waiting")

    def __init__(self, name: str, journal: Journal) -> None:
        self.name, self._journal = name, journal
        self.behind = journal.holds(name)
        self.sends: deque[Send] = deque()
        self.delay = 0.0
        self.waiting: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Nothing is known of this lane that the journal does not know."""
        return not self.sends and self.waiting is None

    def is_behind(self) -> bool:
        """Rows wait that nobody took."""
        if self.behind and not self._journal.holds(self.name):
            self.behind = False
        return self.behind

    def land(self, send: Send) -> None:
        """It is no longer in flight."""
        if self.sends and self.sends[0] is send:
            self.sends.popleft()
        elif send in self.sends:
            self.sends.remove(send)

    async def put(
        self, messages: tuple[Message, ...], keys: Sequence[str] = (), remember: float = REMEMBER, *, patient: bool = False
    ) -> None:
        """Write rows, behind those of the messages in flight. keys: see `Journal.put`. Raises Full, Unavailable, Closed."""
        if bare := [send for send in self.sends if send.bare]:
            await self.write(bare)
        self.behind = True
        await self._journal.put(self.name, *messages, keys=keys, remember=remember, patient=patient)

    async def write(self, sends: list[Send]) -> list[Send]:
        """Give messages in flight their rows; they stay in flight. Those that landed meanwhile are returned. Raises as `put`."""
        for send in sends:
            send.writing = True
        try:
            entries = await self._journal.put(self.name, *(send.message for send in sends), held=True)
        finally:
            for send in sends:
                send.writing = False
        for send, entry in zip(sends, entries, strict=True):
            send.entry = entry
            send.accepted()
        return [send for send in sends if send.landed]
