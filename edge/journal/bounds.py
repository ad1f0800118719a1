"""Limits over the lanes that share them, and what a put has to do to stay within them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edge.journal.entry import Limits, Policy

NO_LIMITS = Limits()


@dataclass(slots=True)
class Bound:
    """Some lanes and their common limits. applies: to a lane's name. entries, size_bytes: what waits in all of them, with what is about
    to be written.
    """

    limits: Limits = NO_LIMITS
    applies: Callable[[str], bool] = field(default=lambda _: False)
    entries: int = 0
    size_bytes: int = 0
    arrived: int = 0
    told: bool = False

    @property
    def limited(self) -> bool:
        """There is anything to check at a put."""
        limits = self.limits
        return bool(limits.max_entries or limits.max_bytes) or limits.policy is Policy.KEEP_LAST

    def room_for(self, count: int, size: int, share: float = 1.0) -> bool:
        """So many more messages and bytes fit. share: of the limits that may be used."""
        limits = self.limits
        if limits.max_entries and self.entries + count > limits.max_entries * share:
            return False
        return not (limits.max_bytes and self.size_bytes + size > limits.max_bytes * share)

    def excess(self, count: int, size: int) -> tuple[int, int]:
        """How many messages and bytes must go so that so many more fit."""
        limits = self.limits
        entries = self.entries + count - limits.max_entries if limits.max_entries else 0
        return max(0, entries), max(0, self.size_bytes + size - limits.max_bytes if limits.max_bytes else 0)

    def thins(self) -> bool:
        """Downsampling is on and this message is not the one of `every` that is kept."""
        self.arrived += 1
        return self.limits.policy is Policy.DOWNSAMPLE and self.arrived % max(1, self.limits.every) != 0

    def add(self, entries: int, size: int) -> None:
        self.entries = max(0, self.entries + entries)
        self.size_bytes = max(0, self.size_bytes + size)
        if entries < 0:
            self.told = False


UNBOUND = Bound()
