"""`edged workflow` beside a running sidecar and a real worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.harness import ROOT, Sidecar, sidecar


@pytest.fixture(scope="module")
def edged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    with sidecar(tmp_path_factory.mktemp("cli"), app_id="trips") as one:
        env = os.environ | {"DAPR_GRPC_PORT": str(one.grpc_port), "DAPR_RUNTIME_HOST": "127.0.0.1"}
        worker = subprocess.Popen([sys.executable, str(ROOT / "tests/sdk/python/saga_worker.py")], env=env, stderr=subprocess.DEVNULL)
        for number in (0, 1):
            one.call("POST", f"/v1.0/workflows/dapr/trip/start?instanceID=trip-{number}", str(number).encode(), timeout=30)
        for number in (0, 1):
            while one.call("GET", f"/v1.0/workflows/dapr/trip-{number}").json()["runtimeStatus"] != "COMPLETED":
                time.sleep(0.02)
        yield one
        worker.kill()
        worker.wait()


def workflow(edged: Sidecar, command: str, *arguments: str, code: int = 0) -> str:
    """The output of `edged workflow COMMAND`."""
    words = [sys.executable, "-m", "edge", "workflow", command, *arguments, "-a", "trips", "--data-dir", str(edged.folder / "data")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout if code == 0 else done.stderr


def test_list_and_show(edged: Sidecar) -> None:
    rows = json.loads(workflow(edged, "list", "--json"))

    assert [(row["id"], row["name"], row["status"]) for row in rows] == [("trip-0", "trip", "COMPLETED"), ("trip-1", "trip", "COMPLETED")]
    assert "trip-1" in workflow(edged, "list", "--status", "completed")
    assert json.loads(workflow(edged, "show", "trip-1", "--json"))[0]["output"] == '"1 undone"'


def test_history_reads_like_a_story(edged: Sidecar) -> None:
    rows = json.loads(workflow(edged, "history", "trip-1", "--json"))

    told = [(row["event"], row["name"]) for row in rows if row["event"] != "workflowStarted"]
    assert told[:3] == [("executionStarted", "trip"), ("taskScheduled", "book"), ("taskCompleted", "of 1")]
    assert ("taskFailed", "of 3") in told
    assert told[-1][0] == "executionCompleted"


def test_rerun_and_purge(edged: Sidecar) -> None:
    assert workflow(edged, "rerun", "trip-0", "--event-id", "3", "--new-id", "again").strip() == "again"
    assert workflow(edged, "purge", "trip-0", "--dry-run").strip() == "would remove trip-0 (COMPLETED)"
    assert workflow(edged, "purge", "trip-0").strip() == "1 removed"

    assert "has no workflow trip-0" in workflow(edged, "show", "trip-0", code=1)


def test_unknown_workflow_is_named(edged: Sidecar) -> None:
    assert "no such instance exists" in workflow(edged, "raise", "nowhere", "go", code=1)
