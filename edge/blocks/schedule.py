"""When a job or a reminder fires, fires again, is tried again and ends: the rules only, no clock and no disk.

Ticks are counted from the scheduled time of the last one, never from its completion. What came due while nobody could take it (the
daemon was down, the app away, the clock jumped, or it is over a minute late) fires **once**, late, and the beat goes on from there.
Source: diagridio/go-etcd-cron internal/scheduler, internal/counter @v0.12.7; differs: missed ticks there all run in a burst.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from edge import cron
from edge.durations import parse_go_duration, parse_iso_duration, parse_rfc3339
from edge.record import record

LATE = 60.0
SHORTEST = 0.05
parse_schedule = lru_cache(512)(cron.parse)


@record
class Policy:
    """What follows a failed tick. retries: None = until it succeeds. interval: seconds between tries, None = at once. drop: no try more."""

    drop: bool = False
    interval: float | None = 1.0
    retries: int | None = 3


@record
class Progress:
    """How far a plan has come. last: scheduled time of the last tick that is over. attempts: failures of the present tick."""

    count: int = 0
    last: float | None = None
    attempts: int = 0


@record
class Step:
    """The next firing: at `due` (epoch seconds)."""

    due: float
    progress: Progress


@record
class Plan:
    """The timing of one job or reminder; times are epoch seconds.

    schedule: cron text, "" = once. start: when it was registered. due: the first firing, None = one period after `start`.
    fixed: which of the times were given as points in time, not as durations: `due`, `expires`.
    """

    schedule: str
    start: float
    due: float | None = None
    repeats: int | None = None
    expires: float | None = None
    policy: Policy = Policy()
    fixed: tuple[str, ...] = ()

    def since(self, progress: Progress) -> float:
        """The time from which the next firing is reckoned; 0.0 = it is a given point in time."""
        if progress.last is not None:
            return progress.last
        return 0.0 if "due" in self.fixed else self.start

    def rewound(self, progress: Progress, now: float) -> tuple[Plan, Step]:
        """The clock was set back to `now`, before the time from which this was reckoned: as much is left as there was then."""
        back = now - self.since(progress)
        due = self.due if self.due is None or "due" in self.fixed else self.due + back
        expires = self.expires if self.expires is None or "expires" in self.fixed else self.expires + back
        plan = replace(self, start=min(self.start, now), due=due, expires=expires)
        step = plan._step(replace(progress, last=None if progress.last is None else now))
        if step is None or progress.attempts:
            step = Step(now, progress)
        return plan, step

    def first(self) -> Step | None:
        """The first firing; None if there is none (a cron text that matches no day)."""
        return self._step(Progress())

    def succeeded(self, progress: Progress, away_until: float) -> Step | None:
        """After a tick that is over. away_until: what came due before was missed and is served by this tick. None = finished."""
        return self._step(Progress(progress.count + 1, self._served(progress, away_until)))

    def failed(self, progress: Progress, due: float, away_until: float) -> Step | None:
        """After a failure of the try that was due at `due`: the same tick again while the policy lets it, else the next one."""
        attempts = progress.attempts + 1
        if self.policy.drop or (self.policy.retries is not None and attempts > self.policy.retries):
            return self.succeeded(progress, away_until)
        again = Progress(progress.count, progress.last, attempts)
        return Step(max(due, away_until) + max(self.policy.interval or 0.0, SHORTEST), again)

    def _step(self, progress: Progress) -> Step | None:
        if self.repeats is not None and progress.count >= self.repeats:
            return None
        tick = self._tick(progress)
        if tick is None or (self.expires is not None and tick > self.expires):
            return None
        return Step(tick, progress)

    def _tick(self, progress: Progress) -> float | None:
        """The scheduled time of the tick after `progress`."""
        if not self.schedule:
            return self.due if progress.count == 0 else None
        if progress.last is None and self.due is not None:
            return self.due
        schedule = parse_schedule(self.schedule)
        last = self.start if progress.last is None else progress.last
        if isinstance(schedule, cron.Every):
            return last + max(schedule.seconds, SHORTEST)
        return schedule.next(last)

    def _served(self, progress: Progress, away_until: float) -> float | None:
        """The scheduled time up to which all is served once the present tick is over."""
        tick = self._tick(progress)
        if tick is None or tick >= away_until or not self.schedule:
            return tick
        schedule = parse_schedule(self.schedule)
        if isinstance(schedule, cron.Every):
            period = max(schedule.seconds, SHORTEST)
            return tick + (away_until - tick) // period * period
        return away_until


def make(
    schedule: str | None, due_time: str | None, ttl: str | None, repeats: int | None, now: float, policy: Policy | None = None
) -> Plan:
    """A checked plan from the texts of the API (None = not given). Raises ValueError with the scheduler service's text."""
    if due_time is None and schedule is None:
        raise ValueError("job must have either a due time or a schedule")
    if schedule is None and (repeats or 0) > 1:
        raise ValueError("job must have a schedule to repeat")
    if repeats is not None and repeats < 1:
        raise ValueError("defined repeats must be greater than 0")
    if schedule is None and ttl is not None:
        raise ValueError("job must have a schedule to have a ttl")
    if schedule is not None:
        parse_schedule(schedule)
    due = None if due_time is None else _point(due_time, now)
    fixed = tuple(name for name, text in (("due", due_time), ("expires", ttl)) if text is not None and is_time(text))
    expires = None
    if ttl is not None:
        try:
            expires = _point(ttl, now if due is None else due)
        except ValueError:
            raise ValueError("ttl format not recognized") from None
        if due is not None and due > expires:
            raise ValueError("ttl must be greater than due time")
    return Plan(schedule or "", now, due, repeats, expires, policy or Policy(), fixed)


def is_time(text: str) -> bool:
    """It is a point in time, no duration."""
    try:
        parse_rfc3339(text)
    except ValueError:
        return False
    return True


def _point(text: str, now: float) -> float:
    """A point in time: RFC 3339, a Go duration or an ISO 8601 duration from `now`."""
    for read in (parse_rfc3339, lambda given: now + parse_go_duration(given)):
        try:
            return read(text)
        except ValueError:
            continue
    try:
        duration = parse_iso_duration(text)
    except ValueError:
        raise ValueError("due time format not recognized") from None
    if (duration.repeats or 0) > 0:
        raise ValueError("repeats not supported for due time")
    return duration.after(now)


def dump_plan(plan: Plan) -> dict[str, Any]:
    """The plan as JSON values; what has its default is left out."""
    policy = None if plan.policy == Policy() else [plan.policy.drop, plan.policy.interval, plan.policy.retries]
    fields = {"schedule": plan.schedule or None, "start": plan.start, "due": plan.due, "repeats": plan.repeats, "expires": plan.expires}
    return {key: value for key, value in (fields | {"policy": policy, "fixed": plan.fixed or None}).items() if value is not None}


def load_plan(fields: Mapping[str, Any]) -> Plan:
    """The plan that `dump_plan` wrote."""
    policy, fixed = Policy(*fields["policy"]) if "policy" in fields else Policy(), tuple(fields.get("fixed", ()))
    return Plan(fields.get("schedule", ""), fields["start"], fields.get("due"), fields.get("repeats"), fields.get("expires"), policy, fixed)
