"""Actors and jobs with the released Python SDK: actors over FastAPI, over Flask and over the gRPC stream, jobs over its gRPC app."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sdk import programs


@pytest.mark.parametrize(("host", "protocol"), [("fastapi", "http"), ("flask", "http"), ("stream", "grpc")])
def test_python_actors(tmp_path: Path, host: str, protocol: str) -> None:
    seen = programs.run([*programs.python("actors"), host], tmp_path, app_id="kilns", app_protocol=protocol)

    assert seen == [
        ["heat", [2, 5]],
        ["most at once", 1],
        ["failure", True],
        ["tick", {"drop": 1}],
        ["reminder", "r look"],
        ["heat after cooling", 1],
        ["there and back", "ba"],
        ["too deep", True],
        ["gone", "brief"],
    ]


def test_python_jobs(tmp_path: Path) -> None:
    seen = programs.run(programs.python("jobs"), tmp_path, app_id="garden", app_protocol="grpc")

    assert seen == [
        ["fired", ['water {"litres": 3}'] * 3],
        ["fired", ["bare"]],
        ["tries", 3],
        ["again", True],
        ["job", ["later", "@daily", 2, "24h", None]],
        ["gone", True],
    ]
