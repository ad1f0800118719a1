"""Calls of apps behind other sidecars, over their internal gRPC port. protobuf and HTTP/2 come with this module.

Source: dapr pkg/messaging/direct_messaging.go @1.18.3; differs: the answer may begin while the request is still being sent.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Self

from edge.app import App, AppUnavailable
from edge.blocks.invoke import InvokeFailed
from edge.errors import Grpc
from edge.http1.messages import BodyTooLarge
from edge.mesh.messages import pieces, request_message, to_response
from edge.model import Address, InvokeRequest, InvokeResponse
from edge.rpc.client import Channel, StreamReply, Target
from edge.rpc.connection import Limits
from edge.rpc.pb import internals_pb2
from edge.rpc.reply import Refused
from edge.rpc.status import RpcError
from edge.telemetry.rpcs import client

if TYPE_CHECKING:
    import ssl

SERVICE = "/dapr.proto.internals.v1.ServiceInvocation/"
CALL_LOCAL, CALL_LOCAL_STREAM = f"{SERVICE}CallLocal", f"{SERVICE}CallLocalStream"
MOST_CHANNELS = 128
LINGER = 60.0
FIRST_ERROR = 400
ALIVE = Limits()  # with keep-alive pings: a link that was cut is noticed within 15 s, as by daprd
NO_STATUS = "response does not contain the required fields in the leading chunk"

Secure = Callable[[App], "ssl.SSLContext | None"]
"""How an app of this daemon speaks to other sidecars; None = in the clear. Raises AppUnavailable while it has no certificate."""


class Remotes:
    """Connections to other sidecars, one for each caller, address and app; they open when they are needed."""

    def __init__(self, secure: Secure | None = None) -> None:
        self._secure = secure
        self._channels: OrderedDict[tuple[str, str, str], Channel] = OrderedDict()
        self._contexts: dict[tuple[str, str, str], Any] = {}

    async def channel(self, app: App, address: Address, app_id: str, namespace: str) -> Channel:
        """The connection for `app`'s calls of an app behind the sidecar at `address`."""
        key = (app.id, f"{address.host}:{address.port}", f"{namespace}.{app_id}")
        context = self._secure(app) if self._secure is not None else None
        found = self._channels.get(key)
        if found is None or self._contexts.get(key) is not context:
            if found is not None:  # it was opened with a certificate of before; what is under way may end
                asyncio.get_running_loop().call_later(LINGER, found.abandon)
            check = _expecting(namespace, app_id) if context is not None else None
            target = Target(address.host, address.port, tls=context, check=check)
            limit = app.max_body_bytes
            found = self._channels[key] = Channel(target, max_receive=limit, max_send=limit, limits=ALIVE)
            found.told = client(app.metrics)
            self._contexts[key] = context
            while len(self._channels) > MOST_CHANNELS:
                old, channel = self._channels.popitem(last=False)
                self._contexts.pop(old, None)
                await channel.close()
        self._channels.move_to_end(key)
        return found

    async def close(self) -> None:
        """End all connections."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()


def _expecting(namespace: str, app_id: str) -> Callable[[asyncio.BaseTransport], None]:
    from edge.identity.credentials import check_peer  # only with mTLS

    return lambda transport: check_peer(transport, namespace, app_id)


async def call(channel: Channel, request: InvokeRequest) -> InvokeResponse:
    """Invoke the app behind that sidecar. Raises InvokeFailed with the sidecar's status, AppUnavailable."""
    message = request_message(request)
    try:
        reply = await channel.stream(CALL_LOCAL_STREAM, [field for field in request.headers if field[0] in ("traceparent", "tracestate")])
    except RpcError as error:
        raise InvokeFailed(error.code, error.message) from None
    sending = asyncio.create_task(_send(reply, message, request.body), name="invoke.send")
    sending.add_done_callback(_seen)
    try:
        first = await _first(reply, sending)
    except InvokeFailed as error:
        if error.code == Grpc.UNIMPLEMENTED and isinstance(request.body, bytes):
            return await _unary(channel, message, request)
        raise
    except BaseException:
        sending.cancel()
        reply.cancel()
        raise
    if not first.response.HasField("status"):
        sending.cancel()
        reply.cancel()
        raise AppUnavailable(NO_STATUS, sent=True)
    answer = to_response(first.response, grpc=request.grpc)
    body = _Body(reply, sending, first)
    if answer.body:
        await body.aclose()
        return answer
    answer.body = await _whole(body, answer.status) if reply.over or request.grpc else body
    return answer


