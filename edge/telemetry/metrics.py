"""What one app's sidecar counts: numbers by family and labels, cheap to add to; the text is made when somebody asks for it.

Names, labels and buckets are daprd's. Source: dapr pkg/diagnostics @1.18.3 (runtime.md §8).
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")
Labels = tuple[str, ...]
Rules = Callable[[str, Labels], Labels]
"""Family and labels -> the labels that its series is to have."""
Cell = list[float]
"""One number, to be added to in place."""
LATENCY = (
    1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400, 500, 650, 800, 1000, 2000, 5000,
    10000, 20000, 50000, 100000,
)  # fmt: skip
SIZE = (1 << 10, 1 << 11, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 28, 1 << 30, 1 << 32)
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"))
RATIO = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1, 1.5, 2)
MOST_SERIES = 5000
"""Of one family: what would be the next one is added to none, so that odd requests can't fill the memory."""


class Histogram:
    """counts: one per bucket and one above the last."""

    __slots__ = ("buckets", "counts", "total")

    def __init__(self, buckets: Sequence[float]) -> None:
        self.buckets = buckets
        self.counts = [0] * (len(buckets) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.buckets, value)] += 1
        self.total += value


class HttpLabels(NamedTuple):
    """path: path -> its label. verbs: the method is a label. responses: answers are counted beside requests (increasedCardinality)."""

    path: Callable[[str], str]
    verbs: bool = True
    responses: bool = True

    def of(self, method: str, path: str) -> tuple[str, str]:
        """The labels method and path."""
        return (method if method in METHODS else "UNKNOWN") if self.verbs else "", self.path(path)


class Calls:
    """Calls of one kind: how many, and how long they took. Kept by those who count often."""

    __slots__ = ("_number", "_times")

    def __init__(self, number: Cell, times: Histogram) -> None:
        self._number, self._times = number, times

    def since(self, began: float) -> None:
        """One more, that began at this `time.perf_counter()`."""
        self._number[0] += 1
        self._times.add((time.perf_counter() - began) * 1000)


class Metrics:
    """The numbers of one app. namespace: as labels show it. latency: the buckets of times, in milliseconds.

    http: how HTTP calls are labelled. errors: error codes are counted. body_limit: bytes, <= 0 = none.
    rules: rewrite labels before a series is looked for; the cells that callers keep are those of the rewritten labels.
    read: called before the numbers are read, for gauges that are known elsewhere.
    """

    def __init__(self, app_id: str, namespace: str = "", latency: Sequence[int] = LATENCY, rules: Rules | None = None) -> None:
        self.app_id, self.namespace, self.latency = app_id, namespace, tuple(latency)
        self._rules = rules
        self.http, self.errors, self.body_limit = HttpLabels(path_label), False, 0
        self.counters: dict[str, dict[Labels, Cell]] = {}
        self.histograms: dict[str, dict[Labels, Histogram]] = {}
        self.gauges: dict[str, dict[Labels, float]] = {}
        self.read: list[Callable[[Metrics], None]] = []
        self._calls: dict[tuple[str, Labels], Calls] = {}

    def count(self, family: str, labels: Labels = (), by: float = 1) -> None:
        """Add to a counter."""
        self.cell(family, labels)[0] += by

    def cell(self, family: str, labels: Labels) -> Cell:
        """The counter itself."""
        if self._rules is not None:
            labels = self._rules(family, labels)
        series = self.counters.setdefault(family, {})
        cell = series.get(labels)
        if cell is None:
            cell = [0.0]
            if len(series) < MOST_SERIES:
                series[labels] = cell
        return cell

    def set(self, family: str, labels: Labels, value: float) -> None:
        """Set a gauge."""
        if self._rules is not None:
            labels = self._rules(family, labels)
        self.gauges.setdefault(family, {})[labels] = value

    def took(self, family: str, labels: Labels, ms: float) -> None:
        """Add a time to a histogram."""
        self.times(family, labels).add(ms)

    def times(self, family: str, labels: Labels) -> Histogram:
        """The histogram itself, of milliseconds."""
        return self._histogram(family, labels, self.latency)

    def sized(self, family: str, labels: Labels, size_bytes: int) -> None:
        """Add a size to a histogram."""
        self.sizes(family, labels).add(size_bytes)

    def sizes(self, family: str, labels: Labels) -> Histogram:
        """The histogram itself, of bytes."""
        return self._histogram(family, labels, SIZE)

    def ratio(self, family: str, labels: Labels, size_bytes: int) -> None:
        """Add a size to a histogram of what is allowed for bodies."""
        if self.body_limit > 0:
            self._histogram(family, labels, RATIO).add(size_bytes / self.body_limit)

    def _histogram(self, family: str, labels: Labels, buckets: Sequence[float]) -> Histogram:
        if self._rules is not None:
            labels = self._rules(family, labels)
        series = self.histograms.setdefault(family, {})
        histogram = series.get(labels)
        if histogram is None:
            histogram = Histogram(buckets)
            if len(series) < MOST_SERIES:
                series[labels] = histogram
        return histogram

    def calls(self, family: str, labels: Labels) -> Calls:
        """`<family>_count` and `<family>_latencies` of these labels; they show from the first call on."""
        return Calls(self.cell(f"{family}_count", labels), self.times(f"{family}_latencies", labels))

    def both(self, family: str, labels: Labels, began: float) -> None:
        """Count a call that began at this `time.perf_counter()`, and its time."""
        calls = self._calls.get((family, labels))
        if calls is None:
            calls = self.calls(family, labels)
            if len(self._calls) < MOST_SERIES:
                self._calls[family, labels] = calls
        calls.since(began)

    def counted(self, family: str, labels: Labels, began: float) -> None:
        """The same for families whose time is called latency."""
        self.count(f"{family}_count", labels)
        self.took(f"{family}_latency", labels, (time.perf_counter() - began) * 1000)

    async def timed(self, family: str, labels: Iterable[str], call: Callable[[], Awaitable[T]]) -> T:
        """Make a call, counted by its success: `labels`, then `success`."""
        began, ok = time.perf_counter(), "false"
        try:
            result = await call()
            ok = "true"
            return result
        finally:
            self.both(family, (*labels, ok), began)


def path_label(path: str) -> str:
    """A path as a label: keys, actor ids and instance ids are left out. Source: dapr pkg/diagnostics/http_monitoring_legacy.go."""
    parts = path.removeprefix("/").split("/", 5)
    if len(parts) < 3:
        return path
    if parts[0] == "actors":
        parts[2] = "{id}"
        return "/".join(parts)
    match parts[1]:
        case "state" | "secrets":
            return "/" + "/".join(parts[:3])
        case "actors" if len(parts) >= 5:
            return "/" + "/".join([*parts[:3], "{id}", parts[4]])
        case "workflows" if len(parts) >= 4:
            return _workflow_label(parts)
    return path


def _workflow_label(parts: list[str]) -> str:
    if len(parts) == 4:
        return "/" + "/".join([*parts[:3], "{instanceId}"])
    if len(parts) == 5 and parts[4].startswith("start"):
        return "/" + "/".join(parts[:4]) + "/start"
    known = [*parts[:3], "{instanceId}", parts[4]]
    if len(parts) == 6 and parts[4] == "raiseEvent" and parts[5]:
        known.append("{eventName}")
    return "/" + "/".join(known)
