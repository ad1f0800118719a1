"""What every binding keeps. Run by test_bindings.py over the catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from edge.component import Component, InputBinding, OutputBinding
from edge.errors import Closed, ComponentError, Unavailable
from edge.model import BindingEvent, BindingResult
from tests.harness_mqtt import until

Open = Callable[..., AbstractAsyncContextManager[Any]]
Nudge = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Call:
    """An operation with what it needs. gives: what the answer's data must hold, None = no answer."""

    operation: str
    data: bytes = b""
    metadata: tuple[tuple[str, str], ...] = ()
    gives: bytes | None = None


@dataclass(frozen=True)
class Candidate:
    """open: a fresh instance; open(away=True): one whose server is not there. calls: in order. nudge: makes an input event come."""

    name: str
    open: Open
    calls: tuple[Call, ...] = ()
    nudge: Nudge | None = None
    has_server: bool = False


class Target:
    """The app's side."""

    def __init__(self, failures: int = 0) -> None:
        self.got: list[BindingEvent] = []
        self.failures = failures

    async def __call__(self, event: BindingEvent) -> BindingResult:
        if self.failures:
            self.failures -= 1
            raise Unavailable("the app is away")
        self.got.append(event)
        return BindingResult()


class Suite:
    """Each scenario gets one candidate."""

    async def is_what_it_claims(self, one: Candidate) -> None:
        async with one.open() as binding:
            assert isinstance(binding, Component)
            assert isinstance(binding, InputBinding) or isinstance(binding, OutputBinding)
            if isinstance(binding, OutputBinding):
                assert binding.operations and len(set(binding.operations)) == len(binding.operations)

    async def operations_answer(self, one: Candidate) -> None:
        if not one.calls:
            pytest.skip("no output")
        async with one.open() as binding:
            for call in one.calls:
                result = await binding.invoke(call.operation, call.data, dict(call.metadata))
                if call.gives is None:
                    assert result is None or not result.data
                else:
                    assert call.gives in result.data

    async def an_unknown_operation_is_refused(self, one: Candidate) -> None:
        if not one.calls:
            pytest.skip("no output")
        async with one.open() as binding:
            with pytest.raises(ComponentError):
                await binding.invoke("sing", b"", dict(one.calls[0].metadata))

    async def many_at_once_do_not_disturb_each_other(self, one: Candidate) -> None:
        if not one.calls:
            pytest.skip("no output")
        call = one.calls[0]
        async with one.open() as binding:
            await asyncio.gather(*(binding.invoke(call.operation, call.data, dict(call.metadata)) for _ in range(20)))

    async def events_come(self, one: Candidate) -> None:
        if one.nudge is None:
            pytest.skip("no input")
        async with one.open() as binding:
            target = Target()
            await binding.read(target)
            await until(lambda: binding.unhealthy() is None if hasattr(binding, "unhealthy") else True)
            await asyncio.sleep(0.05)
            await one.nudge()
            await until(lambda: bool(target.got))

    async def reading_ends_when_it_is_stopped(self, one: Candidate) -> None:
        if one.nudge is None:
            pytest.skip("no input")
        async with one.open() as binding:
            target = Target()
            stop = await binding.read(target)
            await until(lambda: binding.unhealthy() is None if hasattr(binding, "unhealthy") else True)
            await asyncio.sleep(0.05)
            await one.nudge()
            await until(lambda: bool(target.got))
            await stop()
            before = len(target.got)
            await one.nudge()
            await asyncio.sleep(0.05)
            assert len(target.got) <= before + 1  # one may have been under way

    async def an_event_that_is_refused_keeps_no_other_back(self, one: Candidate) -> None:
        if one.nudge is None:
            pytest.skip("no input")
        async with one.open() as binding:
            target = Target(failures=1)
            await binding.read(target)
            await until(lambda: binding.unhealthy() is None if hasattr(binding, "unhealthy") else True)
            await asyncio.sleep(0.05)
            await one.nudge()
            await until(lambda: not target.failures)
            await one.nudge()
            await until(lambda: bool(target.got))

    async def a_server_that_is_away_is_no_failed_start(self, one: Candidate) -> None:
        if not one.has_server:
            pytest.skip("no server")
        call = one.calls[0]
        async with one.open(away=True) as binding:
            if binding.journal_out:
                task = asyncio.create_task(binding.invoke(call.operation, call.data, dict(call.metadata)))
                await asyncio.sleep(0.05)
                assert not task.done() or isinstance(task.exception(), Unavailable)
                task.cancel()
                return
            with pytest.raises(Unavailable):
                await binding.invoke(call.operation, call.data, dict(call.metadata))

    async def closing_twice_is_closing(self, one: Candidate) -> None:
        async with one.open() as binding:
            await binding.close()
            await binding.close()
            if one.nudge is not None:
                with pytest.raises((Closed, RuntimeError)):
                    await binding.read(Target())


SCENARIOS = [name for name in vars(Suite) if not name.startswith("_")]
