"""What one app's sidecar counts: numbers by family and labels, cheap to add to; the text is made when somebody asks for it.

Names, labels and buckets are daprd's. Source: dapr pkg/diagnostics @1.18.3 (runtime.md §8).
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
Labels = tuple[str, ...]
LATENCY = (
    1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400, 500, 650, 800, 1000, 2000, 5000,
    10000, 20000, 50000, 100000,
)  # fmt: skip
SIZE = (1 << 10, 1 << 11, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26, 1 << 28, 1 << 30, 1 << 32)
MOST_SERIES = 5000
"""Of one family: what would be the next one is added to none, so that odd requests can't fill the memory."""


class Histogram:
    """counts: one per bucket and one above the last."""

    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.total = 0.0


class Metrics:
    """The numbers of one app. namespace: as labels show it. latency: the buckets of times, in milliseconds.

    read: called before the numbers are read, for gauges that are known elsewhere.
    """

    def __init__(self, app_id: str, namespace: str = "", latency: Sequence[int] = LATENCY) -> None:
        self.app_id, self.namespace, self.latency = app_id, namespace, tuple(latency)
        self.counters: dict[str, dict[Labels, float]] = {}
        self.histograms: dict[str, dict[Labels, Histogram]] = {}
        self.gauges: dict[str, dict[Labels, float]] = {}
        self.read: list[Callable[[Metrics], None]] = []

    def count(self, family: str, labels: Labels = (), by: float = 1) -> None:
        """Add to a counter."""
        series = self.counters.setdefault(family, {})
        if labels in series:
            series[labels] += by
        elif len(series) < MOST_SERIES:
            series[labels] = by

    def set(self, family: str, labels: Labels, value: float) -> None:
        """Set a gauge."""
        self.gauges.setdefault(family, {})[labels] = value

    def took(self, family: str, labels: Labels, ms: float) -> None:
        """Add a time to a histogram."""
        self._add(family, labels, ms, self.latency)

    def sized(self, family: str, labels: Labels, size_bytes: int) -> None:
        """Add a size to a histogram."""
        self._add(family, labels, size_bytes, SIZE)

    def _add(self, family: str, labels: Labels, value: float, buckets: Sequence[int]) -> None:
        series = self.histograms.setdefault(family, {})
        histogram = series.get(labels)
        if histogram is None:
            if len(series) >= MOST_SERIES:
                return
            histogram = series[labels] = Histogram(len(buckets))
        histogram.counts[bisect_left(buckets, value)] += 1
        histogram.total += value

    def both(self, family: str, labels: Labels, began: float, suffix: str = "_latencies") -> None:
        """Count a call that began at this `time.perf_counter()`, and its time."""
        self.count(f"{family}_count", labels)
        self.took(family + suffix, labels, (time.perf_counter() - began) * 1000)

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


def timed_method(metrics: Metrics, one: Any, method: str, family: str, labels: Callable[..., Sequence[str]]) -> None:
    """Count the calls of an object's coroutine method; labels: made of the call's arguments."""
    plain = getattr(one, method)

    async def counted(*args: Any, **named: Any) -> Any:
        return await metrics.timed(family, labels(*args, **named), lambda: plain(*args, **named))

    setattr(one, method, counted)
