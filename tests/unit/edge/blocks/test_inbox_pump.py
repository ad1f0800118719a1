"""What came for an app reaches it: in order, again after a failure, whenever the app comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edge.blocks.inbox_lane import LaneSettings
from edge.blocks.inbox_pump import SingleLane
from edge.blocks.intake import Intake
from edge.blocks.outcome import DELIVERED, Outcome
from edge.blocks.pubsub import BulkEntry, PublishOptions
from edge.errors import Closed, EdgeError
from edge.model import Message, Rule, Subscription
from edge.resiliency import Breaker, BreakerSettings, Policy, Retry
from edge.telemetry.metrics import Metrics
from tests.apps import Answer, ScriptedApp, Seen
from tests.rig import Rig, rig

RETRY, DROP = Answer.json({"status": "RETRY"}), Answer.json({"status": "DROP"})
T = {"pubsubname": "bus", "topic": "t", "route": "/t"}
MODES = ["either", "journal", "broker"]
Script = Callable[[Rig], Awaitable[Any]]


def play(
    folder: Path,
    script: Script,
    told: Sequence[Mapping[str, Any]] = (T,),
    answers: Mapping[str, Any] | None = None,
    mode: str = "either",
    started: bool = True,
    **more: Any,
) -> Any:
    async def run() -> Any:
        async with rig(folder, {"bus": ("pubsub.sqlite", {})}, told, answers, **more) as made:
            object.__setattr__(made.opened[0], "properties", {"durability": mode})
            if started:
                await made.start()
                await settled(made)
            return await script(made)

    return asyncio.run(run())


async def settled(made: Rig) -> None:
    """The component hands messages straight to its subscribers from now on."""
    component = made.opened[0].component
    while not all(one.live for one in component._subscribers):
        await asyncio.sleep(0.002)


@pytest.fixture(autouse=True)
def _no_apps_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that subscribed once has named all its topics."""
    monkeypatch.setattr("components.pubsub.sqlite.SETTLED_AFTER", 0.0)


def numbers(seen: Sequence[Seen]) -> list[int]:
    return [s.json()["data"]["n"] for s in seen]


async def publish(made: Rig, *wanted: int, topic: str = "t") -> None:
    for n in wanted:
        await made.publish("bus", topic, b'{"n":%d}' % n)


@pytest.mark.parametrize("mode", MODES)
def test_messages_of_a_topic_come_in_order_one_at_a_time(mode: str, tmp_path: Path) -> None:
    async def script(made: Rig) -> tuple[list[int], int]:
        await publish(made, *range(50))
        await made.server.until(lambda: len(made.server.on("/t")) == 50)
        return numbers(made.server.on("/t")), made.server.most_busy

    assert play(tmp_path, script, mode=mode) == (list(range(50)), 1)


def test_nothing_is_written_while_the_app_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.blocks.subscriptions.LOCAL_HOLD", 5.0)

    async def script(made: Rig) -> int:
        await publish(made, *range(20))
        return sum(lane.accepted for lane in made.journal.stats("in/"))

    assert play(tmp_path, script) == 0


def test_a_slow_app_is_written_for_and_gets_each_message_once(tmp_path: Path) -> None:
    async def script(made: Rig) -> tuple[list[int], int]:
        await publish(made, *range(5))
        written = sum(lane.accepted for lane in made.journal.stats("in/"))
        assert written >= 4
        await made.server.until(lambda: len(made.server.on("/t")) == 5)
        await made.server.until(lambda: made.pending() == 0)
        return numbers(made.server.on("/t")), made.pending()

    assert play(tmp_path, script, answers={"/t": Answer(after=0.03)}) == ([0, 1, 2, 3, 4], 0)


@pytest.mark.parametrize("mode", MODES)
def test_retried_message_comes_again_and_holds_up_no_other(mode: str, tmp_path: Path) -> None:
    first = [True]

    def answer(request: Seen) -> Answer:
        if request.json()["data"]["n"] == 1 and first.pop():
            first.append(False)
            return RETRY
        return Answer()

    async def script(made: Rig) -> list[int]:
        publishing = asyncio.gather(*(publish(made, n) for n in range(4)))
        await made.server.until(lambda: len(made.server.on("/t")) == 5)
        await publishing
        return numbers(made.server.on("/t"))

    assert play(tmp_path, script, answers={"/t": answer}, mode=mode) == [0, 1, 2, 3, 1]


