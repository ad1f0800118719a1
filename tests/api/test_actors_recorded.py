"""The scenarios of tests/data/actors.jsonl, recorded with daprd and the Python and JavaScript SDKs, played against a real sidecar."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.apps import ScriptedApp
from tests.harness import sidecar
from tests.replay import Scenario, Stage, scenarios

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
CHAINS = [
    ["py-method-and-state", "raw-state-transaction", "errors"],
    ["turns"],
    ["py-timer"],
    ["py-timer-ttl"],
    ["raw-timer"],
    ["py-reminder", "py-reminder-once"],
    ["reminder-fails"],
    ["raw-reminder"],
    ["reentrancy", "reentrancy-depth", "reentrancy-too-deep", "raw-reentrancy-header"],
    ["no-reentrancy"],
    ["idle-deactivation"],
    ["js-method-and-state", "js-timer", "js-reminder", "js-error"],
]
TTL = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: c}
spec:
  features: [{name: ActorStateTTL, enabled: true}]
"""


async def play(folder: Path, chains: list[list[str]], **settings: Any) -> None:
    """Play chains of scenarios side by side, the scenarios of a chain one after another."""
    recorded = scenarios("actors")
    async with ScriptedApp() as app:
        with sidecar(folder, app_id="lamps", app_port=app.port, **settings) as edged:
            stage = Stage(app, edged.http_port, CONFIG)
            await asyncio.to_thread(edged.wait)
            plays = [_chain(stage, [recorded[name] for name in chain]) for chain in chains]
            failures = [repr(result) for result in await asyncio.gather(*plays, return_exceptions=True) if result is not None]
            assert not failures, "\n".join(failures)


async def _chain(stage: Stage, chain: list[list[dict[str, Any]]]) -> None:
    for rows in chain:
        stage.expect(rows)
    for rows in chain:
        own = [row for row in rows if not _foreign(row, rows)]
        await Scenario(stage, own).play()


def _foreign(row: dict[str, Any], rows: list[dict[str, Any]]) -> bool:
    """The deactivation of an actor of an earlier scenario."""
    if not row["rpc"].startswith("DELETE /actors/"):
        return False
    actor = row["rpc"].removeprefix("DELETE ") + "/"
    return not any(actor in other["rpc"] for other in rows if other["dir"] == "runtime->app")


@pytest.mark.slow
def test_actor_scenarios_go_as_with_daprd(tmp_path: Path) -> None:
    asyncio.run(play(tmp_path, CHAINS))


@pytest.mark.slow
def test_actor_state_expires_as_with_daprd(tmp_path: Path) -> None:
    asyncio.run(play(tmp_path, [["state-ttl"]], config=TTL))
