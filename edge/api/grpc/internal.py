"""The internal port of one app: what other sidecars call. Invocation of the app, its actors, and gRPC calls passed on to it.

Source: dapr pkg/api/grpc/daprinternal.go @1.18.3.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from google.protobuf.message import DecodeError

from edge import errors
from edge.actor import REENTRANCY_HEADER, ActorCall, ActorTick
from edge.api.grpc.context import read
from edge.api.grpc.errors import render
from edge.app import App, AppUnavailable
from edge.blocks import Blocks
from edge.blocks.invoke import InvokeFailed
from edge.blocks.traced import taken_actor
from edge.errors import EdgeError, Grpc
from edge.identity.spiffe import Identity
from edge.mesh.messages import pieces, response_message, to_request
from edge.mesh.sidecars import Mesh
from edge.model import InvokeRequest
from edge.rpc.call import Call, Method
from edge.rpc.pb import internals_pb2, wrappers_pb2
from edge.rpc.proxy import forward
from edge.rpc.server import LIMITS, Server, Service
from edge.rpc.status import RpcError, metadata
from edge.rpc.stream_call import StreamCall
from edge.rpc.unary_call import UnaryCall
from edge.telemetry import rpcs

SERVICE = "/dapr.proto.internals.v1.ServiceInvocation/"
NOT_PROTOBUF = "grpc: error unmarshalling request: proto:\u00a0cannot parse invalid wire-format data"
PARSING = "parsing InternalInvokeRequest error: "
NO_FIELDS = "request does not contain the required fields in the leading chunk"
NOT_PASSED = frozenset((":authority", "content-type", "user-agent", "dapr-api-token", "dapr-app-id", "grpc-accept-encoding"))
PROBE = 0.2  # seconds; net/http waits as long for a first byte before it says that there is a body


Peer = Callable[[Call], Identity | None]
"""Who is on the other end of a call's connection, None without a certificate."""


def make_internal_server(app: App, blocks: Blocks, mesh: Mesh, peer: Peer) -> Server:
    """The server behind an app's internal port."""
    face = InternalFace(app, blocks, mesh, peer)
    limit = app.max_body_bytes
    service = Service(
        face.methods(), unknown=face.proxied, render=render, max_receive=limit, max_send=limit, room=blocks.room, done=_counted(app)
    )
    return Server(service, LIMITS.with_header_list(4 << 20))


def _counted(app: App) -> Callable[[Call, int], None] | None:
    if app.metrics is None:
        return None
    came, went = rpcs.server(app.metrics), rpcs.outgoing(app.metrics)

    def done(wire: Call, code: int) -> None:
        if isinstance(wire, UnaryCall):
            came.unary(wire.path, code, wire.received, wire.sent, wire.began)
        elif rpcs.passed_on(wire):
            went.stream(wire.path, code, wire.began)

    return done


class InternalFace:
    """The service ServiceInvocation of one app."""

    def __init__(self, app: App, blocks: Blocks, mesh: Mesh, peer: Peer) -> None:
        self._app, self._blocks, self._mesh, self._peer = app, blocks, mesh, peer

    def methods(self) -> dict[str, Method]:
        """By full path."""
        return {
            f"{SERVICE}CallLocal": Method(unary=self._call_local),
            f"{SERVICE}CallLocalStream": Method(stream=self._call_local_stream),
            f"{SERVICE}CallActor": Method(unary=self._call_actor),
            f"{SERVICE}CallActorStream": Method(stream=self._call_actor_stream),
            f"{SERVICE}CallActorReminder": Method(unary=self._call_actor_reminder),
        }

    # --- invocation
    async def _call_local(self, wire: UnaryCall, data: bytes) -> bytes:
        message = _parsed(internals_pb2.InternalInvokeRequest, data)
        if not message.HasField("message"):
            raise RpcError(Grpc.INVALID_ARGUMENT, f"{PARSING}Message field is nil")
        answer = await self._deliver(wire, to_request(message))
        response = response_message(answer)
        body = answer.body if isinstance(answer.body, bytes) else b"".join([piece async for piece in answer.body])
        response.message.data.value = _body(answer, body)
        return bytes(response.SerializeToString())

    async def _call_local_stream(self, wire: StreamCall) -> None:
        if self._app.channel is None:
            raise RpcError(Grpc.INTERNAL, "app channel is not initialized")
        data = await wire.receive()
        first = _parsed(internals_pb2.InternalInvokeRequestStream, data or b"")
        if not first.request.metadata or not first.request.HasField("message"):
            raise RpcError(Grpc.INVALID_ARGUMENT, PARSING + NO_FIELDS)
        answer = await self._deliver(wire, await _with_body(wire, first))
        chunk = internals_pb2.InternalInvokeResponseStream(response=response_message(answer))
        seq = 0
        if not isinstance(answer.body, bytes):  # it may take its time
            await wire.send(chunk.SerializeToString())
            chunk, seq = internals_pb2.InternalInvokeResponseStream(), 0
        try:
            async for piece in pieces(_body(answer, answer.body)):
                chunk.payload.data, chunk.payload.seq = piece, seq
                await wire.send(chunk.SerializeToString())
                chunk, seq = internals_pb2.InternalInvokeResponseStream(), seq + 1
        except OSError as error:  # the app broke off
            raise RpcError(Grpc.UNKNOWN, str(error)) from None
        if chunk.HasField("response"):
            await wire.send(chunk.SerializeToString())

    async def _deliver(self, wire: Call, request: InvokeRequest) -> Any:
        if self._app.tracer is not None:
            request = _traced(wire, request)
        try:
            return await self._mesh.deliver(self._app, self._peer(wire), request)
        except InvokeFailed as error:
            raise RpcError(error.code, error.text) from None

    # --- gRPC calls of the app's own services
    async def proxied(self, wire: StreamCall) -> None:
        """Hand a call on to the app."""
        try:
            found = self._mesh.hosted_target(self._app, self._peer(wire), wire.path)
        except InvokeFailed as error:
            raise RpcError(error.code, error.text) from None
        except AppUnavailable as error:
            raise RpcError(Grpc.UNKNOWN, str(error)) from None
        passed = [field for field in metadata(wire.head.fields) if field[0] not in NOT_PASSED]
        await forward(wire, found.channel, wire.path, [*passed, *found.metadata])

    # --- actors
    async def _call_actor(self, wire: UnaryCall, data: bytes) -> bytes:
        return bytes((await self._actor(wire, _parsed(internals_pb2.InternalInvokeRequest, data))).SerializeToString())

    async def _call_actor_stream(self, wire: StreamCall) -> None:
        data = await wire.receive()
        await wire.send((await self._actor(wire, _parsed(internals_pb2.InternalInvokeRequest, data or b""))).SerializeToString())

    async def _call_actor_reminder(self, wire: UnaryCall, data: bytes) -> bytes:
        message = _parsed(internals_pb2.Reminder, data)
        given = wrappers_pb2.BytesValue.FromString(message.data.value).value if message.HasField("data") else None
        tick = ActorTick(message.actor_type, message.actor_id, message.name, given, message.due_time, message.period)
        await self._blocks.actors.take_reminder(self._app, tick)
        return b""

    async def _actor(self, wire: Call, message: Any) -> Any:
        if self._blocks.actors is None:
            raise EdgeError(errors.ACTOR_INVOKE, error="the actor runtime is disabled")
        asked = to_request(message)
        if self._app.tracer is not None:
            asked = _traced(wire, asked)
        assert isinstance(asked.body, bytes)
        headers, actor = tuple(asked.headers), message.actor
        stack = next((value for name, value in headers if name == REENTRANCY_HEADER), "")
        call = ActorCall(actor.actor_type, actor.actor_id, asked.path, asked.body, asked.query, headers, asked.content_type, stack)
        answer = await taken_actor(self._app, call, partial(self._blocks.actors.take, self._app))
        response = response_message(answer)
        response.message.data.value = answer.body
        return response


