"""Durations as Dapr reads and writes them: Go's (`1h30m`, `0h0m5s0ms0μs`), ISO 8601 (`R3/PT10S`), in float seconds.

Source: Go time.ParseDuration and Duration.String; dapr/kit time (ISO 8601 with repetition).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
GO = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
ISO = re.compile(r"^(?:R(\d*)/)?P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$")


def parse_go_duration(text: str) -> float:
    """Seconds of a Go duration text. Raises ValueError with Go's words."""
    body = text.lstrip("+-") if text[:1] in ("+", "-") else text
    if body == "0":
        return 0.0
    total, end = 0.0, 0
    for match in GO.finditer(body):
        if match.start() != end:
            break
        total, end = total + float(match[1]) * UNITS[match[2]], match.end()
    if not body or end != len(body):
        raise ValueError(_go_error(text, body[end:]))
    return -total if text.startswith("-") else total


def _go_error(text: str, rest: str) -> str:
    if re.fullmatch(r"[0-9]+\.?[0-9]*", rest):
        return f'time: missing unit in duration "{text}"'
    if match := re.match(r"[0-9]+\.?[0-9]*([^0-9.]+)", rest):
        return f'time: unknown unit "{match[1]}" in duration "{text}"'
    return f'time: invalid duration "{text}"'


def format_go_duration(seconds: float) -> str:
    """A duration as Go prints it: `1h0m0s`, `1.5s`, `250ms`, `0s`."""
    nanos = round(seconds * 1e9)
    if nanos == 0:
        return "0s"
    sign, nanos = ("-", -nanos) if nanos < 0 else ("", nanos)
    if nanos < 1_000_000_000:
        for unit, size in (("ms", 1_000_000), ("µs", 1_000)):
            if nanos >= size:
                return f"{sign}{_decimal(nanos, size)}{unit}"
        return f"{sign}{nanos}ns"
    minutes, rest = divmod(nanos, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{head}{_decimal(rest, 1_000_000_000)}s"


def _decimal(value: int, size: int) -> str:
    whole, part = divmod(value, size)
    digits = str(part).rjust(len(str(size)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


@dataclass(frozen=True, slots=True)
class IsoDuration:
    """An ISO 8601 duration: calendar parts apart from the clock part (seconds). repeats: None = not given, -1 = `R/` without number."""

    years: int = 0
    months: int = 0
    days: int = 0
    seconds: float = 0.0
    repeats: int | None = None

    @property
    def calendar(self) -> bool:
        """It has years, months, weeks or days."""
        return bool(self.years or self.months or self.days)


def parse_iso_duration(text: str) -> IsoDuration:
    """An ISO 8601 duration without fractions, with an optional `R<n>/`. Raises ValueError."""
    match = ISO.match(text)
    if match is None or text.rstrip("T").endswith("P") or text.endswith("T"):
        raise ValueError(f"unsupported ISO8601 duration format: {text}")
    repeat, years, months, weeks, days, hours, minutes, seconds = match.groups()
    numbers = [int(part or 0) for part in (years, months, weeks, days, hours, minutes, seconds)]
    return IsoDuration(
        years=numbers[0],
        months=numbers[1],
        days=numbers[2] * 7 + numbers[3],
        seconds=numbers[4] * 3600 + numbers[5] * 60 + numbers[6],
        repeats=None if repeat is None else int(repeat) if repeat else -1,
    )
