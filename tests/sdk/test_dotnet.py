"""The wire of the .NET SDK, without .NET: what its parts send is played to a sidecar, and what they read of the answers compared.

dotnet.json: the same players beside daprd 1.18.3, but for the stores that it does not have embedded (locks, configuration), a workflow that
sends an event, and what is left when one of several actor streams ends: there it hangs.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from tests.harness import Sidecar, free_port
from tests.sdk import garden

EXPECTED = json.loads((Path(__file__).parent / "dotnet.json").read_text())
CONFIG = json.dumps(
    {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Configuration",
        "metadata": {"name": "c"},
        "spec": {"features": [{"name": "ActorStateTTL", "enabled": True}]},
    }
)


@pytest.mark.parametrize("part", sorted(EXPECTED))
def test_dotnet_sees_what_it_reads(tmp_path: Path, part: str) -> None:
    player = importlib.import_module(f"tests.sdk.dotnet.{part}")
    port = free_port() if player.PROTOCOL else 0
    flags = ("--app-protocol", player.PROTOCOL) if port else ()
    edged = Sidecar(tmp_path, "dotnet", port, garden.resources(tmp_path), CONFIG, flags)
    edged.spawn()

    try:
        saw = player.play(edged.http_port, edged.grpc_port, port)
    finally:
        edged.kill()

    assert {step: saw.get(step) for step in EXPECTED[part]} == EXPECTED[part]
    assert set(saw) == set(EXPECTED[part])
