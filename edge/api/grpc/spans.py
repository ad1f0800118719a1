"""Spans of an app's gRPC API calls, named and described as daprd's. Imported with tracing.

Source: dapr pkg/diagnostics/grpc_tracing.go, pkg/proto/runtime/v1/dapr_tracing.go @1.18.3.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edge.api.grpc import rpcs
from edge.api.grpc.context import Context, trace_field
from edge.rpc.call import Call as WireCall
from edge.telemetry.spans import Tracer

DATABASES = {
    "GetStateRequest": ("state", "store_name"),
    "SaveStateRequest": ("state", "store_name"),
    "DeleteStateRequest": ("state", "store_name"),
    "GetSecretRequest": ("secrets", "store_name"),
    "InvokeBindingRequest": ("bindings", "name"),
}
PUBLISHED = ("PublishEventRequest", "BulkPublishRequest")


def begin(tracer: Tracer, wire: WireCall, context: Context) -> Context:
    """The call has a span from now on; the context that goes on from it."""
    start = tracer.server if wire.path.startswith(rpcs.TASK_HUB) else tracer.client
    span = wire.span = start(wire.path, context.traceparent, context.tracestate)
    if wire.path != rpcs.INVOKE and wire.path.startswith(rpcs.TRACED):
        wire.late = (trace_field(span.traceparent),)
    return replace(context, traceparent=span.traceparent, tracestate=span.state)


def asked(wire: WireCall, request: Any) -> None:
    """What the request says of the call."""
    span = wire.span
    if not span.sampled:
        return
    kind = request.DESCRIPTOR.name
    if kind in DATABASES:
        system, field = DATABASES[kind]
        name = getattr(request, field)
        span.describe({"rpc.service": "Dapr", "db.name": name, "db.system": system, "db.statement": wire.path})
        span.describe({"db.connection_string": system})
    elif kind in PUBLISHED:
        span.describe({"rpc.service": "Dapr", "messaging.system": "pubsub", "messaging.destination.name": request.topic})
    elif kind == "InvokeServiceRequest":
        span.name = f"CallLocal/{request.id}/{request.message.method}"
        span.describe({"rpc.service": "ServiceInvocation", "net.peer.name": request.id})
    elif kind.startswith("ConversationRequest"):
        span.describe({"rpc.system": request.name})


def end(wire: WireCall, code: int) -> None:
    """The call is over."""
    span = wire.span
    if span is None or not span.sampled:
        return
    sent = ((name, value) for name, value in wire.metadata() if name.startswith("dapr-") and not name.endswith("-bin"))
    span.describe({name: value for name, value in sent if name != "dapr-api-token"})
    span.describe({"dapr.protocol": "grpc", "dapr.api": wire.path})
    if code:
        span.fail(wire.problem)
    span.end()
