"""Secret routes (http-api.md §9)."""

from __future__ import annotations

from edge.api.http.answers import empty, sorted_json
from edge.api.http.call import Call
from edge.api.http.router import Route
from edge.http1.messages import Response


async def get(call: Call) -> Response:
    store, key = call.params
    found = await call.blocks.secrets.get(call.app, store, key, call.metadata())
    return sorted_json(found) if found else empty()


async def get_all(call: Call) -> Response:
    return sorted_json(await call.blocks.secrets.get_all(call.app, call.params[0], call.metadata()))


ROUTES = [
    Route(("GET",), "/v1.0/secrets/{store}/bulk", get_all, "secrets", "GetBulkSecret"),
    Route(("GET",), "/v1.0/secrets/{store}/{key}", get, "secrets", "GetSecret"),
]
