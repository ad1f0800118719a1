"""The jobs API: what an app asks to be called for later. A job is a row in the daemon's file until its last firing is over.

At least once; a job that came due while the daemon was down or the app away runs once, late (blocks/schedule). Source: Dapr
pkg/api/universal/jobs.go, pkg/runtime/scheduler @1.18.3; differs: an app that cannot be reached uses up no try.
"""

from __future__ import annotations

import base64
import logging
import time
from typing import Any

from edge.app import App, AppUnavailable
from edge.blocks.names import ANY, check_job
from edge.blocks.schedule import Policy, make
from edge.blocks.series import Item, Keeper, Outcome
from edge.clock import Clock
from edge.errors import (
    JOB_DELETE,
    JOB_EXISTS,
    JOB_GET,
    JOB_LIST,
    JOB_NAME_EMPTY,
    JOB_NO_SCHEDULE,
    JOB_SCHEDULE,
    Code,
    ComponentError,
    EdgeError,
    Full,
    Grpc,
)
from edge.model import JobData, JobEvent, Status
from edge.record import record
from edge.scheduler import Detach

log = logging.getLogger("dapr.runtime.scheduler")
TRIGGER = ("job_trigger_op",)
UNKNOWN = "rpc error: code = Unknown desc = "


@record
class Job:
    """A job as the API has it: None = not given. policy: None on schedule = the default, 1 s and 3 times."""

    name: str
    schedule: str | None = None
    due_time: str | None = None
    repeats: int | None = None
    ttl: str | None = None
    data: JobData | None = None
    policy: Policy | None = None


class JobService:
    """The jobs of all apps of this daemon."""

    def __init__(self, series: Keeper, clock: Clock) -> None:
        self._series, self._clock = series, clock
        self._firing: dict[str, Detach] = {}

    async def schedule(self, app: App, job: Job, *, overwrite: bool) -> None:
        """Store a job; on return it is on disk. Raises EdgeError JOB_NAME_EMPTY, JOB_NO_SCHEDULE, JOB_SCHEDULE, JOB_EXISTS."""
        _named(app, job.name)
        if job.schedule is None and job.due_time is None:
            raise _refused(JOB_NO_SCHEDULE, app)
        full = _check(JOB_SCHEDULE, app, job.name)
        try:
            plan = make(job.schedule, job.due_time, job.ttl, job.repeats, self._clock.now(), job.policy)
        except ValueError as error:
            raise _refused(JOB_SCHEDULE, app, f"{UNKNOWN}job failed validation: {error}") from None
        payload = {"due": job.due_time, "ttl": job.ttl, "data": _dump(job.data)}
        try:
            stored = await self._series.put(_kind(app), Item(job.name, plan, payload), overwrite=overwrite)
        except ComponentError as error:
            raise _failed(JOB_SCHEDULE, app, error) from error
        if not stored:
            raise _refused(JOB_EXISTS, app, f"rpc error: code = AlreadyExists desc = job already exists: '{full}'")

    async def get(self, app: App, name: str) -> Job:
        """A job that has a firing before it. Raises EdgeError JOB_NAME_EMPTY, JOB_GET (also when there is none)."""
        _named(app, name)
        _check(JOB_GET, app, name)
        try:
            item = await self._series.get(_kind(app), name)
        except ComponentError as error:
            raise _failed(JOB_GET, app, error) from error
        if item is None:
            raise _refused(JOB_GET, app, f"rpc error: code = NotFound desc = job not found: {name}")
        return _job(item)

    async def list(self, app: App) -> list[Job]:
        """All jobs of the app, by name. Raises EdgeError JOB_LIST."""
        try:
            return [_job(item) for item in await self._series.list(_kind(app))]
        except ComponentError as error:
            raise _failed(JOB_LIST, app, error) from error

    async def delete(self, app: App, name: str) -> None:
        """End a job, if there is one. Raises EdgeError JOB_NAME_EMPTY, JOB_DELETE."""
        _named(app, name)
        _check(JOB_DELETE, app, name)
        try:
            await self._series.delete(_kind(app), name)
        except ComponentError as error:
            raise _failed(JOB_DELETE, app, error) from error

    async def delete_prefix(self, app: App, prefix: str) -> None:
        """End all jobs whose name starts with `prefix`; "" = all of the app. Raises EdgeError JOB_DELETE."""
        _check(JOB_DELETE, app, prefix + ANY)
        try:
            await self._series.delete_prefix(_kind(app), prefix)
        except ComponentError as error:
            raise _failed(JOB_DELETE, app, error) from error

    def attach(self, app: App) -> None:
        """The app is there: from now on its jobs run. Nothing if they do already or the app has no channel."""
        if app.id not in self._firing and app.channel is not None:
            self._firing[app.id] = self._series.attach(_kind(app), lambda item: _deliver(app, item))

    async def detach(self, app: App, patience: float = 0.0) -> None:
        """The app is gone or unhealthy: its jobs wait. patience: seconds for those that are with the app."""
        if (stop := self._firing.pop(app.id, None)) is not None:
            await stop(patience)


