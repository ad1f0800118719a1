"""Dapr's outbox: which stores have one, and the event that each changed key becomes.

Source: dapr pkg/runtime/pubsub/outbox.go @1.18.3 (recorded).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from edge import gojson
from edge.app import App, Part
from edge.events import JSON, TEXT, LocalTime, Trace, data_field, new_id
from edge.gostruct import printed
from edge.journal.rows import BOUND
from edge.model import DeleteItem, SetItem
from edge.record import record
from edge.spec import truthy

Operation: TypeAlias = "SetItem | DeleteItem"
MARKER = BOUND
PROJECTION = "outbox.projection"
FIXED = ("data", "id")


@record
class OutboxConfig:
    """A store's outbox. internal: the pub/sub of the topic that carries intents. discard: drop an intent that was not committed."""

    pubsub: str
    topic: str
    internal: str
    discard: bool

    @classmethod
    def of(cls, part: Part) -> OutboxConfig | None:
        """None when the store has none."""
        get = part.properties.get
        pubsub, topic = get("outboxpublishpubsub", ""), get("outboxpublishtopic", "")
        if not (pubsub and topic):
            return None
        return cls(pubsub, topic, get("outboxpubsub", "") or pubsub, truthy(get("outboxdiscardwhenmissingstate", "")))

    def internal_topic(self, app: App) -> str:
        return f"{app.namespace}{app.id}{self.topic}outbox"


@record
class Told:
    """An event of a transaction. marker: its id, and the key whose presence says that the transaction was committed."""

    marker: str
    event: dict[str, Any]
    data: bytes

    def text(self, pubsub: str, topic: str) -> bytes:
        """The CloudEvent as it is published there."""
        # `data` and `data_base64` sort before all other fields but those that begin with capitals or earlier letters
        fields = {**self.event, "pubsubname": pubsub, "topic": topic}
        name, _, value = self.data.partition(b":")
        fields[orjson.loads(name)] = orjson.Fragment(value)
        return gojson.encode(fields)


def split(operations: Sequence[Operation]) -> tuple[list[Operation], dict[str, SetItem]]:
    """What is stored, and by key what is told in its place."""
    projections = {op.key: op for op in operations if _projects(op)}
    return [op for op in operations if not _projects(op)], {key: op for key, op in projections.items() if isinstance(op, SetItem)}


def _projects(op: Operation) -> bool:
    return isinstance(op, SetItem) and truthy((op.metadata or {}).get(PROJECTION, ""))


def tell(app: App, op: SetItem, projection: SetItem | None, trace: Trace, now: LocalTime) -> Told:
    """The event of one upsert."""
    source = projection or op
    content_type = source.content_type or (source.metadata or {}).get("contentType", "")
    marker = f"{MARKER}{new_id()}"
    event: dict[str, Any] = {
        "datacontenttype": content_type or TEXT,
        "id": marker,
        "source": app.id,
        "specversion": "1.0",
        "time": now(),
        "traceid": trace.traceparent,
        "traceparent": "",
        "tracestate": trace.tracestate,
        "type": "com.dapr.event.sent",
    }
    event |= {key: value for key, value in (op.metadata or {}).items() if key not in FIXED}
    return Told(marker, event, _data(source, content_type))


def _data(item: SetItem, content_type: str) -> bytes:
    """`"data":…` or `"data_base64":…`; a JSON value is told as Go prints it unless it is said to be JSON."""
    value = item.value
    if item.is_json and content_type.lower() != JSON:
        value = printed(orjson.loads(value)).encode()
    make = data_field(content_type) or data_field(TEXT)
    assert make is not None
    return make(value)


def trace_of(trace: Mapping[str, str]) -> Trace:
    """The caller's context as `StateService.transact` gets it."""
    return Trace(trace.get("traceparent", ""), trace.get("tracestate", ""))
