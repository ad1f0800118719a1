"""Actors of an HTTP app: `PUT /actors/{type}/{id}/method/…`, `DELETE /actors/{type}/{id}`. Implements `edge.actor.ActorHost`.

Source: dapr pkg/actors/targets/app/transport/http @1.18.3; recorded in tests/data/actors.jsonl.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote

from edge import gojson
from edge.actor import CANCEL_HEADER, CANCELLED, ERROR_HEADER, REENTRANCY_HEADER, ActorCall, ActorFailed, ActorTick
from edge.app import AppChannel, Callback
from edge.channel.fields import PATH_SAFE
from edge.events import JSON
from edge.model import InvokeResponse
from edge.received import NO_TRACE
from edge.spec.parsing import TRUE

SAFE = PATH_SAFE.replace("%", "")
PROTOBUF = "application/x-protobuf"


class HttpActors:
    """Calls actors through the app's channel."""

    def __init__(self, channel: AppChannel) -> None:
        self._channel = channel

    async def invoke(self, call: ActorCall) -> InvokeResponse:
        method = quote(call.method.lstrip("/"), safe=SAFE)
        path = f"{_actor(call.type, call.id)}/method/{method}".removesuffix("/")
        headers = call.headers
        if not any(name == "traceparent" for name, _ in headers):
            headers = (*headers, ("traceparent", NO_TRACE))
        if call.reentrancy:
            headers = (*(item for item in headers if item[0] != REENTRANCY_HEADER), (REENTRANCY_HEADER, call.reentrancy))
        target = f"{path}?{call.query}" if call.query else path
        answer = await self._put(Callback("PUT", target, headers, call.body, call.content_type), call.type, call.id, call.method)
        if _cancelled(answer):
            raise ActorFailed(CANCELLED)
        return answer

    async def remind(self, tick: ActorTick) -> bool:
        body = b'{%b"dueTime":%b,"period":%b}' % (_data(tick), gojson.quote(tick.due_time), gojson.quote(tick.period))
        return await self._tick(f"remind/{tick.name}", tick, body)

    async def timer(self, tick: ActorTick) -> bool:
        texts = (gojson.quote(tick.callback), gojson.quote(tick.due_time), gojson.quote(tick.period))
        return await self._tick(f"timer/{tick.name}", tick, b'{%b"callback":%b,"dueTime":%b,"period":%b}' % (_data(tick), *texts))

    async def deactivate(self, type_: str, id_: str) -> None:
        answer = await self._channel.call(Callback("DELETE", _actor(type_, id_), content_type=PROTOBUF))
        if answer.status != 200:
            raise ActorFailed(f"error from actor service: ({answer.status}) {_text(answer)}")

    async def _tick(self, method: str, tick: ActorTick, body: bytes) -> bool:
        path = f"{_actor(tick.type, tick.id)}/method/{quote(method, safe=SAFE)}"
        answer = await self._put(Callback("PUT", path, body=body, content_type=JSON), tick.type, tick.id, method)
        if any(name == ERROR_HEADER for name, _ in answer.headers):
            raise ActorFailed("actor error")
        return _cancelled(answer)

    async def _put(self, callback: Callback, type_: str, id_: str, method: str) -> InvokeResponse:
        """The answer, which is 200. Raises ActorFailed with Dapr's text for any other."""
        answer = await self._channel.call(callback)
        if answer.status == 404:
            raise ActorFailed(f"actor method not found: actors/{type_}/{id_}/method/{method}")
        if answer.status != 200:
            raise ActorFailed(f"error from actor service: ({answer.status}) {_text(answer)}")
        return answer


@lru_cache(1024)
def _actor(type_: str, id_: str) -> str:
    return f"/actors/{quote(type_, safe=SAFE)}/{quote(id_, safe=SAFE)}"


def _data(tick: ActorTick) -> bytes:
    """The given JSON, compact as Go writes a raw message."""
    return b"" if tick.data is None else b'"data":%b,' % gojson.compact(tick.data)


def _cancelled(answer: InvokeResponse) -> bool:
    return any(name == CANCEL_HEADER and value.lower() in TRUE for name, value in answer.headers)


def _text(answer: InvokeResponse) -> str:
    return answer.body.decode("utf-8", "replace") if isinstance(answer.body, bytes) else ""
