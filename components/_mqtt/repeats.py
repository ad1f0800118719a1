"""QoS 2 messages that the broker sends again although it has released them (mosquitto, when two connections in a row break).

MQTT 5 §4.3.3 lets an id stand for a new message once it is released. A broker that numbers its messages one after the other does not reuse
an id before all others, so there an id from before, with the same content, is the same message. Of any other broker nothing is assumed.
"""

from __future__ import annotations

from collections import OrderedDict

from edge.model import Message

MOST = 1024
LAST_ID = 65535
WRAPS = 1024
"""Ids so near the last one are followed by small ones."""


class Repeats:
    """What one session knows of ids that were released."""

    def __init__(self) -> None:
        self._top = 0
        self._ascending = True
        self._released: OrderedDict[int, int] = OrderedDict()

    def forget(self) -> None:
        """A new session: ids begin anew."""
        self._top, self._ascending = 0, True
        self._released.clear()

    def seen(self, mid: int, *, first: bool) -> None:
        """The broker sent something with that id. first: not marked as a repetition."""
        if mid > self._top:
            self._top = mid
        elif first and self._top > LAST_ID - WRAPS and mid < WRAPS:
            self._top = mid
            self._released.clear()
        elif first:
            self._ascending = False
            self._released.clear()

    def released(self, mid: int, message: Message) -> None:
        """The broker released a message that was handed on."""
        if self._ascending:
            self._released[mid] = hash((message.topic, message.data))
            if len(self._released) > MOST:
                self._released.popitem(last=False)

    def again(self, mid: int, message: Message, *, dup: bool) -> bool:
        """A message is one that was handed on and released before."""
        return dup and self._released.get(mid) == hash((message.topic, message.data))
