"""Pub/sub behind a socket."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from components._pluggable.pulling import pull
from components._pluggable.remote import Remote
from edge.component import Deliver, Unsubscribe
from edge.errors import Closed
from edge.model import Message
from edge.rpc.pb import components_pb2 as pb

SERVICE = "PubSub"


class PubSub(Remote):
    """See edge.component.PubSub. What its process does with a message is its own affair, so the journal stands before and behind it."""

    journal_out: ClassVar[bool] = True
    journal_in: ClassVar[bool] = True

    async def open(self) -> None:
        """Raises ComponentError."""
        await self._start(SERVICE, features=True)

    async def publish(self, message: Message) -> None:
        given: dict[str, Any] = {
            "topic": message.topic,
            "pubsub_name": self._context.name,
            "data": message.data,
            "metadata": dict(message.metadata),
        }
        await self.ask(SERVICE, "Publish", pb.PublishRequest(**given))

    async def subscribe(self, topic: str, deliver: Deliver, metadata: Mapping[str, str], app_id: str) -> Unsubscribe:
        if self._closed:
            raise Closed(f"{self._context.name} is closed")
        first = pb.PullMessagesRequest(topic=pb.Topic(name=topic, metadata=dict(metadata)))
        opened = partial(self.stream, SERVICE, "PullMessages")
        return pull(f"{self._context.name}/{topic}", opened, first, partial(_handle, deliver), self._context.tasks)


async def _handle(deliver: Deliver, data: bytes) -> Any:
    message = pb.PullMessagesResponse.FromString(data)
    try:
        await deliver(Message(message.topic_name, message.data, dict(message.metadata), message.content_type or None))
    except Closed:
        raise
    except Exception as error:  # the component decides what becomes of it
        return pb.PullMessagesRequest(ack_message_id=message.id, ack_error=pb.AckMessageError(message=str(error)))
    return pb.PullMessagesRequest(ack_message_id=message.id)


def make(socket: str, services: frozenset[str]) -> type:
    """The class of the pub/sub behind a socket."""
    return type("PubSub", (PubSub,), {"socket": socket, "services": services})
