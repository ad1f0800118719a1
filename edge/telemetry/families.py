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


def _workflow(name: str, labels: tuple[str, ...], what: str) -> dict[str, Family]:
    return {
        f"runtime_workflow_{name}_count": Family(labels, f"The number of {what}.", True),
        f"runtime_workflow_{name}_latency": Family(labels, f"The time that {what} took, in milliseconds.", True),
    }


CALL = ("method", "path", "status")
RESILIENCY = ("name", "policy", "flow_direction", "target", "status")
TOPIC = ("component", "topic", "success")
INGRESS = ("component", "process_status", "status", "topic")
BULK = ("component", "process_status", "topic")
LANE = ("lane",)
ACTOR = ("actor_type",)
FIRED = ("actor_type", "success")
POLICY = ("app_id", "trustDomain", "namespace")

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
    "grpc_io_server_received_bytes_per_rpc": Family(("grpc_server_method",), "Bytes received of the messages of an RPC, by method."),
    "grpc_io_server_sent_bytes_per_rpc": Family(("grpc_server_method",), "Bytes sent of the messages of an RPC, by method."),
    "grpc_io_server_completed_rpcs": Family(("grpc_server_method", "grpc_server_status"), "Count of RPCs by method and status."),
    "grpc_io_server_server_latency": Family(("grpc_server_method", "grpc_server_status"), "Latency of RPCs by method, in milliseconds."),
    "grpc_io_client_sent_bytes_per_rpc": Family(("grpc_client_method",), "Bytes sent of the messages of an outgoing RPC."),
    "grpc_io_client_received_bytes_per_rpc": Family(("grpc_client_method",), "Bytes received of the messages of an outgoing RPC."),
    "grpc_io_client_completed_rpcs": Family(("grpc_client_method", "grpc_client_status"), "Count of outgoing RPCs by method and status."),
    "grpc_io_client_roundtrip_latency": Family(("grpc_client_method", "grpc_client_status"), "Time of outgoing RPCs, in milliseconds."),
    "grpc_io_healthprobes_completed_count": Family(("grpc_client_status",), "Count of completed health probes of a gRPC app."),
    "grpc_io_healthprobes_roundtrip_latency": Family(("grpc_client_status",), "Time of such a probe, in milliseconds."),
    **_component("state"),
    **_component("secret"),
    **_component("configuration"),
    **_component("crypto"),
    **_component("output_binding"),
    **_component("input_binding", ("component", "success")),
    **_component("conversation", ("component", "success")),
    "component_job_success_count": Family(("operation",), "The number of jobs that the app took.", True),
    "component_job_failure_count": Family(("operation",), "The number of jobs that the app failed to take.", True),
    "component_job_latencies": Family(("operation", "success"), "The time of the app's answer to a job, in milliseconds.", True),
    **_component("pubsub_egress", TOPIC),
    **_component("pubsub_egress_bulk", TOPIC),
    **_component("pubsub_ingress", INGRESS),
    **_component("pubsub_ingress_bulk", BULK),
    "component_pubsub_ingress_bulk_event_count": Family(BULK, "The number of events in bulk deliveries, by the app's verdict.", True),
    "runtime_component_loaded": Family((), "The number of successfully loaded components."),
    "runtime_component_init_total": Family(("component",), "The number of initialized components."),
    "runtime_actor_pending_actor_calls": Family(ACTOR, "The number of calls that wait for an actor's turn."),
    "runtime_actor_timers": Family(ACTOR, "The number of actor timers."),
    "runtime_actor_timers_fired_total": Family(FIRED, "The number of actor timers that fired."),
    "runtime_actor_reminders_fired_total": Family(FIRED, "The number of actor reminders that fired."),
    "runtime_actor_deactivated_total": Family(ACTOR, "The number of actors that were deactivated."),
    "runtime_actor_deactivated_failed_total": Family(("actor_type", "reason"), "The number of actors whose deactivation the app failed."),
    "runtime_service_invocation_req_sent_total": Family(("dst_app_id", "type"), "The number of calls sent to other apps."),
    "runtime_service_invocation_req_recv_total": Family(("src_app_id",), "The number of calls that came from other apps."),
    "runtime_service_invocation_res_sent_total": Family(("dst_app_id", "status"), "The number of answers sent to other apps."),
    "runtime_service_invocation_res_recv_total": Family(("src_app_id", "status", "type"), "The number of answers from other apps."),
    "runtime_service_invocation_res_recv_latency_ms": Family(("src_app_id", "status"), "The time until another app's answer."),
    **{
        f"runtime_acl_{level}_policy_action_{verdict}_total": Family(POLICY, f"The number of calls {verdict} by the {level} policy.")
        for level in ("app", "global")
        for verdict in ("allowed", "blocked")
    },
    "error_code_total": Family(("error_code", "category"), "The number of errors that the APIs answered with, by code."),
    "resiliency_cb_state": Family(RESILIENCY, "1 at the status that a circuit breaker has.", True),
    "resiliency_loaded": Family(("name",), "Number of resiliency policies loaded.", True),
    "resiliency_count": Family(RESILIENCY, "Number of times a resiliency policy has been executed.", True),
    "resiliency_activations_total": Family(RESILIENCY, "Number of times a resiliency policy has been activated.", True),
    **_workflow("operation", ("operation", "status"), "requests about workflows"),
    **_workflow("execution", ("workflow_name", "status"), "workflow executions"),
    **_workflow("activity_operation", ("activity_name", "status"), "requests of activities"),
    **_workflow("activity_execution", ("activity_name", "status"), "activity executions"),
    "runtime_workflow_payload_size_ratio": Family(("workflow_name",), "A turn's size as a part of the largest body that is allowed.", True),
    "runtime_workflow_activity_payload_size_ratio": Family(
        ("activity_name", "workflow_name"), "An activity's size as a part of the largest body that is allowed.", True
    ),
    "runtime_workflow_scheduling_latency": Family(("workflow_name",), "From the time a workflow was wanted to its first turn.", True),
    "edged_component_healthy": Family(("component",), "Whether the component can reach its server now: 1, else 0."),
    "edged_mqtt_reason_codes_total": Family(("component", "packet", "code"), "Reason codes of the broker other than success."),
    "edged_journal_accepted_total": Family(LANE, "Messages that the journal's lane took."),
    "edged_journal_delivered_total": Family(LANE, "Messages that the broker or the app took from the lane."),
    "edged_journal_expired_total": Family(LANE, "Messages of the lane that grew too old."),
    "edged_journal_dead_total": Family(LANE, "Messages of the lane that failed for good."),
    "edged_journal_dropped_total": Family(("lane", "reason"), "Messages of the lane that were given up, by reason."),
    "edged_journal_pending": Family(LANE, "Messages that wait in the lane."),
    "edged_journal_pending_bytes": Family(LANE, "Bytes of the messages that wait in the lane."),
}
