"""Failure policies of jobs and reminders, from and to messages."""

from __future__ import annotations

from typing import Any

from edge.blocks.schedule import Policy
from edge.rpc.pb import common_pb2, duration_pb2


def policy_of(message: Any) -> Policy | None:
    """None = neither kind is set: the default."""
    match message.WhichOneof("policy"):
        case "drop":
            return Policy(drop=True)
        case "constant":
            constant = message.constant
            interval = constant.interval.seconds + constant.interval.nanos / 1e9 if constant.HasField("interval") else None
            return Policy(interval=interval, retries=constant.max_retries if constant.HasField("max_retries") else None)
    return None


def message_of(policy: Policy) -> Any:
    """The same as a message."""
    if policy.drop:
        return common_pb2.JobFailurePolicy(drop=common_pb2.JobFailurePolicyDrop())
    constant = common_pb2.JobFailurePolicyConstant()
    if policy.interval is not None:
        seconds, nanos = divmod(round(policy.interval * 1e9), 1_000_000_000)
        constant.interval.CopyFrom(duration_pb2.Duration(seconds=seconds, nanos=nanos))
    if policy.retries is not None:
        constant.max_retries = policy.retries
    return common_pb2.JobFailurePolicy(constant=constant)
