"""What `pubsub.sqlite` keeps for consumers that are away: limits, whose messages go, and numbers that add up."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from components.pubsub import _log
from edge.errors import Full
from edge.journal import tools
from edge.model import LaneStats, Message
from tests.harness_components import Sink, opened
from tests.harness_mqtt import until

Script = Callable[[Any], Awaitable[Any]]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.pubsub.sqlite.SETTLED_AFTER", 0.02)


def play(folder: Path, script: Script, apps: tuple[str, ...] = ("app",), **raw: str) -> Any:
    async def run() -> Any:
        async with opened("pubsub.sqlite", folder, raw, app_ids=apps) as pubsub:
            return await script(pubsub)

    return asyncio.run(run())


async def publish(pubsub: Any, topic: str, *numbers: int) -> None:
    for number in numbers:
        await pubsub.publish(Message(topic, b"%d" % number, id=f"{topic}-{number}"))


async def became_known(pubsub: Any, topic: str, app: str = "app") -> None:
    """The app subscribes and goes away."""
    unsubscribe = await pubsub.subscribe(topic, Sink(), {}, app)
    await until(lambda: all(one.live for one in pubsub._subscribers))
    await unsubscribe()


async def received(pubsub: Any, topic: str, app: str = "app") -> list[int]:
    sink = Sink()
    await pubsub.subscribe(topic, sink, {}, app)
    await until(lambda: all(one.live for one in pubsub._subscribers))
    await until(lambda: not pubsub._log.waiting() or len(pubsub._context.app_ids) > 1)
    return [int(message.data) for message in sink.got]


def lanes(folder: Path) -> dict[str, LaneStats]:
    """The numbers as they are on disk, which have to add up and to be those of the rows."""
    with tools.opened(folder / "edged.db") as connection:
        found = {one.stats.lane: one.stats for one in tools.numbers(connection, "kept/*")}
        rows = dict(connection.execute("SELECT 'kept/c/' || topic, count(*) FROM pubsub_message GROUP BY topic").fetchall())
    assert all(one.balanced for one in found.values()), found
    assert {name: one.pending for name, one in found.items() if one.pending} == rows
    return found


def with_journal(folder: Path) -> None:
    """`edged journal` reads files that have a journal."""
    from edge.journal import rows

    connection = sqlite3.connect(folder / "edged.db")
    connection.executescript(rows.SCHEMA)
    connection.close()


def test_full_refuses_and_loses_nothing(tmp_path: Path) -> None:
    async def away(pubsub: Any) -> None:
        await became_known(pubsub, "t")

    async def fill(pubsub: Any) -> None:
        await publish(pubsub, "t", *range(5))
        with pytest.raises(Full, match="maxMessages"):
            await publish(pubsub, "t", 5)

    play(tmp_path, away)
    with_journal(tmp_path)
    play(tmp_path, fill, maxMessages="5")
    assert lanes(tmp_path)["kept/c/t"] == LaneStats("kept/c/t", accepted=5, pending=5, pending_bytes=5)

    assert play(tmp_path, lambda pubsub: received(pubsub, "t"), maxMessages="5") == [0, 1, 2, 3, 4]
    assert lanes(tmp_path)["kept/c/t"] == LaneStats("kept/c/t", accepted=5, delivered=5)


def test_what_is_published_while_a_subscriber_catches_up_comes_behind(tmp_path: Path) -> None:
    async def script(pubsub: Any) -> list[int]:
        await became_known(pubsub, "t")
        await publish(pubsub, "t", 0, 1)
        sink = Sink()
        sink.gate.clear()
        await pubsub.subscribe("t", sink, {}, "app")
        await until(lambda: sink.attempts == 1)
        await asyncio.sleep(0.03)  # nobody is to come any more
        await publish(pubsub, "t", 2)
        sink.gate.set()
        await until(lambda: all(one.live for one in pubsub._subscribers))
        await publish(pubsub, "t", 3)
        return [int(message.data) for message in sink.got]

    assert play(tmp_path, script) == [0, 1, 2, 3]


def test_a_kept_message_that_is_not_taken_is_offered_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.pubsub.sqlite.FIRST_PAUSE", 0.005)

    async def script(pubsub: Any) -> list[int]:
        await became_known(pubsub, "t")
        await publish(pubsub, "t", 0, 1)
        sink = Sink(failures=2)
        await pubsub.subscribe("t", sink, {}, "app")
        await until(lambda: all(one.live for one in pubsub._subscribers))
        return [int(message.data) for message in sink.got]

    assert play(tmp_path, script) == [0, 1]


def test_what_a_consumer_was_about_to_get_when_it_ended_is_kept(tmp_path: Path) -> None:
    async def cut_off(pubsub: Any) -> None:
        await publish(pubsub, "t", 0, 1, 2)
        sink = Sink()
        sink.gate.clear()
        await pubsub.subscribe("t", sink, {}, "app")
        await until(lambda: sink.attempts == 1)

    play(tmp_path, lambda pubsub: became_known(pubsub, "t"))
    play(tmp_path, cut_off)

    assert play(tmp_path, lambda pubsub: received(pubsub, "t")) == [0, 1, 2]


def test_who_stays_away_loses_nothing_to_those_who_came(tmp_path: Path) -> None:
    async def script(pubsub: Any) -> list[int]:
        for app in ("one", "two"):
            await became_known(pubsub, "t", app)
        await publish(pubsub, "t", 0, 1, 2)
        sink = Sink()
        unsubscribe = await pubsub.subscribe("t", sink, {}, "one")
        await until(lambda: len(sink.got) == 3 and all(one.live for one in pubsub._subscribers))
        await unsubscribe()
        await asyncio.sleep(0.05)
        await pubsub._tidy()
        return await received(pubsub, "t", "two")

    assert play(tmp_path, script, ("one", "two")) == [0, 1, 2]


def test_bytes_are_a_limit_too(tmp_path: Path) -> None:
    async def fill(pubsub: Any) -> None:
        await pubsub.publish(Message("t", b"x" * 90))
        with pytest.raises(Full, match="maxBytes"):
            await pubsub.publish(Message("t", b"x" * 20))
        await pubsub.publish(Message("t", b"x" * 10))

    play(tmp_path, lambda pubsub: became_known(pubsub, "t"))
    play(tmp_path, fill, maxBytes="100")


@pytest.mark.parametrize(("policy", "left"), [("drop-oldest", [3, 4, 5, 6, 7]), ("drop-newest", [0, 1, 2, 3, 4])])
def test_what_a_policy_drops_is_counted_and_logged(policy: str, left: list[int], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def fill(pubsub: Any) -> int:
        await asyncio.gather(*(publish(pubsub, "t", number) for number in range(8)))
        assert [one.dropped for one in pubsub.kept()] == [{"full": 3}]
        return int(pubsub._log.discarded)

    play(tmp_path, lambda pubsub: became_known(pubsub, "t"))
    with_journal(tmp_path)
    with caplog.at_level(logging.WARNING, "dapr.contrib"):
        assert play(tmp_path, fill, maxMessages="5", whenFull=policy) == 3

    assert lanes(tmp_path)["kept/c/t"] == LaneStats("kept/c/t", accepted=8, dropped={"full": 3}, pending=5, pending_bytes=5)
    assert len([one for one in caplog.messages if "dropped" in one]) == 1
    assert play(tmp_path, lambda pubsub: received(pubsub, "t")) == left


def test_what_nobody_subscribed_to_makes_room_first(tmp_path: Path) -> None:
    async def fill(pubsub: Any) -> None:
        await publish(pubsub, "nobody", *range(3))
        await publish(pubsub, "t", *range(4))
        with pytest.raises(Full):
            await publish(pubsub, "t", 4, 5)

    play(tmp_path, lambda pubsub: became_known(pubsub, "t"))
    with_journal(tmp_path)
    play(tmp_path, fill, maxMessages="5")

    found = lanes(tmp_path)
    assert found["kept/c/nobody"] == LaneStats("kept/c/nobody", accepted=3, dropped={"nobody subscribed": 3})
    assert found["kept/c/t"].pending == 5


def test_messages_without_any_subscription_never_fill_it(tmp_path: Path) -> None:
    async def fill(pubsub: Any) -> None:
        await asyncio.gather(*(publish(pubsub, "t", number) for number in range(20)))

    play(tmp_path, fill, maxMessages="5")
    with_journal(tmp_path)

    assert lanes(tmp_path)["kept/c/t"] == LaneStats("kept/c/t", 20, dropped={"nobody subscribed": 15}, pending=5, pending_bytes=10)


def test_an_app_that_may_come_stops_nobody_who_is_there(tmp_path: Path) -> None:
    """Copies are kept for an app that has not come; the one that has them all is not refused for that."""

    async def run(pubsub: Any) -> list[int]:
        sink = Sink()
        await pubsub.subscribe("t", sink, {}, "one")
        await until(lambda: all(one.live for one in pubsub._subscribers))
        await publish(pubsub, "t", *range(12))
        return [int(message.data) for message in sink.got]

    assert play(tmp_path, run, ("one", "two"), maxMessages="5") == list(range(12))
    with_journal(tmp_path)

    assert lanes(tmp_path)["kept/c/t"] == LaneStats("kept/c/t", 12, 7, pending=5, pending_bytes=7)


def test_a_subscription_that_its_app_gave_up_makes_room(tmp_path: Path) -> None:
    async def renamed(pubsub: Any) -> None:
        await publish(pubsub, "old", *range(4))
        await pubsub.subscribe("new", Sink(), {}, "app")
        await until(lambda: bool(pubsub._given_up()))
        await publish(pubsub, "old", *range(4, 9))

    play(tmp_path, lambda pubsub: became_known(pubsub, "old"))
    with_journal(tmp_path)
    play(tmp_path, renamed, maxMessages="5")

    assert lanes(tmp_path)["kept/c/old"].dropped == {"subscription given up": 4}


def test_an_app_that_told_its_list_is_waited_for_no_more(tmp_path: Path) -> None:
    async def run(pubsub: Any) -> list[LaneStats]:
        await publish(pubsub, "t", 1, 2)
        pubsub.settled("app")
        await until(lambda: not pubsub._log.waiting())
        await until(lambda: not pubsub._apps_to_come())
        await publish(pubsub, "t", 3)
        return list(pubsub.kept())

    assert play(tmp_path, run) == [LaneStats("kept/c/t", 2, dropped={"nobody subscribed": 2})]


def test_opening_counts_nothing(tmp_path: Path) -> None:
    play(tmp_path, lambda pubsub: publish(pubsub, "t", *range(5)))
    connection = sqlite3.connect(tmp_path / "edged.db")
    connection.execute("UPDATE tally SET pending=4000, accepted=4000, bytes=70000")
    connection.commit()
    connection.close()

    async def known(pubsub: Any) -> tuple[int, int]:
        return pubsub._log._count, pubsub._log._bytes

    assert play(tmp_path, known) == (4000, 70000)


def test_a_file_of_before_the_numbers_is_counted_once(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "edged.db")
    connection.executescript(_log.SCRIPTS[0])
    connection.execute("CREATE TABLE edged_schema (name TEXT NOT NULL PRIMARY KEY, level INTEGER NOT NULL) WITHOUT ROWID")
    connection.execute("INSERT INTO edged_schema VALUES ('pubsub.sqlite', 1)")
    connection.executemany("INSERT INTO pubsub_message(pubsub, topic, id, data) VALUES ('c', ?, 'i', ?)", [("a", b"12"), ("a", b"3")])
    connection.commit()
    connection.close()
    with_journal(tmp_path)

    assert play(tmp_path, lambda pubsub: received(pubsub, "a"), ("app", "other")) == [12, 3]
    assert lanes(tmp_path)["kept/c/a"] == LaneStats("kept/c/a", accepted=2, pending=2, pending_bytes=3)


def test_numbers_follow_rows_that_another_hand_changed(tmp_path: Path) -> None:
    play(tmp_path, lambda pubsub: publish(pubsub, "t", *range(5)))
    with_journal(tmp_path)
    connection = sqlite3.connect(tmp_path / "edged.db")
    connection.execute("DELETE FROM pubsub_message WHERE id='t-3'")
    connection.execute("INSERT INTO pubsub_message(pubsub, topic, id, data) VALUES ('c', 'u', 'i', 'xyz')")
    connection.commit()
    connection.close()

    play(tmp_path, lambda pubsub: pubsub.recount())

    found = lanes(tmp_path)
    assert found["kept/c/t"] == LaneStats("kept/c/t", 5, dropped={"damaged": 1}, pending=4, pending_bytes=4)
    assert found["kept/c/u"] == LaneStats("kept/c/u", 1, pending=1, pending_bytes=3)
