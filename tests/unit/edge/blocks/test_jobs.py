"""Jobs on a real file: refusals in the scheduler's words, what is kept, what the app's answer means, and what survives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest

from edge.app import App, AppUnavailable, Delivery
from edge.blocks.jobs import Job, JobService
from edge.blocks.schedule import Policy
from edge.blocks.series import Series
from edge.clock import SystemClock
from edge.database import Database
from edge.errors import EdgeError
from edge.model import JobData, JobEvent, Status
from edge.scheduler import Scheduler
from edge.tasks import Tasks

KIND = "job/default/bell"
JSON = JobData("type.googleapis.com/google.protobuf.Value", b'{"bell":1}', is_json=True)
TYPED = JobData("type.googleapis.com/google.protobuf.StringValue", b"\n\x05typed")


class Bell:
    """An app's channel that only takes jobs; verdicts are used up one by one, the last one stays."""

    def __init__(self, *verdicts: Delivery | Exception) -> None:
        self.verdicts = list(verdicts)
        self.rung: list[JobEvent] = []

    async def trigger_job(self, event: JobEvent) -> Delivery:
        self.rung.append(event)
        verdict = self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]
        if isinstance(verdict, Exception):
            raise verdict
        return verdict


DONE, FAILED, GONE = Delivery(Status.SUCCESS), Delivery(Status.RETRY, "status code 500"), Delivery(Status.DROP, "status code 404")


@contextlib.asynccontextmanager
async def opened(folder: Path, bell: Bell) -> AsyncIterator[tuple[JobService, App, Scheduler]]:
    clock, app = SystemClock(), App("bell", port=1)
    app.channel = bell  # type: ignore[assignment]
    async with Database.open(folder / "edged.db") as database, Tasks("test") as tasks:
        scheduler = Scheduler(database, tasks, clock)
        jobs = JobService(Series(scheduler), clock)
        jobs.attach(app)
        yield jobs, app, scheduler


def ring(folder: Path, bell: Bell, *jobs: Job, wait: bool = True) -> Bell:
    """Schedule jobs and wait until all are over."""

    async def scenario() -> None:
        async with opened(folder, bell) as (service, app, scheduler):
            for job in jobs:
                await service.schedule(app, job, overwrite=False)
            async with asyncio.timeout(5):
                while wait and scheduler.count(KIND):
                    await asyncio.sleep(0.002)

    asyncio.run(scenario())
    return bell


async def refused(work: Awaitable[Any]) -> tuple[int, str, str]:
    with pytest.raises(EdgeError) as caught:
        await work
    assert caught.value.info == {"appID": "bell", "namespace": "default"}
    return caught.value.http, caught.value.code.tag, caught.value.message


def test_a_due_job_reaches_the_app_with_its_data(tmp_path: Path) -> None:
    bell = ring(
        tmp_path, Bell(DONE), Job("json", due_time="0s", data=JSON), Job("typed", due_time="0s", data=TYPED), Job("bare", due_time="0s")
    )

    assert {event.name: event.data for event in bell.rung} == {"json": JSON, "typed": TYPED, "bare": None}


def test_a_repeated_job_runs_as_often_as_asked(tmp_path: Path) -> None:
    assert len(ring(tmp_path, Bell(DONE), Job("tick", "@every 10ms", repeats=3)).rung) == 3


@pytest.mark.parametrize(("verdict", "tries"), [(DONE, 1), (GONE, 1), (FAILED, 3), (AppUnavailable("EOF", sent=True), 3)])
def test_failures_are_tried_again_but_not_404(tmp_path: Path, verdict: Delivery | Exception, tries: int) -> None:
    job = Job("fails", due_time="0s", policy=Policy(interval=0.05, retries=2))

    assert len(ring(tmp_path, Bell(verdict), job).rung) == tries


def test_an_app_that_cannot_be_reached_uses_up_no_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.blocks.series.RETRY_AWAY", 0.005)
    away = [AppUnavailable("dial tcp 127.0.0.1:1: connect: connection refused")] * 9

    bell = ring(tmp_path, Bell(*away, DONE), Job("patient", due_time="0s", policy=Policy(drop=True)))

    assert len(bell.rung) == 10


def test_a_job_that_was_not_run_is_run_by_the_next_process(tmp_path: Path) -> None:
    class Hang(Bell):
        async def trigger_job(self, event: JobEvent) -> Delivery:
            await asyncio.sleep(60)
            return DONE

    ring(tmp_path, Hang(DONE), Job("missed", due_time="0s", data=JSON), wait=False)

    assert [event.name for event in ring(tmp_path, Bell(DONE)).rung] == ["missed"]


