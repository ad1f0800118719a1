"""The other side of requests.py: answers requests (MQTT 5 §4.10), each of them once, however often the broker brings it."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from components._mqtt.mapping5 import correlation
from components._mqtt.packets5 import Properties
from components._mqtt.session import Session
from edge.errors import ComponentError, Invalid
from edge.model import Message
from edge.tasks import Tasks

log = logging.getLogger("dapr.contrib")
QOS = 1
ERROR = "error"
"""User property of an answer that could not be given: why."""
MOST_KNOWN, MOST_KEPT = 4096, 4 << 20
"""Requests that are recognised, and bytes of answers that are kept for those that come again."""

Key = tuple[str, bytes]


class Answers:
    """What was asked with the same response topic and correlation data is one request: a link that breaks makes the broker repeat it.

    timeout: seconds that an answer is wanted where the request does not say it by its expiry.
    """

    def __init__(self, session: Session, tasks: Tasks, timeout: float) -> None:
        self._session, self._tasks, self._timeout = session, tasks, timeout
        self._known: OrderedDict[Key, bytes | None] = OrderedDict()
        self._kept = 0

    def serving(self, answer: Callable[[bytes], Awaitable[bytes]]) -> Callable[[Message], Awaitable[None]]:
        """A Deliver that answers what it gets; it does not wait for that, so that a slow answer holds up no acknowledgement."""

        async def take(message: Message) -> None:
            key = message.metadata.get("responseTopic", ""), correlation(message.metadata)
            if not all(key):
                log.warning("A request to %s without response topic and correlation data is dropped", message.topic)
            elif key not in self._known:
                self._known[key] = None
                self._tasks.start(f"mqtt-answer[{message.topic}]", self._answer(key, message, answer))
            elif (answered := self._known[key]) is not None:
                self._tasks.start(f"mqtt-answer[{message.topic}]", self._send(key, answered, self._timeout))

        return take

    async def _answer(self, key: Key, message: Message, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + float(message.metadata.get("ttlInSeconds") or self._timeout)
        data = await answer(message.data)
        self._keep(key, data)
        await self._send(key, data, end - loop.time())

    def _keep(self, key: Key, data: bytes) -> None:
        self._known[key] = data
        self._kept += len(data)
        while len(self._known) > MOST_KNOWN:
            _, old = self._known.popitem(last=False)
            self._kept -= len(old or b"")
        for known, kept in self._known.items():
            if self._kept <= MOST_KEPT:
                break
            if kept:
                self._known[known] = None
                self._kept -= len(kept)

    async def _send(self, key: Key, data: bytes, left: float) -> None:
        """Give the answer while somebody waits for it."""
        topic, token = key
        properties = Properties(expiry=max(round(left), 1), correlation=token)
        try:
            async with asyncio.timeout(max(left, 1.0)):
                try:
                    await self._session.publish(Message(topic, data), QOS, retain=False, properties=properties)
                except Invalid as error:  # larger than the broker takes
                    told = Properties(expiry=properties.expiry, correlation=token, user=((ERROR, str(error)),))
                    await self._session.publish(Message(topic, b""), QOS, retain=False, properties=told)
        except (ComponentError, TimeoutError) as error:
            log.warning("An answer to %s could not be sent: %s", topic, error or "no connection in time")
