"""What goes in and out of the journal: entries and limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edge.model import Message
from edge.record import record


@dataclass(slots=True, eq=False)
class Entry:
    """One message that is on disk. seq: grows within its lane, never used twice. enqueued, due: see `Journal.age_now` (float seconds).

    attempts: failed deliveries so far. due: 0 = now. error: why the last attempt failed.
    """

    seq: int
    lane: str
    message: Message
    attempts: int = 0
    due: float = 0.0
    enqueued: float = 0.0
    error: str = ""


class Policy(Enum):
    """What happens to a put when a limit is reached (keep-last and downsample: see `Limits`)."""

    REJECT = "reject"
    DROP_OLDEST = "drop-oldest"
    DROP_NEWEST = "drop-newest"
    KEEP_LAST = "keep-last"
    DOWNSAMPLE = "downsample"


@record
class Limits:
    """Bounds of some lanes together; 0 = none. max_age: seconds of device-up time.

    keep-last: only the newest message of a lane waits, always. downsample: once half full, one of `every` messages is kept; when full the
    oldest goes. What is in flight is never dropped.
    """

    max_bytes: int = 0
    max_entries: int = 0
    max_age: float = 0.0
    policy: Policy = Policy.REJECT
    every: int = 10