async def _deliver(app: App, item: Item) -> Outcome:
    """Call the app; 404 ends the tick as success does."""
    if app.channel is None:
        return Outcome.AWAY
    began = time.perf_counter()
    try:
        verdict = await app.channel.trigger_job(JobEvent(item.key, _load(item.payload["data"])))
    except AppUnavailable as error:
        _count(app, began, ok=False) if error.sent else None
        log.debug("failed to invoke schedule app job %s: %s", item.key, error)
        return Outcome.FAILED if error.sent else Outcome.AWAY
    _count(app, began, ok=verdict.status is Status.SUCCESS)
    if verdict.status is Status.RETRY:
        log.debug("unexpected status code returned from app while processing triggered job %s: %s", item.key, verdict.reason)
        return Outcome.FAILED
    if verdict.status is Status.DROP:
        log.error("non-retriable error returned from app while processing triggered job %s: %s", item.key, verdict.reason)
    return Outcome.DONE


def _count(app: App, began: float, *, ok: bool) -> None:
    if (metrics := app.metrics) is not None:
        metrics.count("component_job_success_count" if ok else "component_job_failure_count", TRIGGER)
        metrics.took("component_job_latencies", (*TRIGGER, "true" if ok else "false"), (time.perf_counter() - began) * 1000)


def _kind(app: App) -> str:
    return f"job/{app.namespace}/{app.id}"


def _named(app: App, name: str) -> None:
    if not name:
        raise _refused(JOB_NAME_EMPTY, app)


def _check(code: Code, app: App, name: str) -> str:
    """The scheduler's name of the job. Raises EdgeError `code`."""
    full = f"app||{app.namespace}||{app.id}||{name}"
    try:
        check_job(full)
    except ValueError as error:
        raise _refused(code, app, f"{UNKNOWN}{error}") from None
    return full


def _refused(code: Code, app: App, error: str = "") -> EdgeError:
    return EdgeError(code, info={"appID": app.id, "namespace": app.namespace}, error=error)


def _failed(code: Code, app: App, error: ComponentError) -> EdgeError:
    """The device's file refused: no room is the caller's to wait for, the rest is internal."""
    info = {"appID": app.id, "namespace": app.namespace}
    if isinstance(error, Full):
        return EdgeError(code, info=info, error=error, http=507, grpc=Grpc.RESOURCE_EXHAUSTED)
    return EdgeError(code, info=info, error=error)


def _job(item: Item) -> Job:
    payload, plan = item.payload, item.plan
    return Job(item.key, plan.schedule or None, payload["due"], plan.repeats, payload["ttl"], _load(payload["data"]), plan.policy)


def _dump(data: JobData | None) -> dict[str, Any] | None:
    if data is None:
        return None
    if data.is_json:
        return {"json": data.value.decode()}
    return {"type": data.type_url, "value": base64.b64encode(data.value).decode()}


def _load(fields: dict[str, Any] | None) -> JobData | None:
    if fields is None:
        return None
    if "json" in fields:
        return JobData("type.googleapis.com/google.protobuf.Value", fields["json"].encode(), is_json=True)
    return JobData(fields["type"], base64.b64decode(fields["value"]))
