"""CloudEvents 1.0 as Dapr reads them from a broker: unwrap, expiry, trace header, and the body of a bulk delivery.

The app gets the broker's bytes unchanged; the parsed event serves routing and gRPC only.
Source: dapr pkg/runtime/subscription/subscription.go, bulksubscription.go, components-contrib pubsub/envelope.go @1.18.3.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from edge import gofloat, gojson
from edge.events import CLOUD_EVENT, JSON, OCTETS, SOURCE, TYPE, content_is, data_field, new_id
from edge.goscanner import JsonError
from edge.model import Message
from edge.record import record

BULK_TYPE = "com.dapr.event.sent.bulk"
NO_TRACE = "00-00000000000000000000000000000000-0000000000000000-00"
NEVER_SET = 315532800.0  # 1980: a clock without battery begins in 1970
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.,]\d+)?(Z|[+-]\d\d:\d\d)")
TRACEPARENT = re.compile(r"([0-9a-fA-F]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-fA-F]{2}(?:[0-9a-fA-F]{2})*)(-.*)?")
MAX_TRACE_VERSION = 254
CE = "ce-"
BINARY = CE + "specversion"


@record
class Received:
    """A delivered event. body: JSON text for an HTTP app. event: the same as a mapping."""

    body: bytes
    event: Mapping[str, Any]


def unwrap(message: Message, pubsub: str, topic: str, *, raw: bool) -> Received:
    """What the app gets for a broker message. Raises JsonError (Go's text) when an event was expected and there is no JSON object.

    raw: the subscription's rawPayload: the bytes are wrapped as they are. topic: as the app knows it (without a namespace).
    """
    if raw:
        return _wrap_raw(message, pubsub, topic)
    if message.metadata and BINARY in message.metadata:
        return _assembled(message, pubsub, topic)
    if message.content_type is not None and content_is(message.content_type, OCTETS):
        return _binary_mode(message, message.content_type)
    event = gojson.read_object(message.data)
    if message.metadata and ("traceparent" in message.metadata or "traceid" in message.metadata or "tracestate" in message.metadata):
        event = _with_trace(event, message.metadata)
    return Received(message.data, event)


def _wrap_raw(message: Message, pubsub: str, topic: str) -> Received:
    event: dict[str, Any] = {
        "data_base64": base64.b64encode(message.data).decode(),
        "datacontenttype": OCTETS,
        "id": _uuid_of(message.id),
        "pubsubname": pubsub,
        "source": SOURCE,
        "specversion": "1.0",
        "topic": topic,
        "type": TYPE,
    }
    metadata = message.metadata
    if "traceid" in metadata:
        event["traceid"] = metadata["traceid"]
    if "traceparent" in metadata:
        event["traceid"] = event["traceparent"] = metadata["traceparent"]
    if "tracestate" in metadata:
        event["tracestate"] = metadata["tracestate"]
    return Received(gojson.encode(event), event)


def _uuid_of(id_: str) -> str:
    """The wrapping event's id: a UUID as daprd's, the same one at each redelivery of a message that has an id."""
    if not id_:
        return new_id()
    try:
        return str(UUID(id_))
    except ValueError:
        return str(uuid5(NAMESPACE_OID, id_))


def _binary_mode(message: Message, content_type: str) -> Received:
    """CloudEvents binary mode: attributes in `ce_` metadata, the body is the data."""
    event: dict[str, Any] = {key.lower()[3:]: value for key, value in message.metadata.items() if key.lower().startswith("ce_")}
    return Received(message.data, event | {"data": message.data, "datacontenttype": content_type})


def _assembled(message: Message, pubsub: str, topic: str) -> Received:
    """An event that came in binary mode with `ce-` metadata (MQTT 5), as daprd's apps know events: in one JSON object."""
    attributes = {key[len(CE) :]: value for key, value in message.metadata.items() if key.startswith(CE)}
    attributes |= {"pubsubname": pubsub, "topic": topic}
    content_type = message.content_type or JSON
    attributes["datacontenttype"] = content_type
    field = data_field(content_type) or data_field(JSON)
    assert field is not None
    try:
        message.data.decode()
    except UnicodeDecodeError:
        field = data_field(OCTETS)
        assert field is not None
    body = b"{%b,%b" % (field(message.data), gojson.encode(attributes)[1:])
    return Received(body, gojson.read_object(body))


def _with_trace(event: dict[str, Any], metadata: Mapping[str, str]) -> dict[str, Any]:
    """Trace fields that the event lacks, from broker metadata."""
    found = dict(event)
    if "traceid" in metadata:
        found.setdefault("traceid", metadata["traceid"])
    if "traceparent" in metadata and "traceparent" not in event:
        found["traceid"] = found["traceparent"] = metadata["traceparent"]
    if "tracestate" in metadata:
        found.setdefault("tracestate", metadata["tracestate"])
    return found


def expired(event: Mapping[str, Any], now: float) -> bool:
    """The event's `expiration` (RFC 3339) lies before `now` (epoch seconds); one that can't be read never expires.

    Nor does one from a device whose clock had never been set (`time` before NEVER_SET): it says nothing to a clock that has.
    """
    end, begin = _epoch(event.get("expiration")), _epoch(event.get("time"))
    if end is None or end >= now:
        return False
    return begin is None or not begin < NEVER_SET <= now


def _epoch(text: object) -> float | None:
    if not isinstance(text, str) or not RFC3339.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.replace(",", ".")).timestamp()
    except ValueError:
        return None


