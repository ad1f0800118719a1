"""State: whose store, which key, what a refusal is called. Every rule of Dapr's state API lives here; fronts decode, stores keep.

Source: dapr pkg/api/http/http.go, pkg/components/state @1.18.3; differs: a failing item of a list never hides a later one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from edge import errors
from edge.app import App, Part, Parts
from edge.blocks import query as query_language
from edge.blocks.encryption import Cipher
from edge.blocks.refusals import error_text, options_error, refusal
from edge.blocks.retries import PolicyOf, no_policy
from edge.component import BulkGet, BulkSet, Feature, Lenient, Queryable, ReadsNow, Transactional
from edge.errors import ComponentError, EdgeError, EtagInvalid, EtagMismatch, Link, ResourceInfo, Unavailable, Violation
from edge.model import NO_METADATA, BulkItem, DeleteItem, QueryResult, SetItem, StateItem

SEPARATOR = "||"
HELP = Link(
    "https://docs.dapr.io/reference/components-reference/supported-state-stores/",
    "Check the list of state stores and the features they support",
)

T = TypeVar("T")
W = TypeVar("W", SetItem, DeleteItem)
Operation: TypeAlias = "SetItem | DeleteItem"
Run = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""Runs a call under a resiliency policy."""


class TransactionalOutbox(Protocol):
    """Dapr's outbox: messages that leave with a state transaction."""

    def enabled(self, part: Part) -> bool: ...

    async def transact(
        self, app: App, part: Part, operations: Sequence[Operation], metadata: Mapping[str, str], trace: Mapping[str, str], run: Run
    ) -> None:
        """Commit the operations and their messages. operations: stored keys, values as stored. run: under the store's policy."""
        ...


class Wait(Exception):
    """The answer takes time: await the coroutine of the same name."""


class StateService:
    """The state API of all apps."""

    def __init__(self, parts: Parts, policy_of: PolicyOf = no_policy, outbox: TransactionalOutbox | None = None) -> None:
        self._parts, self._policy_of, self._outbox = parts, policy_of, outbox
        self._stores: dict[tuple[str, str], Store] = {}
        self.make: Callable[..., Store] = Store

    def store(self, app: App, name: str) -> Store:
        """The store as this app sees it. Raises EdgeError STATE_NOT_CONFIGURED (there is none at all), STATE_NOT_FOUND."""
        store = self._stores.get((app.id, name))
        part = self._parts.find("state", name, app)
        if store is not None and store.part is part:
            return store
        if part is None:
            code = errors.STATE_NOT_FOUND if self._parts.any("state", app) else errors.STATE_NOT_CONFIGURED
            raise EdgeError(code, info={"appID": app.id}, name=name)
        policy = self._policy_of(app, name)
        store = self._stores[app.id, name] = self.make(app, part, policy, self._outbox)
        return store