def _traced(wire: Call, request: InvokeRequest) -> InvokeRequest:
    """The call's own metadata say from which span it comes; in the request lies what the app's caller sent."""
    context = read(wire.head, b"")
    if not context.traceparent:
        return request
    state = [("tracestate", context.tracestate)] if context.tracestate else []
    replaced = {"traceparent", "grpc-trace-bin", *(name for name, _ in state)}
    kept = [field for field in request.headers if field[0] not in replaced]
    return replace(request, headers=[*kept, ("traceparent", context.traceparent), *state])


def _parsed(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise RpcError(Grpc.INTERNAL, NOT_PROTOBUF) from None


def _body(answer: Any, body: Any) -> Any:
    """A gRPC app's error is its status: there is no data."""
    failed = answer.grpc_status is not None and answer.grpc_status[0] != Grpc.OK
    return b"" if failed else body


async def _with_body(wire: StreamCall, first: Any) -> InvokeRequest:
    """The request with its body: bytes where they are all here, else as they come."""
    request = to_request(first.request)
    body: bytes = first.payload.data
    length = next((value for name, value in request.headers if name == "content-length"), None)
    if length is not None and length == str(len(body)):
        return replace(request, body=body)
    pieces = _Incoming(wire, first)
    if length is None and not body:
        await pieces.probe()
        if pieces.ended:
            return replace(request, body=b"")
    known = int(length) if length is not None and length.isdecimal() else None
    return replace(request, body=pieces.iterate(), length=known)


class _Incoming:
    """The request's body as it comes. Raises ConnectionError when it breaks off or its pieces are not in order."""

    def __init__(self, wire: StreamCall, first: Any) -> None:
        self._wire, self._next, self._seq = wire, first, 0
        self._reading: asyncio.Task[bytes | None] | None = None
        self.ended = False

    async def probe(self) -> None:
        """Wait a moment for what comes, or the end."""
        self._reading = asyncio.create_task(self._wire.receive(), name="invoke.probe")
        done, _ = await asyncio.wait((self._reading,), timeout=PROBE)
        self.ended = bool(done) and self._reading.exception() is None and self._reading.result() is None

    async def iterate(self) -> AsyncIterator[bytes]:
        """The pieces."""
        chunk = self._next
        while chunk is not None:
            if chunk.HasField("payload"):
                if chunk.payload.seq != self._seq:
                    raise ConnectionError(f"invalid sequence number received: {chunk.payload.seq} (expected: {self._seq})")
                self._seq += 1
                if chunk.payload.data:
                    yield chunk.payload.data
            chunk = await self._more()

    async def _more(self) -> Any:
        reading, self._reading = self._reading, None
        try:
            data = await (self._wire.receive() if reading is None else reading)
        except RpcError as error:
            raise ConnectionError(f"error receiving message: {error.message}") from None
        if data is None:
            return None
        chunk = internals_pb2.InternalInvokeRequestStream.FromString(data)
        if chunk.request.metadata or chunk.request.HasField("message"):
            raise ConnectionError("request metadata found in non-leading chunk")
        return chunk
