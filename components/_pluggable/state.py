"""State stores behind a socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components._pluggable.remote import Remote
from edge.component import Feature
from edge.errors import ComponentError, EtagInvalid, EtagMismatch, Grpc
from edge.model import BulkItem, DeleteItem, SetItem, StateItem
from edge.rpc.pb import components_pb2 as pb
from edge.rpc.pb import error_details_pb2, status_pb2
from edge.rpc.status import RpcError

SERVICE = "StateStore"
CONCURRENCY = {"first-write": 1, "last-write": 2}
CONSISTENCY = {"eventual": 1, "strong": 2}


class Store(Remote):
    """See edge.component.StateStore."""

    async def open(self) -> None:
        """Raises ComponentError."""
        await self._start(SERVICE, features=True)
        if "TransactionalStateStore" not in self.services:
            self.features -= {Feature.TRANSACTIONAL}

    async def get(self, key: str) -> StateItem | None:
        answer = pb.GetResponse.FromString(await self.ask(SERVICE, "Get", pb.GetRequest(key=key)))
        if not answer.data and not answer.HasField("etag"):
            return None
        return StateItem(key, answer.data, answer.etag.value if answer.HasField("etag") else None, dict(answer.metadata))

    async def get_many(self, keys: Sequence[str]) -> list[BulkItem]:
        request = pb.BulkGetRequest(items=[pb.GetRequest(key=key) for key in keys], options=pb.BulkGetRequestOptions())
        answer = pb.BulkGetResponse.FromString(await self.ask(SERVICE, "BulkGet", request))
        return [_bulk_item(item) for item in answer.items]

    async def set(self, item: SetItem) -> None:
        await self.ask(SERVICE, "Set", _set(item))

    async def delete(self, item: DeleteItem) -> None:
        await self.ask(SERVICE, "Delete", _delete(item))

    def translated(self, error: RpcError) -> ComponentError:
        """An ETag that did not match says so in its details."""
        kinds = {Grpc.FAILED_PRECONDITION: EtagMismatch, Grpc.INVALID_ARGUMENT: EtagInvalid}
        kind = kinds.get(Grpc(error.code)) if 0 <= error.code <= 16 else None
        text = _etag_violation(error.details) if kind is not None and error.details else None
        return kind(text) if kind is not None and text is not None else super().translated(error)


class TransactionalStore(Store):
    """max_operations: 0 = no limit."""

    max_operations = 0

    async def open(self) -> None:
        await super().open()
        if "TransactionalStoreMultiMaxSize" in self.services:
            answer = await self.ask("TransactionalStoreMultiMaxSize", "MultiMaxSize", pb.MultiMaxSizeRequest())
            self.max_operations = max(pb.MultiMaxSizeResponse.FromString(answer).max_size, 0)

    async def transact(self, operations: Sequence[SetItem | DeleteItem], metadata: Mapping[str, str]) -> None:
        request = pb.TransactionalStateRequest(metadata=dict(metadata))
        for operation in operations:
            added = request.operations.add()
            if isinstance(operation, SetItem):
                added.set.CopyFrom(_set(operation))
            else:
                added.delete.CopyFrom(_delete(operation))
        await self.ask("TransactionalStateStore", "Transact", request)


def make(socket: str, services: frozenset[str]) -> type:
    """The class of the store behind a socket."""
    base = TransactionalStore if "TransactionalStateStore" in services else Store
    return type(base.__name__, (base,), {"socket": socket, "services": services})


def _options(item: SetItem | DeleteItem) -> Any:
    options: Any = pb.StateOptions()
    options.concurrency, options.consistency = CONCURRENCY.get(item.concurrency, 0), CONSISTENCY.get(item.consistency, 0)
    return options


def _etag(item: SetItem | DeleteItem) -> Any:
    return None if item.etag is None else pb.Etag(value=item.etag)


def _set(item: SetItem) -> Any:
    given = {"key": item.key, "value": item.value, "etag": _etag(item), "metadata": dict(item.metadata)}
    return pb.SetRequest(**given, options=_options(item), content_type=item.content_type)


def _delete(item: DeleteItem) -> Any:
    return pb.DeleteRequest(key=item.key, etag=_etag(item), metadata=dict(item.metadata), options=_options(item))


def _bulk_item(item: Any) -> BulkItem:
    if item.error:
        return BulkItem(item.key, error=item.error)
    there = bool(item.data) or item.HasField("etag")
    etag = item.etag.value if item.HasField("etag") else None
    return BulkItem(item.key, item.data if there else None, etag, dict(item.metadata))


def _etag_violation(details: bytes) -> str | None:
    """The text of the only violation, when it is of the field `etag`."""
    status = status_pb2.Status.FromString(details)
    if len(status.details) != 1 or not status.details[0].type_url.endswith("google.rpc.BadRequest"):
        return None
    violations = error_details_pb2.BadRequest.FromString(status.details[0].value).field_violations
    return violations[0].description if len(violations) == 1 and violations[0].field == "etag" else None
