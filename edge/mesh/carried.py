"""Calls of apps whose sidecars a carrier reaches and no address: one message there, one back.

A message is a letter and Dapr's internal messages: `i` InternalInvokeRequest (an invocation), `g` the same with a gRPC method's path and
metadata (a call of the app's own service); back `a` InternalInvokeResponse, or `e` google.rpc.Status: the call did not reach the app.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from edge.app import App, AppUnavailable
from edge.blocks.invoke import InvokeFailed, buffered
from edge.component import Carrier
from edge.errors import ComponentError, Grpc, Invalid, NotFound, Unavailable
from edge.mesh.messages import request_message, response_message, to_request, to_response
from edge.model import InvokeRequest, InvokeResponse
from edge.rpc.hpack import Field
from edge.rpc.pb import common_pb2, internals_pb2, status_pb2
from edge.rpc.status import RpcError, format_timeout, parse_timeout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.mesh.sidecars import Mesh

INVOKE, RPC, ANSWER, REFUSAL = b"i", b"g", b"a", b"e"
TIMEOUT = "grpc-timeout"
TOKEN = "dapr-api-token"
NOT_UNDERSTOOD = "the other sidecar sent what is no message of a call; are both of one version?"
NO_STREAMS = "calls are carried one message there and one back; streams need a sidecar that can be reached by address"


# --- asking
async def call(carrier: Carrier, app: App, app_id: str, namespace: str, request: InvokeRequest) -> InvokeResponse:
    """Invoke the app. Raises InvokeFailed, AppUnavailable."""
    request = await buffered(app, request)
    message = request_message(request)
    message.message.data.value = request.body
    answer = await _asked(carrier, app_id, namespace, INVOKE + message.SerializeToString())
    return to_response(answer, grpc=request.grpc)


async def _asked(carrier: Carrier, app_id: str, namespace: str, data: bytes) -> Any:
    """InternalInvokeResponse. Only Unavailable says that nothing was sent, so only that is worth another try."""
    try:
        answer = await carrier.ask(app_id, namespace, data)
    except NotFound as error:
        raise AppUnavailable(str(error)) from None
    except TimeoutError as error:
        raise InvokeFailed(Grpc.DEADLINE_EXCEEDED, str(error)) from None
    except Unavailable as error:
        raise InvokeFailed(Grpc.UNAVAILABLE, str(error)) from None
    except Invalid as error:
        raise InvokeFailed(Grpc.RESOURCE_EXHAUSTED, str(error)) from None
    except ComponentError as error:
        raise InvokeFailed(Grpc.INTERNAL, str(error)) from None
    try:
        if answer[:1] == ANSWER:
            return internals_pb2.InternalInvokeResponse.FromString(answer[1:])
        status = status_pb2.Status.FromString(answer[1:])
    except DecodeError:
        raise InvokeFailed(Grpc.INTERNAL, NOT_UNDERSTOOD) from None
    raise InvokeFailed(status.code or Grpc.INTERNAL, status.message or NOT_UNDERSTOOD)


class CarriedChannel:
    """Calls of one app's own gRPC services. See edge.rpc.proxy.Onward."""

    def __init__(self, carrier: Carrier, app_id: str, namespace: str) -> None:
        self._to = carrier, app_id, namespace

    async def stream(self, path: str, metadata: Sequence[Field] = (), timeout: float | None = None) -> CarriedReply:
        """Nothing is sent before the caller's message is complete."""
        return CarriedReply(self, path, metadata, timeout)

    async def ask(self, path: str, message: bytes, metadata: Sequence[Field], timeout: float | None) -> Any:
        """InternalInvokeResponse with the app's status. Raises RpcError where the call did not reach it."""
        request = internals_pb2.InternalInvokeRequest(ver=internals_pb2.V1, message=common_pb2.InvokeRequest(method=path))
        request.message.data.value = message
        for name, value in metadata:
            request.metadata[name].values.append(value)
        if timeout is not None:
            request.metadata[TIMEOUT].values.append(format_timeout(timeout))
        try:
            async with asyncio.timeout(timeout):
                return await _asked(*self._to, RPC + request.SerializeToString())
        except TimeoutError:
            raise RpcError(Grpc.DEADLINE_EXCEEDED, "context deadline exceeded") from None
        except InvokeFailed as error:
            raise RpcError(error.code, error.text) from None
        except AppUnavailable as error:
            raise RpcError(Grpc.UNAVAILABLE, str(error)) from None