class Store:
    """One state store in the eyes of one app. Keys are the app's; errors are EdgeErrors of the state API."""

    def __init__(self, app: App, part: Part, policy: Run | None = None, outbox: TransactionalOutbox | None = None) -> None:
        self.app, self.part, self.name = app, part, part.name
        self._component = part.component
        self._policy = policy
        self._outbox = outbox if outbox is not None and outbox.enabled(part) else None
        self._prefix = key_prefix(app, part)
        self._cipher = Cipher.of(part)
        self._unchecked = part.component.unchecked if isinstance(part.component, Lenient) else frozenset()
        self._lookup = part.component.get_now if policy is None and isinstance(part.component, ReadsNow) else None

    @property
    def encrypted(self) -> bool:
        """Values are sealed at rest."""
        return self._cipher is not None

    # --- keys
    def stored_key(self, key: str) -> str:
        """The key as it is in the store. Raises STATE_ILLEGAL_KEY."""
        if SEPARATOR in key:
            raise self.illegal_key(key)
        return self._prefix + key

    def illegal_key(self, key: str) -> EdgeError:
        text = errors.STATE_ILLEGAL_KEY.message.format(key=key)
        resource = ResourceInfo("state", self.name, description="")
        return EdgeError(errors.STATE_ILLEGAL_KEY, key=key, resource=resource, violations=[Violation(key, text)])

    def own_key(self, stored: str) -> str:
        """The app's name for a stored key."""
        if stored.startswith(self._prefix):
            return stored[len(self._prefix) :]
        return stored.split(SEPARATOR, 2)[1] if SEPARATOR in stored else stored

    # --- one key
    def get_now(self, key: str) -> StateItem | None:
        """The value without waiting. Raises as `get`, and Wait when that takes time here: then `get`."""
        if self._lookup is None:
            raise Wait
        try:
            return self._opened(self._lookup(self.stored_key(key)))
        except Unavailable:
            raise Wait from None
        except ComponentError as error:
            raise self._get_failed(key, error) from error

    async def get(self, key: str) -> StateItem | None:
        """The value, None when there is none. Raises STATE_GET, STATE_ILLEGAL_KEY."""
        try:
            return self.get_now(key)
        except Wait:
            stored = self.stored_key(key)
        try:
            return self._opened(await self._run(lambda: self._component.get(stored)))
        except ComponentError as error:
            raise self._get_failed(key, error) from error

    def _get_failed(self, key: str, error: ComponentError) -> EdgeError:
        return EdgeError(errors.STATE_GET, key=key, name=self.name, error=error)

    def _opened(self, item: StateItem | None) -> StateItem | None:
        if item is None or self._cipher is None:
            return item
        return StateItem(item.key, self._cipher.open(item.data), item.etag, item.metadata)

    async def delete(self, item: DeleteItem) -> None:
        """Remove a key; without an etag a missing one is no error. Raises STATE_DELETE (409 on a wrong etag)."""
        stored = self._stored_delete(item)
        failure = await self._attempt(stored, self._component.delete)
        if failure is not None:
            raise refusal(errors.STATE_DELETE, [failure], key=item.key) from failure

    # --- many keys
    async def save(self, items: Sequence[SetItem]) -> None:
        """Store the items, each for itself; on return they are as durable as the store makes them. Raises STATE_SAVE."""
        stored = [self._stored_set(item) for item in items]
        if len(stored) == 1:
            failure = await self._attempt(stored[0], self._component.set)
            if failure is not None:
                raise refusal(errors.STATE_SAVE, [failure], name=self.name) from failure
        else:
            failures = [failure for failure in await self._set_many(stored) if failure is not None]
            if failures:
                raise refusal(errors.STATE_SAVE, failures, many=True, name=self.name) from failures[0]

    async def _set_many(self, items: Sequence[SetItem]) -> Sequence[ComponentError | None]:
        component = self._component
        if not isinstance(component, BulkSet) or self._policy is not None:
            return await asyncio.gather(*(self._attempt(item, component.set) for item in items))
        wrong = [options_error(item) for item in items]
        found = iter(await component.set_many([item for item, error in zip(items, wrong, strict=True) if error is None]))
        return [error if error is not None else next(found) for error in wrong]

    async def delete_many(self, items: Sequence[DeleteItem]) -> None:
        """Remove the keys, each for itself (gRPC only). Raises STATE_BULK_DELETE."""
        stored = [self._stored_delete(item) for item in items]
        found = await asyncio.gather(*(self._attempt(item, self._component.delete) for item in stored))
        failures = [failure for failure in found if failure is not None]
        if failures:
            raise refusal(errors.STATE_BULK_DELETE, failures, many=len(items) > 1, name=self.name) from failures[0]

    async def get_many(self, keys: Sequence[str], parallelism: int = 0) -> list[BulkItem]:
        """One item for each key, in the store's order; a key that could not be read has `error`. Raises STATE_BULK_GET.

        parallelism: reads at a time where the store has no bulk get of its own, <= 0 = all.
        """
        stored = [self.stored_key(key) for key in keys]
        component = self._component
        try:
            if isinstance(component, BulkGet):
                items = await self._run(lambda: component.get_many(stored))
            else:
                items = await self._run(lambda: self._get_each(stored, parallelism))
        except ComponentError as error:
            raise EdgeError(errors.STATE_BULK_GET, error=error) from error
        return [self._own_item(item) for item in items]

    async def _get_each(self, keys: Sequence[str], parallelism: int) -> list[BulkItem]:
        slots = asyncio.Semaphore(parallelism if parallelism > 0 else max(len(keys), 1))

        async def get(key: str) -> BulkItem:
            async with slots:
                try:
                    item = await self._component.get(key)
                except ComponentError as error:
                    return BulkItem(key, error=str(error))
                return BulkItem(key) if item is None else BulkItem(key, item.data, item.etag, item.metadata)

        return await asyncio.gather(*(get(key) for key in keys))

    def _own_item(self, item: BulkItem) -> BulkItem:
        key = self.own_key(item.key)
        if item.error or item.data is None or self._cipher is None:
            return BulkItem(key, item.data, item.etag, item.metadata, item.error)
        try:
            return BulkItem(key, self._cipher.open(item.data), item.etag, item.metadata)
        except ComponentError as error:
            return BulkItem(key, None, item.etag, item.metadata, str(error))

    # --- transactions, queries
    def check_transactional(self) -> None:
        """Raises STATE_NO_TRANSACTIONS."""
        if Feature.TRANSACTIONAL not in self._component.features or not isinstance(self._component, Transactional):
            resource = ResourceInfo("state", self.name, description="")
            raise EdgeError(errors.STATE_NO_TRANSACTIONS, name=self.name, resource=resource, links=[HELP])

    async def transact(
        self, operations: Sequence[Operation], metadata: Mapping[str, str] = NO_METADATA, trace: Mapping[str, str] = NO_METADATA
    ) -> None:
        """All or nothing, in order. trace: of the caller, for outbox messages. Raises STATE_TOO_MANY, STATE_TRANSACTION, PUBLISH_OUTBOX."""
        self.check_transactional()
        stored = [self._stored_set(item) if isinstance(item, SetItem) else self._stored_delete(item) for item in operations]
        most = self._component.max_operations
        if 0 < most < len(stored):
            info = {"currentOpsTransaction": str(len(stored)), "maxOpsPerTransaction": str(most)}
            resource = ResourceInfo("state", self.name, description="")
            raise EdgeError(errors.STATE_TOO_MANY, info=info, resource=resource, count=len(stored), max=most)
        try:
            for item in stored:
                if (wrong := options_error(item, self._unchecked, in_transaction=True)) is not None:
                    raise wrong
            if self._outbox is not None:
                await self._outbox.transact(self.app, self.part, stored, metadata, trace, self._run)
            else:
                await self._run(lambda: self._component.transact(stored, metadata))
        except ComponentError as error:
            raise EdgeError(errors.STATE_TRANSACTION, error=error_text(error)) from error

    def check_queryable(self) -> None:
        """Raises STATE_NO_QUERY, STATE_QUERY for an encrypted store."""
        if not isinstance(self._component, Queryable):
            raise EdgeError(errors.STATE_NO_QUERY, resource=ResourceInfo("state", self.name, description=""))
        if self._cipher is not None:
            raise self._query_failed("cannot query encrypted store")

    async def query(self, text: bytes, metadata: Mapping[str, str]) -> QueryResult:
        """The alpha query, given as JSON text; keys come back as the app named them. Raises STATE_NO_QUERY, STATE_QUERY."""
        self.check_queryable()
        try:
            query = query_language.parse(text)
            found: QueryResult = await self._run(lambda: self._component.query(query, metadata))
        except ComponentError as error:
            raise self._query_failed(str(error)) from error
        return QueryResult([self._own_item(item) for item in found.items], found.token, found.metadata)

    def _query_failed(self, error: str) -> EdgeError:
        resource = ResourceInfo("state", self.name, description="")
        return EdgeError(errors.STATE_QUERY, name=self.name, error=error, resource=resource)

    # --- helpers
    def _stored_set(self, item: SetItem) -> SetItem:
        key, value, is_json = self.stored_key(item.key), item.value, item.is_json
        if self._cipher is not None:
            value, is_json = self._cipher.seal(value), False
        return SetItem(key, value, is_json, item.etag, item.concurrency, item.consistency, item.metadata, item.content_type)

    def _stored_delete(self, item: DeleteItem) -> DeleteItem:
        return DeleteItem(self.stored_key(item.key), item.etag, item.concurrency, item.consistency, item.metadata)

    async def _attempt(self, item: W, call: Callable[[W], Awaitable[None]]) -> ComponentError | None:
        """One write under the policy; its failure is returned. A wrong etag is an answer, not a failure to try again."""
        wrong = options_error(item, self._unchecked)
        if wrong is not None:
            return wrong

        async def once() -> ComponentError | None:
            try:
                await call(item)
            except (EtagMismatch, EtagInvalid) as error:
                return error
            return None

        try:
            return await once() if self._policy is None else await self._policy(once)
        except ComponentError as error:
            return error

    async def _run(self, call: Callable[[], Awaitable[T]]) -> T:
        if self._policy is None:
            return await call()
        result: T = await self._policy(call)
        return result


def key_prefix(app: App, part: Part) -> str:
    """What stands before the app's keys in the store (components.md §5.2), with its `||`."""
    strategy = part.properties.get("keyprefix", "appid").lower()
    match strategy:
        case "none":
            return ""
        case "name":
            return part.name + SEPARATOR
        case "namespace" if app.namespace_set:
            return f"{app.namespace}.{app.id}{SEPARATOR}"
        case "appid" | "namespace":
            return app.id + SEPARATOR
        case _:
            return strategy + SEPARATOR