def test_ordered_subscription_waits_for_the_retried_message(tmp_path: Path) -> None:
    told = {**T, "metadata": {"ordered": "true"}}

    async def script(made: Rig) -> list[int]:
        await publish(made, 0, 1, 2)
        await made.server.until(lambda: len(made.server.on("/t")) == 5)
        return numbers(made.server.on("/t"))

    assert play(tmp_path, script, [told], {"/t": [RETRY, RETRY, Answer()]}) == [0, 0, 0, 1, 2]


def test_pauses_grow_without_a_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.blocks.retries.FIRST_PAUSE", 0.06)

    async def script(made: Rig) -> list[float]:
        await publish(made, 0)
        await made.server.until(lambda: len(made.server.on("/t")) == 5)
        times = [s.at for s in made.server.on("/t")]
        return [b - a for a, b in pairwise(times)]

    gaps = play(tmp_path, script, answers={"/t": Answer(500)})

    assert gaps[3] > gaps[0] * 2


@pytest.mark.parametrize("mode", MODES)
def test_app_that_is_away_costs_no_attempt(mode: str, tmp_path: Path) -> None:
    policy = Policy("bus", retry=Retry(duration=0.05, max_retries=1))

    async def script(made: Rig) -> tuple[list[int], list[str]]:
        await made.server.down()
        publishing = asyncio.gather(*(publish(made, n) for n in range(5)))
        await asyncio.sleep(0.4)
        await made.server.up()
        await made.server.until(lambda: len(made.server.on("/t")) == 5)
        await publishing
        return sorted(numbers(made.server.on("/t"))), made.journal.lanes("dead/")

    assert play(tmp_path, script, mode=mode, policy_of=lambda app, name: policy) == ([0, 1, 2, 3, 4], [])


