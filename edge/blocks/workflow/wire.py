"""The durabletask messages by short names, and the few ways the engine makes them. Imported only when an app speaks workflow."""

from __future__ import annotations

import time
from typing import Any

from edge.rpc.pb import history_events_pb2 as history
from edge.rpc.pb import orchestration_pb2 as orchestration
from edge.rpc.pb import orchestrator_actions_pb2 as actions
from edge.rpc.pb import orchestrator_service_pb2 as service
from edge.rpc.pb.timestamp_pb2 import Timestamp
from edge.rpc.pb.wrappers_pb2 import StringValue

HistoryEvent = history.HistoryEvent
WorkflowRequest = service.WorkflowRequest
ActivityRequest = service.ActivityRequest
WorkItem = service.WorkItem
WorkflowState = orchestration.WorkflowState

RUNNING, COMPLETED, CONTINUED_AS_NEW, FAILED, CANCELED, TERMINATED, PENDING, SUSPENDED, STALLED = range(9)
LINEAGE = orchestration.HISTORY_PROPAGATION_SCOPE_LINEAGE
TERMINAL = frozenset((COMPLETED, FAILED, CANCELED, TERMINATED))
FAR_FUTURE = 253402300799  # the year 9999: a wait without end, it never fires

__all__ = ["Timestamp", "actions", "history", "orchestration", "service"]


def now() -> Any:
    """This moment as a protobuf Timestamp."""
    nanos = time.time_ns()
    return Timestamp(seconds=nanos // 10**9, nanos=nanos % 10**9)


def millis(stamp: Any) -> int:
    """A Timestamp as epoch milliseconds, rounded up so that a timer never fires early."""
    return int(stamp.seconds * 1000 + -(-stamp.nanos // 1_000_000))


def text(value: str | None) -> Any:
    """A StringValue, or None for absent (absent and empty differ on the wire)."""
    return None if value is None else StringValue(value=value)


def event(event_id: int = -1, **kind: Any) -> Any:
    """A history event of this moment; `kind` names its one event type."""
    return HistoryEvent(eventId=event_id, timestamp=now(), **kind)


def value_of(message: Any, field: str) -> str | None:
    """The text of a StringValue field, None when absent."""
    return str(getattr(message, field).value) if message.HasField(field) else None


def executionless(instance_id: str) -> Any:
    return orchestration.WorkflowInstance(instanceId=instance_id)
