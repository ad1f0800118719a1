"""A circuit breaker: closed until its trip condition holds, open for a while, then half-open for a few probes.

Source: the semantics of sony/gobreaker as dapr pkg/resiliency/breaker drives it: counts are cleared at every change of state.
"""

from __future__ import annotations

import logging
import time

from edge.cel import CelError, Condition
from edge.errors import Unavailable
from edge.record import record

log = logging.getLogger("dapr.runtime")
CLOSED, OPEN, HALF_OPEN = "closed", "open", "half-open"
FAILURES_WITHOUT_TRIP = 5


class CircuitOpen(Unavailable):
    """The call was not made: the breaker is open or has its probes under way. Not tried again."""


@record
class BreakerSettings:
    """max_requests: probes while half-open. interval: seconds after which closed counts are cleared, 0 = never.
    timeout: seconds of the open state. trip: None = more than five failures in a row.
    """

    max_requests: int = 1
    interval: float = 0.0
    timeout: float = 60.0
    trip: Condition | None = None


class Breaker:
    """The state of one breaker; `before` and `after` stand around each call."""

    __slots__ = ("_expiry", "_generation", "_state", "failures", "name", "requests", "settings", "successes", "total")

    def __init__(self, name: str, settings: BreakerSettings) -> None:
        self.name, self.settings = name, settings
        self._state, self._generation, self._expiry = CLOSED, 0, 0.0
        self.requests = self.successes = self.failures = self.total = 0
        self._renew(time.monotonic())

    @property
    def state(self) -> str:
        """closed, open or half-open, now."""
        self._tick(time.monotonic())
        return self._state

    def before(self) -> int:
        """Ask to make a call; the answer goes to `after`. Raises CircuitOpen."""
        self._tick(time.monotonic())
        if self._state == OPEN:
            raise CircuitOpen("circuit breaker is open")
        if self._state == HALF_OPEN and self.requests >= max(self.settings.max_requests, 1):
            raise CircuitOpen("too many requests")
        self.requests += 1
        return self._generation

    def after(self, generation: int, succeeded: bool) -> None:
        """Tell how the call ended; ignored if the state changed meanwhile."""
        now = time.monotonic()
        self._tick(now)
        if generation != self._generation:
            return
        if succeeded:
            self.successes, self.failures = self.successes + 1, 0
            if self._state == HALF_OPEN and self.successes >= max(self.settings.max_requests, 1):
                self._change(CLOSED, now)
            return
        self.successes, self.failures, self.total = 0, self.failures + 1, self.total + 1
        if self._state == HALF_OPEN or self._trips():
            self._change(OPEN, now)

    def _trips(self) -> bool:
        if self.settings.trip is None:
            return self.failures > FAILURES_WITHOUT_TRIP
        counts = {
            "requests": self.requests,
            "totalSuccesses": self.requests - self.total,
            "totalFailures": self.total,
            "consecutiveSuccesses": self.successes,
            "consecutiveFailures": self.failures,
        }
        try:
            return self.settings.trip.holds(counts)
        except CelError:  # as in Dapr: what can't be evaluated does not trip
            return False

    def _tick(self, now: float) -> None:
        if self._state == OPEN and now > self._expiry:
            self._change(HALF_OPEN, now)
        elif self._state == CLOSED and self._expiry and now > self._expiry:
            self._renew(now)

    def _change(self, state: str, now: float) -> None:
        log.info('Circuit breaker "%s" changed state from %s to %s', self.name, self._state, state)
        self._state = state
        self._renew(now)

    def _renew(self, now: float) -> None:
        self._generation += 1
        self.requests = self.successes = self.failures = self.total = 0
        span = {CLOSED: self.settings.interval, OPEN: self.settings.timeout, HALF_OPEN: 0.0}[self._state]
        self._expiry = now + span if span > 0 else 0.0
