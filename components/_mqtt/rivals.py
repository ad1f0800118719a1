"""Two clients with one id throw each other out: noticed by how connections end, named once in the log and in health meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from components._mqtt.control import Identity
from components._mqtt.link import Link

log = logging.getLogger("dapr.contrib")
ENDS = 3
WITHIN = 300.0
TAKEN_OVER = 0x8E
STABLE = 30.0
"""Seconds after which a connection counts as good."""


class Rivals:
    """The last connections of one client id that ended as if somebody else took the id."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ends: deque[float] = deque(maxlen=ENDS)
        self._named = False

    def away(self) -> None:
        """The broker was not there: it throws nobody out."""
        self._ends.clear()

    def ended(self, link: Link, lasted: float, identity: Identity, *, blameless: bool) -> None:
        """A connection ended after `lasted` seconds. Some brokers say why in MQTT 5; else it shows in connections that the broker soon
        ends and takes anew. blameless: it may have ended for a message of ours.
        """
        if link.goodbye_code == TAKEN_OVER or (link.by_peer and lasted < STABLE and not blameless):
            self._ends.append(self._loop.time())
            if not self._named and (rival := self.suspected(identity)):
                self._named = True
                log.error("%s: %s", identity.broker, rival)

    def suspected(self, identity: Identity) -> str | None:
        """What is to be done about it, None while nothing looks like it."""
        now = self._loop.time()
        if len(self._ends) < ENDS or now - self._ends[0] > WITHIN:
            return None
        return f"another client seems to use the client id {identity.client_id} too (give one of them another consumerID)"
