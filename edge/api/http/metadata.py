"""Metadata routes (http-api.md §16)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge import errors
from edge.api.http import answers
from edge.api.http.call import Call
from edge.api.http.router import Route
from edge.app import App, Part
from edge.blocks.metadata import ActorStatus, Metadata
from edge.durations import format_go_duration
from edge.errors import EdgeError
from edge.http1.messages import BodyTooLarge, Response
from edge.model import Rule, Subscription

GRPC = ("grpc", "grpcs")


def get(call: Call) -> Response:
    return answers.json(as_json(call.blocks.metadata.get(call.app)))


async def put(call: Call) -> Response:
    try:
        body = await call.body()
    except BodyTooLarge as error:
        raise EdgeError(errors.BODY_READ, error=error) from None
    call.blocks.metadata.set(call.app, call.params[0], body.decode("utf-8", "replace"))
    return Response(204)


def as_json(found: Metadata) -> dict[str, Any]:
    """The answer's fields in Dapr's order, empty ones left out."""
    active = [_active(type_, count) for type_, count in found.actors.active]
    named = found.named
    return _present(
        {
            "id": found.app.id,
            "runtimeVersion": found.version,
            "enabledFeatures": list(found.features),
            "actors": active,
            "components": [_component(part) for part in found.components],
            "extended": dict(sorted(found.extended.items())),
            "subscriptions": [_subscription(subscription) for subscription in found.subscriptions],
            "httpEndpoints": _names(named.http_endpoints),
            "appConnectionProperties": _connection(found.app),
            "actorRuntime": _actor_runtime(found.actors, active),
            "scheduler": _present({"connected_addresses": list(found.scheduler)}),
            "workflows": _present({"connectedWorkers": found.workers}),
            "mcpServers": _names(named.mcp_servers),
            "workflowAccessPolicies": _names(named.workflow_access_policies),
            "resiliencies": _names(named.resiliencies),
        }
    )


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _names(names: Sequence[str]) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


def _component(part: Part) -> dict[str, Any]:
    return _present({"name": part.name, "type": part.type, "version": part.version, "capabilities": list(part.capabilities)})


def _subscription(subscription: Subscription) -> dict[str, Any]:
    return {
        "pubsubname": subscription.pubsub,
        "topic": subscription.topic,
        **_present({"metadata": dict(sorted(subscription.metadata.items())), "rules": [_rule(rule) for rule in subscription.rules]}),
        "deadLetterTopic": subscription.dead_letter_topic,
        "type": subscription.type.value,
    }


def _rule(rule: Rule) -> dict[str, str]:
    return _present({"match": rule.match, "path": rule.path})


def _connection(app: App) -> dict[str, Any]:
    health = app.health_check
    fields: dict[str, Any] = {
        "port": app.port,
        "protocol": app.protocol,
        "channelAddress": app.channel_address,
        "maxConcurrency": max(app.max_concurrency, 0),
    }
    if health is not None:
        fields["health"] = _present(
            {
                "healthCheckPath": "" if app.protocol in GRPC else health.path,
                "healthProbeInterval": format_go_duration(health.interval),
                "healthProbeTimeout": format_go_duration(health.timeout),
                "healthThreshold": health.threshold,
            }
        )
    return _present(fields)


def _actor_runtime(actors: ActorStatus, active: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "runtimeStatus": actors.status,
        **_present({"activeActors": active}),
        "hostReady": actors.host_ready,
        **_present({"placement": actors.placement}),
    }


def _active(type_: str, count: int) -> dict[str, Any]:
    return {"type": type_, "count": count} if count else {"type": type_}


ROUTES = [
    Route(("GET",), "/v1.0/metadata", get, "metadata", "GetMetadata"),
    Route(("PUT",), "/v1.0/metadata/{key}", put, "metadata", "PutMetadata"),
]
