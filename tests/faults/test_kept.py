"""What the local broker keeps, over kills, while it is full: its numbers are those of its rows, and what is left arrives."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.journal import tools
from edge.model import LaneStats
from tests.faults.ledger import Ledger, produce, stopped
from tests.faults.test_kill import TOPICS, kill_often, listening, sidecar_of
from tests.harness import component, free_port
from tests.zygote import Zygote, zygote

KILLS = int(os.environ.get("KILLS", "0"))
POINTS = ["before-commit", "after-commit", ""]
MOST = 60


@pytest.fixture(scope="module")
def forge() -> Iterator[Zygote]:
    with zygote() as one:
        yield one


def numbers(folder: Path) -> dict[str, LaneStats]:
    """What is on disk, once it is seen to add up and to be what the rows are."""
    with tools.opened(folder / "data" / "test" / "edged.db") as connection:
        found = {one.stats.lane.rpartition("/")[2]: one.stats for one in tools.numbers(connection, "kept/local/*")}
        rows = connection.execute("SELECT topic, count(*), sum(length(data)) FROM pubsub_message GROUP BY topic").fetchall()
    assert all(one.balanced for one in found.values()), found
    assert {topic: (one.pending, one.pending_bytes) for topic, one in found.items() if one.pending} == {t: (n, b) for t, n, b in rows}
    return found


def test_a_full_local_broker_counts_what_goes_over_kills(forge: Zygote, tmp_path: Path) -> None:
    seed, ledger, port = random.randrange(1 << 30), Ledger(), free_port()
    local = component("local", "pubsub.sqlite", {"maxMessages": str(MOST)})
    sidecar = sidecar_of(forge, tmp_path, {"local.yaml": local}, port)

    async def fill() -> None:
        producers = [asyncio.create_task(produce(ledger, sidecar, "/v1.0/publish/local/{}".format, topic)) for topic in TOPICS]
        try:
            await kill_often(sidecar, ledger, POINTS, KILLS or 5, random.Random(seed))
            full = sum(map(len, ledger.accepted.values())) + 2 * MOST
            while sum(map(len, ledger.accepted.values())) < full:
                await asyncio.sleep(0.02)
            await stopped(producers)
        finally:
            sidecar.kill()

    async def drain(left: int) -> None:
        taken = Ledger()
        app, receiver = listening(taken, random.Random(seed), "local")
        receiver.calm = True
        async with app:
            sidecar.app_port = app.port
            sidecar.spawn()
            try:
                await app.until(lambda: sum(map(len, taken.arrived.values())) >= left, 20)
            finally:
                sidecar.kill()

    asyncio.run(fill())
    found = numbers(tmp_path)
    print(f"\nledger kept (seed {seed}): {ledger.kills} kills, {found}")
    assert "Traceback" not in sidecar.log(), sidecar.log()
    assert sum(one.pending for one in found.values()) == MOST
    for topic, accepted in ledger.accepted.items():  # every answer counts; one that a kill cut off may
        assert len(accepted) <= found[topic].accepted <= len(accepted) + ledger.kills + 1
    assert "dropped" in sidecar.log()

    asyncio.run(drain(MOST))
    numbers(tmp_path)
