"""Cron fires in local time by Go's grammar; what was missed can be caught up, once."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from components.bindings._ticks import go_time, local_zone, read_schedule
from edge.errors import Invalid, Unavailable
from edge.model import BindingEvent, BindingResult
from tests.harness_components import opened
from tests.harness_mqtt import until

TYPE = "bindings.cron"


class Target:
    """The app's side. failures: so many events are refused first."""

    def __init__(self, failures: int = 0) -> None:
        self.got: list[BindingEvent] = []
        self.failures = failures

    async def __call__(self, event: BindingEvent) -> BindingResult:
        if self.failures:
            self.failures -= 1
            raise Unavailable("the app is away")
        self.got.append(event)
        return BindingResult()


async def test_an_empty_event_with_daprs_metadata(tmp_path: Path) -> None:
    async with opened(TYPE, tmp_path, {"schedule": "@every 50ms"}) as binding:
        target = Target(failures=1)
        stop = await binding.read(target)
        await until(lambda: len(target.got) >= 2)
        await stop()

    assert target.got[0].data == b""
    assert set(target.got[0].metadata) == {"timeZone", "readTimeUTC"}
    assert target.got[0].metadata["readTimeUTC"].endswith(" +0000 UTC")


async def test_each_second(tmp_path: Path) -> None:
    async with opened(TYPE, tmp_path, {"schedule": "TZ=Europe/Berlin */1 * * * * ?"}) as binding:
        target = Target()
        await binding.read(target)
        await until(lambda: bool(target.got), 5)


@pytest.mark.parametrize("schedule", ["", "nonsense", "61 * * * * *", "* * *", "@every soon", "@never"])
async def test_bad_schedules_are_refused_by_name(tmp_path: Path, schedule: str) -> None:
    with pytest.raises((Invalid, AssertionError), match=r"schedule not set|invalid schedule format '"):
        async with opened(TYPE, tmp_path, {"schedule": schedule}):
            pass


@pytest.mark.parametrize(("policy", "expected"), [("none", 0), ("once", 1), ("all", 4)])
async def test_catch_up_after_downtime(tmp_path: Path, policy: str, expected: int) -> None:
    raw = {"schedule": "@every 1h", "catchUp": policy}
    async with opened(TYPE, tmp_path, raw) as binding:
        await binding.read(Target())
        if policy != "none":
            await until(lambda: binding._last() is not None)
            await binding._database.write(lambda tx: tx.execute("UPDATE cron SET last=last-4.5*3600"))

    async with opened(TYPE, tmp_path, raw) as binding:
        target = Target()
        await binding.read(target)
        if expected:
            await until(lambda: len(target.got) == expected and time.time() - binding._last() < 3600)
    async with opened(TYPE, tmp_path, raw) as binding:
        again = Target()
        await binding.read(again)

    assert len(target.got) == expected
    assert not again.got
    assert all("missedTimeUTC" in event.metadata for event in target.got)


async def test_a_missed_event_is_kept_until_the_app_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.bindings.cron.FIRST_PAUSE", 0.01)
    raw = {"schedule": "@every 1h", "catchUp": "once"}
    async with opened(TYPE, tmp_path, raw) as binding:
        await binding.read(Target())
        await until(lambda: binding._last() is not None)
        await binding._database.write(lambda tx: tx.execute("UPDATE cron SET last=last-7200"))

    async with opened(TYPE, tmp_path, raw) as binding:
        target = Target(failures=3)
        await binding.read(target)
        await until(lambda: len(target.got) == 1)

    assert target.failures == 0


def test_the_local_zone_follows_tz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    due = read_schedule("0 12 * * *").next(datetime(2026, 7, 1, tzinfo=UTC).timestamp())

    assert local_zone()[1] == "America/New_York"
    assert due == datetime(2026, 7, 1, 16, tzinfo=UTC).timestamp()


def test_go_prints_times_without_trailing_zeros() -> None:
    assert go_time(1.5) == "1970-01-01 00:00:01.5 +0000 UTC"
    assert go_time(2) == "1970-01-01 00:00:02 +0000 UTC"
