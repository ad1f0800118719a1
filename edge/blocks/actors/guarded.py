"""Resiliency around actors: retry and breaker of the caller before the turn, the host's timeout inside it (resources.md §5.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from edge.actor import ERROR_HEADER, ActorCall, ActorFailed, ActorHost, ActorTick
from edge.app import App, AppUnavailable
from edge.blocks.policies import AppPolicies
from edge.errors import EdgeError, Unavailable
from edge.model import InvokeResponse
from edge.resiliency import Final, Policies, Policy

T = TypeVar("T")
NOT_FOUND = "actor method not found"


class _Answered(Exception):
    """The actor itself failed: that counts as a failed try, and what it said is the answer when tries are spent."""

    def __init__(self, answer: InvokeResponse) -> None:
        super().__init__("actor error")
        self.answer = answer


async def before_turn(policies: AppPolicies, app: App, call: ActorCall, work: Callable[[], Awaitable[InvokeResponse]]) -> InvokeResponse:
    """Invoke under the calling app's policy for the type. Raises what `work` raises, ActorFailed when the breaker is open."""
    policy = policies.of(app).actor_before(call.type, call.id)
    if policy is None:
        return await work()

    async def attempt() -> InvokeResponse:
        try:
            answer = await work()
        except EdgeError as error:
            raise Final(error) from None
        except ActorFailed as error:
            if str(error).startswith(NOT_FOUND):
                raise Final(error) from None
            raise
        if any(name.lower() == ERROR_HEADER for name, _ in answer.headers):
            raise _Answered(answer)
        return answer

    try:
        return await policy.run(attempt)
    except _Answered as error:
        return error.answer
    except Unavailable as error:
        raise ActorFailed(str(error)) from None


class TimedHost:
    """A host whose calls end after the timeout that the hosting app's resources give the type."""

    def __init__(self, host: ActorHost, policies: Policies) -> None:
        self._host, self._policies = host, policies

    async def invoke(self, call: ActorCall) -> InvokeResponse:
        return await self._timed(call.type, call.id, lambda: self._host.invoke(call))

    async def remind(self, tick: ActorTick) -> bool:
        return await self._timed(tick.type, tick.id, lambda: self._host.remind(tick))

    async def timer(self, tick: ActorTick) -> bool:
        return await self._timed(tick.type, tick.id, lambda: self._host.timer(tick))

    async def deactivate(self, type_: str, id_: str) -> None:
        await self._timed(type_, id_, lambda: self._host.deactivate(type_, id_))

    async def _timed(self, type_: str, id_: str, work: Callable[[], Awaitable[T]]) -> T:
        policy: Policy | None = self._policies.actor_after(type_, id_)
        if policy is None:
            return await work()
        try:
            return await policy.run(work)
        except Unavailable as error:
            raise AppUnavailable(str(error), sent=True) from None
