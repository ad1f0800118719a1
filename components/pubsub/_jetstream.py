"""One subscription at a JetStream server: its consumer, what it delivers, and its acknowledgements."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from components.pubsub._window import Window, end
from edge.component import Deliver
from edge.errors import Closed
from edge.model import Message
from edge.tasks import Tasks

log = logging.getLogger("dapr.contrib")
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
LIMIT = 128
DEFAULT_ACK_WAIT = 30.0
GRACE = 5.0


class Consumer:
    """Works from its making to `close`; `connected` says that the server is there (again).

    context: gives nats-py's JetStreamContext. config: of its ConsumerConfig.
    """

    def __init__(
        self, context: Callable[[], Any], config: Mapping[str, Any], stream: str, topic: str, deliver: Deliver, tasks: Tasks
    ) -> None:
        self._context, self._config, self._stream, self._topic = context, dict(config), stream, topic
        self._acknowledges = config["ack_policy"] != "none"
        self._window = Window(topic, deliver, 1 if config["ack_policy"] == "all" else LIMIT)
        self._flying: dict[int, Any] = {}
        self._last = 0
        self._subscription: Any = None
        self._again = asyncio.Event()
        self._closed = False
        self._work = [
            tasks.spawn(f"jetstream[{topic}]", self._attach),
            tasks.spawn(f"jetstream-alive[{topic}]", self._keep_alive),
        ]

    def connected(self) -> None:
        """Make sure that there is a consumer."""
        self._again.set()

    async def close(self) -> None:
        """Nothing new; what is under way may end. A durable consumer stays with the server."""
        self._closed = True
        await end(*self._work)
        await self._window.close(GRACE)
        await self._detach()

    async def _detach(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with contextlib.suppress(Exception):  # the connection may be gone, and with it the subscription
                await subscription.unsubscribe()

    async def _attach(self) -> None:
        pause = FIRST_PAUSE
        while True:
            await self._again.wait()
            self._again.clear()
            try:
                if self._subscription is None or not await self._is_there():
                    await self._detach()
                    await self._subscribe()
                pause = FIRST_PAUSE
            except Exception as error:  # whatever the client library raises while the server or the stream is not there
                log.log(logging.WARNING if pause == FIRST_PAUSE else logging.DEBUG, "nats: subscribing to %s: %s", self._topic, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                self._again.set()

    async def _is_there(self) -> bool:
        """The server still knows the consumer; an ephemeral one it forgets while there is no connection."""
        from nats.js.errors import NotFoundError

        try:
            await self._subscription.consumer_info()
        except NotFoundError:
            return False
        return True

    async def _subscribe(self) -> None:
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        js = self._context()
        stream = self._stream or await js.find_stream_name_by_subject(self._topic)
        config = dict(self._config)
        if self._last and not config.get("durable_name"):
            config.pop("opt_start_time", None)
            config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": min([*self._flying, self._last + 1])}
        config["deliver_policy"] = DeliverPolicy(config["deliver_policy"])
        config["ack_policy"] = AckPolicy(config["ack_policy"])
        wanted = ConsumerConfig(**config, deliver_subject=js._nc.new_inbox())
        made = await js.add_consumer(stream, wanted)
        # a server (2.9) that read a durable consumer back from its disk answers with the subject of before, and then uses the new one
        info = await js.consumer_info(stream, made.name)
        self._subscription = await js.subscribe_bind(stream, info.config, info.name, cb=self._arrived, manual_ack=True)

    async def _arrived(self, message: Any) -> None:
        try:
            sequence = message.metadata.sequence.stream
        except Exception as error:  # a message that came past the stream
            log.error("nats: %s", error)
            return
        if sequence in self._flying:
            self._flying[sequence] = message
            return
        self._flying[sequence] = message
        self._last = max(self._last, sequence)
        arrival = Message(message.subject, message.data, {"Topic": message.subject})
        with contextlib.suppress(Closed):
            await self._window.put(arrival, partial(self._settle, sequence))

    async def _settle(self, sequence: int) -> None:
        message = self._flying.pop(sequence)
        if self._acknowledges:
            with contextlib.suppress(Exception):  # not connected: the message comes again
                await message.ack()

    async def _keep_alive(self) -> None:
        """Tell the server that a message is being worked on, so that it does not come again meanwhile."""
        if not self._acknowledges:
            return
        wait = self._config.get("ack_wait", DEFAULT_ACK_WAIT)
        while True:
            await asyncio.sleep(wait / 3)
            for message in list(self._flying.values()):
                with contextlib.suppress(Exception):  # as above
                    await message.in_progress()
