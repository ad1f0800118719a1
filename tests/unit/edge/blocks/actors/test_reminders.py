"""Reminders as daprd shows and refuses them, beyond what the recordings have (seen beside daprd 1.18.3)."""

from __future__ import annotations

from pathlib import Path

from edge.blocks.actors.reminders import ReminderRequest
from tests.unit.edge.blocks.actors.rig import Rig
from tests.unit.edge.blocks.actors.test_service import play, refused


def test_only_a_ttl_that_is_a_point_in_time_comes_back(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        for name, ttl in (("point", "2127-01-01T00:00:00.5+02:00"), ("span", "9h")):
            await rig.actors.set_reminder(rig.app, ReminderRequest("Lamp", "m", name, "1h", "1h", ttl))
        found = {one.name: one.ttl for one in await rig.actors.list_reminders(rig.app, "Lamp", "m")}
        assert found == {"point": "2127-01-01T00:00:00.5+02:00", "span": ""}

    play(tmp_path, scenario)


def test_names_that_the_scheduler_would_not_take_are_refused_everywhere(tmp_path: Path) -> None:
    name = '"actorreminder||default||Lamp||m||a/b"'
    text = f"rpc error: code = Unknown desc = job name is invalid {name}: must not contain '/', '\\', '#' or '?'"

    async def scenario(rig: Rig) -> None:
        got = await refused(rig.actors.get_reminder(rig.app, "Lamp", "m", "a/b"))
        gone = await refused(rig.actors.delete_reminder(rig.app, "Lamp", "m", "a/b"))
        internal = "error getting actor reminder: api error: code = Internal desc = failed to get job due to: "
        assert got == (500, "ERR_ACTOR_REMINDER_GET", internal + text)
        assert gone == (500, "ERR_ACTOR_REMINDER_DELETE", f"error deleting actor reminder: {text}")
        _, _, all_of_one = await refused(rig.actors.delete_reminders(rig.app, "Lamp", "a/b"))
        assert 'job name is invalid "actorreminder||default||Lamp||a/b||a"' in all_of_one

    play(tmp_path, scenario)


def test_endless_repetition_of_a_due_time_is_a_due_time(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        await rig.actors.set_reminder(rig.app, ReminderRequest("Lamp", "m", "r", "R-1/PT1H"))
        too_long = rig.actors.set_reminder(rig.app, ReminderRequest("Lamp", "m", "long", "9999999h"))
        text = "rpc error: code = Unknown desc = job failed validation: due time format not recognized"
        assert await refused(too_long) == (500, "ERR_ACTOR_REMINDER_CREATE", f"error creating actor reminder: {text}")

    play(tmp_path, scenario)


def test_reminders_are_listed_by_the_scheduler_s_keys(tmp_path: Path) -> None:
    async def scenario(rig: Rig) -> None:
        for id_ in ("x", "xy"):
            await rig.actors.set_reminder(rig.app, ReminderRequest("Lamp", id_, "r", "1h"))
        assert [one.id for one in await rig.actors.list_reminders(rig.app, "Lamp", None)] == ["xy", "x"]
        assert len(await rig.actors.list_reminders(rig.app, "Lamp", "")) == 2
        await rig.actors.delete_reminders(rig.app, "Lamp", "")
        assert not await rig.actors.list_reminders(rig.app, "Lamp", None)

    play(tmp_path, scenario)
