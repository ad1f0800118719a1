"""Spans of an app's HTTP API calls, named and described as daprd's. Imported with tracing.

Source: dapr pkg/diagnostics/http_tracing.go, pkg/api/http (AppendSpanAttributes) @1.18.3.
"""

from __future__ import annotations

from collections.abc import Awaitable
from urllib.parse import unquote

from edge.api.http.call import Answer, Call
from edge.api.http.invoke import find_target
from edge.api.http.trace import Trace
from edge.http1.messages import Response
from edge.telemetry.spans import Span, Tracer

DATABASES = {"state": "state", "secrets": "secrets", "bindings": "bindings"}


def begin(tracer: Tracer, path: str, context: Trace) -> tuple[Span, Trace]:
    """The call's span, and the context that goes on from it."""
    span = tracer.client(path, context.traceparent, context.tracestate)
    parent = span.traceparent
    fields = [("traceparent", parent)]
    if span.state:
        fields.append(("tracestate", span.state))
    if context.baggage:
        fields.append(("baggage", context.baggage))
    return span, Trace(parent, span.state, context.baggage, tuple(fields))


def ending(span: Span, call: Call, answer: Answer) -> Answer:
    """The same answer; the span ends with it."""
    if not span.sampled:
        return answer
    if isinstance(answer, Response):
        _end(span, call, answer)
        return answer
    return _later(span, call, answer)


async def _later(span: Span, call: Call, answer: Awaitable[Response]) -> Response:
    try:
        response = await answer
    except BaseException:
        span.fail("the caller is gone")
        span.end()
        raise
    _end(span, call, response)
    return response


def _end(span: Span, call: Call, response: Response) -> None:
    if (peer := call.request.peer) is not None:
        span.describe({"server.address": peer[0], "server.port": str(peer[1])})
    span.describe({name: value for name, value in call.request.headers if name.startswith("dapr-") and name != "dapr-api-token"})
    _describe(span, call)
    span.describe(
        {
            "dapr.protocol": "http",
            "dapr.api": f"{call.method} {call.path}",
            "dapr.status_code": str(response.status),
            "http.request.method": call.method,
            "url.full": f"{call.raw_path}?{call.query}" if call.query else call.raw_path,
        },
    )
    span.answered(response.status)
    span.end()


def _describe(span: Span, call: Call) -> None:
    route, params = call.route, call.params
    group = route.group if route is not None else ""
    if system := DATABASES.get(group):
        _database(span, call, system, params[0])
    elif group == "publish":
        span.describe({"messaging.system": "pubsub"})  # daprd does not know the topic of a path
    elif group == "actors":
        _actor(span, call, route.name if route is not None else "")
    elif group == "invoke":
        app, method = find_target(unquote(call.raw_path, errors="surrogateescape"), call.request.headers)
        if app:
            span.name = f"CallLocal/{app}/{method}"
            span.describe({"rpc.service": "ServiceInvocation", "net.peer.name": app})


def _database(span: Span, call: Call, system: str, name: str) -> None:
    statement = f"{call.method} {call.path}"
    span.describe({"db.system": system, "db.connection_string": system, "db.statement": statement, "db.name": name})


def _actor(span: Span, call: Call, operation: str) -> None:
    type_, id_ = call.params[:2]
    span.describe({"dapr.actor": f"{type_}.{id_}"})
    if operation.endswith(("ActorState", "ActorStateTransaction")):
        _database(span, call, "state", "actor")
    elif operation == "InvokeActor":
        span.name = f"CallActor/{type_}/{call.params[2]}"
        span.describe({"rpc.service": "ServiceInvocation", "net.peer.name": f"{type_}.{id_}"})
    else:
        span.name = f"{operation}/{type_}"
