"""What a message is in MQTT 5: its metadata and its CloudEvent as properties, and back (CloudEvents MQTT binding 1.0.2).

User properties are metadata of the same name. The names below are the message's own properties instead: `contentType`,
`responseTopic`, `correlationData` (text; `correlationDataBase64` where it is none), `ttlInSeconds` (message expiry).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from components._mqtt.packets5 import NONE, Properties
from edge import gojson
from edge.errors import Invalid
from edge.events import CLOUD_EVENT, JSON, content_is, ttl
from edge.goscanner import JsonError
from edge.model import Message

OWN = frozenset(
    "retain retained qos topic ttl ttlinseconds rawpayload contenttype responsetopic correlationdata correlationdatabase64 timeout".split()
)
"""Metadata (any case) that say how to publish, or are properties of their own; no user properties."""
ATTRIBUTES = ("specversion", "id", "source", "type", "subject", "time", "traceparent", "tracestate")
EVENT = "application/cloudevents"
LONGEST_PEEK = 64 << 10
"""Bytes of an event up to which it is read for its attributes; in larger ones they stand in the payload only."""
NO_TRACE = ("", "00-00000000000000000000000000000000-0000000000000000-00")
CE = "ce-"
"""Before attributes in metadata, as CloudEvents writes them into HTTP headers (edge/received.py makes the event again)."""


# --- out
def outgoing(message: Message, *, attributes: bool = True) -> Properties:
    """Structured mode: the payload is the event; with `attributes` they are user properties as well. Raises Invalid."""
    event = _event(message, read=attributes)
    if event is None:
        return _properties(message, message.content_type or _given(message.metadata, "contenttype"), ())
    shown = [(name, text) for name in ATTRIBUTES if (text := _text(event.get(name)))] if attributes else []
    return _properties(message, message.content_type or CLOUD_EVENT, shown)


def outgoing_binary(message: Message) -> tuple[bytes, Properties]:
    """Binary mode: the payload is the event's data, its attributes are user properties. Raises Invalid."""
    try:
        event = gojson.parse_object(message.data)
    except JsonError:
        return message.data, outgoing(message)
    if "specversion" not in event:
        return message.data, outgoing(message)
    content_type = _text(event.pop("datacontenttype", ""))
    data = _data(event, content_type)
    return data, _properties(message, content_type, [(name, text) for name, value in event.items() if (text := _text(value))])


def _data(event: dict[str, Any], content_type: str) -> bytes:
    """Take the payload out of an event."""
    encoded, value = event.pop("data_base64", None), event.pop("data", None)
    if isinstance(encoded, str):
        try:
            return base64.b64decode(encoded, validate=True)
        except ValueError:
            raise Invalid("data_base64 of the event is no base64") from None
    if isinstance(value, str) and not content_is(content_type, JSON):
        return value.encode()
    return b"" if value is None else gojson.encode(value)


def _event(message: Message, *, read: bool) -> Mapping[str, Any] | None:
    """The CloudEvent that the payload is, empty unless it is to be read; None when it is none."""
    if message.content_type and not message.content_type.startswith(EVENT):
        return None
    if not message.data.startswith(b"{"):
        return None
    if not read or len(message.data) > LONGEST_PEEK:
        return {} if b'"specversion"' in message.data else None
    try:
        event = orjson.loads(message.data)
    except orjson.JSONDecodeError:
        return None
    return event if "specversion" in event else None


def _properties(message: Message, content_type: str, attributes: list[tuple[str, str]] | tuple[()]) -> Properties:
    if not message.metadata:
        return Properties(content_type=content_type, user=tuple(attributes)) if content_type or attributes else NONE
    metadata = message.metadata
    seconds = ttl(metadata)
    taken = {name for name, _ in attributes}
    return Properties(
        expiry=None if seconds is None or seconds <= 0 else max(round(seconds), 1),
        content_type=content_type,
        response_topic=_given(metadata, "responsetopic"),
        correlation=correlation(metadata),
        user=(*attributes, *(pair for pair in _user(metadata) if pair[0] not in taken)),
    )


def _user(metadata: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in metadata.items():
        if name.startswith(CE):
            yield name[len(CE) :], value
        elif (lower := name.lower()) not in OWN and not lower.startswith("cloudevent.") and value not in NO_TRACE:
            yield name, value


def _given(metadata: Mapping[str, str], lower: str) -> str:
    return next((value for name, value in metadata.items() if name.lower() == lower), "")


def correlation(metadata: Mapping[str, str]) -> bytes:
    """The correlation data that metadata name. Raises Invalid."""
    if text := _given(metadata, "correlationdata"):
        return text.encode()
    try:
        return base64.b64decode(_given(metadata, "correlationdatabase64"), validate=True)
    except ValueError:
        raise Invalid("correlationDataBase64 is no base64") from None


def _text(value: object) -> str:
    """An attribute's text; "" for what is none (CloudEvents 1.0 §3.1)."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else ""


# --- in
def incoming(topic: str, data: bytes, retained: bool, properties: Properties) -> Message:
    """A received message. An event in binary mode keeps its attributes as `ce-…` metadata, of which edged makes the event again."""
    metadata = {"retained": "true" if retained else "false"}
    if properties is NONE:
        return Message(topic, data, metadata)
    structured = properties.content_type.startswith(EVENT)
    binary = not structured and any(name == "specversion" for name, _ in properties.user)
    for name, value in properties.user:
        if structured and name in ATTRIBUTES and not name.startswith("trace"):
            continue  # stands in the payload
        if name.lower() in OWN:
            continue
        key = CE + name if binary and _is_attribute(name) else name
        metadata[key] = f"{metadata[key]},{value}" if key in metadata else value
    _describe(properties, metadata)
    return Message(topic, data, metadata, properties.content_type or None)


def incoming_event(topic: str, data: bytes, retained: bool, properties: Properties) -> Message:
    """A received message for a binding: its properties by name, `topic` and `contentType` among them."""
    metadata = {name: value for name, value in properties.user if name.lower() not in OWN}
    metadata |= {"topic": topic, "retained": "true" if retained else "false"}
    if properties.content_type:
        metadata["contentType"] = properties.content_type
    _describe(properties, metadata)
    return Message(topic, data, metadata, properties.content_type or None)


def _is_attribute(name: str) -> bool:
    """CloudEvents 1.0 §3.1: lower-case letters and digits."""
    return name.isascii() and name.isalnum() and name == name.lower()


def _describe(properties: Properties, metadata: dict[str, str]) -> None:
    if properties.expiry is not None:
        metadata["ttlInSeconds"] = str(max(properties.expiry, 1))
    if properties.response_topic:
        metadata["responseTopic"] = properties.response_topic
    if properties.correlation:
        try:
            metadata["correlationData"] = properties.correlation.decode()
        except UnicodeDecodeError:
            metadata["correlationDataBase64"] = base64.b64encode(properties.correlation).decode()
