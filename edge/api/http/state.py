"""State routes (http-api.md §4): JSON requests become items, items become JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from edge import errors, gojson, gostruct
from edge.api.http import answers
from edge.api.http.call import Answer, Call
from edge.api.http.router import Route
from edge.blocks.state import Store, Wait
from edge.errors import EdgeError
from edge.gofloat import decode_marked
from edge.gojson import encode, escape, parse
from edge.goscanner import JsonError
from edge.gostruct import MapError, Struct
from edge.http1.messages import BodyTooLarge, Response
from edge.model import BulkItem, DeleteItem, QueryResult, SetItem, StateItem

OPTIONS = Struct("state.SetStateOption", {"Concurrency": gostruct.text, "Consistency": gostruct.text})
SET_FIELDS: Mapping[str, gostruct.Reader] = {
    "key": gostruct.text,
    "value": gostruct.anything,
    "etag": gostruct.text,
    "metadata": gostruct.text_map,
    "options": OPTIONS,
    "contentType": gostruct.text,
}
SET_REQUEST = Struct("state.SetRequest", SET_FIELDS)
SET_REQUESTS = gostruct.list_of(SET_REQUEST, SET_REQUEST.type_)
BULK_REQUEST = Struct(
    "http.BulkGetRequest",
    {"keys": gostruct.list_of(gostruct.or_empty, "string"), "parallelism": gostruct.integer, "metadata": gostruct.text_map},
)
OPERATION = Struct("http.stateTransactionRequestBodyOperation", {"operation": gostruct.text, "request": gostruct.anything})
TRANSACTION = Struct(
    "http.stateTransactionRequestBody",
    {"operations": gostruct.list_of(OPERATION, OPERATION.type_), "metadata": gostruct.text_map},
)
OPTION_FIELDS: Mapping[str, type] = {"Concurrency": str, "Consistency": str}
DELETE_MAP: Mapping[str, type | Mapping[str, type]] = {"Key": str, "ETag": str, "Metadata": dict, "Options": OPTION_FIELDS}
SET_MAP: Mapping[str, type | Mapping[str, type]] = {**DELETE_MAP, "Value": object, "ContentType": str}


def _store(call: Call) -> Store:
    return call.blocks.state.store(call.app, call.params[0])


# --- one key
def get(call: Call) -> Answer:
    store = _store(call)
    try:
        return _found(store.get_now(call.params[1]))
    except Wait:
        return _get_later(store, call.params[1])


async def _get_later(store: Store, key: str) -> Response:
    return _found(await store.get(key))


def _found(item: StateItem | None) -> Response:
    if item is None:
        return Response(204)
    headers = [answers.JSON]
    if item.etag is not None:
        headers.append(("etag", item.etag))
    if item.metadata:
        headers += answers.metadata_headers(item.metadata)
    return Response(200, headers, item.data)


async def delete(call: Call) -> Response:
    store, key = _store(call), call.params[1]
    concurrency, consistency = call.argument("concurrency") or "", call.argument("consistency") or ""
    etag = call.request.headers.get("if-match")
    await store.delete(DeleteItem(key, etag or None, concurrency, consistency, call.metadata()))
    return Response(204)


# --- many keys
async def save(call: Call) -> Response:
    store = _store(call)
    try:
        value = decode_marked(await call.body())
        requests = [] if value is None else SET_REQUESTS(value, "")
    except (JsonError, BodyTooLarge) as error:
        raise EdgeError(errors.MALFORMED_REQUEST, message=str(error)) from None
    extra = call.metadata() if call.query else None
    write = _value if store.encrypted else encode
    items = [_set_item(request, extra, write) for request in requests]
    if items:
        await store.save(items)
    return Response(204)


def _value(value: Any) -> bytes:
    """What daprd puts into an encrypted store for a JSON value: its text as Go prints it, no JSON any more."""
    return gostruct.printed(value).encode()


def _set_item(request: dict[str, Any], extra: Mapping[str, str] | None, write: Callable[[Any], bytes]) -> SetItem:
    key = request.get("key")
    if not key:
        raise EdgeError(errors.MALFORMED_REQUEST, message='"key" is a required field')
    options = request.get("options") or {}
    metadata = request.get("metadata") or {}
    return SetItem(
        key,
        write(request.get("value")),
        True,
        request.get("etag"),
        options.get("Concurrency", ""),
        options.get("Consistency", ""),
        {**metadata, **extra} if extra else metadata,
    )


async def get_many(call: Call) -> Response:
    store = _store(call)
    request = await _struct(call, BULK_REQUEST)
    keys = request.get("keys")
    if not keys:
        return answers.data(b"[]\n")
    items = await store.get_many(keys, request.get("parallelism", 0))
    items += [BulkItem("")] * (len(keys) - len(items))  # as daprd: as many as were asked for
    try:
        return answers.data(b"[" + b",".join([_bulk_item(item) for item in items]) + b"]\n")
    except JsonError:
        return answers.data(b"")  # as daprd: a value that is no JSON leaves nothing of the list


def _bulk_item(item: BulkItem) -> bytes:
    """Raises JsonError."""
    found: dict[str, Any] = {"key": item.key}
    if item.data and not item.error:
        found["data"] = orjson.Fragment(compact(item.data))
    if item.etag is not None:
        found["etag"] = item.etag
    if item.metadata:
        found["metadata"] = dict(sorted(item.metadata.items()))
    if item.error:
        found["error"] = item.error
    return escape(orjson.dumps(found))


def compact(data: bytes) -> bytes:
    """JSON text without white space, keys in their order. Raises JsonError."""
    parse(data)
    return gojson.compact(data)


# --- transactions
async def transact(call: Call) -> Response:
    store = _store(call)
    store.check_transactional()
    request = await _struct(call, TRANSACTION)
    operations = request.get("operations")
    if not operations:
        return Response(204)
    extra = call.metadata()
    items = [_operation(store, operation, extra) for operation in operations]
    await store.transact(items, {**request.get("metadata", {}), **extra}, call.trace.metadata())
    return Response(204)


def _operation(store: Store, operation: dict[str, Any], extra: Mapping[str, str]) -> SetItem | DeleteItem:
    kind = operation.get("operation", "")
    if kind not in ("upsert", "delete"):
        raise EdgeError(errors.STATE_OPERATION, operation=kind)
    try:
        request = gostruct.from_map(operation.get("request"), SET_MAP if kind == "upsert" else DELETE_MAP)
    except MapError as error:
        raise EdgeError(errors.MALFORMED_REQUEST, error=error) from None
    key, options = request.get("Key", ""), request.get("Options", {})
    if "||" in key:
        refused = store.illegal_key(key)
        refused.violations = (replace(refused.violations[0], field=""),)  # here daprd has lost the key already
        raise refused
    metadata = {**request.get("Metadata", {}), **extra}
    etag, concurrency, consistency = request.get("ETag"), options.get("Concurrency", ""), options.get("Consistency", "")
    if kind == "delete":
        return DeleteItem(key, etag, concurrency, consistency, metadata)
    write = _value if store.encrypted else encode
    return SetItem(key, write(request.get("Value")), True, etag, concurrency, consistency, metadata, request.get("ContentType", ""))


# --- query (alpha)
async def query(call: Call) -> Response:
    try:
        store = _store(call)
    except EdgeError as error:
        error.info = None  # as daprd's query has it
        raise
    store.check_queryable()
    try:
        body = await call.body()
    except BodyTooLarge as error:
        raise EdgeError(errors.BODY_READ, error=error) from None
    return _results(await store.query(body, call.metadata()))


def _results(found: QueryResult) -> Response:
    if not found.items:
        return Response(204)
    results = []
    for item in found.items:
        one: dict[str, Any] = {"key": item.key, "data": orjson.Fragment(compact(item.data or b"null"))}
        if item.etag:
            one["etag"] = item.etag
        if item.error:
            one["error"] = item.error
        results.append(one)
    body: dict[str, Any] = {"results": results}
    if found.token:
        body["token"] = found.token
    if found.metadata:
        body["metadata"] = dict(found.metadata)
    return answers.json(body)


async def _struct(call: Call, struct: Struct) -> dict[str, Any]:
    value = await call.json()
    try:
        return struct(value)
    except JsonError as error:
        raise EdgeError(errors.MALFORMED_REQUEST, error=error) from None


ROUTES = [
    Route(("GET",), "/v1.0/state/{store}/{key}", get, "state", "GetState"),
    Route(("POST", "PUT"), "/v1.0/state/{store}", save, "state", "SaveState"),
    Route(("DELETE",), "/v1.0/state/{store}/{key}", delete, "state", "DeleteState"),
    Route(("POST", "PUT"), "/v1.0/state/{store}/bulk", get_many, "state", "GetBulkState"),
    Route(("POST", "PUT"), "/v1.0/state/{store}/transaction", transact, "state", "ExecuteStateTransaction"),
    Route(("POST", "PUT"), "/v1.0-alpha1/state/{store}/query", query, "state", "QueryStateAlpha1"),
]
