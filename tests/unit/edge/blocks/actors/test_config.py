"""What an app says about its actors is read as Go reads JSON."""

from __future__ import annotations

from edge.blocks.actors.config import parse


def test_keys_are_taken_in_any_case() -> None:
    raw = {
        "Entities": ["Hive", "Keeper"],
        "ACTORIDLETIMEOUT": "2s",
        "entitiesconfig": [{"Entities": ["Keeper"], "reentrancy": {"Enabled": True, "maxstackdepth": 3}}],
    }

    found = parse(raw)

    assert (found["Hive"].idle_timeout, found["Keeper"].idle_timeout) == (2.0, 3600.0)
    assert (found["Keeper"].reentrant, found["Keeper"].max_depth) == (True, 3)


def test_a_depth_below_one_lets_a_stack_enter_once() -> None:
    depths = [parse({"entities": ["Hive"], "reentrancy": {"maxStackDepth": depth}})["Hive"].max_depth for depth in (-1, 0, 1, None)]

    assert depths == [1, 1, 1, 32]
