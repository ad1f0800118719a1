"""Every HTTP exchange that was recorded with daprd, sent to a real sidecar with the same YAML: status, headers, body, what the app got."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.http_replay import rows
from tests.http_stages import absent, stage

SETUPS = ("bare", "larder", "bazaar", "hall", "guarded", "early", "narrow", "allowing", "denying", "cors-any", "cors-listed", "public")
SETUPS += ("ailing", "piped")
ELSEWHERE = {
    "bare/nothing-configured/actor-": "edged brings placement and scheduler along: actors, jobs and workflows are there without flags",
    "bare/nothing-configured/job-": "the same",
    "bare/nothing-configured/wf-": "the same",
    "hall/invoke-far/reserved-header-in": "callers cannot say who they are",
    "ailing/app-health/metadata": "recorded before the app had been asked for subscriptions",
    "bazaar/publish-mqtt-wildcard/": "a topic with a wildcard is refused: no broker takes it",
    "bazaar/publish/mqtt-wire-payload": "seen by a plain MQTT client; mqtt.jsonl has it",
    "bazaar/publish-bulk/to-bulk-subscriber": "the metadata of an entry that has none are {}, daprd's are null",
    "bazaar/publish-broker-down/": "the journal takes what daprd refuses after 20 s",
}
"""Rows that are not replayed, by the beginning of their name, and why. puppets, mill: see test_actors_recorded, test_workflow."""
DIFFERENT = {
    "larder/state-encryption/bulk: header traceparent": "edged sends it there too",
    "hall/invoke-far/oversize: body": "the sidecar of the caller notices first",
    "narrow/limits/invoke-over: body": "Go says `readfrom tcp` only when its own reader has read ahead",
}
"""Differences that are meant, by the beginning of their text, and why."""


async def replay(setup: str, folder: Path) -> list[str]:
    """What differs from the recording, in words."""
    found: list[str] = []
    missing = absent(setup)
    async with stage(setup, folder) as made:
        for row in rows(setup):
            name = f"{setup}/{row['group']}/{row['name']}"
            if any(name.startswith(start) for start in ELSEWHERE) or any(part in json.dumps(row["request"]) for part in missing):
                continue
            await made.before(row)
            found += await made.play.play(row)
    return [text for text in found if not any(text.startswith(start) for start in DIFFERENT)]


@pytest.mark.parametrize("setup", SETUPS)
def test_exchanges_are_those_of_daprd(setup: str, tmp_path: Path) -> None:
    found = asyncio.run(replay(setup, tmp_path))

    assert not found, "\n".join(found)
