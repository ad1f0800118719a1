"""Events on their way over one SubscribeTopicEventsAlpha1 stream: sent as they come, answered by id in any order.

Source: dapr pkg/runtime/pubsub/streamer @1.18.3; recorded in tests/data/app-grpc.jsonl (stream/…).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from edge.app import Delivery
from edge.channel.grpc_answers import verdict
from edge.channel.grpc_events import BadEnvelope, topic_event
from edge.model import Status, TopicEvent
from edge.rpc.pb import pubsub_pb2

log = logging.getLogger("dapr.runtime.pubsub.streamer")


class TopicStream:
    """One open stream. What is not answered when it ends is still the lane's: `deliver` is cancelled with it."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[int]] = {}
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()

    async def deliver(self, event: TopicEvent) -> Delivery:
        """Send one event and wait for the app's answer to it."""
        try:
            message = topic_event(event)
        except BadEnvelope as error:
            return Delivery(Status.RETRY, f"error returned from app while processing pub/sub event: retriable error occurred: {error}")
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[message.id] = waiter
        self._outbox.put_nowait(pubsub_pb2.SubscribeTopicEventsResponseAlpha1(event_message=message))
        try:
            status = await waiter
        finally:
            if self._waiting.get(message.id) is waiter:
                del self._waiting[message.id]
        return verdict(status, message.id)

    def answered(self, processed: Any) -> None:
        """The app's answer to an event."""
        waiter = self._waiting.get(processed.id)
        if waiter is None or waiter.done():
            log.error("no client stream expecting publish response for id %s", processed.id)
            return
        waiter.set_result(processed.status.status)

    async def messages(self) -> AsyncIterator[Any]:
        """What is to be sent, until `close`."""
        while (message := await self._outbox.get()) is not None:
            yield message

    def close(self) -> None:
        """Send nothing more."""
        self._outbox.put_nowait(None)