@pytest.mark.parametrize("mode", MODES)
def test_nobody_overtakes_while_the_app_is_away(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.blocks.inbox_pump.PATIENCE", 0.2)

    async def script(made: Rig) -> tuple[list[int], int]:
        await made.server.down()
        publishing = asyncio.gather(*(publish(made, n) for n in range(8)))
        await asyncio.sleep(0.8)
        await made.server.up()
        await made.server.until(lambda: len(made.server.on("/t")) == 8)
        await publishing
        return numbers(made.server.on("/t")), made.server.most_busy

    assert play(tmp_path, script, mode=mode, answers={"/t": Answer(after=0.01)}) == (list(range(8)), 1)


def test_nobody_overtakes_while_the_breaker_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.blocks.inbox_pump.PROBE_PAUSE", 0.35)
    breaker = Breaker("bus", BreakerSettings(timeout=0.3))
    policy = Policy("bus", retry=Retry(duration=0.01, max_retries=20), breaker=breaker)

    async def script(made: Rig) -> tuple[list[int], int]:
        await publish(made, 0)
        await made.server.until(lambda: len(made.server.on("/t")) == 6)
        await publish(made, *range(1, 8))
        await made.server.until(lambda: len(made.server.on("/t")) == 14)
        return [n for n in numbers(made.server.on("/t"))[6:] if n], made.server.most_busy

    answers = {"/t": [*[Answer(500)] * 6, Answer()]}
    assert play(tmp_path, script, answers=answers, policy_of=lambda app, name: policy) == (list(range(1, 8)), 1)


def test_delivery_resumes_at_once_when_the_app_is_back(tmp_path: Path) -> None:
    async def script(made: Rig) -> float:
        await made.server.down()
        await publish(made, *range(30))
        await asyncio.sleep(0.3)
        loop = asyncio.get_running_loop()
        await made.server.up()
        back = loop.time()
        await made.server.until(lambda: len(made.server.on("/t")) == 30)
        return loop.time() - back

    assert play(tmp_path, script) < 0.6


def test_messages_come_before_the_app_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.pubsub.sqlite.SETTLED_AFTER", 5.0)
    declared = Subscription("bus", "early", (Rule("", "/early"),))

    async def script(made: Rig) -> tuple[list[int], list[int]]:
        await made.server.down()
        await made.subscriptions.prepare(made.app, [declared])
        await publish(made, *range(5), topic="early")
        await publish(made, *range(5))
        await made.server.up()
        await made.subscriptions.start(made.app)
        await made.server.until(lambda: len(made.server.on("/early")) + len(made.server.on("/t")) == 10)
        return numbers(made.server.on("/early")), numbers(made.server.on("/t"))

    assert play(tmp_path, script, started=False) == ([0, 1, 2, 3, 4],) * 2


def test_what_is_being_written_when_the_lane_comes_is_not_overtaken(tmp_path: Path) -> None:
    async def script(made: Rig) -> list[int]:
        intake = Intake("in/app/bus/x", made.opened[0], "x", {}, "app", made.journal, made.tasks)
        got: list[int] = []

        class App:
            async def attempt(self, message: Message, failures: int) -> Outcome:
                got.append(int(message.data))
                return DELIVERED

        def come(n: int) -> asyncio.Task[None]:
            return asyncio.create_task(intake._deliver(Message("x", b"%d" % n)))

        early = [come(n) for n in range(100)]
        await asyncio.sleep(0)
        intake.attach(SingleLane(LaneSettings(intake.name), App(), made.journal, made.gates.of(made.app), made.tasks))
        late = [come(n) for n in range(100, 110)]
        await asyncio.gather(*early, *late)
        while len(got) < 110:
            await asyncio.sleep(0.005)
        await intake.close()
        return got

    assert play(tmp_path, script) == list(range(110))


def test_what_the_app_told_last_time_is_taken_before_it_is_up(tmp_path: Path) -> None:
    async def first(made: Rig) -> None:
        await publish(made, 0)

    async def second(made: Rig) -> tuple[int, list[int]]:
        await made.subscriptions.prepare(made.app)
        await settled(made)
        await publish(made, 1, 2)
        kept = made.pending("in/app/bus/t")
        await made.subscriptions.start(made.app)
        await made.server.until(lambda: len(made.server.on("/t")) == 2)
        return kept, numbers(made.server.on("/t"))

    play(tmp_path, first)

    assert play(tmp_path, second, started=False) == (2, [1, 2])


def test_rows_of_before_a_restart_are_delivered(tmp_path: Path) -> None:
    async def first(made: Rig) -> None:
        await made.server.down()
        await publish(made, *range(40))

    async def second(made: Rig) -> list[int]:
        await publish(made, 40)
        await made.server.until(lambda: len(made.server.on("/t")) >= 41)
        return numbers(made.server.on("/t"))

    play(tmp_path, first)

    assert play(tmp_path, second) == list(range(41))


def test_unhealthy_app_gets_nothing_until_it_is_well(tmp_path: Path) -> None:
    async def script(made: Rig) -> tuple[int, list[int]]:
        made.subscriptions.pause(made.app)
        await publish(made, 0, 1)
        await asyncio.sleep(0.05)
        before = len(made.server.on("/t"))
        made.subscriptions.resume(made.app)
        await made.server.until(lambda: len(made.server.on("/t")) == 2)
        return before, numbers(made.server.on("/t"))

    assert play(tmp_path, script) == (0, [0, 1])


@pytest.mark.parametrize(("answer", "reason"), [(DROP, "app"), (Answer(404), "app")])
@pytest.mark.parametrize("mode", ["either", "journal"])
def test_dropped_message_is_over(answer: Answer, reason: str, mode: str, tmp_path: Path) -> None:
    async def script(made: Rig) -> tuple[int, int, list[str]]:
        await publish(made, 0)
        await made.server.until(lambda: made.server.on("/t"))
        await made.server.until(lambda: made.pending() == 0)
        return len(made.server.on("/t")), made.pending(), made.journal.lanes("dead/")

    assert play(tmp_path, script, answers={"/t": answer}, mode=mode) == (1, 0, [])


def test_spent_attempts_lead_to_the_dead_lane_without_a_dead_letter_topic(tmp_path: Path) -> None:
    policy = Policy("bus", retry=Retry(duration=0.02, max_retries=2))

    async def script(made: Rig) -> tuple[int, list[str], bytes]:
        await publish(made, 0)
        await made.server.until(lambda: len(made.server.on("/t")) == 3)
        while not made.journal.lanes("dead/"):
            await asyncio.sleep(0.01)
        (lane,) = made.journal.lanes("dead/")
        (entry,) = await made.journal.peek(lane, 1)
        return len(made.server.on("/t")), [lane], entry.message.data

    count, lanes, data = play(tmp_path, script, answers={"/t": Answer(500)}, policy_of=lambda app, name: policy)

    assert (count, lanes) == (3, ["dead/in/app/bus/t"])
    assert b'"n":0' in data


RULES = {"rules": [{"match": "event.type == 'wanted'", "path": "/t"}]}
BULK = {"enabled": True, "maxMessagesCount": 10, "maxAwaitDurationMs": 20}
SINGLY = {("bus", "drop", "drop", "t"): [1], ("bus", "drop", "success", "t"): [1]}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("bulk", "counted"), [({}, SINGLY), ({"bulkSubscribe": BULK}, {("bus", "DROP", "t"): [2]})], ids=["single", "bulk"]
)
def test_what_its_time_or_the_rules_discard_is_counted(bulk: Any, counted: Any, mode: str, tmp_path: Path) -> None:
    told = {"pubsubname": "bus", "topic": "t", "routes": RULES, **bulk}
    event = b'{"specversion":"1.0","type":"other","source":"s","id":"%d","data":1%s}'

    def numbers(made: Rig) -> list[tuple[int, dict[str, int]]]:
        return [(lane.expired, lane.dropped) for lane in made.journal.stats("in/")]

    async def script(made: Rig) -> int:
        made.app.metrics = metrics = Metrics("app")
        for more in (b',"expiration":"2020-01-01T00:00:00Z"', b""):
            await made.publish("bus", "t", event % (len(more), more), "application/cloudevents+json")
        family = "component_pubsub_ingress_bulk_event_count" if bulk else "component_pubsub_ingress_count"
        await made.server.until(lambda: metrics.counters.get(family) == counted)
        if mode == "journal":
            await made.server.until(lambda: numbers(made) == [(1, {"no-route": 1})])
        return len(made.server.on("/t"))

    assert play(tmp_path, script, [told], mode=mode) == 0


