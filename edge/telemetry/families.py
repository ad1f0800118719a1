"""The families of numbers: their labels besides app_id (and `namespace`, where it is the app's), and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Family(NamedTuple):
    """labels: besides app_id. own_namespace: a label with the app's namespace besides."""

    labels: tuple[str, ...]
    help: str
    own_namespace: bool = False


COMPONENT = ("component", "operation", "success")


def _component(name: str, labels: tuple[str, ...] = COMPONENT) -> dict[str, Family]:
    what = name.replace("_", " ")
    return {
        f"component_{name}_count": Family(labels, f"The number of operations performed on the {what} component.", True),
        f"component_{name}_latencies": Family(labels, f"The latency of the response from the {what} component, in milliseconds.", True),
    }


CALL = ("method", "path", "status")
RESILIENCY = ("policy", "flow_direction", "target", "status")
TOPIC = ("component", "topic", "success")
INGRESS = ("component", "process_status", "status", "topic")
LANE = ("lane",)

FAMILIES: Mapping[str, Family] = {
    "http_server_request_count": Family(CALL, "Count of HTTP requests processed by the server."),
    "http_server_response_count": Family(CALL, "The number of HTTP responses."),
    "http_server_latency": Family(CALL, "The HTTP request latency in milliseconds."),
    "http_server_request_bytes": Family((), "HTTP request body size in bytes, as the caller announced it."),
    "http_server_response_bytes": Family((), "HTTP response body size in bytes."),
    "http_client_sent_bytes": Family(CALL, "Total bytes sent to the app in request bodies."),
    "http_client_received_bytes": Family((), "Total bytes received from the app in response bodies."),
    "http_client_roundtrip_latency": Family(CALL, "Time between the first byte of the request and the last byte of the response."),
    "http_client_completed_count": Family(CALL, "Count of completed requests to the app."),
    "http_healthprobes_completed_count": Family(("status",), "Count of completed health probes."),
    "http_healthprobes_roundtrip_latency": Family(("status",), "Time of a health probe, in milliseconds."),
    "grpc_io_server_completed_rpcs": Family(("grpc_server_method", "grpc_server_status"), "Count of RPCs by method and status."),
    "grpc_io_server_server_latency": Family(("grpc_server_method", "grpc_server_status"), "Latency of RPCs by method, in milliseconds."),
    **_component("state"),
    **_component("secret"),
    **_component("configuration"),
    **_component("crypto"),
    **_component("output_binding"),
    **_component("input_binding", ("component", "success")),
    **_component("conversation", ("component", "success")),
    **_component("pubsub_egress", TOPIC),
    **_component("pubsub_egress_bulk", TOPIC),
    **_component("pubsub_ingress", INGRESS),
    "runtime_component_loaded": Family((), "The number of successfully loaded components."),
    "runtime_component_init_total": Family(("component",), "The number of initialized components."),
    "resiliency_loaded": Family(("name",), "Number of resiliency policies loaded.", True),
    "resiliency_count": Family(RESILIENCY, "Number of times a resiliency policy has been executed.", True),
    "resiliency_activations_total": Family(RESILIENCY, "Number of times a resiliency policy has been activated.", True),
    "runtime_workflow_execution_count": Family(("workflow_name", "status"), "The number of workflow executions.", True),
    "runtime_workflow_activity_execution_count": Family(("activity_name", "status"), "The number of activity executions.", True),
    "edged_journal_accepted_total": Family(LANE, "Messages that the journal's lane took."),
    "edged_journal_delivered_total": Family(LANE, "Messages that the broker or the app took from the lane."),
    "edged_journal_expired_total": Family(LANE, "Messages of the lane that grew too old."),
    "edged_journal_dead_total": Family(LANE, "Messages of the lane that failed for good."),
    "edged_journal_dropped_total": Family(("lane", "reason"), "Messages of the lane that were given up, by reason."),
    "edged_journal_pending": Family(LANE, "Messages that wait in the lane."),
    "edged_journal_pending_bytes": Family(LANE, "Bytes of the messages that wait in the lane."),
}
