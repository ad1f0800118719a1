"""GetMetadata, SetMetadata, Shutdown."""

from __future__ import annotations

from typing import Any

from edge.api.grpc.call import Call, Unary
from edge.app import App
from edge.durations import format_go_duration
from edge.model import Subscription
from edge.rpc.pb import dapr_pb2, empty_pb2, metadata_pb2

FORCE = "dapr-force-shutdown"
GRPC = ("grpc", "grpcs")


def get(call: Call, request: Any) -> Any:
    found = call.blocks.metadata.get(call.app)
    actors, named = found.actors, found.named
    active = [{"type": type_, "count": count} for type_, count in actors.active]
    return metadata_pb2.GetMetadataResponse(
        id=found.app.id,
        active_actors_count=active,
        registered_components=[
            {"name": part.name, "type": part.type, "version": part.version, "capabilities": part.capabilities}
            for part in found.components
        ],
        extended_metadata=found.extended,
        subscriptions=[_subscription(subscription) for subscription in found.subscriptions],
        http_endpoints=[{"name": name} for name in named.http_endpoints],
        app_connection_properties=_connection(found.app),
        runtime_version=found.version,
        enabled_features=found.features,
        actor_runtime={
            "runtime_status": actors.status, "active_actors": active, "host_ready": actors.host_ready, "placement": actors.placement,
        },
        scheduler={"connected_addresses": found.scheduler} if found.scheduler else None,
        workflows={"connected_workers": found.workers},
        mcp_servers=[{"name": name} for name in named.mcp_servers],
        workflow_access_policies=[{"name": name} for name in named.workflow_access_policies],
        resiliencies=[{"name": name} for name in named.resiliencies],
    )  # fmt: skip


def _subscription(subscription: Subscription) -> dict[str, Any]:
    return {
        "pubsub_name": subscription.pubsub,
        "topic": subscription.topic,
        "metadata": subscription.metadata,
        "rules": {"rules": [{"match": rule.match, "path": rule.path} for rule in subscription.rules]},
        "dead_letter_topic": subscription.dead_letter_topic,
        "type": subscription.type.value,
    }


def _connection(app: App) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "port": app.port,
        "protocol": app.protocol,
        "channel_address": app.channel_address,
        "max_concurrency": max(app.max_concurrency, 0),
    }
    if (health := app.health_check) is not None:
        fields["health"] = {
            "health_check_path": "" if app.protocol in GRPC else health.path,
            "health_probe_interval": format_go_duration(health.interval),
            "health_probe_timeout": format_go_duration(health.timeout),
            "health_threshold": health.threshold,
        }
    return fields


def put(call: Call, request: Any) -> Any:
    call.blocks.metadata.set(call.app, request.key, request.value)
    return empty_pb2.Empty()


def shutdown(call: Call, request: Any) -> Any:
    if call.blocks.shutdown is not None:
        call.blocks.shutdown(call.app, call.get(FORCE).lower() == "true")
    return empty_pb2.Empty()


RPCS: dict[str, tuple[type, Unary]] = {
    "GetMetadata": (metadata_pb2.GetMetadataRequest, get),
    "SetMetadata": (metadata_pb2.SetMetadataRequest, put),
    "Shutdown": (dapr_pb2.ShutdownRequest, shutdown),
}
