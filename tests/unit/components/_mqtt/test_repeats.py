"""A broker that sends a released QoS 2 message again is not believed, unless its id may stand for a new one."""

from __future__ import annotations

from typing import Any

import pytest

from components._mqtt import frames
from components._mqtt.inbound import Inbound
from edge.model import Message
from tests.harness_mqtt import until

QOS = frames.Qos.EXACTLY_ONCE


class Session:
    """What the broker sends, what the app gets, what is acknowledged."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.said: list[tuple[int, int]] = []
        self.inbound = Inbound(lambda kind, mid: self.said.append((kind, mid)), lambda _: None)
        self.inbound.add("t", 2, self._deliver)

    async def _deliver(self, message: Message) -> None:
        self.got.append(message.data)

    async def send(self, mid: int, data: bytes, *, dup: bool = False) -> None:
        self.inbound.take(Message("t", data), mid, QOS, dup=dup)
        await until(lambda: (frames.PUBREC, mid) in self.said)

    async def whole(self, mid: int, data: bytes, **how: Any) -> None:
        """A message from its PUBLISH to our PUBCOMP."""
        await self.send(mid, data, **how)
        self.inbound.released(mid)

    def cut(self, *, kept: bool = True) -> None:
        self.inbound.lost()
        self.inbound.connected(session_present=kept)
        self.said.clear()


async def test_a_released_message_that_comes_again_is_acknowledged_and_not_handed_on() -> None:
    one = Session()
    for mid in (1, 2, 3):
        await one.whole(mid, b"on")
    one.cut()

    await one.whole(2, b"on", dup=True)
    await one.whole(3, b"on", dup=True)
    await one.whole(4, b"on", dup=True)

    assert one.got == [b"on"] * 4
    assert one.said == [(kind, mid) for mid in (2, 3, 4) for kind in (frames.PUBREC, frames.PUBCOMP)]


@pytest.mark.parametrize(
    ("before", "again", "kept"),
    [
        ([1, 2, 3], (2, b"off"), True),
        ([1, 2, 1, 3], (2, b"on"), True),
        ([1, 2, 3], (2, b"on"), False),
        ([65533, 65534, 1, 2], (65534, b"on"), True),
    ],
    ids=["other content", "a broker that reuses ids", "a new session", "after all ids were used"],
)
async def test_an_id_that_may_stand_for_a_new_message_does(before: list[int], again: tuple[int, bytes], kept: bool) -> None:
    one = Session()
    for mid in before:
        await one.whole(mid, b"on")
    one.cut(kept=kept)

    await one.whole(*again, dup=True)

    assert len(one.got) == len(before) + 1
