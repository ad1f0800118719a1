"""Request and response over MQTT 5 (§4.10): a message with a response topic and correlation data, and the answer that repeats them."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

from components._mqtt.packets5 import Properties
from components._mqtt.session import Session
from edge.errors import Closed, Unavailable
from edge.model import Message

QOS = 1


class Nobody(Unavailable):
    """The broker says that nobody is subscribed."""


class Silent(Unavailable):
    """No answer came in time."""


class Requests:
    """The requests of one session. topic: where their answers come, of this client alone. An answer that nobody waits for is forgotten."""

    def __init__(self, session: Session, topic: str) -> None:
        self._session, self._topic = session, topic
        self._waiting: dict[str, asyncio.Future[Message]] = {}
        self._listening = asyncio.Lock()
        self._listens = False

    async def ask(self, message: Message, properties: Properties, timeout: float) -> Message:
        """The answer. Raises Nobody, Silent (no answer within `timeout` seconds), Unavailable, Invalid, Closed."""
        token = os.urandom(8).hex()
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[token] = answer
        try:
            async with asyncio.timeout(timeout):
                await self._listen()
                asking = replace(properties, response_topic=self._topic, correlation=token.encode())
                if not await self._session.publish(message, QOS, retain=False, properties=asking):
                    raise Nobody(f"nobody is subscribed to {message.topic}")
                return await answer
        except TimeoutError:
            trouble = self._session.unhealthy()
            raise Silent(f"no answer from {message.topic} within {timeout:g} s" + (f": {trouble}" if trouble else "")) from None
        finally:
            del self._waiting[token]

    async def _listen(self) -> None:
        async with self._listening:
            if not self._listens:
                await self._session.subscribe(self._topic, QOS, self._take, unsubscribe=False)
                self._listens = True

    async def _take(self, message: Message) -> None:
        waiter = self._waiting.get(message.metadata.get("correlationData", ""))
        if waiter is not None and not waiter.done():
            waiter.set_result(message)

    def close(self) -> None:
        """Whoever waits gets Closed."""
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(Closed("closed before the answer came"))
