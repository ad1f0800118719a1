"""How much of an app's workflow work may be with its workers at once, and how long what ended is kept.

Source: dapr pkg/config (WorkflowSpec) @1.18.3; differs: the limits that Dapr's scheduler holds over all replicas hold for this daemon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.blocks.workflow import wire
from edge.config.configuration import Workflow


@dataclass(frozen=True, slots=True)
class Limits:
    """0 = none. named_…: by the workflow's or the activity's name. retention: seconds after the end by status; absent = for ever."""

    workflows: int = 0
    activities: int = 0
    named_workflows: Mapping[str, int] = field(default_factory=dict)
    named_activities: Mapping[str, int] = field(default_factory=dict)
    retention: Mapping[int, float] = field(default_factory=dict)


def limits_of(settings: Workflow) -> Limits:
    """What the Configuration says."""
    return Limits(
        _least(settings.max_concurrent_workflow_invocations, settings.global_max_concurrent_workflow_invocations),
        _least(settings.max_concurrent_activity_invocations, settings.global_max_concurrent_activity_invocations),
        {one.name: one.max_concurrent for one in settings.workflow_concurrency_limits if one.max_concurrent > 0},
        {one.name: one.max_concurrent for one in settings.activity_concurrency_limits if one.max_concurrent > 0},
        _retention(settings),
    )


def _least(*limits: int) -> int:
    return min((limit for limit in limits if limit > 0), default=0)


def _retention(settings: Workflow) -> dict[int, float]:
    policy = settings.state_retention_policy
    by_status = {wire.COMPLETED: policy.completed, wire.FAILED: policy.failed, wire.TERMINATED: policy.terminated}
    kept = {status: policy.any_terminal if own is None else own for status, own in by_status.items()}
    return {status: float(seconds) for status, seconds in kept.items() if seconds is not None}
