"""One target's policy: retry ( circuit breaker ( timeout ( call ) ) ). Source: dapr pkg/resiliency/policy.go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from edge.durations import format_go_duration
from edge.errors import Unavailable
from edge.resiliency.breaker import Breaker, CircuitOpen
from edge.resiliency.retry import Retry

T = TypeVar("T")
log = logging.getLogger("dapr.runtime")


class TimedOut(Unavailable):
    """The call took longer than its policy allows; it was cancelled."""


class Final(Exception):
    """Raised by a call: it failed with `cause`, and no further try can help."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class CodeError(Exception):
    """A failure with a status code (HTTP 100-599 or gRPC 0-16), for `matching`. result: what the caller gets when tries are spent."""

    def __init__(self, code: int, message: str = "", result: Any = None) -> None:
        super().__init__(message)
        self.code, self.result = code, result


class Observer(Protocol):
    """Counts what policies do. policy: timeout, retry or circuitbreaker; state: of the breaker, else ""."""

    def executed(self, policy: str, target: str, direction: str, state: str) -> None: ...
    def activated(self, policy: str, target: str, direction: str, state: str) -> None: ...


class Policy:
    """What to do around each call of one target. target, direction: as metrics name them."""

    __slots__ = ("breaker", "direction", "name", "observer", "retry", "target", "timeout")

    def __init__(
        self,
        name: str,
        timeout: float = 0.0,
        retry: Retry | None = None,
        breaker: Breaker | None = None,
        *,
        target: str = "",
        direction: str = "",
        observer: Observer | None = None,
    ) -> None:
        self.name, self.timeout, self.retry, self.breaker = name, timeout, retry, breaker
        self.target, self.direction, self.observer = target, direction, observer

    @property
    def retries(self) -> bool:
        """It may call more than once."""
        return self.retry is not None and self.retry.max_retries != 0

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """The call's result, by the policy.

        Raises what the last try raised, CircuitOpen when the breaker refuses, TimedOut when a try took too long. An exception that
        carries a status code is a CodeError; those that the retry policy does not match are raised at once, as is the cause of a Final.
        """
        if self.observer is not None:
            self._executed(self.observer)
        try:
            return await (self._guarded(call) if self.retry is None else self._retried(call, self.retry))
        except Final as final:
            raise final.cause from None

    __call__ = run

    async def once(self, call: Callable[[], Awaitable[T]]) -> T:
        """One try within breaker and timeout, for a caller that counts and paces the tries itself. Raises as `run`."""
        if self.observer is not None:
            self._executed(self.observer)
        return await self._guarded(call)

    async def _retried(self, call: Callable[[], Awaitable[T]], retry: Retry) -> T:
        attempts, delays = 1, retry.delays()
        while True:
            try:
                result = await self._guarded(call)
                break
            except (CircuitOpen, Final):
                raise
            except Exception as error:  # whatever went wrong is what the policy was asked to try again
                delay = next(delays, None) if not isinstance(error, CodeError) or retry.again(error.code) else None
                if delay is None:
                    raise
            if attempts == 1:
                self._activated("retry")
                log.warning("Error processing operation %s. Retrying in %s…", self.name, format_go_duration(delay))
            await asyncio.sleep(delay)
            attempts += 1
        if attempts > 1:
            log.info("Recovered processing operation %s after %d attempts", self.name, attempts)
        return result

    async def _guarded(self, call: Callable[[], Awaitable[T]]) -> T:
        if (breaker := self.breaker) is None:
            return await self._timed(call)
        was = breaker.state
        generation, succeeded = breaker.before(), False
        try:
            result = await self._timed(call)
            succeeded = True
            return result
        finally:
            breaker.after(generation, succeeded)
            if breaker.state != was:
                self._activated("circuitbreaker", breaker.state)

    async def _timed(self, call: Callable[[], Awaitable[T]]) -> T:
        if self.timeout <= 0:
            return await call()
        guard = asyncio.timeout(self.timeout)
        try:
            async with guard:
                return await call()
        except TimeoutError:
            if not guard.expired():
                raise
        self._activated("timeout")
        raise TimedOut("context deadline exceeded")

    def _activated(self, policy: str, state: str = "") -> None:
        if self.observer is not None:
            self.observer.activated(policy, self.target, self.direction, state)

    def _executed(self, observer: Observer) -> None:
        for policy, there in (("timeout", self.timeout > 0), ("retry", self.retry), ("circuitbreaker", self.breaker)):
            if there:
                state = self.breaker.state if policy == "circuitbreaker" and self.breaker is not None else ""
                observer.executed(policy, self.target, self.direction, state)
