"""The page a component author reads: two verbs of life, then the verbs of the kind. All raise only `edge.errors.ComponentError`s.

`open()` returns ready to serve or raises; a component whose server is away opens all the same and reconnects by itself (an edge
device boots offline). `close()` is idempotent. Optional powers are separate protocols, tested with isinstance().
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from edge.chat import ChatRequest, ChatResponse
from edge.errors import ComponentError
from edge.model import (
    Address,
    BindingEvent,
    BindingResult,
    BulkItem,
    ConfigItem,
    DeleteItem,
    LaneStats,
    Message,
    QueryResult,
    SetItem,
    StateItem,
    UnlockStatus,
)
from edge.record import record

if TYPE_CHECKING:
    from sqlite3 import Connection

    from edge.database import Database
    from edge.http1.messages import Request, Response
    from edge.tasks import Tasks


class Feature(Enum):
    """Capabilities in the metadata API's words and order."""

    ETAG = "ETAG"
    TRANSACTIONAL = "TRANSACTIONAL"
    TTL = "TTL"
    DELETE_WITH_PREFIX = "DELETE_WITH_PREFIX"
    KEYS_LIKE = "KEYS_LIKE"
    QUERY_API = "QUERY_API"
    ACTOR = "ACTOR"
    MESSAGE_TTL = "MESSAGE_TTL"
    SUBSCRIBE_WILDCARDS = "SUBSCRIBE_WILDCARDS"
    BULK_PUBSUB = "BULK_PUBSUB"
    BULK_SUBSCRIBE_IMMEDIATE = "BULK_SUBSCRIBE_IMMEDIATE"
    INPUT_BINDING = "INPUT_BINDING"
    OUTPUT_BINDING = "OUTPUT_BINDING"
    MULTIPLE_KEY_VALUES_PER_SECRET = "MULTIPLE_KEY_VALUES_PER_SECRET"


@record
class Context:
    """What the daemon lends to a component.

    name: the component's name in YAML. app_ids: apps that may see it (one in a sidecar). data_dir: this daemon's folder.
    database: opens the daemon's own file on first use. tasks: named, supervised background tasks.
    working_dir: what relative paths in metadata are relative to.
    """

    name: str
    app_ids: tuple[str, ...]
    namespace: str
    data_dir: Path
    tasks: Tasks
    database: Callable[[], Awaitable[Database]]
    init_timeout: float = 5.0
    working_dir: Path | None = None

    @property
    def app_id(self) -> str:
        """The identity towards servers (MQTT client id, consumer group): the only app's id, else the component's name."""
        return self.app_ids[0] if len(self.app_ids) == 1 else f"edged-{self.name}"


Unsubscribe = Callable[[], Awaitable[None]]
Deliver = Callable[[Message], Awaitable[None]]
"""Returns once the message is on disk or the app took it: only then may a component acknowledge. Raises: do not acknowledge."""
DeliverEvent = Callable[[BindingEvent], Awaitable[BindingResult]]
"""The same for an input binding; the result is what the app answered (empty when the event was only journalled)."""


@runtime_checkable
class Component(Protocol):
    """What every component is. Metadata: a frozen dataclass of `spec.meta()` fields."""

    Metadata: ClassVar[type]
    features: ClassVar[frozenset[Feature]]

    def __init__(self, metadata: Any, context: Context) -> None: ...
    async def open(self) -> None: ...
    async def close(self) -> None: ...


NOT_YET = "not connected yet"
"""What `unhealthy` ends with before the first attempt."""


@runtime_checkable
class Healthy(Protocol):
    """Optional: says in one line why it cannot work now, None when it can."""

    def unhealthy(self) -> str | None: ...


@runtime_checkable
class Coded(Protocol):
    """Optional: its server gives reasons by numbers, which the metrics show."""

    def reasons(self) -> Mapping[tuple[str, str], int]:
        """(packet, reason code) → how often the server said that; success is not counted."""
        ...


