"""How an attempt to hand a message to an app ended, and what follows for the message."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from enum import Enum, auto
from typing import Protocol

from edge.model import Message
from edge.record import record


class End(Enum):
    """DELIVERED: the app has it. DROPPED: it ends here, counted by reason. AGAIN: another attempt later. DEAD: kept in the dead lane."""

    DELIVERED = auto()
    DROPPED = auto()
    AGAIN = auto()
    DEAD = auto()


@record
class Outcome:
    """reason: for DROPPED the key under which it is counted ("expired", "app", "no-route", "dead-letter"), else a text.

    after: seconds until the next attempt.
    """

    end: End
    reason: str = ""
    after: float = 0.0


DELIVERED = Outcome(End.DELIVERED)


class Courier(Protocol):
    """Makes one attempt. failures: how many there were before.

    Raises AppUnavailable (not sent) when no one is at the app's port, BreakerOpen: no attempt was spent.
    """

    def attempt(self, message: Message, failures: int) -> Awaitable[Outcome]: ...


class BulkCourier(Protocol):
    """The same for a batch; one outcome for each item."""

    def attempt_bulk(self, batch: Sequence[tuple[Message, int]]) -> Awaitable[list[Outcome]]: ...
