"""The publish RPCs. Entries carry raw bytes: no conversion by content type as over HTTP."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edge import errors
from edge.api.grpc.call import Call, Unary
from edge.blocks.pubsub import BulkEntry, PublishOptions
from edge.errors import EdgeError, ResourceInfo
from edge.rpc.pb import empty_pb2, pubsub_pb2

BULK = "/dapr.proto.runtime.v1.Dapr/BulkPublishEvent"


def _options(call: Call, content_type: str, metadata: Any) -> PublishOptions:
    return PublishOptions(content_type, dict(metadata), call.traceparent, call.tracestate, call.get("idempotency-key"))


async def publish_event(call: Call, request: Any) -> Any:
    options = replace(_options(call, request.data_content_type, request.metadata), raw_trace=True)
    await call.blocks.pubsub.publish(call.app, request.pubsub_name, request.topic, request.data, options)
    return empty_pb2.Empty()


async def bulk_publish_event(call: Call, request: Any) -> Any:
    return await _bulk(call, request, f"{BULK}/")


async def bulk_publish_event_alpha1(call: Call, request: Any) -> Any:
    return await _bulk(call, request, f"{BULK}Alpha1/")


async def _bulk(call: Call, request: Any, span: str) -> Any:
    name, topic, shared = request.pubsub_name, request.topic, dict(request.metadata)
    call.blocks.pubsub.lookup(call.app, name, topic, shared)
    entries, seen = [], set()
    for entry in request.entries:
        if not entry.entry_id or entry.entry_id in seen:
            text = "entryId is duplicated or not present for entry"
            info = {"appID": call.app.id, "error": text}
            raise EdgeError(
                errors.PUBSUB_MARSHAL_EVENTS, info=info, resource=ResourceInfo("pubsub", name), topic=topic, name=name, error=text
            )
        seen.add(entry.entry_id)
        metadata = {**shared, **dict(entry.metadata)} if entry.metadata else {}
        entries.append(BulkEntry(entry.entry_id, entry.event, entry.content_type, metadata))
    failures = await call.blocks.pubsub.publish_bulk(call.app, name, topic, entries, replace(_options(call, "", shared), span=span))
    if failures:
        text = failures[0].error
        info = {"error": text, "topic": topic}
        raise EdgeError(errors.PUBSUB_PUBLISH, info=info, resource=ResourceInfo("pubsub", name), topic=topic, name=name, error=text)
    return pubsub_pb2.BulkPublishResponse()


RPCS: dict[str, tuple[type, Unary]] = {
    "PublishEvent": (pubsub_pb2.PublishEventRequest, publish_event),
    "BulkPublishEvent": (pubsub_pb2.BulkPublishRequest, bulk_publish_event),
    "BulkPublishEventAlpha1": (pubsub_pb2.BulkPublishRequest, bulk_publish_event_alpha1),
}
