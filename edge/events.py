"""CloudEvents 1.0 as Dapr makes them of what an app publishes (the receiving side is edge/received.py).

The bytes of an envelope are daprd's: sorted keys, HTML-safe escapes, numbers with their text (edge/gojson.py). A small JSON payload is
wrapped in a few microseconds, since all but `data`, `id` and `time` of a topic's envelopes is the same text.
Source: components-contrib pubsub/envelope.go, dapr pkg/runtime/pubsub/cloudevents.go @1.18.3.
"""

from __future__ import annotations

import base64
import os
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from edge import gojson
from edge.durations import parse_go_duration
from edge.goscanner import JsonError
from edge.model import NO_METADATA
from edge.record import record

CLOUD_EVENT = "application/cloudevents+json"
JSON = "application/json"
OCTETS = "application/octet-stream"
PROTOBUF_EVENT = "application/cloudevents+protobuf"
PROTOBUF = "application/x-protobuf"
TEXT = "text/plain"
TYPE, SOURCE = "com.dapr.event.sent", "Dapr"
OVERRIDES = ("id", "source", "type", "subject", "traceid", "traceparent", "tracestate")
MOST_TYPES = 16
LONGEST_TTL = (1 << 63) / 1e9
RANDOM_AT_ONCE = 64
TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


DataField = Callable[[bytes], bytes]


class EventError(ValueError):
    """The payload or its metadata can't be made an event; the text is Dapr's cause."""


@record
class Trace:
    """The caller's W3C trace context; "" = none."""

    traceparent: str = ""
    tracestate: str = ""


NO_TRACE_CONTEXT = Trace()


def content_is(content_type: str, expected: str) -> bool:
    """Dapr's comparison: any case, what follows `;` ignored."""
    lower = content_type.lower()
    return lower == expected or lower.partition(";")[0] == expected


def is_text(content_type: str) -> bool:
    """`text/*` and `application/xml`."""
    return content_type.lower().startswith("text/") or content_is(content_type, "application/xml")


def raw_payload(metadata: Mapping[str, str]) -> bool:
    """Metadata `rawPayload`. Raises EventError unless it is one of Go's boolean texts."""
    text = metadata.get("rawPayload", "")
    if not text or text in FALSE:
        return False
    if text not in TRUE:
        raise EventError(f"rawPayload value must be a valid boolean: actual is '{text}'")
    return True


def ttl(metadata: Mapping[str, str]) -> float | None:
    """Metadata `ttl` or `ttlInSeconds` (any case) in seconds: a Go duration or whole seconds; None when absent or nonsense."""
    lower = {key.lower(): value for key, value in metadata.items()}
    text = lower.get("ttl", lower.get("ttlinseconds", ""))
    if not text:
        return None
    try:
        return min(max(parse_go_duration(text), 0.0), LONGEST_TTL)
    except ValueError:
        seconds = int(text) if re.fullmatch(r"[+-]?[0-9]{1,64}", text) else 0
        return min(float(seconds), LONGEST_TTL) if 0 < seconds < 1 << 63 else None


class _Randomness:
    """Texts of 32 random hex digits, many from one call of the system's generator: each lets another thread take the interpreter.

    For any thread: what is taken from a deque is taken once.
    """

    __slots__ = ("_ready",)

    def __init__(self) -> None:
        self._ready: deque[str] = deque()

    def take(self) -> str:
        try:
            return self._ready.popleft()
        except IndexError:
            text = os.urandom(16 * RANDOM_AT_ONCE).hex()
            first, *others = (text[at : at + 32] for at in range(0, len(text), 32))
            self._ready.extend(others)
            return first


_randomness = _Randomness()


def new_id() -> str:
    """A random UUID (RFC 9562 version 4)."""
    text = _randomness.take()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[int(text[16], 16) & 3]}{text[17:20]}-{text[20:]}"


class LocalTime:
    """RFC 3339 text of now in the local zone, made once a second."""

    def __init__(self) -> None:
        self._second, self._text = -1, ""

    def __call__(self) -> str:
        second = int(time.time())
        if second != self._second:
            text = datetime.fromtimestamp(second).astimezone().isoformat()
            self._second, self._text = second, text.replace("+00:00", "Z") if text.endswith("+00:00") else text
        return self._text


