"""Cron schedules as Dapr reads them: seconds first, `@daily` and the like, `@every <duration>`, `TZ=`; times are epoch seconds.

Source of grammar and texts: dapr/kit cron (a fork of robfig/cron) @v0.18; without a zone the fields are read in UTC, as the scheduler
service does. No `7` for Sunday, no `L`, `W`, `#`. Day of month and day of week are both asked when one of them is a star, else either.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Protocol

from edge.durations import parse_go_duration
from edge.record import record

MONTHS = {name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
DAYS = {name: number for number, name in enumerate("sun mon tue wed thu fri sat".split())}
FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = ((0, 59, {}), (0, 59, {}), (0, 23, {}), (1, 31, {}), (1, 12, MONTHS), (0, 6, DAYS))
DESCRIPTORS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
EVERY = "@every "
YEARS = 5


class Schedule(Protocol):
    """When something is due."""

    def next(self, after: float) -> float | None:
        """The first time later than `after` (epoch seconds); None = never."""
        ...


@record
class Every:
    """A fixed distance from the last time, in seconds."""

    seconds: float

    def next(self, after: float) -> float | None:
        return after + self.seconds


@record
class Cron:
    """The parsed fields. any_day: day of month or day of week is a star."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    zone: tzinfo = UTC

    def next(self, after: float) -> float | None:
        epoch = int(after // 1) + 1
        last = datetime.fromtimestamp(epoch, self.zone).year + YEARS
        while True:
            local = datetime.fromtimestamp(epoch, self.zone)
            if not self._on(local.date()):
                day = self._day_after(local.date(), last)
                if day is None:
                    return None
                epoch = int(datetime(day.year, day.month, day.day, tzinfo=self.zone).timestamp())
            elif local.hour not in self.hours:
                epoch += 3600 - local.minute * 60 - local.second
            elif local.minute not in self.minutes:
                epoch += 60 - local.second
            elif local.second not in self.seconds:
                epoch += 1
            else:
                return float(epoch)

    def _on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return of_month and of_week if self.any_day else of_month or of_week

    def _day_after(self, day: date, last_year: int) -> date | None:
        while day.year <= last_year:
            day += timedelta(days=1)
            if self._on(day):
                return day
        return None


def parse(text: str, *, seconds_optional: bool = False, zone: tzinfo = UTC) -> Schedule:
    """A schedule. seconds_optional: five fields mean second 0. zone: unless the text names one. Raises ValueError with Dapr's text."""
    if not text:
        raise ValueError("empty spec string")
    zone, body = _zone(text) if text.startswith(("TZ=", "CRON_TZ=")) else (zone, text)
    if body.startswith(EVERY):
        if body is not text:
            raise ValueError(f"timezone is not supported for @every schedules: {text}")
        try:
            return Every(parse_go_duration(body[len(EVERY) :]))
        except ValueError as error:
            raise ValueError(f"failed to parse duration {body}: {error}") from None
    if body.startswith("@"):
        if body not in DESCRIPTORS:
            raise ValueError(f"unrecognized descriptor: {body}")
        body = DESCRIPTORS[body]
    fields = body.split()
    if seconds_optional and len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6:
        wanted = "5 to 6" if seconds_optional else "exactly 6"
        raise ValueError(f"expected {wanted} fields, found {len(fields)}: [{' '.join(fields)}]")
    second, minute, hour, day, month, weekday = (_field(field, *bounds) for field, bounds in zip(fields, FIELDS, strict=True))
    return Cron(second[0], minute[0], hour[0], day[0], month[0], weekday[0], day[1] or weekday[1], zone)


def _zone(text: str) -> tuple[tzinfo, str]:
    from zoneinfo import ZoneInfo  # only for schedules that name a zone

    head, _, body = text.partition(" ")
    if not body:
        raise ValueError(f"timezone prefix {text} is not followed by a schedule")
    name = head.partition("=")[2] or "UTC"  # as Go's time.LoadLocation
    try:
        return ZoneInfo(name), body.strip()
    except (OSError, ValueError, KeyError):
        raise ValueError(f"provided bad location {name}: unknown time zone {name}") from None


def _field(text: str, low: int, high: int, names: dict[str, int]) -> tuple[frozenset[int], bool]:
    """The values of one field, and whether a star without a step was among them."""
    values: set[int] = set()
    star = False
    for part in filter(None, text.split(",")):
        found, whole = _range(part, low, high, names)
        values.update(found)
        star = star or whole
    return frozenset(values), star


def _range(text: str, low: int, high: int, names: dict[str, int]) -> tuple[range, bool]:
    span, *steps = text.split("/")
    first, *rest = span.split("-")
    if first in ("*", "?"):
        start, end, star = low, high, True
    else:
        start, star = _value(first, names), False
        if len(rest) > 1:
            raise ValueError(f"too many hyphens: {text}")
        end = _value(rest[0], names) if rest else start
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {text}")
    step = _number(steps[0]) if steps else 1
    if steps:
        end = high if not rest else end
        star = star and step <= 1
    if start < low:
        raise ValueError(f"beginning of range ({start}) below minimum ({low}): {text}")
    if end > high:
        raise ValueError(f"end of range ({end}) above maximum ({high}): {text}")
    if start > end:
        raise ValueError(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {text}")
    return range(start, end + 1, step), star


def _value(text: str, names: dict[str, int]) -> int:
    return names[text.lower()] if text.lower() in names else _number(text)


def _number(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 0:
        raise ValueError(f"negative number ({int(text)}) not allowed: {text}")
    return int(text)
