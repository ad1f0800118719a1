"""Supervised tasks: what fails starts again; what the disk or a broker causes is told in one line."""

from __future__ import annotations

import asyncio
import logging

import pytest

from edge import tasks
from edge.errors import Full


@pytest.mark.parametrize(("error", "traceback"), [(Full("f.db: no space left"), False), (KeyError("a bug"), True)])
async def test_what_failed_is_told_and_starts_again(
    error: Exception, traceback: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "FIRST_DELAY", 0.001)
    again, failures = asyncio.Event(), [error]

    async def work() -> None:
        if failures:
            raise failures.pop()
        again.set()

    async with tasks.Tasks("t") as one:
        one.spawn("pump", work)
        async with asyncio.timeout(5):
            await again.wait()

    (record,) = caplog.records
    assert bool(record.exc_info) is traceback
    assert "pump" in record.getMessage() and ("no space left" in record.getMessage()) is not traceback
    assert record.levelno == (logging.ERROR if traceback else logging.WARNING)
