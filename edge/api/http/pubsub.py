"""Publish routes (http-api.md §5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from edge import errors, gobase64, gostruct
from edge.api.http.answers import metadata_headers
from edge.api.http.call import Call
from edge.api.http.router import Route
from edge.blocks.pubsub import BulkEntry, BulkFailure, PublishOptions
from edge.errors import EdgeError, ResourceInfo
from edge.events import CLOUD_EVENT, JSON, OCTETS, content_is, is_text
from edge.gofloat import decode_marked
from edge.gojson import encode, escape
from edge.goscanner import JsonError
from edge.gostruct import Struct, list_of
from edge.http1.messages import BodyTooLarge, Response
from edge.model import NO_METADATA

ENTRY = Struct(
    "http.bulkPublishMessageEntry",
    {"entryId": gostruct.text, "event": gostruct.anything, "contentType": gostruct.text, "metadata": gostruct.text_map},
)
ENTRIES = list_of(ENTRY, ENTRY.type_)


async def publish(call: Call) -> Response:
    name, topic = call.params
    metadata = call.metadata() if call.query else NO_METADATA
    data = call.request.data
    if data is None:
        data = await _late_body(call, name, topic, metadata)
    headers, trace = call.request.headers, call.trace
    key = headers.get("idempotency-key", "")
    options = PublishOptions(headers.get("content-type", ""), metadata, trace.traceparent, trace.tracestate, key)
    await call.blocks.pubsub.publish(call.app, name, topic, data, options)
    return Response(204)


async def _late_body(call: Call, name: str, topic: str, metadata: Mapping[str, str]) -> bytes:
    """A body that is long or still arriving; an unknown pubsub is told before it is read."""
    call.blocks.pubsub.lookup(call.app, name, topic, metadata)
    try:
        return await call.body()
    except BodyTooLarge as error:
        info = {"error": str(error), "topic": topic}
        raise EdgeError(
            errors.PUBSUB_PUBLISH, info=info, resource=ResourceInfo("pubsub", name), topic=topic, name=name, error=error
        ) from None


async def publish_bulk(call: Call) -> Response:
    name, topic = call.params
    metadata = call.metadata()
    call.blocks.pubsub.lookup(call.app, name, topic, metadata)
    entries = _entries(call, await _decoded(call), metadata)
    key = call.request.headers.get("idempotency-key", "")
    options = PublishOptions("", metadata, call.trace.traceparent, call.trace.tracestate, key, span=call.path)
    failures = await call.blocks.pubsub.publish_bulk(call.app, name, topic, entries, options)
    if failures:
        raise _failed(name, topic, failures)
    return Response(204)


async def _decoded(call: Call) -> Sequence[dict[str, Any]]:
    try:
        value = decode_marked(await call.body())
        found: list[dict[str, Any]] = [] if value is None else ENTRIES(value, "")
        return found
    except (JsonError, BodyTooLarge) as error:
        name, topic = call.params
        info, resource = {"appID": call.app.id}, ResourceInfo("pubsub", name)
        raise EdgeError(errors.PUBSUB_UNMARSHAL_EVENTS, info=info, resource=resource, topic=topic, name=name, error=error) from None


def _entries(call: Call, given: Sequence[dict[str, Any]], metadata: Mapping[str, str]) -> list[BulkEntry]:
    found: list[BulkEntry] = []
    seen: set[str] = set()
    name, topic = call.params
    for entry in given:
        content_type, id_ = entry.get("contentType", ""), entry.get("entryId", "")
        try:
            data = event_bytes(entry.get("event"), content_type)
        except ValueError as error:
            info, resource = {"appID": call.app.id, "error": str(error)}, ResourceInfo("pubsub", name)
            raise EdgeError(errors.PUBSUB_MARSHAL_ENVELOPE, info=info, resource=resource, topic=topic, name=name, error=error) from None
        if not id_ or id_ in seen:
            text = "entryId is duplicated or not present for entry"
            info, resource = {"appID": call.app.id, "error": text}, ResourceInfo("pubsub", name)
            raise EdgeError(errors.PUBSUB_MARSHAL_EVENTS, info=info, resource=resource, topic=topic, name=name, error=text)
        seen.add(id_)
        own = entry.get("metadata")
        found.append(BulkEntry(id_, data, content_type, NO_METADATA if own is None else {**metadata, **own}))
    return found


def event_bytes(event: Any, content_type: str) -> bytes:
    """An event's payload by its content type: base64 for octets, text as it is, JSON again as JSON. Raises ValueError."""
    if content_is(content_type, OCTETS) and isinstance(event, str):
        try:
            return gobase64.decode(event)
        except ValueError as error:
            raise ValueError(f"error: unable to decode base64 application/octect-stream data: {error}") from None
    if is_text(content_type) and isinstance(event, str):
        return event.encode()
    if content_is(content_type, JSON) or content_is(content_type, CLOUD_EVENT):
        return encode(event)
    raise ValueError("error: mismatch between contentType and event")


def _failed(name: str, topic: str, failures: Sequence[BulkFailure]) -> EdgeError:
    """500 with the entries that were not published, in the body and once more in headers."""
    entries = [{"entryId": failure.entry_id, "error": failure.error} for failure in failures]
    body = escape(orjson.dumps({"failedEntries": entries, "errorCode": errors.PUBSUB_PUBLISH.tag}))
    causes = "\n".join(failure.error for failure in failures)
    message = errors.PUBSUB_PUBLISH.message.format(topic=topic, name=name, error=causes)
    metadata = {"responseData": body.decode(), "error": f"api error: code = Internal desc = {message}"}
    return EdgeError(errors.PUBSUB_PUBLISH, message=message, body=body, headers=metadata_headers(metadata))


ROUTES = [
    Route(("POST", "PUT"), "/v1.0/publish/{pubsub}/{topic…}", publish, "publish", "PublishEvent"),
    Route(("POST", "PUT"), "/v1.0/publish/bulk/{pubsub}/{topic…}", publish_bulk, "publish", "BulkPublishEvent"),
    Route(("POST", "PUT"), "/v1.0-alpha1/publish/bulk/{pubsub}/{topic…}", publish_bulk, "publish", "BulkPublishEvent"),
]
