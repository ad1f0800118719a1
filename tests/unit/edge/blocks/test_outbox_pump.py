"""What was published reaches the broker: in order, at least once, whatever the broker does meanwhile."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.blocks.pubsub import PublishOptions
from edge.errors import EdgeError
from tests.harness_mqtt import Broker, Plain, mosquitto, needs_mosquitto, plain, until
from tests.rig import Rig, rig

pytestmark = needs_mosquitto
MODES = ["either", "journal"]
Script = Callable[[Rig], Awaitable[Any]]


def mqtt(broker: Broker, **more: str) -> dict[str, Any]:
    return {"wire": ("pubsub.mqtt3", {"url": broker.url, "consumerID": "pump", **more})}


def play(folder: Path, broker: Broker, script: Script, **more: str) -> Any:
    async def run() -> Any:
        async with rig(folder, mqtt(broker, **more)) as made:
            return await script(made)

    return asyncio.run(run())


async def connected(made: Rig) -> None:
    component = made.opened[0].component
    await until(lambda: component.unhealthy() is None)


def numbers(peer: Plain, topic: str = "") -> list[int]:
    """The payloads in the order of their first arrival."""
    found = [int(message.payload) for message in peer.got if topic in ("", message.topic)]
    return list(dict.fromkeys(found))


async def publish_numbers(made: Rig, topic: str, numbers: range) -> None:
    for n in numbers:
        await made.publish("wire", topic, str(n).encode(), rawPayload="true")


@contextmanager
def silent(broker: Broker) -> Iterator[None]:
    """The broker takes what comes and answers nothing; then it is gone, and what it took with it."""
    assert broker.process is not None
    broker.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        broker.kill()


async def rows(made: Rig, topic: str) -> list[int]:
    return [int(entry.message.data) for entry in await made.journal.peek(f"out/wire/{topic}", 1000)]


@pytest.mark.parametrize("mode", MODES)
def test_messages_arrive_in_order(mode: str, tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, plain(broker.port) as peer:
        peer.subscribe("#")

        async def script(made: Rig) -> None:
            await connected(made)
            await publish_numbers(made, "a", range(100))
            await until(lambda: len(peer.got) >= 100)

        play(tmp_path, broker, script, durability=mode)

        assert numbers(peer) == list(range(100))


def test_nothing_is_written_while_the_broker_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.blocks.outbox_broker.HOLD", 5.0)

    with mosquitto(tmp_path) as broker:

        async def script(made: Rig) -> tuple[int, int]:
            await connected(made)
            await asyncio.gather(*(publish_numbers(made, f"t{n}", range(20)) for n in range(5)))
            return made.pending(), sum(lane.accepted for lane in made.journal.stats())

        assert play(tmp_path, broker, script) == (0, 0)


def test_journal_mode_writes_before_the_answer_and_removes_at_puback(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:

        async def script(made: Rig) -> int:
            await connected(made)
            await publish_numbers(made, "a", range(10))
            await until(lambda: made.pending() == 0)
            return sum(lane.delivered for lane in made.journal.stats("out/"))

        assert play(tmp_path, broker, script, durability="journal") == 10


def test_an_answer_without_the_brokers_word_means_a_row(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:

        async def script(made: Rig) -> list[list[int]]:
            await connected(made)
            with silent(broker):
                found = []
                for n in range(3):
                    await publish_numbers(made, "a", range(n, n + 1))
                    found.append(await rows(made, "a"))
            return found

        assert play(tmp_path, broker, script) == [[0], [0, 1], [0, 1, 2]]


def test_what_waits_for_its_answer_at_the_end_gets_a_row_with_it(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:

        async def script(made: Rig) -> list[int]:
            await connected(made)
            with silent(broker):
                publishing = asyncio.gather(*(publish_numbers(made, "a", range(n, n + 1)) for n in range(3)))
                await asyncio.sleep(0)
                await made.outbox.close()
                await publishing
            return await rows(made, "a")

        assert play(tmp_path, broker, script) == [0, 1, 2]


def test_without_room_for_a_row_the_answer_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.blocks.outbox_broker.FULL_DELAY", 0.02)
    monkeypatch.setattr("edge.database.database.LOOK_EVERY", 0.0)
    with mosquitto(tmp_path) as broker:

        async def script(made: Rig) -> tuple[bool, list[int]]:
            await connected(made)
            with silent(broker), monkeypatch.context() as full:
                full.setattr("edge.database.database.space_left", lambda _: 1 << 10)
                publishing = asyncio.create_task(publish_numbers(made, "a", range(1)))
                await asyncio.sleep(0.15)
                answered = publishing.done()
                full.undo()
                await publishing
            return answered, await rows(made, "a")

        assert play(tmp_path, broker, script) == (False, [0])


def test_a_row_comes_behind_what_was_in_flight_before_it(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:

        async def script(made: Rig) -> list[int]:
            await connected(made)
            with silent(broker):
                first = asyncio.create_task(publish_numbers(made, "a", range(1)))
                await asyncio.sleep(0)
                await made.pubsub.publish(made.app, "wire", "a", b"1", PublishOptions("", {"rawPayload": "true"}, idempotency_key="k"))
                await first
            return await rows(made, "a")

        assert play(tmp_path, broker, script) == [0, 1]


@pytest.mark.parametrize("mode", MODES)
def test_publish_succeeds_though_the_broker_was_never_there(mode: str, tmp_path: Path) -> None:
    with mosquitto(tmp_path, start=False) as broker:

        async def first(made: Rig) -> int:
            await publish_numbers(made, "a", range(30))
            await publish_numbers(made, "b", range(30))
            return made.pending("out/wire/")

        assert play(tmp_path, broker, first, durability=mode) == 60

        broker.start()
        with plain(broker.port) as peer:
            peer.subscribe("#")

            async def second(made: Rig) -> None:
                await until(lambda: len(peer.got) >= 60)
                await until(lambda: made.pending() == 0)

            play(tmp_path, broker, second, durability=mode)

            assert numbers(peer, "a") == numbers(peer, "b") == list(range(30))


@pytest.mark.parametrize("mode", MODES)
def test_order_is_kept_over_a_broker_that_goes_and_comes(mode: str, tmp_path: Path) -> None:
    """A killed mosquitto forgets what it acknowledged just before; so the watcher has the first ten when the broker dies."""
    with mosquitto(tmp_path) as broker:

        async def script(made: Rig) -> None:
            await connected(made)
            await publish_numbers(made, "a", range(10))
            with plain(broker.port, "watcher", clean=False) as early:
                await until(lambda: len(numbers(early)) == 10)
            broker.kill()
            await publish_numbers(made, "a", range(10, 40))
            broker.start()
            with plain(broker.port, "watcher", clean=False) as late:
                late.subscribe("a")
                await publish_numbers(made, "a", range(40, 60))
                await until(lambda: made.pending() == 0)
                await until(lambda: 59 in numbers(late))
                found.extend(dict.fromkeys(numbers(early) + numbers(late)))

        found: list[int] = []
        with plain(broker.port, "watcher", clean=False) as first:
            first.subscribe("a")
        play(tmp_path, broker, script, durability=mode)

        assert found == list(range(60))


def test_a_backlog_larger_than_the_window_drains(tmp_path: Path) -> None:
    with mosquitto(tmp_path, start=False) as broker:

        async def fill(made: Rig) -> None:
            await asyncio.gather(*(publish_numbers(made, f"t{n}", range(60)) for n in range(6)))

        play(tmp_path, broker, fill)
        broker.start()
        with plain(broker.port) as peer:
            peer.subscribe("#")

            async def drain(made: Rig) -> None:
                await until(lambda: len(peer.got) >= 360)
                await until(lambda: made.pending() == 0)

            play(tmp_path, broker, drain)

            assert all(numbers(peer, f"t{n}") == list(range(60)) for n in range(6))


def test_impossible_topic_is_refused_and_blocks_nothing(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, plain(broker.port) as peer:
        peer.subscribe("a")

        async def script(made: Rig) -> str:
            await connected(made)
            with pytest.raises(EdgeError) as caught:
                await made.publish("wire", "wild/+/x")
            await publish_numbers(made, "a", range(3))
            await until(lambda: len(peer.got) == 3)
            return caught.value.code.tag

        assert play(tmp_path, broker, script) == "ERR_PUBSUB_PUBLISH_MESSAGE"


def test_what_can_never_be_sent_goes_to_the_dead_lane(tmp_path: Path) -> None:
    with mosquitto(tmp_path, start=False) as broker:

        async def script(made: Rig) -> list[str]:
            await made.journal.put("out/wire/wild/+", *(message("wild/+", n) for n in range(2)))
            await made.journal.put("out/wire/good", message("good", 1))
            broker.start()
            await until(lambda: made.pending("out/") == 0)
            return made.journal.lanes("dead/")

        assert play(tmp_path, broker, script) == ["dead/out/wire/wild/+"]


def message(topic: str, n: int) -> Any:
    from edge.model import Message

    return Message(topic, str(n).encode(), id=f"m{n}")


def test_what_is_in_flight_at_the_end_is_sent_by_the_next_run(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:

        async def stall(made: Rig) -> None:
            await connected(made)
            broker.process.send_signal(19)  # type: ignore[union-attr]
            await publish_numbers(made, "a", range(3))
            broker.process.send_signal(18)  # type: ignore[union-attr]
            broker.kill()

        play(tmp_path, broker, stall)
        broker.start()
        with plain(broker.port) as peer:
            peer.subscribe("a")

            async def send(made: Rig) -> None:
                await until(lambda: made.pending() == 0)
                await until(lambda: len(numbers(peer)) == 3)

            play(tmp_path, broker, send)

            assert numbers(peer) == [0, 1, 2]


def test_broker_mode_fails_like_daprd_when_the_broker_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.blocks.outbox_broker.BROKER_TIMEOUT", 0.1)
    with mosquitto(tmp_path, start=False) as broker:

        async def script(made: Rig) -> tuple[str, int]:
            with pytest.raises(EdgeError) as caught:
                await made.publish("wire", "a")
            return caught.value.message, made.pending()

        message, pending = play(tmp_path, broker, script, durability="broker")

        assert message == "error when publishing to topic a in pubsub wire: failed to publish: context deadline exceeded"
        assert pending == 0


def test_many_publishers_of_one_topic_all_get_their_answer(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, plain(broker.port) as peer:
        peer.subscribe("a")

        async def script(made: Rig) -> None:
            await connected(made)
            await asyncio.gather(*(made.publish("wire", "a", str(n).encode(), rawPayload="true") for n in range(400)))
            await until(lambda: len(set(numbers(peer))) == 400)

        play(tmp_path, broker, script)