@pytest.mark.parametrize("mode", ["either", "journal"])
def test_of_a_bulk_only_what_the_app_wants_again_comes_again(mode: str, tmp_path: Path) -> None:
    def answer(request: Seen) -> Answer:
        entries = json.loads(request.body)["entries"]
        again = "RETRY" if len(entries) > 1 else "SUCCESS"
        told = [{"entryId": one["entryId"], "status": again if one["event"]["data"] == 1 else "SUCCESS"} for one in entries]
        return Answer(200, json.dumps({"statuses": told}).encode())

    async def script(made: Rig) -> list[list[int]]:
        entries = [BulkEntry(str(n), b"%d" % n, "application/json") for n in range(1, 5)]
        await made.pubsub.publish_bulk(made.app, "bus", "t", entries, PublishOptions())
        await made.server.until(lambda: len(made.server.on("/t")) >= 2)
        await asyncio.sleep(0.5)
        return [[one["event"]["data"] for one in json.loads(seen.body)["entries"]] for seen in made.server.on("/t")]

    told = [{**T, "bulkSubscribe": {**BULK, "maxAwaitDurationMs": 300}}]
    assert play(tmp_path, script, told, {"/t": answer}, mode=mode) == [[1, 2, 3, 4], [1]]


def test_dead_letter_is_the_message_unchanged(tmp_path: Path) -> None:
    told = [{**T, "deadLetterTopic": "morgue"}, {"pubsubname": "bus", "topic": "morgue", "route": "/morgue"}]

    async def script(made: Rig) -> bool:
        await publish(made, 0)
        await made.server.until(lambda: made.server.on("/morgue"))
        return made.server.on("/t")[0].body == made.server.on("/morgue")[0].body

    assert play(tmp_path, script, told, {"/t": RETRY})


