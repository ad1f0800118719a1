"""The output binding route (http-api.md §6)."""

from __future__ import annotations

from edge import errors, gostruct
from edge.api.http import answers
from edge.api.http.call import Call
from edge.api.http.router import Route
from edge.api.http.trace import NO_TRACEPARENT
from edge.errors import EdgeError
from edge.gojson import encode
from edge.goscanner import JsonError
from edge.gostruct import Struct
from edge.http1.messages import Response

REQUEST = Struct("http.OutputBindingRequest", {"metadata": gostruct.text_map, "data": gostruct.anything, "operation": gostruct.text})


async def invoke(call: Call) -> Response:
    value = await call.json()
    try:
        request = REQUEST(value)
    except JsonError as error:
        raise EdgeError(errors.MALFORMED_REQUEST, error=error) from None
    metadata = {**request.get("metadata", {}), **_trace(call)}
    data = encode(request.get("data"))
    key = call.request.headers.get("idempotency-key", "")
    result = await call.blocks.bindings.invoke(call.app, call.params[0], request.get("operation", ""), data, metadata, key)
    if result is None:
        return Response(204)
    return answers.data(result.data, answers.metadata_headers(result.metadata))


def _trace(call: Call) -> dict[str, str]:
    """The trace context for the component: with a traceparent, unless tracing is off."""
    found = call.trace.metadata()
    if call.trace.headers:
        return {"traceparent": NO_TRACEPARENT, **found}
    return {name: value for name, value in found.items() if name == "baggage"}


ROUTES = [Route(("POST", "PUT"), "/v1.0/bindings/{name}", invoke, "bindings", "InvokeBinding")]