@runtime_checkable
class StateStore(Component, Protocol):
    async def get(self, key: str) -> StateItem | None: ...
    async def set(self, item: SetItem) -> None: ...
    async def delete(self, item: DeleteItem) -> None: ...


class Ask(Enum):
    """Kinds of state writes."""

    SET = "set"
    DELETE = "delete"
    SET_IN_TRANSACTION = "set in a transaction"
    DELETE_IN_TRANSACTION = "delete in a transaction"


@runtime_checkable
class Lenient(Protocol):
    """Optional: writes whose concurrency and consistency may be any text, because Dapr's store of that type does not look at it there."""

    unchecked: ClassVar[frozenset[Ask]]


@runtime_checkable
class ReadsNow(Protocol):
    """Optional: a point read that never waits (memory, the loop's own connection to a file), so that no task is needed for it."""

    def get_now(self, key: str) -> StateItem | None: ...


@runtime_checkable
class BulkSet(Protocol):
    """Optional: many upserts at once, in order, each failing alone: one result for each item, None = stored."""

    async def set_many(self, items: Sequence[SetItem]) -> list[ComponentError | None]: ...


@runtime_checkable
class BulkGet(Protocol):
    """Optional: many keys by one query; answers found keys first, then one item for each missing key."""

    async def get_many(self, keys: Sequence[str]) -> list[BulkItem]: ...


@runtime_checkable
class Transactional(Protocol):
    """Optional: all or nothing, in order. max_operations: 0 = no limit."""

    max_operations: ClassVar[int]

    async def transact(self, operations: Sequence[SetItem | DeleteItem], metadata: Mapping[str, str]) -> None: ...


@runtime_checkable
class TransactsIn(Protocol):
    """Optional: a transaction as part of a unit of a file, for what must be committed with it. unit_database: that file."""

    @property
    def unit_database(self) -> Database: ...
    def transact_in(self, tx: Connection, operations: Sequence[SetItem | DeleteItem]) -> None: ...


@runtime_checkable
class Queryable(Protocol):
    """Optional: the alpha query API; `query` is the request's JSON."""

    async def query(self, query: Mapping[str, Any], metadata: Mapping[str, str]) -> QueryResult: ...


@runtime_checkable
class KeysLike(Protocol):
    """Optional: keys that match an SQL LIKE pattern (escape is a backslash), a page at a time; token "" = from the start / no more."""

    async def keys_like(self, pattern: str, limit: int, token: str) -> tuple[list[str], str]: ...


@runtime_checkable
class PubSub(Component, Protocol):
    """journal_out: publish() waits for someone else's acknowledgement, so the outbox stands before it.
    journal_in: its deliveries go through the inbox (False: the app is called while deliver() waits).
    """

    journal_out: ClassVar[bool]
    journal_in: ClassVar[bool]

    async def publish(self, message: Message) -> None:
        """Return when the broker took responsibility (PUBACK, PUBCOMP); raise Unavailable to be tried again later."""
        ...

    async def subscribe(self, topic: str, deliver: Deliver, metadata: Mapping[str, str], app_id: str) -> Unsubscribe:
        """Deliver what matches `topic` (a filter where the broker has wildcards) until the returned coroutine function is called."""
        ...


@runtime_checkable
class Sender(Protocol):
    """Optional for a pub/sub component with journal_out: many messages in flight without a task for each."""

    def send(self, message: Message) -> asyncio.Future[None]:
        """Put the message on the wire now, after those sent before; the future ends as `publish` would.

        Raises Unavailable at once, nothing sent, when there is no connection or its window is full; Invalid as `publish`.
        """
        ...


@runtime_checkable
class Typed(Protocol):
    """Optional for a pub/sub component: its broker carries content types, so it is told those of raw payloads (True)."""

    content_types: ClassVar[bool]


@runtime_checkable
class Connects(Protocol):
    """Optional for a component that connects to its server in the background."""

    async def attempted(self) -> None:
        """Return when the first attempt is over, whatever came of it: a server that is there knows then what was subscribed before."""
        ...


