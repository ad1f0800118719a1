"""Actor state: keys `<app>||<type>||<id>||<key>` in the store that says actorStateStore, else in the daemon's own; written in transactions.

Source: Dapr pkg/actors/state, pkg/actors/api/transactional.go @1.18.3; differs: with no store configured there is the embedded one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from edge.app import App, Parts
from edge.component import StateStore, Transactional
from edge.errors import ACTOR_NO_STORE, ACTOR_STATE_GET, ACTOR_STATE_SAVE, ComponentError, EdgeError, EtagMismatch
from edge.model import NO_METADATA, DeleteItem, SetItem, StateItem
from edge.record import record
from edge.spec.parsing import TRUE

PROPERTY = "actorstatestore"
TTL = "ttlInSeconds"


@record
class StateOperation:
    """One step of a transaction. operation: "upsert" or "delete". value: JSON text, or bytes kept as they are (is_json False)."""

    operation: str
    key: str
    value: bytes = b""
    is_json: bool = True
    etag: str | None = None
    metadata: Mapping[str, str] = NO_METADATA


class ActorState:
    """State of the actors of all apps. embedded: opens the daemon's own store on first use, None = there is none."""

    def __init__(self, parts: Parts, embedded: Callable[[], Awaitable[StateStore]] | None, *, ttl: bool) -> None:
        self._parts, self._embedded, self._ttl = parts, embedded, ttl

    async def get(self, app: App, type_: str, id_: str, key: str) -> StateItem | None:
        """The value of one key; None = missing. Raises EdgeError ACTOR_STATE_GET."""
        store = await self._store(app)
        try:
            return await store.get(f"{app.id}||{type_}||{id_}||{key}")
        except ComponentError as error:
            raise EdgeError(ACTOR_STATE_GET, error=error) from error

    async def transact(self, app: App, type_: str, id_: str, operations: Iterable[StateOperation]) -> None:
        """All or nothing, in order. Raises EdgeError ACTOR_STATE_SAVE, also with the text of a ValueError that `operations` raises."""
        prefix = f"{app.id}||{type_}||{id_}||"
        try:
            items = [self._item(operation, prefix) for operation in operations]
        except ValueError as error:
            raise EdgeError(ACTOR_STATE_SAVE, error=error) from None
        store = await self._store(app)
        if not items:
            return
        if not isinstance(store, Transactional):
            raise EdgeError(ACTOR_NO_STORE)
        if 0 < store.max_operations < len(items):
            text = "the transaction contains more operations than supported by the state store"
            raise EdgeError(ACTOR_STATE_SAVE, error=text)
        try:
            await store.transact(items, {"partitionKey": prefix[:-2]})
        except EtagMismatch as error:
            raise EdgeError(
                ACTOR_STATE_SAVE, error=error.args[0] if error.args else "possible etag mismatch. error from state store"
            ) from error
        except ComponentError as error:
            raise EdgeError(ACTOR_STATE_SAVE, error=error) from error

    def _item(self, operation: StateOperation, prefix: str) -> SetItem | DeleteItem:
        if operation.operation not in ("upsert", "delete"):
            raise ValueError(f"operation type {operation.operation} not supported")
        if not operation.key:
            raise ValueError("missing key")
        if operation.operation == "delete":
            return DeleteItem(prefix + operation.key, operation.etag)
        if not self._ttl and TTL in operation.metadata:
            raise ValueError(f'{TTL} is not supported without the "ActorStateTTL" feature enabled')
        metadata = operation.metadata
        return SetItem(prefix + operation.key, operation.value, is_json=operation.is_json, etag=operation.etag, metadata=metadata)

    async def _store(self, app: App) -> StateStore:
        """The app's actor store. Raises EdgeError ACTOR_NO_STORE."""
        for part in self._parts.of("state", app):
            if part.properties.get(PROPERTY, "").lower() in TRUE:
                store: StateStore = part.component
                return store
        if self._embedded is None:
            raise EdgeError(ACTOR_NO_STORE)
        return await self._embedded()
