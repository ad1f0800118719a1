"""The frozen data that cross layers: what a front decodes, a block rules over and a component stores or carries.

Keys, topics and ids are `str`; payloads are `bytes`; durations are float seconds; epoch times end in `_ms`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any

from edge.record import record


class _NoMetadata(dict[str, str]):
    """The empty mapping that many values share: nothing can be put in, and it may be a dataclass default."""

    def __setitem__(self, key: str, value: str) -> None:
        raise TypeError("NO_METADATA is shared; make a dict of your own")

    def __hash__(self) -> int:  # type: ignore[override]
        return 0


NO_METADATA: Mapping[str, str] = _NoMetadata()


# --- state
@record
class StateItem:
    """One stored value. data: the bytes as a reader gets them. metadata: e.g. `ttlExpireTime` (RFC 3339)."""

    key: str
    data: bytes
    etag: str | None = None
    metadata: Mapping[str, str] = NO_METADATA


@record
class BulkItem:
    """One answer of a bulk get: `data` None = missing key, `error` = why this key could not be read."""

    key: str
    data: bytes | None = None
    etag: str | None = None
    metadata: Mapping[str, str] = NO_METADATA
    error: str = ""


@record
class SetItem:
    """An upsert. is_json: `value` is canonical JSON text (HTTP face), else raw bytes (gRPC face); both read back as given.

    etag: None = no check ("" counts as given only where the API says so). concurrency: "" | "first-write" | "last-write".
    consistency: "" | "strong" | "eventual". content_type: what the API said of the value (for outbox events), "" = nothing.
    """

    key: str
    value: bytes
    is_json: bool = False
    etag: str | None = None
    concurrency: str = ""
    consistency: str = ""
    metadata: Mapping[str, str] = NO_METADATA
    content_type: str = ""


@record
class DeleteItem:
    """A delete; the fields are as in `SetItem`."""

    key: str
    etag: str | None = None
    concurrency: str = ""
    consistency: str = ""
    metadata: Mapping[str, str] = NO_METADATA


@record
class QueryResult:
    """Answer of the alpha query API; token is empty when there is no further page."""

    items: Sequence[BulkItem]
    token: str = ""
    metadata: Mapping[str, str] = NO_METADATA


# --- messages
@record
class Message:
    """One message on its way to or from a broker.

    data: exactly the bytes on the wire of the broker. id: given at the first accept, kept through journal, broker and redelivery.
    content_type: what the publisher said (for brokers that carry it), None if unknown. metadata: broker metadata (`retain`, `qos`…).
    topic: the concrete topic (never the filter).
    """

    topic: str
    data: bytes
    metadata: Mapping[str, str] = NO_METADATA
    content_type: str | None = None
    id: str = ""


class Status(Enum):
    """What the app said of a delivery. ABSENT: no handler there (HTTP 404, gRPC Unimplemented): dropped as Dapr does."""

    SUCCESS = "SUCCESS"
    RETRY = "RETRY"
    DROP = "DROP"


@record
class Rule:
    """A routing rule: CEL text (empty = always) and the path of the app that it leads to."""

    match: str
    path: str


@record
class BulkSubscribe:
    """Bulk delivery settings; the times are seconds."""

    enabled: bool = False
    max_messages: int = 100
    max_await: float = 1.0


class SubscriptionType(Enum):
    """Where a subscription came from, in the metadata API's words."""

    DECLARATIVE = "DECLARATIVE"
    PROGRAMMATIC = "PROGRAMMATIC"
    STREAMING = "STREAMING"


@record
class Subscription:
    """An app's wish for a topic. rules: in order, first true one wins, the default route is the last rule (match "")."""

    pubsub: str
    topic: str
    rules: tuple[Rule, ...]
    dead_letter_topic: str = ""
    metadata: Mapping[str, str] = NO_METADATA
    bulk: BulkSubscribe = BulkSubscribe()
    type: SubscriptionType = SubscriptionType.PROGRAMMATIC
    scopes: tuple[str, ...] = ()
    name: str = ""

    @property
    def raw(self) -> bool:
        """The app wants payloads that are no CloudEvents (`metadata.rawPayload`)."""
        return self.metadata.get("rawPayload", "").lower() in ("1", "t", "true", "y", "yes", "on")