async def _whole(body: AsyncIterator[bytes], status: int) -> bytes:
    """All of it. The app was called, so an answer that breaks off is told once; of a failure what came is enough."""
    found: list[bytes] = []
    try:
        async for piece in body:
            found += (piece,)
    except ConnectionError as error:
        if status < FIRST_ERROR:
            raise AppUnavailable(str(error), sent=True) from None
    return b"".join(found)


async def _first(reply: StreamReply, sending: asyncio.Task[None]) -> Any:
    """The leading message. What the request's own body raised counts before the status."""
    try:
        data = await reply.receive()
    except (RpcError, Refused) as error:
        if sending.done() and not sending.cancelled() and (broken := sending.exception()) is not None:
            raise AppUnavailable(str(broken), sent=True) from None
        sending.cancel()
        if isinstance(error, RpcError):
            raise InvokeFailed(error.code, error.message) from None
        raise InvokeFailed(Grpc.UNAVAILABLE, "the connection is draining") from None
    if data is None:
        raise AppUnavailable("EOF", sent=True)
    return internals_pb2.InternalInvokeResponseStream.FromString(data)


async def _unary(channel: Channel, message: Any, request: InvokeRequest) -> InvokeResponse:
    """For sidecars of before Dapr 1.10."""
    message.message.data.value = request.body
    try:
        answer = await channel.unary(CALL_LOCAL, message.SerializeToString())
    except RpcError as error:
        raise InvokeFailed(error.code, error.message) from None
    return to_response(internals_pb2.InternalInvokeResponse.FromString(answer.message), grpc=request.grpc)


async def _send(reply: StreamReply, message: Any, body: bytes | AsyncIterator[bytes]) -> None:
    """The request in pieces; what the body raises ends the call."""
    chunk = internals_pb2.InternalInvokeRequestStream(request=message)
    seq = 0
    try:
        async for piece in pieces(body):
            chunk.payload.data, chunk.payload.seq = piece, seq
            await reply.send(chunk.SerializeToString())
            chunk, seq = internals_pb2.InternalInvokeRequestStream(), seq + 1
        if seq == 0:
            await reply.send(chunk.SerializeToString())
        reply.half_close()
    except (OSError, BodyTooLarge, RpcError):
        reply.cancel()
        raise


def _seen(sending: asyncio.Task[None]) -> None:
    """Its failure is told by the answer."""
    if not sending.cancelled():
        sending.exception()


class _Body:
    """The answer's body as it comes; given up, it ends the call."""

    def __init__(self, reply: StreamReply, sending: asyncio.Task[None], first: Any) -> None:
        self._reply, self._sending, self._chunk, self._seq = reply, sending, first, 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._next()
        except BaseException:
            await self.aclose()
            raise

    async def _next(self) -> bytes:
        while True:
            chunk, self._chunk = self._chunk, None
            if chunk is not None and chunk.HasField("payload"):
                if chunk.payload.seq != self._seq:
                    raise ConnectionError(f"invalid sequence number received: {chunk.payload.seq} (expected: {self._seq})")
                self._seq += 1
                if chunk.payload.data:
                    data: bytes = chunk.payload.data
                    return data
            self._chunk = await self._more()
            if self._chunk is None:
                raise StopAsyncIteration

    async def _more(self) -> Any:
        try:
            data = await self._reply.receive()
        except RpcError as error:
            raise ConnectionError(f"error receiving message: {error.message}") from None
        return None if data is None else internals_pb2.InternalInvokeResponseStream.FromString(data)

    async def aclose(self) -> None:
        """Give up on the rest."""
        self._sending.cancel()
        self._reply.cancel()

    def __del__(self) -> None:
        self._sending.cancel()
        self._reply.cancel()
