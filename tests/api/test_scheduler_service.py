"""Jobs and reminders kept by a scheduler service: stored, fired, tried again, listed, ended; and one that is away."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from tests.apps import Answer, ScriptedApp
from tests.grpc_client import Client
from tests.harness import Sidecar, free_port
from tests.scheduler_service import real, stand_in


async def scenario(folder: Path, address: str) -> None:
    answers: dict[Any, Any] = {
        ("GET", "/dapr/config"): Answer.json({"entities": ["Hive"]}),
        "/job/stubborn": [Answer(500), Answer(500), Answer(200)],
    }
    async with ScriptedApp(answers, default=Answer.json({})) as app:
        edged = Sidecar(folder, app_id="jobber", app_port=app.port, flags=("--scheduler-host-address", address))

        async def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
            answer = await asyncio.to_thread(edged.call, method, f"/v1.0/{path}", body, timeout=30.0)
            return answer.status, answer.json() if answer.body else None

        try:
            await asyncio.to_thread(edged.start, "/v1.0/healthz", 40.0)
            assert (await call("POST", "jobs/once", {"dueTime": "0s", "data": {"x": [1, "a"]}}))[0] == 204
            policy = {"constant": {"interval": "0.1s", "maxRetries": 5}}
            assert (await call("POST", "jobs/stubborn", {"dueTime": "0s", "failurePolicy": policy}))[0] == 204
            await app.until(lambda: app.on("/job/once") and len(app.on("/job/stubborn")) == 3, 20)
            assert app.on("/job/once")[0].json() == {"x": [1, "a"]}

            assert (await call("POST", "jobs/later", {"schedule": "@daily", "repeats": 3, "ttl": "48h", "data": "s"}))[0] == 204
            status, job = await call("GET", "jobs/later")
            assert (status, job["schedule"], job["repeats"], job["ttl"], job["data"]["value"]) == (200, "@daily", 3, "48h", "s")
            assert (await call("POST", "jobs/later", {"schedule": "@daily"}))[0] == 409
            assert (await call("DELETE", "jobs/later"))[0] == 204
            status, refused = await call("GET", "jobs/later")
            assert (status, "job not found: later" in refused["message"]) == (500, True)

            assert (await call("PUT", "actors/Hive/h/reminders/now", {"dueTime": "0s", "data": {"k": 1}}))[0] == 204
            await app.until(lambda: app.on("/actors/Hive/h/method/remind/now"), 20)
            assert app.on("/actors/Hive/h/method/remind/now")[0].json() == {"data": {"k": 1}, "dueTime": "", "period": ""}
            assert (await call("PUT", "actors/Hive/h/reminders/far", {"dueTime": "1h", "period": "2h", "data": 7}))[0] == 204
            shown = {"actorID": "h", "actorType": "Hive", "data": 7, "dueTime": "1h", "period": "@every 2h0m0s"}
            assert await call("GET", "actors/Hive/h/reminders/far") == (200, shown)
            with Client(edged.grpc_port) as client:
                listed = (await asyncio.to_thread(client.call, "ListActorReminders", actorType="Hive")).message
                assert [one["name"] for one in listed["reminders"]] == ["far"]
            assert await call("DELETE", "actors/Hive/h/reminders/far") == (204, None)
            assert (await call("GET", "actors/Hive/h/reminders/far"))[0] == 404
        finally:
            if edged.process is not None:
                edged.kill()
    assert "Traceback" not in edged.log()


@pytest.mark.parametrize("service", ["stand-in", "dapr"])
def test_jobs_and_reminders_live_in_the_service(tmp_path: Path, service: str) -> None:
    if service == "dapr" and not os.environ.get("SCHEDULER"):
        pytest.skip("SCHEDULER does not name a scheduler service's program")

    with contextlib.ExitStack() as up:
        address = up.enter_context(stand_in() if service == "stand-in" else real(tmp_path))
        asyncio.run(scenario(tmp_path, address))


def test_a_service_that_is_away_is_an_error_that_says_so(tmp_path: Path) -> None:
    edged = Sidecar(tmp_path, app_id="jobber", flags=("--scheduler-host-address", f"127.0.0.1:{free_port()}"))
    try:
        edged.start("/v1.0/healthz")
        answer = edged.call("POST", "/v1.0/jobs/x", {"dueTime": "1h"}, timeout=40.0)
        assert (answer.status, "failed to schedule job due to: rpc error: code = Unavailable" in answer.json()["message"]) == (500, True)
    finally:
        edged.kill()
    assert "Traceback" not in edged.log()