def test_a_dead_letter_that_cannot_be_sent_keeps_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.pubsub.sqlite.SETTLED_AFTER", 60.0)
    monkeypatch.setattr("edge.blocks.delivery.FORWARD_PAUSE", 0.02)
    monkeypatch.setattr("edge.database.database.LOOK_EVERY", 0.0)
    told = [{**T, "deadLetterTopic": "morgue"}]
    full = pytest.MonkeyPatch()

    def answer(request: Seen) -> Answer:
        full.setattr("edge.database.database.space_left", lambda _: 1 << 10)
        return RETRY

    async def script(made: Rig) -> tuple[int, int, list[tuple[str, int]]]:
        await publish(made, 0)
        await made.server.until(lambda: len(made.server.on("/t")) >= 2)
        while_full = made.pending("in/")
        made.server.answers["/t"] = RETRY
        full.undo()
        await made.server.until(lambda: made.pending("in/") == 0)
        kept = [(one.lane, one.pending) for one in made.opened[0].component.kept() if one.pending and "morgue" in one.lane]
        return while_full, sum(lane.dropped.get("dead-letter", 0) for lane in made.journal.stats("in/")), kept

    try:
        assert play(tmp_path, script, told, {"/t": answer}, mode="journal") == (1, 1, [("kept/bus/morgue", 1)])
    finally:
        full.undo()


def test_undecodable_message_blocks_nothing(tmp_path: Path) -> None:
    async def script(made: Rig) -> tuple[list[int], list[str]]:
        await made.publish("bus", "t", b"no event", rawPayload="true")
        await publish(made, 1)
        await made.server.until(lambda: made.server.on("/t"))
        return numbers(made.server.on("/t")), made.journal.lanes("dead/")

    assert play(tmp_path, script) == ([1], ["dead/in/app/bus/t"])


def test_slow_message_is_overtaken_after_a_while(tmp_path: Path) -> None:
    def answer(request: Seen) -> Answer:
        return Answer(after=1.0 if request.json()["data"]["n"] == 0 else 0.0)

    async def script(made: Rig) -> list[int]:
        await publish(made, 0, 1, 2)
        await made.server.until(lambda: len(made.server.on("/t")) == 3, timeout=0.8)
        return numbers(made.server.on("/t"))

    assert play(tmp_path, script, answers={"/t": answer}) == [0, 1, 2]


def test_slow_topic_holds_up_no_other(tmp_path: Path) -> None:
    told = [T, {"pubsubname": "bus", "topic": "quick", "route": "/quick"}]

    async def script(made: Rig) -> int:
        await publish(made, 0)
        await publish(made, *range(10), topic="quick")
        await made.server.until(lambda: len(made.server.on("/quick")) == 10, timeout=0.8)
        return len(made.server.on("/t"))

    assert play(tmp_path, script, told, {"/t": Answer(after=1.0)}) == 1


def test_open_breaker_spends_no_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.blocks.inbox_pump.PROBE_PAUSE", 0.03)
    breaker = Breaker("bus", BreakerSettings(timeout=0.2))
    policy = Policy("bus", retry=Retry(duration=0.01, max_retries=20), breaker=breaker)

    async def script(made: Rig) -> tuple[int, list[str]]:
        await publish(made, 0)
        await made.server.until(lambda: len(made.server.on("/t")) == 8)
        await asyncio.sleep(0.05)
        return len(made.server.on("/t")), made.journal.lanes("dead/")

    answers = {"/t": [*[Answer(500)] * 7, Answer()]}
    assert play(tmp_path, script, answers=answers, policy_of=lambda app, name: policy) == (8, [])


def test_an_app_that_hangs_up_is_tried_again(tmp_path: Path) -> None:
    async def script(made: Rig) -> int:
        await publish(made, 0)
        await made.server.until(lambda: len(made.server.on("/t")) == 2)
        return len(made.server.on("/t"))

    assert play(tmp_path, script, answers={"/t": [Answer(hangup=True), Answer()]}) == 2


