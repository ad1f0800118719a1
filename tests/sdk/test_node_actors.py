"""Actors with the released JavaScript SDK."""

from __future__ import annotations

from pathlib import Path

from tests.sdk import programs


def test_node_actors(tmp_path: Path) -> None:
    seen = programs.run(programs.node("actors"), tmp_path, app_id="counters")

    assert seen == [
        ["add", {"count": 2, "note": "first"}],
        ["add", {"count": 5, "note": "second"}],
        ["most at once", 1],
        ["failure", "ERR_ACTOR_INVOKE_METHOD"],
        ["tick", "drop"],
        ["reminder", "look"],
        ["over gRPC", {"id": "one"}],
        ["add after forget", {"count": 1, "note": "third"}],
        ["gone", "two"],
    ]
