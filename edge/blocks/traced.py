"""Spans around what the runtime does for an app: events and bindings that it hands over, calls of other sidecars that it takes.

Source: dapr pkg/diagnostics/tracing.go (StartInternalCallbackSpan), pkg/runtime/subscription/postman @1.18.3.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from edge.actor import ActorCall
from edge.app import App, AppRefused, Delivery
from edge.errors import go_name
from edge.model import BindingEvent, InvokeRequest, InvokeResponse, TopicEvent
from edge.received import traceparent

if TYPE_CHECKING:
    from edge.telemetry.spans import Span, Tracer

T = TypeVar("T")
FIRST_HTTP = 100
INTERNAL = "/dapr.proto.internals.v1.ServiceInvocation/"
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
    span, headers = _server(callee.tracer, f"CallLocal/{callee.id}/{request.path}", request.headers)
    span.describe({"dapr.invoke_method": request.path, "dapr.api": f"{INTERNAL}CallLocalStream"})
    return await _within(span, call(replace(request, headers=headers)))


async def taken_actor(callee: App, asked: ActorCall, call: Callable[[ActorCall], Awaitable[InvokeResponse]]) -> InvokeResponse:
    """The same for a call of an actor that another sidecar passed on."""
    if callee.tracer is None:
        return await call(asked)
    span, headers = _server(callee.tracer, f"CallActor/{asked.type}/{asked.method}", asked.headers)
    span.describe({"dapr.actor": f"{asked.type}.{asked.id}", "dapr.api": f"{INTERNAL}CallActor"})
    return await _within(span, call(replace(asked, headers=tuple(headers))))


def _server(tracer: Tracer, name: str, headers: Sequence[tuple[str, str]]) -> tuple[Span, list[tuple[str, str]]]:
    given = dict(reversed(list(headers)))
    span = tracer.server(name, traceparent(given.get("traceparent", "")), given.get("tracestate", ""))
    span.describe({"rpc.service": "ServiceInvocation", "dapr.protocol": "grpc"})
    return span, [*(field for field in headers if field[0] not in TRACE_FIELDS), ("traceparent", span.traceparent)]


async def _within(span: Span, work: Awaitable[T]) -> T:
    try:
        return await work
    except Exception as error:
        span.fail(str(error))
        raise
    finally:
        span.end()
