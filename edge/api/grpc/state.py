"""The state RPCs: decode, call the state block, encode. Values are raw bytes, stored and read back as given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge import errors
from edge.api.grpc.call import Call, RpcError, Unary
from edge.errors import EdgeError, Grpc
from edge.gofloat import decode
from edge.gojson import encode
from edge.goscanner import JsonError
from edge.model import DeleteItem, SetItem
from edge.rpc.pb import empty_pb2, state_pb2

CONCURRENCY = {0: "", 1: "first-write", 2: "last-write"}
CONSISTENCY = {0: "", 1: "eventual", 2: "strong"}


def _metadata(message: Any) -> Mapping[str, str]:
    return dict(message.metadata)


def _etag(message: Any) -> str | None:
    return message.etag.value if message.HasField("etag") else None


def _options(message: Any) -> tuple[str, str]:
    if not message.HasField("options"):
        return "", ""
    options = message.options
    return CONCURRENCY.get(options.concurrency, ""), CONSISTENCY.get(options.consistency, "")


def _set_item(message: Any, *, saved: bool = False, encrypted: bool = False) -> SetItem:
    """saved: as JSON where its content type says so, which a transaction does not look at. encrypted: read, and yet kept as it is."""
    metadata = _metadata(message)
    value, is_json = message.value, False
    if saved and metadata.get("contentType") == "application/json":
        try:
            read = decode(value, stream=False)
        except JsonError as error:
            raise RpcError(Grpc.UNKNOWN, str(error)) from error
        if not encrypted:
            value, is_json = encode(read), True
    concurrency, consistency = _options(message)
    return SetItem(message.key, value, is_json, _etag(message), concurrency, consistency, metadata)


def _delete_item(message: Any) -> DeleteItem:
    concurrency, consistency = _options(message)
    return DeleteItem(message.key, _etag(message), concurrency, consistency, _metadata(message))


async def get_state(call: Call, request: Any) -> Any:
    store = call.blocks.state.store(call.app, request.store_name)
    item = await store.get(request.key)
    if item is None:
        return state_pb2.GetStateResponse()
    return state_pb2.GetStateResponse(data=item.data, etag=item.etag or "", metadata=item.metadata)


async def get_bulk_state(call: Call, request: Any) -> Any:
    store = call.blocks.state.store(call.app, request.store_name)
    if not request.keys:
        return state_pb2.GetBulkStateResponse()
    items = await store.get_many(list(request.keys), request.parallelism)
    rows = [
        state_pb2.BulkStateItem(key=item.key, data=item.data or b"", etag=item.etag or "", error=item.error, metadata=item.metadata)
        for item in items
    ]
    return state_pb2.GetBulkStateResponse(items=rows)


async def save_state(call: Call, request: Any) -> Any:
    store = call.blocks.state.store(call.app, request.store_name)
    items = []
    for state in request.states:
        if not state.key:
            raise EdgeError(errors.STATE_SAVE, message="state key cannot be empty", grpc=Grpc.INVALID_ARGUMENT)
        store.stored_key(state.key)  # the first item that is wrong is the one that is told
        items.append(_set_item(state, saved=True, encrypted=store.encrypted))
    if items:
        await store.save(items)
    return empty_pb2.Empty()


async def delete_state(call: Call, request: Any) -> Any:
    store = call.blocks.state.store(call.app, request.store_name)
    await store.delete(_delete_item(request))
    return empty_pb2.Empty()


async def delete_bulk_state(call: Call, request: Any) -> Any:
    store = call.blocks.state.store(call.app, request.store_name)
    if request.states:
        await store.delete_many([_delete_item(state) for state in request.states])
    return empty_pb2.Empty()


async def execute_state_transaction(call: Call, request: Any) -> Any:
    store = call.blocks.state.store(call.app, request.storeName)
    store.check_transactional()
    operations: list[SetItem | DeleteItem] = []
    for operation in request.operations:
        store.stored_key(operation.request.key)  # refused before its type is looked at
        match operation.operationType:
            case "upsert":
                operations.append(_set_item(operation.request))
            case "delete":
                operations.append(_delete_item(operation.request))
            case other:
                raise EdgeError(errors.STATE_OPERATION, operation=other)
    if operations:
        trace = {"traceparent": call.traceparent, "tracestate": call.tracestate}
        await store.transact(operations, _metadata(request), trace)
    return empty_pb2.Empty()


async def query_state(call: Call, request: Any) -> Any:
    store = call.blocks.state.store(call.app, request.store_name)
    found = await store.query(request.query.encode(), _metadata(request))
    rows = [state_pb2.QueryStateItem(key=item.key, data=item.data or b"", etag=item.etag or "", error=item.error) for item in found.items]
    return state_pb2.QueryStateResponse(results=rows, token=found.token, metadata=found.metadata)


RPCS: dict[str, tuple[type, Unary]] = {
    "GetState": (state_pb2.GetStateRequest, get_state),
    "GetBulkState": (state_pb2.GetBulkStateRequest, get_bulk_state),
    "SaveState": (state_pb2.SaveStateRequest, save_state),
    "DeleteState": (state_pb2.DeleteStateRequest, delete_state),
    "DeleteBulkState": (state_pb2.DeleteBulkStateRequest, delete_bulk_state),
    "ExecuteStateTransaction": (state_pb2.ExecuteStateTransactionRequest, execute_state_transaction),
    "QueryStateAlpha1": (state_pb2.QueryStateRequest, query_state),
}
