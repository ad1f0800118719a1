"""The actor API on a real file: activation, idle deactivation, state, timers, reminders, and Dapr's words for what goes wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from edge.actor import ActorCall, ActorFailed, ActorTick, HostGone
from edge.app import App, AppUnavailable
from edge.blocks.actors.reminders import ReminderRequest
from edge.blocks.actors.state import StateOperation
from edge.blocks.actors.timers import TimerRequest
from edge.blocks.schedule import Policy
from edge.errors import EdgeError
from edge.model import InvokeResponse
from tests.recorded import normal
from tests.unit.edge.blocks.actors.rig import Rig, Troupe, opened, until

LATE = 0.5


def play(folder: Path, scenario: Callable[[Rig], Awaitable[None]], **settings: object) -> Rig:
    """Run a scenario on a rig and return it, closed."""

    async def run() -> Rig:
        async with opened(folder, **settings) as rig:  # type: ignore[arg-type]
            await scenario(rig)
            return rig

    return asyncio.run(run())


async def refused(work: Awaitable[object]) -> tuple[int, str, str]:
    with pytest.raises(EdgeError) as caught:
        await work
    return caught.value.http, caught.value.code.tag, caught.value.message


def on_time(rig: Rig, *due: float) -> None:
    """One tick for each time, never early; how late depends on what else the machine does."""
    assert len(rig.times()) == len(due), rig.times()
    assert all(at - 0.02 <= time <= at + LATE for time, at in zip(rig.times(), due, strict=True)), rig.times()


# --- activation and the end of it
def test_the_first_call_activates_and_idleness_deactivates(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.call()
        assert rig.actors.status(rig.app).active == [("Lamp", 1)]
        await until(lambda: "deactivate Lamp/hall" in rig.troupe.log)
        assert rig.actors.status(rig.app).active == [("Lamp", 0)]

    rig = play(tmp_path, scenario, config={"actorIdleTimeout": "30ms"})

    assert rig.troupe.log == ["method Lamp/hall/Look", "deactivate Lamp/hall"]


def test_each_call_starts_the_idle_time_anew(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.call("other")
        for _ in range(4):
            await rig.call()
            await asyncio.sleep(0.15)
        assert "deactivate Lamp/other" in rig.troupe.log
        assert "deactivate Lamp/hall" not in rig.troupe.log

    play(tmp_path, scenario, config={"actorIdleTimeout": "400ms"})


def test_an_actor_waiting_for_itself_is_cut_when_its_idle_time_is_over(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        async def act(call: ActorCall) -> InvokeResponse:
            return InvokeResponse(200, body=await rig.call(method="Inner") if call.method == "Outer" else b"inner")

        rig.troupe.act = act
        outer = asyncio.create_task(refused(rig.actors.invoke(rig.app, ActorCall("Lamp", "hall", "Outer"))))
        assert await outer == (500, "ERR_ACTOR_INVOKE_METHOD", "error invoke actor method: context canceled")

    rig = play(tmp_path, scenario, config={"actorIdleTimeout": "30ms"})

    assert rig.troupe.log[:2] == ["method Lamp/hall/Outer", "deactivate Lamp/hall"]


def test_a_call_during_deactivation_waits_and_activates_anew(tmp_path: Path) -> None:
    class Slow(Troupe):
        async def deactivate(self, type_: str, id_: str) -> None:
            await asyncio.sleep(0.03)
            await super().deactivate(type_, id_)

    async def scenario(rig: Rig) -> None:
        await rig.call()
        await asyncio.sleep(0.02)
        await rig.call(method="Again")

    rig = play(tmp_path, scenario, config={"actorIdleTimeout": "10ms"}, troupe=Slow())

    assert rig.troupe.log[:3] == ["method Lamp/hall/Look", "deactivate Lamp/hall", "method Lamp/hall/Again"]


def test_an_app_that_leaves_gets_its_actors_deactivated_after_their_turns(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        async def act(call: ActorCall) -> InvokeResponse:
            await asyncio.sleep(0.03)
            rig.troupe.log.append(f"end of turn {call.id}")
            return InvokeResponse(200, body=b"")

        rig.troupe.act = act
        calls = [asyncio.create_task(rig.call(id_)) for id_ in ("a", "b")]
        await asyncio.sleep(0.005)
        await rig.actors.unregister(rig.app, 1.0)
        await asyncio.gather(*calls)

    rig = play(tmp_path, scenario)

    for id_ in ("a", "b"):
        assert [line for line in rig.troupe.log[2:] if line.endswith(id_)] == [f"end of turn {id_}", f"deactivate Lamp/{id_}"]


# --- methods
def test_the_caller_is_stamped_and_cannot_pose_as_another(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        headers = (("x-bee", "1"), ("dapr-caller-app-id", "forged"), ("dapr-api-token", "secret"))
        await rig.actors.invoke(rig.app, ActorCall("Lamp", "hall", "Look", headers=headers))

    rig = play(tmp_path, scenario)

    sent = dict(rig.troupe.calls[0].headers)
    assert sent == {"x-bee": "1", "dapr-api-call": "true", "dapr-caller-app-id": "lamps", "dapr-caller-namespace": "default"}


def test_reentrant_types_get_an_id_and_others_none(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.call(type_="Knot")
        await rig.call(type_="Knot", reentrancy="mine")
        await rig.call()

    config = {"entities": ["Lamp", "Knot"], "entitiesConfig": [{"entities": ["Knot"], "reentrancy": {"enabled": True}}]}
    rig = play(tmp_path, scenario, config=config)

    made, given, none = (call.reentrancy for call in rig.troupe.calls)
    assert len(made) == 36 and given == "mine" and none == ""


def test_the_entry_above_the_depth_is_refused(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        async def act(call: ActorCall) -> InvokeResponse:
            return InvokeResponse(200, body=await rig.call(reentrancy=call.reentrancy))

        rig.troupe.act = act
        assert (await refused(rig.call()))[1:] == ("ERR_ACTOR_STACK_DEPTH", "maximum stack depth exceeded")
        assert len(rig.troupe.calls) == 4

    play(tmp_path, scenario, config={"reentrancy": {"enabled": True, "maxStackDepth": 4}})


def test_a_type_nobody_hosts_is_looked_for_and_then_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.blocks.actors.service.LOOKUP", 0.03)

    async def scenario(rig: Rig) -> None:
        text = "failed to lookup actor: api error: code = FailedPrecondition desc = did not find address for actor 'NoType/x'"
        wanted = (500, "ERR_ACTOR_INVOKE_METHOD", f"error invoke actor method: {text}")
        assert await refused(rig.call("x", type_="NoType")) == wanted
        late = asyncio.create_task(rig.call("x", type_="Late"))
        await asyncio.sleep(0.01)
        await rig.actors.register(rig.app, rig.troupe, {"entities": ["Lamp", "Late"]})
        assert await late == b"done"

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id_": "p/x"}, 'invalid request: invalid actorId: name contains forbidden character: "p/x"'),
        ({"type_": "a#b"}, 'invalid request: invalid actorType: name contains forbidden character: "a#b"'),
        ({"method": "m?x"}, 'invalid request: method contains forbidden character: "m?x"'),
    ],
)
def test_names_that_would_break_a_path_are_refused(tmp_path: Path, fields: dict[str, str], message: str) -> None:
    async def scenario(rig: Rig) -> None:
        assert await refused(rig.call(**fields)) == (400, "ERR_BAD_REQUEST", message)

    play(tmp_path, scenario)


def test_calls_wait_until_the_app_is_there(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        app = App("later", port=1)
        call = asyncio.create_task(rig.actors.invoke(app, ActorCall("Late", "1", "Go")))
        await asyncio.sleep(0.02)
        assert not call.done() and rig.actors.status(app).status == "INITIALIZING"
        await rig.actors.register(app, rig.troupe, {"entities": ["Late"]})
        assert (await call).status == 200

    play(tmp_path, scenario)


def test_two_apps_share_a_type_by_actor_id(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        for number in range(40):
            await rig.call(str(number))
        second, other = App("second"), Troupe()
        await rig.actors.register(second, other, {"entities": ["Lamp"]})
        moved = {line.split("/")[1] for line in rig.troupe.log if line.startswith("deactivate")}
        for number in range(40):
            await rig.call(str(number), "After")
        assert {call.id for call in other.calls} == moved
        assert 5 < len(moved) < 35

    play(tmp_path, scenario)


# --- state
def upsert(key: str, value: bytes, **fields: object) -> StateOperation:
    return StateOperation("upsert", key, value, **fields)  # type: ignore[arg-type]


def test_state_is_saved_by_active_actors_and_read_by_anybody(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        save = rig.actors.transact(rig.app, "Lamp", "hall", [upsert("on", b"true")])
        assert await refused(save) == (400, "ERR_ACTOR_INSTANCE_MISSING", "actor instance is missing")
        await rig.call()
        await rig.actors.transact(rig.app, "Lamp", "hall", [upsert("on", b"true"), upsert("n", b"1"), StateOperation("delete", "n")])
        on = await rig.actors.get_state(rig.app, "Lamp", "hall", "on")
        assert on is not None and (on.key, on.data) == ("lamps||Lamp||hall||on", b"true")
        assert await rig.actors.get_state(rig.app, "Lamp", "hall", "n") is None
        assert await rig.actors.get_state(rig.app, "NoType", "x", "n") is None

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (StateOperation("explode", "k"), "operation type explode not supported"),
        (upsert("", b"1"), "missing key"),
        (upsert("k", b"1", metadata={"ttlInSeconds": "5"}), 'ttlInSeconds is not supported without the "ActorStateTTL" feature enabled'),
        (upsert("k", b"1", etag="stale"), "state etag not match for key=lamps||Lamp||hall||k: current=<uuid>, expect=stale"),
    ],
)
def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path, operation: StateOperation, message: str) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.call()
        await rig.actors.transact(rig.app, "Lamp", "hall", [upsert("k", b"0")])
        save = rig.actors.transact(rig.app, "Lamp", "hall", [upsert("first", b"1"), operation])
        status, code, text = await refused(save)
        assert (status, code) == (500, "ERR_ACTOR_STATE_TRANSACTION_SAVE")
        assert normal(text) == f"error saving actor transaction state: {message}"
        assert await rig.actors.get_state(rig.app, "Lamp", "hall", "first") is None

    play(tmp_path, scenario)


def test_state_expires_when_the_feature_is_on(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.call()
        await rig.actors.transact(rig.app, "Lamp", "hall", [upsert("k", b"1", metadata={"ttlInSeconds": "30"})])
        item = await rig.actors.get_state(rig.app, "Lamp", "hall", "k")
        assert item is not None and "ttlExpireTime" in item.metadata

    play(tmp_path, scenario, ttl=True)


def test_types_of_the_workflow_runtime_are_reserved(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        status, code, _ = await refused(rig.actors.get_state(rig.app, "dapr.internal.default.lamps.workflow", "1", "metadata"))
        assert (status, code) == (403, "ERR_ACTOR_TYPE_RESERVED")

    play(tmp_path, scenario)


# --- timers
def test_a_timer_ticks_from_its_due_time_until_its_ttl(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.actors.set_timer(rig.app, TimerRequest("Lamp", "t", "short", "50ms", "50ms", "170ms", "cb", b"null"))
        await until(lambda: len(rig.troupe.ticks) >= 4)
        await asyncio.sleep(0.05)

    rig = play(tmp_path, scenario)

    on_time(rig, 0.05, 0.1, 0.15, 0.2)
    assert rig.troupe.ticks[0][1] == ActorTick("Lamp", "t", "short", b"null", "50ms", "50ms", "cb")


def test_timers_fire_at_once_count_and_can_be_ended(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.actors.set_timer(rig.app, TimerRequest("Lamp", "t", "now"))
        await rig.actors.set_timer(rig.app, TimerRequest("Lamp", "t", "twice", "0s", "R2/PT1S"))
        await rig.actors.set_timer(rig.app, TimerRequest("Lamp", "t", "replaced", "100ms"))
        await rig.actors.set_timer(rig.app, TimerRequest("Lamp", "t", "replaced", "40ms"))
        await rig.actors.set_timer(rig.app, TimerRequest("Lamp", "t", "ended", "150ms"))
        await rig.actors.delete_timer(rig.app, "Lamp", "t", "ended")
        await rig.actors.delete_timer(rig.app, "Lamp", "t", "absent")
        await asyncio.sleep(0.2)
        await until(lambda: len(rig.troupe.ticks) >= 3)

    rig = play(tmp_path, scenario)

    assert [tick.name for _, tick in rig.troupe.ticks] == ["now", "twice", "replaced"]


def test_a_failing_timer_goes_on(tmp_path: Path) -> None:
    async def fail(tick: ActorTick) -> None:
        raise ActorFailed("error from actor service: (500) ")

    async def scenario(rig: Rig) -> None:
        rig.troupe.on_tick = fail
        await rig.actors.set_timer(rig.app, TimerRequest("Lamp", "t", "sour", "0s", "20ms"))
        await until(lambda: len(rig.troupe.ticks) >= 3)

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"due_time": "PT0.5S"}, "error parsing timer due time: unsupported time/duration format: PT0.5S"),
        ({"period": "often"}, "invalid timer period: parse error: unsupported duration format: often"),
        ({"period": "R0/PT1S"}, "invalid timer period: has zero repetitions"),
        ({"due_time": "1s", "ttl": "x"}, "error parsing timer TTL: unsupported time/duration format: x"),
        ({"type": "Dragon"}, "can't create timer for actor Dragon||t: actor type not registered"),
    ],
)
def test_timers_are_refused_in_daprs_words(tmp_path: Path, fields: dict[str, str], message: str) -> None:
    async def scenario(rig: Rig) -> None:
        request = TimerRequest(**{"type": "Lamp", "id": "t", "name": "x", **fields})
        answer = await refused(rig.actors.set_timer(rig.app, request))
        assert answer == (500, "ERR_ACTOR_TIMER_CREATE", f"error creating actor timer: {message}")

    play(tmp_path, scenario)


# --- reminders
def reminder(name: str = "polish", due: str = "", period: str = "", **fields: object) -> ReminderRequest:
    return ReminderRequest("Lamp", "mem", name, due, period, **fields)  # type: ignore[arg-type]


def test_a_reminder_fires_until_its_ttl_and_is_gone(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.actors.set_reminder(rig.app, reminder(due="50ms", period="100ms", ttl="220ms", data=b'"x"'))
        await until(lambda: rig.scheduler.count("reminder/default/Lamp") == 0)
        assert (await refused(rig.actors.get_reminder(rig.app, "Lamp", "mem", "polish")))[:2] == (404, "ERR_ACTOR_REMINDER_NOT_FOUND")

    rig = play(tmp_path, scenario)

    on_time(rig, 0.05, 0.15, 0.25)
    assert rig.troupe.ticks[0][1] == ActorTick("Lamp", "mem", "polish", b'"x"')


def test_a_reminder_reads_back_in_the_schedulers_form(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.actors.set_reminder(rig.app, reminder("iso", "PT2H", "R4/PT30M"))
        await rig.actors.set_reminder(rig.app, reminder("far", "3h0m", "1h", ttl="9h", data=b"7"))
        iso, far = [await rig.actors.get_reminder(rig.app, "Lamp", "mem", name) for name in ("iso", "far")]
        assert (iso.due_time, iso.period, iso.data) == ("PT2H", "@every 30m0s", None)
        assert (far.due_time, far.period, far.data) == ("3h0m", "@every 1h0m0s", b"7")
        assert [one.name for one in await rig.actors.list_reminders(rig.app, "Lamp", None)] == ["far", "iso"]
        assert await rig.actors.list_reminders(rig.app, "Lamp", "me") == []
        await rig.actors.delete_reminders(rig.app, "Lamp", "mem")
        assert await rig.actors.list_reminders(rig.app, "Lamp", None) == []

    play(tmp_path, scenario)


def test_reminders_are_overwritten_unless_told_otherwise(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.actors.set_reminder(rig.app, reminder(due="1h"))
        await rig.actors.set_reminder(rig.app, reminder(due="2h"))
        again = rig.actors.set_reminder(rig.app, reminder(due="3h", overwrite=False))
        assert await refused(again) == (409, "ERR_ACTOR_REMINDER_ALREADY_EXISTS", "actor reminder already exists: polish")
        assert (await rig.actors.get_reminder(rig.app, "Lamp", "mem", "polish")).due_time == "2h"

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (reminder(due="500ms", period="R3/PT0.7S"), "unsupported period format: R3/PT0.7S"),
        (reminder(due="1h", period="P1Y"), "unsupported period format: P1Y"),
        (reminder(due="0s", period="@every 1s"), "unsupported period format: @every 1s"),
        (reminder(due="soon"), "rpc error: code = Unknown desc = job failed validation: due time format not recognized"),
        (reminder(), "rpc error: code = Unknown desc = job failed validation: job must have either a due time or a schedule"),
        (reminder(due="1h", ttl="2h"), "rpc error: code = Unknown desc = job failed validation: job must have a schedule to have a ttl"),
    ],
)
def test_reminders_are_refused_in_daprs_words(tmp_path: Path, request_: ReminderRequest, message: str) -> None:
    async def scenario(rig: Rig) -> None:
        answer = await refused(rig.actors.set_reminder(rig.app, request_))
        assert answer == (500, "ERR_ACTOR_REMINDER_CREATE", f"error creating actor reminder: {message}")

    play(tmp_path, scenario)


def test_reminders_of_types_hosted_elsewhere_are_forbidden(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        for work in (
            rig.actors.set_reminder(rig.app, ReminderRequest("Dragon", "d", "x", "1h")),
            rig.actors.get_reminder(rig.app, "Dragon", "d", "x"),
            rig.actors.delete_reminder(rig.app, "Dragon", "d", "x"),
            rig.actors.list_reminders(rig.app, "Dragon", None),
        ):
            assert (await refused(work))[:2] == (403, "ERR_ACTOR_REMINDER_NON_HOSTED")

    play(tmp_path, scenario)


def test_a_failing_reminder_is_tried_again(tmp_path: Path) -> None:
    async def fail_twice(tick: ActorTick) -> None:
        if len(rigs[0].troupe.ticks) < 3:
            raise ActorFailed("error from actor service: (500) no")

    rigs: list[Rig] = []

    async def scenario(rig: Rig) -> None:
        rigs.append(rig)
        rig.troupe.on_tick = fail_twice
        await rig.actors.set_reminder(rig.app, reminder(due="0s", policy=Policy(interval=0.05)))
        await until(lambda: rig.scheduler.count("reminder/default/Lamp") == 0)

    rig = play(tmp_path, scenario)

    on_time(rig, 0.0, 0.05, 0.1)


def test_reminders_survive_and_fire_late_once(tmp_path: Path) -> None:
    async def set_it(rig: Rig) -> None:
        await rig.actors.set_reminder(rig.app, reminder(due="10ms", period="200ms"))

    play(tmp_path, set_it)
    time.sleep(0.5)

    async def wait(rig: Rig) -> None:
        await until(lambda: len(rig.troupe.ticks) >= 3)

    rig = play(tmp_path, wait)

    late, _, second = rig.times()[:3]
    assert late == pytest.approx(0.0, abs=LATE)
    assert second - late >= 0.15, "the missed ticks came in a burst"


def test_reminders_wait_while_the_app_is_away_and_use_up_no_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.blocks.series.RETRY_AWAY", 0.005)

    async def scenario(rig: Rig) -> None:
        async def away(tick: ActorTick) -> None:
            if len(rig.troupe.ticks) < 12:
                raise AppUnavailable("dial tcp 127.0.0.1:3000: connect: connection refused")

        rig.troupe.on_tick = away
        await asyncio.gather(*[rig.actors.set_reminder(rig.app, reminder(name, "0s")) for name in ("a", "b", "c")])
        await until(lambda: rig.scheduler.count("reminder/default/Lamp") == 0)

    rig = play(tmp_path, scenario)

    assert {tick.name for _, tick in rig.troupe.ticks[11:]} == {"a", "b", "c"}


def test_reminders_wait_for_a_host(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.actors.unregister(rig.app, 0.0)
        await rig.actors.register(rig.app, None, {})
        assert not rig.actors.status(rig.app).active

    async def set_it(rig: Rig) -> None:
        await rig.actors.set_reminder(rig.app, reminder(due="400ms"))
        await scenario(rig)
        await asyncio.sleep(0.5)
        assert not rig.troupe.ticks
        await rig.actors.register(rig.app, rig.troupe, {"entities": ["Lamp"]})
        await until(lambda: len(rig.troupe.ticks) == 1)

    play(tmp_path, set_it)


def test_a_host_that_disconnects_is_looked_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(rig: Rig) -> None:
        async def gone(call: ActorCall) -> InvokeResponse:
            raise HostGone("actor host disconnected before responding")

        rig.troupe.act = gone
        call = asyncio.create_task(rig.call())
        await asyncio.sleep(0.01)
        other = Troupe()
        await rig.actors.unregister(rig.app, 0.0)
        await rig.actors.register(rig.app, other, {"entities": ["Lamp"]})
        assert await call == b"done"

    play(tmp_path, scenario)