class CarriedReply:
    """One such call as edge.rpc.proxy drives it."""

    trailers: Sequence[Field] = ()

    def __init__(self, channel: CarriedChannel, path: str, metadata: Sequence[Field], timeout: float | None) -> None:
        self._channel, self._call = channel, (path, metadata, timeout)
        self._message: bytes | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answer: Any = None
        self._read = False

    @property
    def over(self) -> bool:
        """The status is here."""
        return self._answer is not None

    async def send(self, message: bytes) -> None:
        """The only message. Raises RpcError."""
        if self._message is not None:
            raise RpcError(Grpc.UNIMPLEMENTED, NO_STREAMS)
        self._message = message

    def half_close(self) -> None:
        """The call is complete and goes out."""
        if not self._ready.done():
            self._ready.set_result(None)

    def give_up(self, error: Exception) -> None:
        """The caller's side failed."""
        if not self._ready.done():
            self._ready.set_exception(error)

    def cancel(self) -> None:
        """Whoever waits for the answer was cancelled with the call."""
        self._ready.cancel()

    async def head(self) -> Sequence[Field]:
        """The app's first metadata. Raises RpcError where the call did not reach it."""
        await self._ready
        path, metadata, timeout = self._call
        self._answer = await self._channel.ask(path, self._message or b"", metadata, timeout)
        self.trailers = _fields(self._answer.trailers)
        return _fields(self._answer.headers)

    def __aiter__(self) -> CarriedReply:
        return self

    async def __anext__(self) -> bytes:
        status = self._answer.status
        if status.code:
            details = self._answer.status.SerializeToString() if status.details else b""
            raise RpcError(status.code, status.message, details, self.trailers, _fields(self._answer.headers))
        if self._read:
            raise StopAsyncIteration
        self._read = True
        data: bytes = self._answer.message.data.value
        return data


# --- answering
async def answered(mesh: Mesh, app: App, data: bytes) -> bytes:
    """What a hosted app says to a call that was carried here. Who calls is not known, as without mTLS."""
    try:
        if data[:1] == INVOKE:
            answer = await _invoked(mesh, app, internals_pb2.InternalInvokeRequest.FromString(data[1:]))
        elif data[:1] == RPC:
            answer = await _passed_on(mesh, app, internals_pb2.InternalInvokeRequest.FromString(data[1:]))
        else:
            return _refusal(Grpc.UNIMPLEMENTED, "this sidecar does not know that kind of call; it may be older than the caller's")
    except DecodeError:
        return _refusal(Grpc.INVALID_ARGUMENT, NOT_UNDERSTOOD)
    except InvokeFailed as error:
        return _refusal(error.code, error.text)
    except (AppUnavailable, OSError) as error:
        return _refusal(Grpc.UNKNOWN, str(error))
    return ANSWER + bytes(answer.SerializeToString())


async def _invoked(mesh: Mesh, app: App, message: Any) -> Any:
    found = await mesh.deliver(app, None, to_request(message))
    body = found.body if isinstance(found.body, bytes) else b"".join([piece async for piece in found.body])
    answer = response_message(found)
    if found.grpc_status is None or found.grpc_status[0] == Grpc.OK:
        answer.message.data.value = body
    return answer


async def _passed_on(mesh: Mesh, app: App, message: Any) -> Any:
    """A call of the app's own gRPC service, whose status is the answer whatever it is."""
    target = mesh.hosted_target(app, None, message.message.method)
    fields = {name: values for name, values in message.metadata.items() if name != TOKEN and not name.startswith(":")}
    timeout = parse_timeout(fields.pop(TIMEOUT).values[0]) if TIMEOUT in fields else None
    passed = [(name, value) for name, values in fields.items() for value in values.values]
    answer = internals_pb2.InternalInvokeResponse()
    try:
        path = f"/{message.message.method.lstrip('/')}"
        got = await mesh.link(app).unary(path, message.message.data.value, [*passed, *target.metadata], timeout)
    except RpcError as error:
        answer.status.code, answer.status.message = error.code, error.message
        if error.details:
            answer.status.details.extend(status_pb2.Status.FromString(error.details).details)
        headers, trailers = error.headers, error.trailers
    else:
        answer.message.data.value = got.message
        headers, trailers = tuple(got.headers), tuple(got.trailers)
    for into, fields_ in ((answer.headers, headers), (answer.trailers, trailers)):
        for name, value in fields_:
            into[name].values.append(value)
    return answer


def _refusal(code: int, text: str) -> bytes:
    status = status_pb2.Status(code=code, message=text)
    return REFUSAL + bytes(status.SerializeToString())


def _fields(found: Any) -> Sequence[Field]:
    return [(name, value) for name, values in found.items() for value in values.values]
