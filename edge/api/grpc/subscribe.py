"""SubscribeTopicEventsAlpha1: a topic's events over a stream that the app opens; it needs no port (grpc-api.md §6.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from edge.api.grpc.call import Call, RpcError, Streaming
from edge.blocks.subscriptions import stream_subscription
from edge.channel.stream import TopicStream
from edge.errors import Grpc
from edge.rpc.pb import pubsub_pb2


async def subscribe(call: Call, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The first message says what the app wants, each further one answers an event by its id."""
    subscription = stream_subscription(*_initial(await anext(requests, None)))
    stream = TopicStream()
    reading = _Reading(stream)
    try:
        stop = await call.blocks.subscriptions.stream(call.app, subscription, stream.deliver, reading.stopped)
    except PermissionError as error:
        raise RpcError(Grpc.UNKNOWN, str(error)) from error
    reader = asyncio.create_task(reading.run(requests), name=f"topic stream[{call.app.id}]")
    try:
        yield pubsub_pb2.SubscribeTopicEventsResponseAlpha1(initial_response={})
        async for message in stream.messages():
            yield message
        raise reading.end
    finally:
        reader.cancel()
        # a client that goes away cancels us, perhaps twice; what it did not answer must be kept all the same
        await asyncio.shield(asyncio.create_task(stop(), name=f"end of topic stream[{call.app.id}]"))


def _initial(first: Any) -> tuple[str, str, dict[str, str], str]:
    """Pubsub, topic, metadata and dead-letter topic."""
    if first is None:
        raise RpcError(Grpc.UNKNOWN, "EOF")
    if first.WhichOneof("subscribe_topic_events_request_type") != "initial_request":
        raise RpcError(Grpc.UNKNOWN, "initial request is required")
    wanted = first.initial_request
    if not wanted.pubsub_name:
        raise RpcError(Grpc.UNKNOWN, "pubsubName is required")
    if not wanted.topic:
        raise RpcError(Grpc.UNKNOWN, "topic is required")
    return wanted.pubsub_name, wanted.topic, dict(wanted.metadata), wanted.dead_letter_topic


class _Reading:
    """The app's side of a stream. end: why the stream ends, once it does."""

    def __init__(self, stream: TopicStream) -> None:
        self._stream = stream
        self.end = RpcError(Grpc.UNKNOWN, "EOF")

    def stopped(self) -> None:
        """The runtime serves the app no more."""
        self.end = RpcError(Grpc.UNAVAILABLE, "stream closed")
        self._stream.close()

    async def run(self, requests: AsyncIterator[Any]) -> None:
        try:
            async for message in requests:
                if message.WhichOneof("subscribe_topic_events_request_type") != "event_processed":
                    self.end = RpcError(Grpc.UNKNOWN, "duplicate initial request received")
                    return
                self._stream.answered(message.event_processed)
        except RpcError as error:
            self.end = error
        finally:
            self._stream.close()


STREAMS: dict[str, tuple[type, Streaming]] = {
    "SubscribeTopicEventsAlpha1": (pubsub_pb2.SubscribeTopicEventsRequestAlpha1, subscribe),
}
