"""Actors and jobs with the released Go SDK: actors over its HTTP service, jobs over its gRPC service (which knows only the alpha name)."""

from __future__ import annotations

from pathlib import Path

from tests.sdk import programs


def test_go_actors(tmp_path: Path) -> None:
    seen = programs.run(programs.go("actors"), tmp_path, app_id="tanks")

    failed = "rpc error: code = Internal desc = error invoke actor method: error from actor service: (500) "
    assert seen == [
        ["level", 2],
        ["level", 5],
        ["state", "5"],
        ["failure", f"error invoking binding Tank/rain: {failed}"],
        ["most at once", 1],
        *[["tick", "drop"]] * 3,
        *[["reminder", 'check "look"']] * 3,
    ]


def test_go_jobs(tmp_path: Path) -> None:
    seen = programs.run(programs.go("jobs"), tmp_path, app_id="tanks", app_protocol="grpc")

    again = "rpc error: code = AlreadyExists desc = job already exists: 'app||default||tanks||later'"
    gone = "rpc error: code = NotFound desc = job not found: later"
    assert seen == [
        *[["fired", "water three"]] * 3,
        ["fired", "stubborn"],
        ["tries", 3],
        ["again", f"rpc error: code = AlreadyExists desc = failed to schedule job due to: {again}"],
        ["job", {"drops": True, "name": "later", "repeats": 4, "schedule": "@daily", "ttl": "48h"}],
        ["gone", f"rpc error: code = Internal desc = failed to get job due to: {gone}"],
    ]
