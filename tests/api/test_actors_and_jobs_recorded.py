"""Actors and jobs as recorded with daprd, plain clients and the Python and JavaScript SDKs, against real sidecars and apps.

Most of their time is waiting for timers, so all are played at the same time, once, and each test looks at its own chain.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.api import actor_app, actor_stream
from tests.apps import ScriptedApp
from tests.harness import Sidecar
from tests.replay import Stage, chained, scenarios

CONFIG = {
    "actorIdleTimeout": "0h0m3s0ms0μs",
    "actorScanInterval": "0h0m1s0ms0μs",
    "drainRebalancedActors": True,
    "drainOngoingCallTimeout": "0h0m5s0ms0μs",
    "entitiesConfig": [
        {"entities": ["Knot"], "actorIdleTimeout": "1h0m0s0ms0μs", "reentrancy": {"enabled": True, "maxStackDepth": 4}},
        {"entities": ["JLamp"], "actorIdleTimeout": "1h"},
    ],
    "entities": ["Lamp", "Plain", "Knot", "JLamp"],
}
TTL = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: c}
spec:
  features: [{name: ActorStateTTL, enabled: true}]
"""
ACTORS = [
    ["py-method-and-state", "raw-state-transaction", "errors"],
    ["turns"],
    ["py-timer"],
    ["py-timer-ttl"],
    ["raw-timer"],
    ["py-reminder", "py-reminder-once"],
    ["py-reminder-ttl"],
    ["reminder-fails"],
    ["raw-reminder"],
    ["reentrancy", "reentrancy-depth", "reentrancy-too-deep", "raw-reentrancy-header"],
    ["no-reentrancy"],
    ["idle-deactivation"],
    ["js-method-and-state", "js-timer", "js-reminder", "js-error"],
]
STATE_TTL = [["state-ttl"]]
JOBS = [
    ["warm-up", "http-due-1s", "http-get-shapes", "http-errors", "http-overwrite", "http-delete"],
    ["http-due-0"],
    ["http-due-iso-duration"],
    ["http-due-time"],
    ["http-due-past"],
    ["http-every"],
    ["http-every-due"],
    ["http-ttl"],
    ["fails-default-policy"],
    ["fails-constant", "fails-constant-forever"],
    ["fails-drop", "app-404", "app-400"],
]
PLAYS: list[tuple[str, str, list[list[str]], dict[str, Any]]] = [
    ("actors", "lamps", ACTORS, {}),
    ("actors", "lamps", STATE_TTL, {"config": TTL}),
    ("jobs", "belljobs", JOBS, {}),
]


async def play(folder: Path, recording: str, app_id: str, chains: list[list[str]], settings: dict[str, Any]) -> list[str]:
    """What went wrong in each chain, "" = nothing."""
    recorded = scenarios(recording)
    async with ScriptedApp() as app:
        edged = Sidecar(folder, app_id=app_id, app_port=app.port, **settings)
        try:
            stage = Stage(app, edged.http_port, CONFIG if recording == "actors" else None)
            await asyncio.to_thread(edged.start, "/v1.0/healthz", 40.0)
            return await chained(stage, [[recorded[name] for name in chain] for chain in chains])
        finally:
            edged.kill()


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What went wrong, by row or by the first scenario of a chain."""
    folders = [tmp_path_factory.mktemp("recorded") for _ in range(len(PLAYS) + 3)]

    async def everything() -> dict[str, str]:
        chained_, apps = await asyncio.gather(
            asyncio.gather(*[play(folder, *one) for folder, one in zip(folders, PLAYS, strict=False)]),
            asyncio.gather(
                actor_app.play(folders[-1]), actor_stream.play_jobs(folders[-2]), asyncio.to_thread(actor_stream.play_streams, folders[-3])
            ),
        )
        found = {
            chain[0]: fault for one, results in zip(PLAYS, chained_, strict=True) for chain, fault in zip(one[2], results, strict=True)
        }
        for one in apps:
            found |= one
        return found

    return asyncio.run(everything())


ROWS = [row["id"] for row in actor_app.METHODS + actor_app.TIMED + actor_stream.JOBS]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("chain", [chain for one in PLAYS for chain in one[2]], ids=" ".join)
def test_scenarios_go_as_with_daprd(faults: dict[str, str], chain: list[str]) -> None:
    assert not faults[chain[0]]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("row", [*ROWS, *actor_stream.STREAMS])
def test_apps_get_what_daprd_sends(faults: dict[str, str], row: str) -> None:
    assert not faults[row]
