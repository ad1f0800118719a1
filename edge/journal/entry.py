"""What goes in and out of the journal: entries, limits, and the numbers of a lane."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from edge.model import Message


@dataclass(slots=True, eq=False)
class Entry:
    """One message that is on disk. seq: grows over all lanes, never used twice. enqueued, due: see `Journal.age_now` (float seconds).

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
    """What happens to a put when a limit is reached."""

    REJECT = "reject"
    DROP_OLDEST = "drop-oldest"
    DROP_NEWEST = "drop-newest"
    KEEP_LAST = "keep-last"
    DOWNSAMPLE = "downsample"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one lane; 0 = none. max_age: seconds of device-up time. keep-last keeps one entry per topic, downsample every n-th."""

    max_bytes: int = 0
    max_entries: int = 0
    max_age: float = 0.0
    policy: Policy = Policy.REJECT
    every: int = 10


@dataclass(slots=True)
class LaneStats:
    """Counts since the lane exists: accepted = delivered + pending + expired + sum(dropped) + dead."""

    lane: str
    accepted: int = 0
    delivered: int = 0
    expired: int = 0
    dead: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    pending: int = 0
    pending_bytes: int = 0
