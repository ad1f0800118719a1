"""One message on its way to the broker, and how the present connection wants it written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from components._mqtt import frames
from components._mqtt.control import Greeting
from components._mqtt.packets5 import NONE, Block

ALIAS_COST = 3
"""Bytes of an alias in a packet: shorter topics gain nothing."""
EMPTY = Block(NONE, 0.0)


class Stage(Enum):
    """How far a message is."""

    WAITING = auto()
    SENT = auto()
    RELEASED = auto()
    """QoS 2: the broker has it (PUBREC), PUBREL was sent."""


@dataclass(slots=True, eq=False)
class Flight:
    """One message. properties: what MQTT 5 says beside it, None = nothing. sent_at: loop time. unheard: the broker knew no subscriber."""

    topic: bytes
    data: bytes
    qos: int
    retain: bool
    answer: asyncio.Future[None]
    properties: Block | None = None
    stage: Stage = Stage.WAITING
    mid: int = 0
    sent_at: float = 0.0
    kills: int = 0
    forgotten: bool = False
    unheard: bool = False
    size: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.size = frames.publish_size(len(self.topic), len(self.data), self.qos, 0 if self.properties is None else self.properties.size)

    def outlived(self, now: float) -> bool:
        """It waited here too long, and the broker knows nothing of it."""
        return self.stage is Stage.WAITING and self.properties is not None and self.properties.over(now)


class Speech:
    """How the present connection wants its PUBLISH packets: the version, the broker's limits, and the topic aliases given so far."""

    def __init__(self, greeting: Greeting, *, five: bool, now: Callable[[], float]) -> None:
        self._five, self._now = five, now
        self._qos, self._retain = greeting.maximum_qos, greeting.retain_available
        self._free = greeting.topic_alias_maximum
        self._aliases: dict[bytes, int] = {}
        self.largest = greeting.largest_packet or frames.LARGEST

    def packet(self, flight: Flight, *, dup: bool = False) -> bytes:
        """The PUBLISH packet. The broker's highest QoS and its word on retained messages win over the flight's (MQTT 5 §3.2.2.3)."""
        qos, retain, topic, block = min(flight.qos, self._qos), flight.retain and self._retain, flight.topic, b""
        if self._five:
            alias = self._aliases.get(topic, 0)
            if alias:
                topic = b""
            elif self._free and len(topic) > ALIAS_COST and flight.size + ALIAS_COST <= self.largest:
                self._aliases[topic] = alias = len(self._aliases) + 1
                self._free -= 1
            block = (flight.properties or EMPTY)(self._now(), alias)
        return frames.publish(topic, flight.data, qos, flight.mid, retain=retain, dup=dup, properties=block)
