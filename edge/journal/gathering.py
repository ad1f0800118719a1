"""When to commit what is put: at once, or, while a broker is away for long, a little later with more in the commit.

A card wears by commits, not by messages. Where messages come by the clock (sensors), a commit waits up to `WINDOW` for the next ones.
Where the publishers wait for their answers, waiting would only slow them down: nothing comes for `QUIET`, and then it does not wait for
a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

WINDOW = 0.12
QUIET = 0.03
BRISK = 0.008
"""A put that follows an answer within this many seconds is by somebody who waited for the answer."""
SURE, MOST_SURE = 3, 96
"""So many others in a row, and the publishers count as clockwork; twice as many after each time that this was wrong."""


class Gathering:
    """Schedules one commit at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.Handle | None = None
        self._write: Callable[[], None] = _nothing
        self._until = 0.0
        self._answered = 0.0
        self._slow, self._needed = 0, SURE

    def schedule(self, write: Callable[[], None], *, patient: bool) -> None:
        """See to it that `write` is called."""
        self._write = write
        if self._handle is None and patient and self._by_the_clock():
            self._until = self._loop.time() + WINDOW
            self._handle = self._loop.call_later(QUIET, self._on_quiet)
        elif self._handle is None:
            self._until = 0.0
            self._handle = self._loop.call_soon(write)
        elif self._until:
            self._handle.cancel()
            left = self._until - self._loop.time() if patient else 0.0
            self._handle = (
                self._loop.call_later(QUIET, self._on_quiet) if left > QUIET else self._loop.call_later(max(0.0, left), self._on_full)
            )

    def _by_the_clock(self) -> bool:
        """Messages come whether or not those before were answered."""
        self._slow = 0 if self._loop.time() - self._answered < BRISK and self._slow < self._needed else self._slow + 1
        return self._slow >= self._needed

    def _on_quiet(self) -> None:
        """They all wait for us."""
        self._slow, self._needed = 0, min(MOST_SURE, 2 * self._needed)
        self._write()

    def _on_full(self) -> None:
        self._needed = SURE
        self._slow = SURE
        self._write()

    def began(self) -> None:
        """The commit is under way: what is put from now on needs another one."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def ended(self) -> None:
        """The callers have their answers."""
        self._answered = self._loop.time()


def _nothing() -> None:
    """Nothing is scheduled."""
