"""Calls for other apps: whatever service nobody here has is passed on by metadata, raw bytes both ways (grpc-api.md §16)."""

from __future__ import annotations

from edge.api.grpc.call import Call, RpcError
from edge.api.grpc.rpcs import TRACED
from edge.app import AppUnavailable
from edge.blocks.invoke import InvokeFailed
from edge.errors import Grpc
from edge.received import NO_TRACE
from edge.rpc.proxy import forward as pass_on
from edge.rpc.proxy import forward_guarded as pass_on_guarded
from edge.rpc.status import Undecoded, metadata
from edge.rpc.stream_call import StreamCall

CALLEE, APP_ID = "dapr-callee-app-id", "dapr-app-id"
TOKEN = "dapr-api-token"
NO_TARGET = "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"
UNKNOWN_METHOD = "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found"
STAMPED = frozenset((CALLEE, "dapr-caller-app-id"))
TRUE = frozenset(("1", "t", "true", "y", "yes", "on"))
NOT_PASSED = frozenset((":authority", "content-type", "user-agent", TOKEN, APP_ID, "grpc-accept-encoding"))


def names_app(call: Call) -> bool:
    """The caller says which app the call is for."""
    return any(name in (CALLEE, APP_ID) for name, _ in call.metadata)


async def forward(call: Call, wire: StreamCall, *, traced: bool = True) -> None:
    """Serve the call by the app that its metadata name. Raises RpcError; texts are daprd's, whose tracing says the first of two."""
    if wire.path.count("/") < 2:
        raise Undecoded(Grpc.UNIMPLEMENTED, f'malformed method name: "{wire.path}"')
    if not names_app(call):
        raise RpcError(Grpc.UNKNOWN, NO_TARGET if traced and not wire.path.startswith(TRACED) else UNKNOWN_METHOD)
    names = dict(reversed([(name, value) for name, value in call.metadata if isinstance(value, str)]))
    target = names.get(CALLEE) or names.get(APP_ID, "")
    try:
        found = await call.blocks.invoke.grpc_target(call.app, target, wire.path)
    except InvokeFailed as error:
        raise RpcError(error.code, error.text) from error
    except AppUnavailable as error:
        raise RpcError(Grpc.UNKNOWN, str(error)) from error
    passed = [field for field in metadata(wire.head.fields) if field[0] not in NOT_PASSED]
    if not found.local:
        passed = [field for field in passed if field[0] not in STAMPED]
        if not call.traceparent:
            passed.append(("traceparent", NO_TRACE))
    if wire.span is not None:
        passed = [field for field in passed if field[0] not in ("traceparent", "grpc-trace-bin")]
        passed.append(("traceparent", call.traceparent))
    fields = [*passed, *found.metadata]
    if found.policy is None:
        return await pass_on(wire, found.channel, wire.path, fields)
    stream = names.get("dapr-stream", "").lower() in TRUE
    await pass_on_guarded(wire, found.channel, wire.path, fields, found.policy, stream=stream)
