"""What every pub/sub component keeps, and what those keep that claim it. Run by test_pubsub.py over the catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any

import pytest

from edge.component import Feature
from edge.errors import Closed
from edge.model import Message
from tests.harness_components import Sink
from tests.harness_mqtt import until


class Can(Flag):
    """Powers beyond the metadata API's features."""

    NOTHING = 0
    RETRIES = auto()
    """A deliver() that failed is called again with the same message, before later ones."""
    WAITS = auto()
    """A message published before anybody subscribed reaches who comes later."""
    REMEMBERS = auto()
    """A subscription is remembered over a restart of the component."""


@dataclass(frozen=True)
class Candidate:
    """A component under test. open: a fresh instance on the same server or file. wildcard: matches both topics."""

    name: str
    open: Callable[..., AbstractAsyncContextManager[Any]]
    can: Can = Can.NOTHING
    wildcard: str = "plant/*"
    topics: tuple[str, str] = ("plant/1", "plant/2")
    prefix: str = ""


Pubsubs = AsyncIterator[Candidate]


class Suite:
    """Each scenario gets one candidate."""

    async def delivers_what_was_published(self, one: Candidate) -> None:
        payloads = [b'{"n":1}', b"", b"\x00\xff\xfe", "süd".encode(), b"x" * 1_000_000]
        async with one.open() as pubsub:
            sink = Sink()
            await pubsub.subscribe(one.topics[0], sink, {}, "app")

            for payload in payloads:
                await pubsub.publish(Message(one.topics[0], payload, id=f"m{len(payload)}"))

            await until(lambda: len(sink.got) == len(payloads))
            assert sink.payloads == payloads
            assert set(sink.topics) == {one.topics[0]}

    async def keeps_the_order_of_a_topic(self, one: Candidate) -> None:
        async with one.open() as pubsub:
            sink = Sink()
            await pubsub.subscribe(one.topics[0], sink, {}, "app")

            for number in range(200):
                await pubsub.publish(Message(one.topics[0], b"%d" % number))

            await until(lambda: len(sink.got) == 200)
            assert sink.payloads == [b"%d" % number for number in range(200)]

    async def loses_nothing_of_many_publishers(self, one: Candidate) -> None:
        async with one.open() as pubsub:
            sink = Sink()
            await pubsub.subscribe(one.topics[0], sink, {}, "app")

            async def publisher(letter: int) -> None:
                for number in range(50):
                    await pubsub.publish(Message(one.topics[0], b"%d-%d" % (letter, number)))

            await asyncio.gather(*(publisher(letter) for letter in range(20)))
            await until(lambda: len(sink.got) >= 1000)
            assert len(set(sink.payloads)) == len(sink.got) == 1000

    async def each_subscriber_gets_a_copy(self, one: Candidate) -> None:
        async with one.open() as pubsub:
            first, second, other = Sink(), Sink(), Sink()
            await pubsub.subscribe(one.topics[0], first, {}, "app")
            await pubsub.subscribe(one.topics[0], second, {}, "second")
            await pubsub.subscribe(one.topics[1], other, {}, "app")

            await pubsub.publish(Message(one.topics[0], b"x"))

            await until(lambda: first.got and second.got)  # type: ignore[arg-type]
            await asyncio.sleep(0.02)
            assert (len(first.got), len(second.got), len(other.got)) == (1, 1, 0)

    async def unsubscribe_ends_it(self, one: Candidate) -> None:
        async with one.open() as pubsub:
            sink, other = Sink(), Sink()
            unsubscribe = await pubsub.subscribe(one.topics[0], sink, {"unsubscribeOnClose": "true"}, "app")
            await pubsub.subscribe(one.topics[1], other, {}, "app")
            await pubsub.publish(Message(one.topics[0], b"before"))
            await until(lambda: len(sink.got) == 1)

            await unsubscribe()
            await pubsub.publish(Message(one.topics[0], b"after"))
            await pubsub.publish(Message(one.topics[1], b"end"))

            await until(lambda: len(other.got) == 1)
            assert sink.payloads == [b"before"]

    async def a_wildcard_gets_concrete_topics(self, one: Candidate) -> None:
        async with one.open() as pubsub:
            if Feature.SUBSCRIBE_WILDCARDS not in pubsub.features:
                pytest.skip("no wildcards")
            sink = Sink()
            await pubsub.subscribe(one.wildcard, sink, {}, "app")

            for topic in (one.topics[0], "animal/1", one.topics[1]):
                await pubsub.publish(Message(topic, b"x"))

            await until(lambda: len(sink.got) == 2)
            assert sink.topics == [one.topics[0], one.topics[1]]

    async def a_failed_delivery_comes_again_in_order(self, one: Candidate) -> None:
        if Can.RETRIES not in one.can:
            pytest.skip("its subscribers retry")
        async with one.open() as pubsub:
            sink = Sink(failures=3)
            await pubsub.subscribe(one.topics[0], sink, {}, "app")

            await pubsub.publish(Message(one.topics[0], b"0"))
            await until(lambda: sink.attempts >= 1)
            for number in range(1, 20):
                await pubsub.publish(Message(one.topics[0], b"%d" % number))

            await until(lambda: len(sink.got) == 20)
            assert sink.payloads == [b"%d" % number for number in range(20)]

    async def a_late_subscriber_gets_what_waited(self, one: Candidate) -> None:
        if Can.WAITS not in one.can:
            pytest.skip("it keeps nothing")
        async with one.open() as pubsub:
            for number in range(30):
                await pubsub.publish(Message(one.topics[0], b"%d" % number, id=str(number)))
            sink = Sink()
            await pubsub.subscribe(one.topics[0], sink, {}, "app")

            await pubsub.publish(Message(one.topics[0], b"30"))

            await until(lambda: len(sink.got) == 31)
            assert sink.payloads == [b"%d" % number for number in range(31)]

    async def a_subscription_outlives_a_restart(self, one: Candidate) -> None:
        if Can.REMEMBERS not in one.can:
            pytest.skip("it forgets")
        async with one.open() as pubsub:
            await pubsub.subscribe(one.topics[0], Sink(), {}, "app")
            await until(lambda: pubsub.unhealthy() is None if hasattr(pubsub, "unhealthy") else True)
            await asyncio.sleep(0.05)
        async with one.open(other=True) as publisher:
            for number in range(10):
                await publisher.publish(Message(one.topics[0], b"%d" % number))
        async with one.open() as pubsub:
            sink = Sink()
            await pubsub.subscribe(one.topics[0], sink, {}, "app")

            await until(lambda: len(sink.got) == 10)
            assert sink.payloads == [b"%d" % number for number in range(10)]

    async def closing_twice_is_closing(self, one: Candidate) -> None:
        async with one.open() as pubsub:
            await pubsub.close()
            await pubsub.close()

            with pytest.raises(Closed):
                await pubsub.publish(Message(one.topics[0], b"x"))


SCENARIOS = [name for name in vars(Suite) if not name.startswith("_")]
