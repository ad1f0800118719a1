"""Durations as Dapr reads and writes them: Go's (`1h30m`, `0h0m5s0ms0μs`), ISO 8601 (`R3/PT10S`), in float seconds.

Source: Go time.ParseDuration and Duration.String; dapr/kit time (ISO 8601 with repetition).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from edge.record import record

UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
GO = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([^0-9.]*)")
MAX_INT = (1 << 63) - 1  # Go counts nanoseconds, and ISO parts, in an int64
DIGITS = 20  # a number of more digits than this is past MAX_INT anyway
FIRST, LAST = -62135596800.0, 253402300799.0  # the years 1 to 9999
ISO_PART = re.compile(r"([^TYWDHMS]*)([TYWDHMS])")
ISO_CLOCK = {"H": 3600, "M": 60, "S": 1}


def parse_go_duration(text: str) -> float:
    """Seconds of a Go duration text. Raises ValueError with Go's words."""
    body = text[1:] if text[:1] in ("+", "-") else text
    if body == "0":
        return 0.0
    total, end = 0, 0
    for match in GO.finditer(body):
        if match.start() != end or match[2] not in UNITS:
            break
        total, end = total + _nanos(match[1], UNITS[match[2]]), match.end()
    if not body or end != len(body):
        raise ValueError(_go_error(text, GO.match(body, end)))
    negative = text.startswith("-")
    if total > MAX_INT + negative:
        raise ValueError(f"time: invalid duration {_quoted(text)}")
    return (-total if negative else total) / 1e9


def _nanos(number: str, unit: int) -> int:
    whole, _, part = number.partition(".")
    part = part[:DIGITS]
    scale: int = 10 ** len(part)
    return int(whole.lstrip("0")[:DIGITS] or "0") * unit + int(part or "0") * unit // scale


def _go_error(text: str, wrong: re.Match[str] | None) -> str:
    if wrong is None:
        return f"time: invalid duration {_quoted(text)}"
    what = f"unknown unit {_quoted(wrong[2])}" if wrong[2] else "missing unit"
    return f"time: {what} in duration {_quoted(text)}"


def _quoted(text: str) -> str:
    """As package time of Go quotes: all bytes that are no printable ASCII by their number."""
    shown = (
        "\\" + chr(byte) if byte in b'"\\' else chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}"
        for byte in text.encode(errors="replace")
    )
    return f'"{"".join(shown)}"'


def format_go_duration(seconds: float) -> str:
    """A duration as Go prints it: `1h0m0s`, `1.5s`, `250ms`, `0s`."""
    nanos = min(round(seconds * 1e9), MAX_INT)
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


@record
class IsoDuration:
    """An ISO 8601 duration: calendar parts apart from the clock part (seconds). repeats: None = not given."""

    years: int = 0
    months: int = 0
    days: int = 0
    seconds: float = 0.0
    repeats: int | None = None

    @property
    def calendar(self) -> bool:
        """It has years, months, weeks or days."""
        return bool(self.years or self.months or self.days)

    def after(self, epoch: float) -> float:
        """The time this long after `epoch` (seconds, UTC), at most the end of the year 9999.

        A day that the month lacks runs over into the next, as Go's AddDate.
        """
        return min(max(self._dated(epoch) + self.seconds, FIRST), LAST) if self.calendar else epoch + self.seconds

    def _dated(self, epoch: float) -> float:
        start = datetime.fromtimestamp(epoch, UTC)
        years, month = divmod(start.month - 1 + self.months, 12)
        try:
            first = start.replace(year=start.year + self.years + years, month=month + 1, day=1)
            return (first + timedelta(days=start.day - 1 + self.days)).timestamp()
        except (ValueError, OverflowError):
            return LAST if self.years * 366 + self.months * 31 + self.days > 0 else FIRST


def parse_iso_duration(text: str) -> IsoDuration:
    """An ISO 8601 duration without fractions, with an optional `R<n>/`; as lenient as dapr/kit (`PT` is zero). Raises ValueError."""
    wrong = ValueError(f"unsupported ISO8601 duration format: {text}")
    head, _, body = text.partition("/") if text.startswith("R") else ("", "", text)
    repeats = _number(head[1:], wrong) if head else None
    if head and not body:
        return IsoDuration(repeats=repeats)
    if len(text) < 2 or not body.startswith("P"):
        raise wrong
    parts, clock, seconds = {"Y": 0, "M": 0, "W": 0, "D": 0}, False, 0
    for digits, unit in ISO_PART.findall(body[1:]):
        if unit == "T":
            clock = True
            if digits:
                raise wrong
        elif clock and unit in ISO_CLOCK:
            seconds += _number(digits, wrong) * ISO_CLOCK[unit]
        elif not clock and unit in parts:
            parts[unit] += _number(digits, wrong)
        else:
            raise wrong
    longest = MAX_INT / 1e9
    return IsoDuration(parts["Y"], parts["M"], parts["W"] * 7 + parts["D"], min(max(seconds, -longest), longest), repeats)


def _number(digits: str, wrong: ValueError) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", digits) or len(digits.lstrip("+-0")) > DIGITS or abs(int(digits)) > MAX_INT:
        raise wrong
    return int(digits)


def parse_duration(text: str) -> IsoDuration:
    """A period: ISO 8601 first, else a Go duration. Raises ValueError with dapr/kit's text."""
    try:
        return parse_iso_duration(text)
    except ValueError:
        pass
    try:
        return IsoDuration(seconds=parse_go_duration(text))
    except ValueError:
        raise ValueError(f"unsupported duration format: {text}") from None


RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)([.,]\d+)?(Z|[+-]\d\d:\d\d)")


def parse_rfc3339(text: str) -> float:
    """Epoch seconds of an RFC 3339 time with any fraction. Raises ValueError."""
    match = RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"no RFC 3339 time: {text}")
    if text.startswith("0000-"):  # Python has no year 0: checked as the leap year that it is
        datetime.fromisoformat("0004" + text[4:19])
        return FIRST
    return datetime.fromisoformat(match[1] + match[3]).timestamp() + (float("0" + match[2].replace(",", ".")) if match[2] else 0.0)


def format_rfc3339(epoch: float) -> str:
    """`2026-01-02T03:04:05Z`, whole seconds, UTC."""
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str, start: float) -> float:
    """A point in time in epoch seconds: RFC 3339, or a duration after `start`. Raises ValueError with dapr/kit's text."""
    try:
        duration = parse_duration(text)
    except ValueError:
        pass
    else:
        if duration.repeats not in (None, -1):
            raise ValueError("repetitions are not allowed")
        return duration.after(start)
    try:
        return parse_rfc3339(text)
    except ValueError:
        raise ValueError(f"unsupported time/duration format: {text}") from None
