"""The local time zone and Go's spelling of it, for bindings that fire by a schedule."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from edge.cron import Schedule, parse
from edge.errors import Invalid

LONGEST_SLEEP = 5.0  # a clock that was set is noticed within this time
LOCALTIME = Path("/etc/localtime")


def read_schedule(text: str) -> Schedule:
    """A schedule with seconds or without, in the local zone unless it names one. Raises Invalid in Dapr's words."""
    try:
        return parse(text, seconds_optional=True, zone=local_zone()[0])
    except ValueError as error:
        raise Invalid(f"invalid schedule format '{text}': {error}") from error


def local_zone() -> tuple[tzinfo, str]:
    """The zone of this process (summer time included where its name is known), and its name as Go's time.Local has it."""
    given = os.environ.get("TZ")
    if given is not None:
        name = given.lstrip(":")
        zone = _named(name)
        return (zone, name) if zone is not None and name != "UTC" else (UTC, "UTC")
    if not LOCALTIME.exists():
        return UTC, "UTC"
    zone = _named(str(LOCALTIME.resolve()).partition("zoneinfo/")[2])
    if zone is None:
        offset = datetime.now().astimezone().utcoffset()
        zone = UTC if offset is None else timezone(offset)
    return zone, "Local"


def _named(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (OSError, ValueError, KeyError):
        return None


async def ticks(schedule: Schedule, after: float) -> AsyncIterator[float]:
    """The due times after `after` (epoch seconds), each when it has come. Ends when there is none any more.

    A clock that jumps forward skips what lay between but the last; one set back goes on from where it is then.
    """
    due = schedule.next(after)
    while due is not None:
        while (wait := due - time.time()) > 0:
            await asyncio.sleep(min(wait, LONGEST_SLEEP))
            again = schedule.next(time.time())
            if again is not None and again < due - LONGEST_SLEEP:
                due = again
        yield due
        due = schedule.next(max(due, time.time() - 1.0))


def go_time(epoch: float) -> str:
    """A time in UTC as Go's Time.String prints it: `2026-11-25 17:53:43.123456 +0000 UTC`."""
    moment = datetime.fromtimestamp(epoch, UTC)
    fraction = f".{moment.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"