def trace_header(event: Mapping[str, Any]) -> str | None:
    """The `traceparent` header that the app gets: the event's own, all zeros when that is none, None when it has no such text."""
    text = event.get("traceparent")
    if text is None:
        text = event.get("traceid")
    if not isinstance(text, str):
        return None
    return traceparent(text) or NO_TRACE if text else NO_TRACE


def traceparent(text: str) -> str:
    """A valid W3C traceparent in version 00, "" for anything else."""
    match = TRACEPARENT.fullmatch(text)
    if match is None or not int(match[2], 16) or not int(match[3], 16):
        return ""
    version = int(match[1], 16)
    if version > MAX_TRACE_VERSION or (version == 0 and match[5]):
        return ""
    return f"00-{match[2]}-{match[3]}-{match[4][:2].lower()}"


def bulk_body(id_: str, pubsub: str, topic: str, entries: Sequence[bytes], metadata: Mapping[str, str]) -> bytes:
    """The body of a bulk delivery; entries are JSON texts made by `bulk_entry`."""
    return b'{"entries":[%b],"id":"%b","metadata":%b,"pubsubname":%b,"topic":%b,"type":"%b"}' % (
        b",".join(entries),
        id_.encode(),
        gojson.encode(dict(metadata)),
        gojson.quote(pubsub),
        gojson.quote(topic),
        BULK_TYPE.encode(),
    )


def bulk_entry(entry_id: str, received: Received, message: Message, *, raw: bool) -> bytes:
    """One entry of a bulk delivery: the event as an object, or the bytes in base64 for a raw subscription."""
    if raw:
        event = b'"%b"' % base64.b64encode(message.data)
        content_type = message.content_type or OCTETS
    else:
        event, content_type = _as_floats(received.body), CLOUD_EVENT
    return b'{"entryId":"%b","event":%b,"metadata":%b,"contentType":%b}' % (
        entry_id.encode(),
        event,
        gojson.encode(dict(message.metadata)),
        gojson.quote(content_type),
    )


def _as_floats(body: bytes) -> bytes:
    """As Go writes what it read into float64s; numbers beyond those stay."""
    try:
        return gojson.encode(gofloat.decode(body))
    except JsonError:
        return gojson.canonical(body)
