"""Workflows with the released SDKs: chaining, fan-out, monitor, approval, saga, children, continue-as-new, retries, life cycle."""

from __future__ import annotations

from pathlib import Path

from tests.sdk import programs

LIFE = [["paused", "SUSPENDED"], ["resumed", "RUNNING"], ["terminated", ["TERMINATED", '"enough"']], ["purged", None]]


def test_python_workflows(tmp_path: Path) -> None:
    seen = programs.run(programs.python("workflows"), tmp_path, app_id="trips", app_protocol="grpc", needs_app=False)

    assert seen == [
        ["chain", ["COMPLETED", "6"]],
        ["fan", ["COMPLETED", "5050"]],
        ["monitor", ["COMPLETED", '"healthy"']],
        ["timeout", ["COMPLETED", '"too late"']],
        ["approved", ["COMPLETED", '{"by": "ann"}']],
        ["saga", ["COMPLETED", True, ["hotel", "flight"]]],
        ["children", ["COMPLETED", "[6, 7, 8]"]],
        ["rounds", ["COMPLETED", "1000"]],
        ["retries", ["COMPLETED", '"after 3"']],
        *LIFE,
        ["later", [["COMPLETED", "5"], True]],
    ]


def test_node_workflows(tmp_path: Path) -> None:
    seen = programs.run(programs.node("workflows"), tmp_path, app_id="trips", needs_app=False)

    assert seen == [
        ["chain", [1, "6"]],
        ["fan", [1, "5150"]],
        ["monitor", [1, '"healthy"']],
        ["timeout", [1, '"too late"']],
        ["approved", [1, '"yes"']],
        ["saga", [1, '"undone"', ["hotel", "flight"]]],
        ["child", [1, "15"]],
        ["paused", 7],
        ["terminated", [5, '"enough"']],
        ["purged", True],
    ]


def test_go_workflows(tmp_path: Path) -> None:
    seen = programs.run(programs.go("workflows"), tmp_path, app_id="trips", needs_app=False)

    assert seen == [
        ["chain", ["COMPLETED", 6]],
        ["fan", ["COMPLETED", 5050]],
        ["monitor", ["COMPLETED", "healthy"]],
        ["approval", ["COMPLETED", "too late"]],
        ["saga", ["COMPLETED", "undone"]],
        ["parent", ["COMPLETED", 15]],
        ["retrying", ["COMPLETED", "after 3"]],
        ["undone", ["hotel", "flight"]],
        ["approved", ["COMPLETED", "yes"]],
        ["paused", "SUSPENDED"],
        ["terminated", ["TERMINATED", "enough"]],
        ["purged", "no such instance exists"],
    ]
