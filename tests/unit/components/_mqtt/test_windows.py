"""What MQTT says of the order of acknowledgements and of repetitions, seen on the packets themselves."""

from __future__ import annotations

import asyncio

import pytest

from components._mqtt import frames
from components._mqtt.control import Greeting
from components._mqtt.flight import Flight
from components._mqtt.inbound import Inbound
from components._mqtt.outbound import Outbound
from edge.eager import Prompt
from edge.errors import Full
from edge.model import Message
from tests.harness_components import Sink
from tests.harness_mqtt import until


async def test_acknowledgements_come_in_the_order_received() -> None:
    """MQTT 3.1.1 §4.6: of three messages the last is taken first."""
    taken = [asyncio.Event() for _ in range(3)]
    acknowledged: list[int] = []
    inbound = Inbound(lambda kind, mid: acknowledged.append(mid), lambda hold: None)

    async def deliver(message: Message) -> None:
        await taken[int(message.data)].wait()

    inbound.add("t", 1, deliver)
    for number in range(3):
        inbound.take(Message("t", b"%d" % number), 10 + number, 1, dup=False)
    seen = []
    for number in (2, 1, 0):
        taken[number].set()
        await asyncio.sleep(0.005)
        seen.append(list(acknowledged))

    assert seen == [[], [], [10, 11, 12]]


@pytest.mark.parametrize("late", [False, True], ids=["failed before", "fails afterwards"])
async def test_what_an_ended_subscription_did_not_take_waits_for_the_next(late: bool) -> None:
    acknowledged: list[int] = []
    inbound, full, sink = Inbound(lambda kind, mid: acknowledged.append(mid), lambda hold: None), asyncio.Event(), Sink()

    async def deliver(message: Message) -> None:
        await full.wait()
        raise Full("the journal is full")

    ended = inbound.add("t", 1, deliver)
    inbound.take(Message("t", b"x"), 10, 1, dup=False)
    await asyncio.sleep(0)
    for step in (lambda: inbound.remove(ended), full.set) if late else (full.set, lambda: inbound.remove(ended)):
        step()
        await asyncio.sleep(0.005)
    before = list(acknowledged)
    inbound.add("t", 1, sink)
    await until(lambda: acknowledged == [10])

    assert (before, sink.payloads) == ([], [b"x"])
    await inbound.close(0.0)


async def test_what_is_sent_again_says_so_and_keeps_its_number_and_place() -> None:
    """MQTT 3.1.1 §3.3.1.1, §4.4."""
    sent: list[bytes] = []
    outbound = Outbound(8)
    outbound.connected(sent.append, Greeting())
    for number in range(2):
        outbound.publish(Flight(b"t", b"%d" % number, 1, False, Prompt(asyncio.get_running_loop())))
    outbound.lost(by_peer=False)
    outbound.connected(sent.append, Greeting(session_present=True))

    first, second, again, and_again = sent
    assert [packet[0] & 0x08 for packet in sent] == [0, 0, 8, 8]
    assert (again[1:], and_again[1:]) == (first[1:], second[1:])
    assert all(packet[0] & 0xF0 == frames.PUBLISH for packet in sent)
