"""The numbers of workflows: requests about them, their turns' waits, executions and activities (runtime.md §8: runtime_workflow_…).

Source: dapr pkg/diagnostics/workflow_monitoring.go @1.18.3.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from edge.blocks.workflow import wire
from edge.blocks.workflow.turn import Turn
from edge.telemetry.metrics import Metrics

OPERATIONS = {
    "start": "create_workflow",
    "raise_event": "add_event",
    "suspend": "add_event",
    "resume": "add_event",
    "terminate": "add_event",
    "purge": "purge_workflow",
}
STATUS = {wire.COMPLETED: "success", wire.TERMINATED: "terminated"}

MetricsOf = Callable[[str], "Metrics | None"]
"""The numbers of an app by its id, None when they are off."""


def none(app: str) -> Metrics | None:
    """Nothing is counted."""
    return None


def meter_manager(manager: Any, metrics_of: MetricsOf) -> None:
    """Count what apps ask for."""
    for method, operation in OPERATIONS.items():
        setattr(manager, method, _counted(getattr(manager, method), operation, metrics_of))


def _counted(plain: Callable[..., Any], operation: str, metrics_of: MetricsOf) -> Callable[..., Any]:
    async def counted(app: str, *args: Any, **named: Any) -> Any:
        began, status = time.perf_counter(), "failed"
        try:
            answer = await plain(app, *args, **named)
            status = "success"
            return answer
        finally:
            if (metrics := metrics_of(app)) is not None:
                metrics.counted("runtime_workflow_operation", (operation, status), began)

    return counted


def begun(metrics: Metrics | None, given: Turn, item: Any) -> None:
    """A turn is handed out as `item`: the first one ends the wait of its workflow."""
    if metrics is None:
        return
    metrics.ratio("runtime_workflow_payload_size_ratio", (given.name,), item.ByteSize())
    if given.past:
        return
    started, wanted = given.started, given.head.created_ms
    if started is not None and started.HasField("scheduledStartTimestamp"):
        wanted = wire.millis(started.scheduledStartTimestamp)
    metrics.took("runtime_workflow_scheduling_latency", (given.name,), max(time.time() * 1000 - wanted, 0.0))


def ended(metrics: Metrics | None, given: Turn, status: int) -> None:
    """A workflow came to its end."""
    if metrics is None:
        return
    labels = (given.name, STATUS.get(status, "failed"))
    metrics.count("runtime_workflow_execution_count", labels)
    metrics.took("runtime_workflow_execution_latency", labels, max(time.time() * 1000 - given.head.created_ms, 0.0))


def scheduled(metrics: Metrics | None, given: Turn, activities: Sequence[tuple[int, str, str, bytes]]) -> None:
    """A turn asked for activities: number, app, name, item."""
    if metrics is not None:
        for _, _, name, item in activities:
            metrics.ratio("runtime_workflow_activity_payload_size_ratio", (name, given.name), len(item))


def activity(metrics: Metrics | None, name: str, began: float, *, ok: bool) -> None:
    """A worker answered; began: `time.perf_counter()` when it got the activity."""
    if metrics is not None:
        metrics.counted("runtime_workflow_activity_execution", (name, "success" if ok else "failed"), began)
        metrics.counted("runtime_workflow_activity_operation", (name, "success"), began)
