"""Which category an error code belongs to, as `error_code_total` shows it. Imported with `spec.metric.recordErrorCodes`.

Source: dapr pkg/messages/errorcodes @1.18.3.
"""

from __future__ import annotations

from edge.telemetry.metrics import Metrics

PREFIXES = {
    "ERR_ACTOR_": "actor",
    "ERR_WORKFLOW_": "workflow",
    "ERR_INSTANCE_ID_": "workflow",
    "ERR_STATE_": "state",
    "ERR_NOT_SUPPORTED_STATE": "state",
    "ERR_CONFIGURATION_": "configuration",
    "ERR_CRYPTO": "crypto",
    "ERR_SECRET_": "secret",
    "ERR_PERMISSION_DENIED": "secret",
    "ERR_PUBSUB_": "pubsub",
    "ERR_TOPIC_": "pubsub",
    "ERR_PUBLISH_": "pubsub",
    "ERR_CONVERSATION_": "conversation",
    "ERR_DIRECT_INVOKE": "service-invocation",
    "ERR_INVOKE_OUTPUT_BINDING": "binding",
    "ERR_LOCK_": "lock",
    "ERR_TRY_LOCK": "lock",
    "ERR_UNLOCK": "lock",
    "ERR_HEALTH_": "health",
    "ERR_OUTBOUND_HEALTH_": "health",
    "DAPR_SCHEDULER_": "job",
}


def note(metrics: Metrics, code: str) -> None:
    """An API answered with this error."""
    metrics.count("error_code_total", (code, category(code)))


def category(code: str) -> str:
    """Of an errorCode."""
    if code.endswith("_WORKFLOW"):
        return "workflow"
    return next((found for prefix, found in PREFIXES.items() if code.startswith(prefix)), "common")