def test_lanes_of_two_apps_are_apart(tmp_path: Path) -> None:
    async def run() -> tuple[int, int]:
        async with ScriptedApp(default=Answer()) as other, rig(tmp_path, {"bus": ("pubsub.sqlite", {})}, [T]) as made:
            from edge.app import App
            from edge.channel.http import HttpChannel

            other.answers = {("GET", "/dapr/subscribe"): Answer.json([T]), "/t": [RETRY, Answer()]}
            second = App("second", port=other.port)
            second.channel = HttpChannel(second)
            await made.start()
            await made.subscriptions.start(second)
            await publish(made, 0)
            await other.until(lambda: len(other.on("/t")) == 2)
            await made.subscriptions.stop(second)
            await second.channel.close()
            return len(made.server.on("/t")), len(other.on("/t"))

    assert asyncio.run(run()) == (1, 2)


def test_stopped_app_leaves_its_messages(tmp_path: Path) -> None:
    async def script(made: Rig) -> int:
        await publish(made, 0)
        await made.server.until(lambda: made.server.on("/t"))
        await made.subscriptions.stop(made.app)
        return made.pending("in/")

    assert play(tmp_path, script, answers={"/t": Answer(after=5.0)}) == 1


class Stumbling:
    """A courier with a bug that shows at its first attempt."""

    attempts = 0

    async def attempt(self, message: Message, failures: int) -> Outcome:
        self.attempts += 1
        if self.attempts == 1:
            raise RuntimeError("a bug")
        return DELIVERED


def test_an_attempt_that_meets_a_bug_gives_its_row_back(tmp_path: Path) -> None:
    async def script(made: Rig) -> tuple[int, int]:
        courier, name = Stumbling(), "in/app/bus/other"
        lane = SingleLane(LaneSettings(name, "journal"), courier, made.journal, made.gates.streams(made.app), made.tasks)
        await made.journal.put(name, Message("other", b"{}"))
        await made.server.until(lambda: sum(one.delivered for one in made.journal.stats(name)) == 1)
        await lane.close()
        return courier.attempts, made.pending(name)

    assert play(tmp_path, script, started=False) == (2, 0)


def test_a_stop_leaves_what_has_no_row_with_the_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.blocks.subscriptions.LOCAL_HOLD", 60.0)

    async def script(made: Rig) -> int:
        publishing = asyncio.create_task(publish(made, 0))
        await made.server.until(lambda: made.server.on("/t"))
        await made.subscriptions.stop(made.app)
        with pytest.raises(EdgeError, match="not subscribed any more"):
            await publishing
        return made.pending()

    assert play(tmp_path, script, answers={"/t": Answer(after=5.0)}) == 0


def test_what_finds_no_room_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.blocks.subscriptions.LOCAL_HOLD", 60.0)
    monkeypatch.setattr("edge.blocks.inbox_lane.FULL_DELAY", 0.01)
    monkeypatch.setattr("edge.database.database.LOOK_EVERY", 0.0)

    def answer(request: Seen) -> Answer:
        monkeypatch.setattr("edge.database.database.space_left", lambda _: 1 << 10)
        return RETRY

    async def script(made: Rig) -> int:
        with pytest.raises(EdgeError) as caught:
            await publish(made, 0)
        return caught.value.http

    assert play(tmp_path, script, answers={"/t": answer}) == 507


@pytest.mark.parametrize("started", [True, False], ids=["with a lane", "before the app is up"])
def test_what_comes_after_the_end_of_a_subscription_stays_with_the_broker(started: bool, tmp_path: Path) -> None:
    async def script(made: Rig) -> int:
        await made.subscriptions.prepare(made.app, [Subscription("bus", "t", (Rule("", "/t"),))])
        if started:
            await made.subscriptions.start(made.app)
        (subscriber,) = made.opened[0].component._subscribers
        await made.subscriptions.stop(made.app)
        with pytest.raises(Closed):
            await subscriber.deliver(Message("t", b"{}"))
        return made.pending() + len(made.server.on("/t"))

    assert play(tmp_path, script, started=False) == 0
