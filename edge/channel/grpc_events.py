"""Events as gRPC messages: `TopicEventRequest` for apps and streams, and the entries of a bulk delivery (app-channel.md §5.4, §5.5).

Source: dapr pkg/runtime/pubsub/subscriptions.go @1.18.3; recorded in tests/data/app-grpc.jsonl.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import orjson

from edge import gofloat, gojson
from edge.events import CLOUD_EVENT, JSON, content_is, is_text
from edge.model import BulkTopicEvent, TopicEvent
from edge.received import BULK_TYPE
from edge.rpc.pb import appcallback_pb2

ATTRIBUTES = {"id": "id", "source": "source", "type": "type", "spec_version": "specversion", "data_content_type": "datacontenttype"}
NOT_EXTENSIONS = frozenset((*ATTRIBUTES.values(), "data", "data_base64"))
SIMPLE = (str, int, float, bool, type(None))


class BadEnvelope(ValueError):
    """The event's data are not what its content type says; the text is Dapr's cause."""


def topic_event(event: TopicEvent) -> Any:
    """The message for OnTopicEvent and for streams. Raises BadEnvelope."""
    fields = event.event
    message = appcallback_pb2.TopicEventRequest(topic=event.topic, pubsub_name=event.pubsub, path=event.path)
    _fill(message, fields, encoded=True)
    return message


def bulk_request(batch: BulkTopicEvent) -> tuple[Any, dict[str, str]]:
    """The message for OnBulkTopicEvent, and why entries are not in it, by id."""
    entries, left_out = [], {}
    for id_, event in batch.entries:
        try:
            entries.append(_entry(id_, event))
        except BadEnvelope as error:
            left_out[id_] = str(error)
    message = appcallback_pb2.TopicEventBulkRequest(
        id=batch.id,
        entries=entries,
        metadata=batch.metadata,
        topic=batch.topic,
        pubsub_name=batch.pubsub,
        type=BULK_TYPE,
        path=batch.path,
    )
    return message, left_out


def _entry(id_: str, event: TopicEvent) -> Any:
    message = event.message
    entry = appcallback_pb2.TopicEventBulkRequestEntry(entry_id=id_, content_type=message.content_type or "", metadata=message.metadata)
    if event.raw_payload:
        entry.bytes = message.data
        return entry
    fields = event.event
    # as daprd: data_base64 does not reach a bulk subscriber
    envelope = appcallback_pb2.TopicEventCERequest()
    _fill(envelope, fields, encoded=False)
    entry.cloud_event.CopyFrom(envelope)
    return entry


def _fill(message: Any, event: Mapping[str, Any], *, encoded: bool) -> None:
    """Attributes, data and extensions. Raises BadEnvelope."""
    for field, name in ATTRIBUTES.items():
        if isinstance(value := event.get(name), str):
            setattr(message, field, value)
    try:
        message.data = _data(event, encoded=encoded)
        _extensions(message, event)
    except RecursionError:
        raise BadEnvelope("the event is nested too deeply") from None


def _data(event: Mapping[str, Any], *, encoded: bool) -> bytes:
    """The payload by content type; nothing for types that Dapr does not know. encoded: `data_base64` counts."""
    if encoded and (text := event.get("data_base64")) is not None:
        return _decoded(text)
    data = event.get("data")
    content_type = event.get("datacontenttype")
    if data is None or not isinstance(content_type, str):
        return b""
    if is_text(content_type):
        if isinstance(data, str):
            return data.encode("utf-8", "replace")
        if isinstance(data, bytes):
            return data
        raise BadEnvelope("unexpected data type encountered in envelope")
    if content_is(content_type, JSON) or content_is(content_type, CLOUD_EVENT):
        return _json(data)
    return b""


def _decoded(text: Any) -> bytes:
    if not isinstance(text, str):
        raise BadEnvelope("unexpected data type encountered in envelope")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadEnvelope(f"illegal base64 data: {error}") from error


def _json(data: Any) -> bytes:
    """The value as Go writes what it read into float64s."""
    if isinstance(data, bytes):
        return b'"%b"' % base64.b64encode(data)
    return gojson.encode(_as_floats(data))


def _as_floats(value: Any) -> Any:
    match value:
        case float():
            return orjson.Fragment(gofloat.float_text(value))
        case dict():
            return {key: _as_floats(item) for key, item in value.items()}
        case list():
            return [_as_floats(item) for item in value]
        case _:
            return value


def _extensions(message: Any, event: Mapping[str, Any]) -> None:
    """All that is no attribute of its own, as a Struct (there even when empty)."""
    message.extensions.SetInParent()
    message.extensions.update({name: _plain(value) for name, value in event.items() if name not in NOT_EXTENSIONS})


def _plain(value: Any) -> Any:
    """What a Struct can hold: numbers whose text was kept become floats."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case bytes():
            return base64.b64encode(value).decode()
        case _ if isinstance(value, SIMPLE):
            return value
        case _:
            return float(value.contents)