@runtime_checkable
class Keeps(Protocol):
    """Optional for a pub/sub component that keeps messages in the daemon's file for consumers that are away."""

    def kept(self) -> Sequence[LaneStats]:
        """The numbers of what it keeps, per topic."""
        ...

    async def recount(self) -> None:
        """Rows came by another hand (edge/adoption.py)."""
        ...

    def settled(self, app_id: str) -> None:
        """The app has told what it subscribes to."""
        ...


@runtime_checkable
class InputBinding(Component, Protocol):
    journal_in: ClassVar[bool]

    async def read(self, deliver: DeliverEvent) -> Unsubscribe: ...


@runtime_checkable
class Replies(Protocol):
    """Optional for a binding of both directions: whoever sent an event may want what the app answers to it."""

    def reply_to(self, event: BindingEvent) -> Mapping[str, str] | None:
        """Metadata of the `create` that carries the answer, None when none is wanted."""
        ...


@runtime_checkable
class OutputBinding(Component, Protocol):
    """operations: in the order that Dapr's error text lists them. journal_out: as for pub/sub (only operation `create`)."""

    operations: ClassVar[tuple[str, ...]]
    journal_out: ClassVar[bool]

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> BindingResult | None: ...


@runtime_checkable
class Ready(Protocol):
    """Optional for an output binding whose `create` waits while its server is away."""

    def ready(self) -> bool:
        """False: it would wait now, so what comes is kept by the journal, within its limits."""
        ...


@runtime_checkable
class SecretStore(Component, Protocol):
    async def get(self, name: str, metadata: Mapping[str, str]) -> dict[str, str]: ...
    async def get_all(self, metadata: Mapping[str, str]) -> dict[str, dict[str, str]]: ...


@runtime_checkable
class NameResolver(Component, Protocol):
    async def register(self, app_id: str, address: Address) -> None: ...
    async def resolve(self, app_id: str, namespace: str) -> Address: ...


Answering = Callable[[bytes], Awaitable[bytes]]
"""What a sidecar does with one call that was carried to it: bytes there, bytes back (edge/mesh/carried.py). Raises nothing."""


@runtime_checkable
class Carrier(Protocol):
    """Optional for a name resolver: it carries the calls too, between sidecars that cannot reach each other."""

    async def serve(self, app_id: str, namespace: str, answer: Answering) -> None:
        """From now on calls of that app come here, each of them once. Connecting goes on behind it."""
        ...

    async def ask(self, app_id: str, namespace: str, call: bytes) -> bytes:
        """The answer. Raises NotFound (nobody serves that app), Unavailable (nothing was sent), TimeoutError, Invalid, Closed."""
        ...


@runtime_checkable
class ConfigurationStore(Component, Protocol):
    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> dict[str, ConfigItem]: ...
    async def subscribe(
        self, keys: Sequence[str], changed: Callable[[dict[str, ConfigItem]], Awaitable[None]], metadata: Mapping[str, str]
    ) -> Unsubscribe: ...


@runtime_checkable
class Lock(Component, Protocol):
    async def try_lock(self, resource: str, owner: str, expiry: float) -> bool: ...
    async def unlock(self, resource: str, owner: str) -> UnlockStatus: ...


@runtime_checkable
class CryptoProvider(Component, Protocol):
    """Key operations by key name; algorithm names are JWA's as Dapr spells them."""

    async def wrap_key(self, key: bytes, name: str, algorithm: str) -> bytes: ...
    async def unwrap_key(self, wrapped: bytes, name: str, algorithm: str) -> bytes: ...


@runtime_checkable
class HttpMiddleware(Component, Protocol):
    """A step of an HTTP pipeline: answers itself, or gives the request (or another in its place) to what follows."""

    async def handle(self, request: Request, next_: Callable[[Request], Awaitable[Response]]) -> Response: ...


@runtime_checkable
class Conversation(Component, Protocol):
    async def converse(self, request: ChatRequest) -> ChatResponse: ...