def test_jobs_wait_while_the_app_is_detached(tmp_path: Path) -> None:
    async def scenario() -> tuple[int, int]:
        bell = Bell(DONE)
        async with opened(tmp_path, bell) as (service, app, scheduler):
            await service.detach(app)
            await service.schedule(app, Job("later", due_time="0s"), overwrite=False)
            await asyncio.sleep(0.02)
            before = len(bell.rung)
            service.attach(app)
            service.attach(app)
            async with asyncio.timeout(5):
                while scheduler.count(KIND):
                    await asyncio.sleep(0.002)
        return before, len(bell.rung)

    assert asyncio.run(scenario()) == (0, 1)


def test_a_job_reads_back_as_it_was_given(tmp_path: Path) -> None:
    full = Job("full", "@daily", "10m", 4, "48h", TYPED, Policy(interval=3.0, retries=5))
    plain = Job("plain", due_time="1000h")

    async def scenario() -> None:
        async with opened(tmp_path, Bell(DONE)) as (service, app, _):
            for job in (full, plain):
                await service.schedule(app, job, overwrite=False)
            assert await service.get(app, "full") == full
            assert await service.get(app, "plain") == Job("plain", due_time="1000h", policy=Policy())
            assert [job.name for job in await service.list(app)] == ["full", "plain"]
            await service.delete_prefix(app, "fu")
            await service.delete(app, "plain")
            await service.delete(app, "plain")
            assert await service.list(app) == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("job", "status", "code", "message"),
    [
        (Job(""), 400, "DAPR_SCHEDULER_JOB_NAME_EMPTY", "Name is empty"),
        (Job("n"), 400, "DAPR_SCHEDULER_SCHEDULE_EMPTY", "Schedule is empty"),
        (Job("n", "every tuesday"), 500, "", "job failed validation: expected exactly 6 fields, found 2: [every tuesday]"),
        (Job("n", due_time="soon"), 500, "", "job failed validation: due time format not recognized"),
        (Job("n", due_time="1h", repeats=3), 500, "", "job failed validation: job must have a schedule to repeat"),
        (Job("n", "@daily", repeats=0), 500, "", "job failed validation: defined repeats must be greater than 0"),
        (Job("n", "@daily", ttl="q"), 500, "", "job failed validation: ttl format not recognized"),
        (Job("a/b", due_time="1h"), 500, "", "job name is invalid \"app||default||bell||a/b\": must not contain '/', '\\', '#' or '?'"),
    ],
)
def test_refusals(tmp_path: Path, job: Job, status: int, code: str, message: str) -> None:
    async def scenario() -> None:
        async with opened(tmp_path, Bell(DONE)) as (service, app, _):
            answer = await refused(service.schedule(app, job, overwrite=False))
            long = f"failed to schedule job due to: rpc error: code = Unknown desc = {message}"
            assert answer == (status, code or "DAPR_SCHEDULER_SCHEDULE_JOB", message if code else long)

    asyncio.run(scenario())


def test_a_name_is_taken_once_unless_overwritten(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path, Bell(DONE)) as (service, app, _):
            await service.schedule(app, Job("far", due_time="1h"), overwrite=False)
            text = "failed to schedule job due to: rpc error: code = AlreadyExists desc = job already exists: 'app||default||bell||far'"
            answer = await refused(service.schedule(app, Job("far", due_time="2h"), overwrite=False))
            assert answer == (409, "DAPR_SCHEDULER_SCHEDULE_JOB", text)
            await service.schedule(app, Job("far", due_time="3h"), overwrite=True)
            assert (await service.get(app, "far")).due_time == "3h"

    asyncio.run(scenario())


def test_an_absent_job_is_an_error_to_get(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path, Bell(DONE)) as (service, app, _):
            with pytest.raises(EdgeError) as caught:
                await service.get(app, "nope")
            assert (caught.value.http, caught.value.message) == (
                500,
                "failed to get job due to: rpc error: code = NotFound desc = job not found: nope",
            )

    asyncio.run(scenario())


def test_a_name_that_cannot_be_one_is_refused_to_get_and_delete(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path, Bell(DONE)) as (service, app, _):
            with pytest.raises(EdgeError, match="failed to get job due to: rpc error: code = Unknown desc = job name is invalid"):
                await service.get(app, "a/b")
            with pytest.raises(EdgeError, match="failed to delete job due to: rpc error: code = Unknown desc = job name is invalid"):
                await service.delete(app, "a/b")

    asyncio.run(scenario())


def test_a_schedule_that_matches_no_day_is_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path, Bell(DONE)) as (service, app, _):
            await service.schedule(app, Job("never", schedule="0 0 0 30 2 *"), overwrite=False)
            assert (await service.get(app, "never")).schedule == "0 0 0 30 2 *"

    asyncio.run(scenario())
