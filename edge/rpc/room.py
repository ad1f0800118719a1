"""Memory for answers that their callers read slowly: a call with a large one begins when there is room for it, others at once."""

from __future__ import annotations

from typing import Protocol

SMALL = 64 << 10  # an answer up to this is never waited for
UNKNOWN = 4 << 20  # the largest answer, of a method that reads what somebody stored and has not answered yet
OWN = 8 << 20
ALL = 32 << 20


class Waiting(Protocol):
    """A connection with calls that have not begun."""

    def resume(self) -> None:
        """Begin what there is room for."""


class Room:
    """Shared by all connections of a process. own, limit: bytes of answers, unread and expected, of one connection and of all.

    A connection that owes nothing may always begin one call, however little the others read.
    """

    __slots__ = ("_resuming", "_waiting", "limit", "own", "taken")

    def __init__(self, own: int = OWN, limit: int = ALL) -> None:
        self.own, self.limit = own, limit
        self.taken = 0
        self._waiting: dict[Waiting, None] = {}
        self._resuming = False

    def admits(self, owed: int, expected: int) -> bool:
        """A connection that owes so much may begin a call with such an answer."""
        return not owed or (owed + expected <= self.own and self.taken + expected <= self.limit)

    def add(self, size: int) -> None:
        """More, or less, is taken."""
        self.taken += size
        if size < 0 and self._waiting and not self._resuming:
            self._resuming = True
            try:
                for one in list(self._waiting):
                    one.resume()
            finally:
                self._resuming = False

    def wait(self, one: Waiting) -> None:
        """`one.resume()` is called whenever less is taken."""
        self._waiting[one] = None

    def leave(self, one: Waiting) -> None:
        """It waits no more."""
        self._waiting.pop(one, None)
