"""When to commit what is put: at once, or, while a broker is away for long, a little later with more in the commit.

A card wears by commits, not by messages. Where messages come by the clock (sensors), a commit waits `WINDOW` for the next ones. Where the
publishers send as soon as they are answered, waiting would only slow them down: then it does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

WINDOW = 0.12
BRISK = 0.008
"""A put that follows an answer within this many seconds is by somebody who waited for the answer."""
SURE = 3


class Gathering:
    """Schedules one commit at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.Handle | None = None
        self._waits = False
        self._answered = 0.0
        self._brisk = 0

    def schedule(self, write: Callable[[], None], *, patient: bool) -> None:
        """See to it that `write` is called."""
        if self._handle is not None:
            if patient or not self._waits:
                return
            self._handle.cancel()
        elif patient and self._brisk < SURE:
            self._count()
            self._waits = True
            self._handle = self._loop.call_later(WINDOW, write)
            return
        elif patient:
            self._count()
        self._waits = False
        self._handle = self._loop.call_soon(write)

    def _count(self) -> None:
        self._brisk = min(SURE, self._brisk + 1) if self._loop.time() - self._answered < BRISK else 0

    def began(self) -> None:
        """The commit is under way: what is put from now on needs another one."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def ended(self) -> None:
        """The callers have their answers."""
        self._answered = self._loop.time()
