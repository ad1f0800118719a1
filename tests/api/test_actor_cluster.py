"""Actors over several sidecars by a placement service: the same place from everywhere, calls passed on, a host that leaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.blocks.actors.ring import Ring
from tests.apps import Answer, ScriptedApp, Seen
from tests.harness import Sidecar
from tests.placement_service import real, stand_in

IDS = [f"x{number}" for number in range(16)]


def hive(name: str) -> ScriptedApp:
    """An app whose actors say where they are."""

    def answer(seen: Seen) -> Answer:
        if seen.target == "/dapr/config":
            return Answer.json({"entities": ["Hive"]})
        return Answer.json(name, 500 if seen.target.endswith("/bad") else 200)

    return ScriptedApp(default=answer)


def sidecar(folder: Path, app: ScriptedApp, placement: str) -> Sidecar:
    folder.mkdir()
    return Sidecar(folder, app_id="hive", app_port=app.port, flags=("--placement-host-address", placement))


async def call(edged: Sidecar, method: str, path: str, body: object = None) -> tuple[int, str]:
    answer = await asyncio.to_thread(edged.call, method, f"/v1.0/actors/Hive/{path}", body, timeout=30.0)
    return answer.status, answer.body.decode()


async def places(edged: Sidecar) -> dict[str, str]:
    return {id_: (await call(edged, "POST", f"{id_}/method/where"))[1] for id_ in IDS}


async def both_know_two_hosts(sidecars: list[Sidecar]) -> dict[str, str]:
    async with asyncio.timeout(30):
        while True:
            found = [await places(edged) for edged in sidecars]
            if found[0] == found[1] and len(set(found[0].values())) == 2:
                return found[0]
            await asyncio.sleep(0.05)


async def scenario(folder: Path, placement: str) -> None:
    async with hive("one") as first, hive("two") as second:
        sidecars = [sidecar(folder / name, app, placement) for name, app in (("one", first), ("two", second))]
        try:
            for edged in sidecars:
                await asyncio.to_thread(edged.start, "/v1.0/healthz", 40.0)
            where = await both_know_two_hosts(sidecars)
            far = next(id_ for id_, place in where.items() if place == '"two"')

            status, text = await call(sidecars[0], "POST", f"{far}/method/bad")
            assert (status, json.loads(text)["message"]) == (
                500,
                "error invoke actor method: rpc error: code = Internal desc = error invoke actor method: "
                'error from actor service: (500) "two"',
            )
            assert (await call(sidecars[0], "POST", f"{far}/reminders/look", {"dueTime": "0s", "data": 7}))[0] == 204
            await second.until(lambda: second.on(f"/actors/Hive/{far}/method/remind/look"), 20)
            assert second.on(f"/actors/Hive/{far}/method/remind/look")[0].json() == {"data": 7, "dueTime": "", "period": ""}

            await asyncio.to_thread(sidecars[1].stop)
            assert [seen.target for seen in second.seen if seen.method == "DELETE"], "the actors of the one that left were deactivated"
            async with asyncio.timeout(30):
                while set((await places(sidecars[0])).values()) != {'"one"'}:
                    await asyncio.sleep(0.05)
        finally:
            for edged in sidecars:
                if edged.process is not None:
                    edged.kill()


@pytest.mark.parametrize("service", ["stand-in", "dapr"])
def test_actors_spread_over_sidecars(tmp_path: Path, service: str) -> None:
    if service == "dapr" and not os.environ.get("PLACEMENT"):
        pytest.skip("PLACEMENT does not name a placement service's program")

    with contextlib.ExitStack() as up:
        address = up.enter_context(stand_in() if service == "stand-in" else real(tmp_path))
        asyncio.run(scenario(tmp_path, address))


@pytest.fixture
def ring() -> Iterator[Ring]:
    yield Ring({"10.0.0.1:50002": "a", "10.0.0.2:50002": "b", "10.0.0.3:50002": "c"}, 100)


def test_a_ring_moves_only_the_share_of_the_host_that_left(ring: Ring) -> None:
    ids = [str(number) for number in range(3000)]
    smaller = Ring({name: app for name, app in ring.hosts.items() if not name.startswith("10.0.0.3")}, 100)

    counts = {name: sum(ring.find(id_) == name for id_ in ids) for name in ring.hosts}

    assert min(counts.values()) > 600, counts
    assert all(smaller.find(id_) == ring.find(id_) for id_ in ids if ring.find(id_) != "10.0.0.3:50002")
    assert Ring({}, 100).find("1") is None
