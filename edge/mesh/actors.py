"""Actors behind another sidecar, called over its internal port. Implements `edge.blocks.actors.placement.Place`.

Source: Dapr pkg/actors/router @1.18.3.
"""

from __future__ import annotations

from collections.abc import Sequence

from edge.actor import REENTRANCY_HEADER, ActorCall, ActorFailed, ActorTick, HostGone
from edge.app import App
from edge.blocks.actors.service import MOVED
from edge.channel.grpc_answers import wording
from edge.errors import Grpc
from edge.mesh.messages import request_message, to_response
from edge.mesh.remote import Remotes
from edge.model import Address, InvokeRequest, InvokeResponse
from edge.rpc.pb import any_pb2, internals_pb2, wrappers_pb2
from edge.rpc.status import RpcError

SERVICE = "/dapr.proto.internals.v1.ServiceInvocation/"


class RemoteActors:
    """The actors of one host. app: an own app, whose connection is used."""

    def __init__(self, remotes: Remotes, app: App, name: str, app_id: str) -> None:
        host, _, port = name.rpartition(":")
        self._remotes, self._app, self._app_id = remotes, app, app_id
        self._address = Address(host.strip("[]"), int(port))

    async def invoke(self, call: ActorCall) -> InvokeResponse:
        headers = [*call.headers, *([(REENTRANCY_HEADER, call.reentrancy)] if call.reentrancy else ())]
        request = InvokeRequest("PUT", call.method, call.query, headers, call.body, call.content_type)
        message = request_message(request)
        message.message.data.value = call.body
        message.actor.actor_type, message.actor.actor_id = call.type, call.id
        trace = [field for field in headers if field[0] in ("traceparent", "tracestate")]
        data = await self._call("CallActor", message.SerializeToString(), trace)
        answer = to_response(internals_pb2.InternalInvokeResponse.FromString(data), grpc=False)
        return InvokeResponse(200, answer.headers, answer.body, answer.content_type)

    async def remind(self, tick: ActorTick) -> bool:
        message = internals_pb2.Reminder(actor_type=tick.type, actor_id=tick.id, name=tick.name, due_time=tick.due_time, period=tick.period)
        if tick.data is not None:
            value = wrappers_pb2.BytesValue(value=tick.data).SerializeToString()
            message.data.CopyFrom(any_pb2.Any(type_url="type.googleapis.com/google.protobuf.BytesValue", value=value))
        await self._call("CallActorReminder", message.SerializeToString())
        return False

    async def timer(self, tick: ActorTick) -> bool:
        raise ActorFailed(f"the actor {tick.type}/{tick.id} is on another host now")

    async def _call(self, method: str, message: bytes, fields: Sequence[tuple[str, str]] = ()) -> bytes:
        channel = await self._remotes.channel(self._app, self._address, self._app_id, self._app.namespace)
        try:
            return (await channel.unary(SERVICE + method, message, fields)).message
        except RpcError as error:
            if error.code == Grpc.UNAVAILABLE or error.message.endswith(MOVED):
                raise HostGone(error.message) from None
            raise ActorFailed(wording(error)) from None
