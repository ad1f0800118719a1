"""Actors of an app that opened SubscribeActorEventsAlpha1: calls go out as numbered requests, answers come back by number.

Implements `edge.actor.ActorHost`. Source: dapr pkg/actors/callbackstream, targets/app/transport/grpc @1.18.3; differs: a tick that was
under way when the stream ended is looked up again and uses up no try.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

from edge.actor import ERROR_HEADER, REENTRANCY_HEADER, ActorCall, ActorFailed, ActorTick, HostGone
from edge.channel.fields import canonical
from edge.errors import Grpc
from edge.model import InvokeResponse
from edge.rpc.pb import actors_pb2, any_pb2, wrappers_pb2

DISCONNECTED = "actor host disconnected before responding"
LOWER = frozenset(("dapr-caller-app-id", "dapr-caller-namespace"))
Build = Callable[[str], Any]


class ActorStream:
    """One open stream."""

    def __init__(self) -> None:
        self._ids = count(1)
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()
        self._closed = False

    # --- what the front does with it
    async def requests(self) -> AsyncIterator[Any]:
        """The messages for the app, until `close`."""
        while (message := await self._outbox.get()) is not None:
            yield message

    def answered(self, message: Any) -> None:
        """A message of the app: wakes the call that it answers, if that still waits."""
        kind = message.WhichOneof("request_type")
        answer = getattr(message, kind) if kind else None
        waiter = self._waiting.pop(getattr(answer, "id", ""), None)
        if waiter is not None and not waiter.done():
            waiter.set_result((kind, answer))

    def close(self) -> None:
        """The stream ended: calls under way fail, further ones find nobody."""
        self._closed = True
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(HostGone(DISCONNECTED))
        self._outbox.put_nowait(None)

    # --- ActorHost
    async def invoke(self, call: ActorCall) -> InvokeResponse:
        def build(id_: str) -> Any:
            request = actors_pb2.SubscribeActorEventsResponseInvokeRequestAlpha1(
                id=id_, actor_type=call.type, actor_id=call.id, method=call.method, data=call.body, metadata=_metadata(call)
            )
            return actors_pb2.SubscribeActorEventsResponseAlpha1(invoke_request=request)

        sent = not self._closed
        try:
            kind, answer = await self._ask(build)
        except HostGone as error:
            raise (ActorFailed(DISCONNECTED) if sent else error) from None
        if kind == "request_failed" and answer.code == Grpc.NOT_FOUND:
            raise ActorFailed(f"actor method not found: {call.method}")
        self._check(kind, answer, "invoke_response")
        headers = [(name.lower(), value) for name, value in answer.metadata.items()]
        if answer.error:
            headers.append((ERROR_HEADER, "true"))
        return InvokeResponse(200, headers, answer.data, answer.metadata.get("content-type"))

    async def remind(self, tick: ActorTick) -> bool:
        def build(id_: str) -> Any:
            request = actors_pb2.SubscribeActorEventsResponseReminderRequestAlpha1(id=id_, **_tick(tick))
            return actors_pb2.SubscribeActorEventsResponseAlpha1(reminder_request=request)

        kind, answer = await self._ask(build)
        self._check(kind, answer, "reminder_response")
        return bool(answer.cancel)

    async def timer(self, tick: ActorTick) -> bool:
        def build(id_: str) -> Any:
            request = actors_pb2.SubscribeActorEventsResponseTimerRequestAlpha1(id=id_, callback=tick.callback, **_tick(tick))
            return actors_pb2.SubscribeActorEventsResponseAlpha1(timer_request=request)

        kind, answer = await self._ask(build)
        self._check(kind, answer, "timer_response")
        return bool(answer.cancel)

    async def deactivate(self, type_: str, id_: str) -> None:
        def build(number: str) -> Any:
            request = actors_pb2.SubscribeActorEventsResponseDeactivateRequestAlpha1(id=number, actor_type=type_, actor_id=id_)
            return actors_pb2.SubscribeActorEventsResponseAlpha1(deactivate_request=request)

        await self._ask(build)

    async def _ask(self, build: Build) -> tuple[str, Any]:
        """Send one request and wait for its answer: which kind, and the answer. Raises HostGone."""
        if self._closed:
            raise HostGone("actor host is not connected")
        id_ = str(next(self._ids))
        waiter = self._waiting[id_] = asyncio.get_running_loop().create_future()
        self._outbox.put_nowait(build(id_))
        try:
            kind, answer = await waiter
        finally:
            self._waiting.pop(id_, None)
        return kind, answer

    @staticmethod
    def _check(kind: str, answer: Any, wanted: str) -> None:
        if kind == "request_failed":
            raise ActorFailed(f"error from actor service: {answer.message}")
        if kind != wanted:
            raise ActorFailed(f"actor host returned an unexpected response type for {wanted.partition('_')[0]}")


def _metadata(call: ActorCall) -> dict[str, str]:
    """The headers, one value each, spelled as Go does."""
    found: dict[str, str] = {}
    spelling = call.spelling or {}
    for name, value in call.headers:
        found.setdefault(spelling.get(name) or (name if name in LOWER else canonical(name)), value)
    if call.content_type is not None:
        found["Content-Type"] = call.content_type
    if call.reentrancy:
        found[canonical(REENTRANCY_HEADER)] = call.reentrancy
    return found


def _tick(tick: ActorTick) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "actor_type": tick.type,
        "actor_id": tick.id,
        "name": tick.name,
        "due_time": tick.due_time,
        "period": tick.period,
    }
    if tick.data is not None:
        fields["data"] = bytes_any(tick.data)
    return fields


def bytes_any(data: bytes) -> Any:
    """The JSON text as actors' data travel over gRPC: a BytesValue in an Any."""
    value = wrappers_pb2.BytesValue(value=data).SerializeToString()
    return any_pb2.Any(type_url="type.googleapis.com/google.protobuf.BytesValue", value=value)
