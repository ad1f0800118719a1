"""SIGKILL over and over while reminders and jobs are set and fire: each that was accepted fires, late once rather than never.

`KILLS=n` sets how many kills (make faults: 50 of them over 1,000 reminders).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apps import Answer, ScriptedApp, Seen
from tests.faults.ledger import Caller, Ledger, settled
from tests.faults.test_kill import kill_often, sidecar_of, verdict
from tests.zygote import ForkedSidecar, Zygote, zygote

KILLS = int(os.environ.get("KILLS", "0"))
EACH_KILL = 20
POINTS = ("before-commit", "after-commit", "")
LONGEST_DUE = 3.0


@pytest.fixture(scope="module")
def forge() -> Iterator[Zygote]:
    with zygote() as one:
        yield one


class Wards:
    """The app: hosts the actors and takes the jobs; often slow, now and then failing once for each. calm: neither."""

    def __init__(self, ledger: Ledger, dice: random.Random) -> None:
        self.ledger, self.dice, self.calm = ledger, dice, False
        self.failed: set[str] = set()

    def __call__(self, seen: Seen) -> Answer:
        if seen.target == "/dapr/config":
            return Answer.json({"entities": ["Ward"], "actorIdleTimeout": "1s"})
        kind, _, number = seen.target.rpartition("/")[2].partition("-")
        if not number:
            return Answer(200)
        chance = 1.0 if self.calm or seen.target in self.failed else self.dice.random()
        if chance < 0.1:
            self.failed.add(seen.target)
            return Answer(500) if chance < 0.06 else Answer(hangup=True)
        self.ledger.arrive(kind, int(number))
        return Answer(200, after=0.0 if self.calm else self.dice.choice((0.0, 0.0, 0.02, 0.05)))


async def register(ledger: Ledger, sidecar: ForkedSidecar, kind: str, count: int, dice: random.Random) -> None:
    """Set `count` of them, one after another, through all deaths of the sidecar; one whose answer was lost is set again."""
    caller = Caller(sidecar)
    for number in range(count):
        due = f"{dice.randint(0, int(LONGEST_DUE * 1000))}ms"
        body = {"once": {"dueTime": due}, "often": {"dueTime": due, "period": "R2/PT1S"}, "job": {"dueTime": due, "overwrite": True}}[kind]
        if kind == "job":
            path = f"/v1.0/jobs/job-{number}"
        else:
            path = f"/v1.0/actors/Ward/w{number % 7}/reminders/{kind}-{number}"
        while (status := await caller.post(path, json.dumps(body).encode())) != 204:
            assert status in (None, 500), status  # 500: it is on its way down
            await asyncio.sleep(0.02)
        ledger.accept(kind, number)
    caller.close()


@pytest.mark.timeout(900 if KILLS else 60)
def test_accepted_reminders_and_jobs_fire_over_kills(forge: Zygote, tmp_path: Path) -> None:
    seed, ledger, kills = random.randrange(1 << 30), Ledger(), KILLS or 6
    dice = random.Random(seed)

    async def run() -> ForkedSidecar:
        wards = Wards(ledger, dice)
        async with ScriptedApp(default=wards) as app:
            sidecar = sidecar_of(forge, tmp_path, {}, app.port)
            try:
                shares = {"once": 0.6, "often": 0.2, "job": 0.2}
                setting = [register(ledger, sidecar, kind, int(share * EACH_KILL * kills), dice) for kind, share in shares.items()]
                tasks = [asyncio.create_task(one) for one in setting]
                await kill_often(sidecar, ledger, POINTS, kills, dice)
                wards.calm = True
                await asyncio.gather(*tasks)
                await settled(ledger, 60)
                await app.until(lambda: all(ledger.arrived["often"].count(number) >= 2 for number in ledger.accepted["often"]), 20)
                await asyncio.to_thread(nothing_is_left, sidecar, ledger)
            finally:
                sidecar.kill()
            return sidecar

    sidecar = asyncio.run(run())

    verdict(ledger, "reminders and jobs", seed, sidecar)


def nothing_is_left(sidecar: ForkedSidecar, ledger: Ledger) -> None:
    sidecar.wait()
    for number in ledger.accepted["once"][-20:]:
        assert sidecar.call("GET", f"/v1.0/actors/Ward/w{number % 7}/reminders/once-{number}").status == 404