@record
class TopicEvent:
    """One event on its way to the app.

    body: JSON text of the CloudEvent as the HTTP app gets it. event: the same parsed (routing, gRPC). path: the matched route.
    headers: broker metadata that become HTTP headers or gRPC metadata. raw: the broker bytes (the dead-letter copy).
    traceparent: of the span around the call, "" = the event's own.
    """

    pubsub: str
    topic: str
    path: str
    body: bytes
    event: Mapping[str, object]
    message: Message
    raw_payload: bool = False
    traceparent: str = ""


@record
class BulkTopicEvent:
    """A batch for one route: entry ids pair with `entries`; metadata are the batch's own."""

    id: str
    pubsub: str
    topic: str
    path: str
    entries: tuple[tuple[str, TopicEvent], ...]
    metadata: Mapping[str, str] = NO_METADATA


# --- bindings
@record
class BindingEvent:
    """What an input binding read. traceparent: of the span around the call, "" = that in the metadata."""

    data: bytes
    metadata: Mapping[str, str] = NO_METADATA
    traceparent: str = ""


@record
class BindingResult:
    """What an output binding (or the app, to an input binding) answered.

    to: output bindings that the app (gRPC) wants the data sent to, one after the other unless `parallel`.
    """

    data: bytes = b""
    metadata: Mapping[str, str] = NO_METADATA
    content_type: str = ""
    to: tuple[str, ...] = ()
    parallel: bool = False


# --- jobs
@record
class JobData:
    """What a job carries. type_url: as in google.protobuf.Any. value: its bytes; is_json: JSON text of a google.protobuf.Value."""

    type_url: str
    value: bytes
    is_json: bool = False


@record
class JobEvent:
    """A job that is due, on its way to the app."""

    name: str
    data: JobData | None = None


# --- invocation
@record
class InvokeRequest:
    """A call to an app. path: without leading slash. headers: lower-case names in order, several allowed.

    body: all bytes, or a stream when the caller sent it chunked or long; length: of such a stream, where it is known.
    grpc: the headers are gRPC metadata, and method may be NONE, or "" where the caller gave no HTTP extension. type_url: of the Any that a
    gRPC caller sent. traced: the app is told of a trace context even where there is none. missing: a gRPC caller sent no message at all.
    """

    method: str
    path: str
    query: str = ""
    headers: Sequence[tuple[str, str]] = ()
    body: bytes | AsyncIterator[bytes] = b""
    content_type: str | None = None
    grpc: bool = False
    type_url: str = ""
    length: int | None = None
    traced: bool = True
    missing: bool = False


@dataclass(slots=True)
class InvokeResponse:
    """The app's answer. grpc_status: set when a gRPC app answered (status code, message), then `status` is its HTTP mapping."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes | AsyncIterator[bytes] = b""
    content_type: str | None = None
    grpc_status: tuple[int, str] | None = None
    grpc_details: bytes = b""
    """A serialized google.rpc.Status of the gRPC app, or empty."""
    trailers: Sequence[tuple[str, str]] = ()
    type_url: str = ""


# --- configuration, lock
@record
class ConfigItem:
    """One configuration value."""

    value: str
    version: str = ""
    metadata: Mapping[str, str] = NO_METADATA

    def shown(self) -> dict[str, Any]:
        """As JSON has it; a deleted item is empty."""
        fields = {"value": self.value, "version": self.version, "metadata": dict(sorted(self.metadata.items()))}
        return {name: value for name, value in fields.items() if value}


class UnlockStatus(IntEnum):
    """Answer of unlock, numeric on the wire."""

    SUCCESS = 0
    DOES_NOT_EXIST = 1
    BELONGS_TO_OTHERS = 2
    INTERNAL_ERROR = 3


@record
class Address:
    """Where an app's sidecar listens for other sidecars."""

    host: str
    port: int
    metadata: Mapping[str, str] = NO_METADATA


# --- what waits
@dataclass(slots=True)
class LaneStats:
    """Counts since the lane exists: accepted = delivered + pending + expired + dead + sum(dropped)."""

    lane: str
    accepted: int = 0
    delivered: int = 0
    expired: int = 0
    dead: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    pending: int = 0
    pending_bytes: int = 0

    def add(self, change: LaneStats) -> None:
        """Apply what a commit changed."""
        self.accepted += change.accepted
        self.delivered += change.delivered
        self.expired += change.expired
        self.dead += change.dead
        self.pending += change.pending
        self.pending_bytes += change.pending_bytes
        for reason, number in change.dropped.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + number

    @property
    def balanced(self) -> bool:
        """The equation holds."""
        return self.accepted == self.delivered + self.pending + self.expired + self.dead + sum(self.dropped.values())
