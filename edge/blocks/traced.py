"""Spans around what the runtime does for an app: events and bindings that it hands over, calls of other sidecars that it takes.

Source: dapr pkg/diagnostics/tracing.go (StartInternalCallbackSpan), pkg/runtime/subscription/postman @1.18.3.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from edge.app import App, AppRefused, Delivery
from edge.errors import go_name
from edge.model import BindingEvent, InvokeRequest, InvokeResponse, TopicEvent
from edge.received import traceparent

if TYPE_CHECKING:
    from edge.telemetry.spans import Span, Tracer

T = TypeVar("T")
FIRST_HTTP = 100
TRACE_FIELDS = frozenset(("traceparent", "grpc-trace-bin"))


def event_span(tracer: Tracer, event: TopicEvent) -> tuple[Span | None, TopicEvent]:
    """The span of an event's delivery, and the event that carries it; none for events that say nothing of a trace."""
    about = event.event.get("traceparent", event.event.get("traceid"))
    if not isinstance(about, str):
        return None, event
    span = tracer.client(f"pubsub/{event.topic}", traceparent(about))
    span.describe({"messaging.system": "pubsub", "messaging.destination.name": event.topic})
    return span, replace(event, traceparent=span.traceparent)


def delivered(span: Span | None, delivery: Delivery) -> None:
    """The app's verdict ends it."""
    if span is None:
        return
    if delivery.code >= FIRST_HTTP:
        span.answered(delivery.code)
    elif delivery.code or delivery.reason:
        span.fail(delivery.reason or go_name(delivery.code))
    span.end()


async def binding(app: App, name: str, event: BindingEvent, call: Callable[[BindingEvent], Awaitable[T]]) -> T:
    """Hand over what a binding read."""
    if app.tracer is None:
        return await call(event)
    parent = traceparent(event.metadata.get("traceparent", ""))
    span = app.tracer.client(f"bindings/{name}", parent)
    http = app.protocol not in ("grpc", "grpcs")
    where = f"POST /{name}" if http else "/dapr.proto.runtime.v1.AppCallback/OnBindingEvent"
    span.describe({"db.name": name, "rpc.service": "Dapr", "db.system": "bindings", "db.connection_string": where})
    try:
        return await call(replace(event, traceparent=span.traceparent))
    except AppRefused as error:
        span.answered(error.code) if http else span.fail(str(error))
        raise
    except Exception as error:
        span.fail(str(error))
        raise
    finally:
        span.end()


async def taken(callee: App, request: InvokeRequest, call: Callable[[InvokeRequest], Awaitable[InvokeResponse]]) -> InvokeResponse:
    """Take a call of another app: a server span, which the app is told of."""
    if callee.tracer is None:
        return await call(request)
    given = dict(reversed(list(request.headers)))
    parent, state = traceparent(given.get("traceparent", "")), given.get("tracestate", "")
    span = callee.tracer.server(f"CallLocal/{callee.id}/{request.path}", parent, state)
    span.describe({"rpc.service": "ServiceInvocation", "dapr.invoke_method": request.path, "dapr.protocol": "grpc"})
    span.describe({"dapr.api": "/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream"})
    kept = [field for field in request.headers if field[0] not in TRACE_FIELDS]
    try:
        return await call(replace(request, headers=[*kept, ("traceparent", span.traceparent)]))
    except Exception as error:
        span.fail(str(error))
        raise
    finally:
        span.end()