class Envelope:
    """Wraps the payloads that one app publishes to one topic.

    native_ttl: the component expires messages by itself, so no `expiration` is written.
    """

    __slots__ = ("_middle", "_now", "_tail", "_types", "native_ttl", "pubsub", "source", "topic")

    def __init__(self, pubsub: str, topic: str, source: str, now: LocalTime, *, native_ttl: bool = False) -> None:
        self.pubsub, self.topic, self.source, self.native_ttl = pubsub, topic, source, native_ttl
        self._now = now
        quote = gojson.quote
        self._middle = b'","pubsubname":%b,"source":%b,"specversion":"1.0","time":"' % (quote(pubsub), quote(source))
        self._tail = b'","topic":%b,"traceid":"","traceparent":"","tracestate":"","type":"%b"}' % (quote(topic), TYPE.encode())
        self._types: dict[str, tuple[DataField | None, bytes]] = {}

    def wrap(
        self, data: bytes, content_type: str, metadata: Mapping[str, str] = NO_METADATA, trace: Trace = NO_TRACE_CONTEXT
    ) -> tuple[str, bytes]:
        """The event's id and its JSON text. Raises EventError when a CloudEvent was announced and is none."""
        field, type_text = self._types.get(content_type) or self._learn(content_type)
        if field is None:
            return self._from_event(data, metadata, trace)
        if metadata or trace.traceparent or trace.tracestate:
            return self._wrap_special(field(data), content_type or TEXT, metadata, trace)
        id_ = new_id()
        text = b'{%b%b,"id":"%b%b%b%b' % (field(data), type_text, id_.encode(), self._middle, self._now().encode(), self._tail)
        return id_, text

    def _learn(self, content_type: str) -> tuple[DataField | None, bytes]:
        """How this content type is carried, remembered for the next event."""
        learnt = (data_field(content_type), b',"datacontenttype":' + gojson.quote(content_type or TEXT))
        if len(self._types) < MOST_TYPES:
            self._types[content_type] = learnt
        return learnt

    def _wrap_special(self, data_text: bytes, content_type: str, metadata: Mapping[str, str], trace: Trace) -> tuple[str, bytes]:
        over = _overrides(metadata)
        traceparent = over.get("traceparent") or over.get("traceid", trace.traceparent)
        event = {
            "datacontenttype": content_type,
            "id": over.get("id") or new_id(),
            "pubsubname": self.pubsub,
            "source": over.get("source", self.source) or SOURCE,
            "specversion": "1.0",
            "time": self._now(),
            "topic": self.topic,
            "traceid": traceparent,
            "traceparent": traceparent,
            "tracestate": over.get("tracestate", trace.tracestate),
            "type": over.get("type") or TYPE,
        }
        if over.get("subject"):
            event["subject"] = over["subject"]
        self._expire(event, metadata)
        # `data` and `data_base64` sort before all other fields
        return event["id"], b"{%b,%b" % (data_text, gojson.encode(event)[1:])

    def _from_event(self, data: bytes, metadata: Mapping[str, str], trace: Trace) -> tuple[str, bytes]:
        try:
            event = gojson.parse_object(data, stream=True)
        except JsonError as error:
            raise EventError(str(error)) from None
        event.setdefault("time", self._now())
        if "traceid" not in event:
            event["traceid"] = event["traceparent"] = trace.traceparent
        event.setdefault("tracestate", trace.tracestate)
        event["topic"], event["pubsubname"] = self.topic, self.pubsub
        for field, default in (("source", SOURCE), ("type", TYPE), ("specversion", "1.0")):
            if event.get(field) is None:
                event[field] = default
        self._expire(event, metadata)
        id_ = event.get("id")
        return id_ if isinstance(id_, str) and id_ else new_id(), gojson.encode(event)

    def _expire(self, event: dict[str, Any], metadata: Mapping[str, str]) -> None:
        if self.native_ttl or (seconds := ttl(metadata)) is None:
            return
        event["expiration"] = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _overrides(metadata: Mapping[str, str]) -> dict[str, str]:
    """`cloudevent.<field>` metadata, any case; the exact spelling wins over others."""
    found: dict[str, str] = {}
    for key, value in metadata.items():
        lower = key.lower()
        if lower.startswith("cloudevent.") and (field := lower[11:]) in OVERRIDES and (key == lower or field not in found):
            found[field] = value
    return found


def data_field(content_type: str) -> DataField | None:
    """What makes `"data":…` or `"data_base64":…` of a payload (app-channel.md §4.3); None: the payload is the event itself."""
    if content_is(content_type, CLOUD_EVENT):
        return None
    if content_is(content_type, JSON):
        return _json_field
    if content_is(content_type, OCTETS) or content_is(content_type, PROTOBUF_EVENT):
        return _base64_field
    return _protobuf_field if content_is(content_type, PROTOBUF) else _text_field


def _json_field(data: bytes) -> bytes:
    try:
        return b'"data":' + gojson.canonical(data, stream=True)
    except JsonError:
        return _text_field(data)


def _text_field(data: bytes) -> bytes:
    return b'"data":' + gojson.quote_bytes(data)


def _base64_field(data: bytes) -> bytes:
    return b'"data_base64":"%b"' % base64.b64encode(data)


def _protobuf_field(data: bytes) -> bytes:
    return _base64_field(data) if _is_protobuf_event(data) else _text_field(data)


def _is_protobuf_event(data: bytes) -> bool:
    """A well-formed protobuf message whose fields 1-4 could be CloudEvent's texts (id, source, spec_version, type)."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind, length = key & 7, 0
        if kind == 0:
            length, at = 0, _varint(data, at)[1]
        elif kind == 2:
            length, at = _varint(data, at)
        else:
            length = {1: 8, 5: 4}.get(kind, len(data) + 1)
        if key >> 3 == 0 or (key >> 3 <= 4 and kind != 2) or at + length > len(data):
            return False
        at += length
    return at == len(data)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at
    return value, len(data) + 1
