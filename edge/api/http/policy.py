"""Failure policies of jobs and reminders in JSON: `{"constant": {"interval": "3s", "maxRetries": 5}}` or `{"drop": {}}`."""

from __future__ import annotations

from typing import Any

from edge import protojson
from edge.blocks.schedule import Policy
from edge.protojson import DURATION_FIELD, UINT32, Message

CONSTANT = Message({"interval": DURATION_FIELD, "maxRetries": UINT32})
POLICY = Message(
    {"drop": Message({}), "constant": CONSTANT}, "dapr.proto.common.v1.JobFailurePolicy.policy", frozenset(("drop", "constant"))
)


def from_fields(fields: dict[str, Any] | None) -> Policy | None:
    """Of a decoded `POLICY`; None = the default."""
    if not fields:
        return None
    if "drop" in fields:
        return Policy(drop=True)
    return Policy(interval=fields["constant"].get("interval"), retries=fields["constant"].get("maxRetries"))


def of_reminder(value: Any) -> Policy | None:
    """Of a reminder's JSON, where daprd takes it but does not look at it: what cannot be read counts as not given."""
    if not isinstance(value, dict):
        return None
    try:
        return from_fields(protojson.plain(value, POLICY))
    except protojson.Odd:
        return None


def to_json(policy: Policy) -> dict[str, Any]:
    """As the API shows it."""
    if policy.drop:
        return {"drop": {}}
    constant: dict[str, Any] = {}
    if policy.interval is not None:
        constant["interval"] = protojson.duration(policy.interval)
    if policy.retries is not None:
        constant["maxRetries"] = policy.retries
    return {"constant": constant}
