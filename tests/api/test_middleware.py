"""Pipelines of a Configuration around a real sidecar's API."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.apps import Answer, ScriptedApp, Seen
from tests.harness import Sidecar, component, sidecar


def pipeline(*names: str, of: str = "httpPipeline") -> str:
    handlers = [{"name": name, "type": "middleware.http.uppercase"} for name in names]
    return json.dumps({"kind": "Configuration", "metadata": {"name": "c"}, "spec": {of: {"handlers": handlers}}})


def test_steps_run_in_the_order_written(tmp_path: Path) -> None:
    resources = [
        component("store", "state.in-memory"),
        component("rule", "middleware.http.routerchecker", {"rule": "^/(s|v1.0/healthz)"}),
        component("alias", "middleware.http.routeralias", {"routes": '{"/s/{key}": "/v1.0/state/store/KEY", "/s": "/v1.0/state/store"}'}),
        component("upper", "middleware.http.uppercase"),
    ]
    with sidecar(tmp_path, resources={"r.yaml": "\n---\n".join(resources)}, config=pipeline("rule", "alias", "upper")) as edged:
        saved = edged.call("POST", "/s", [{"key": "key", "value": "low"}])
        read = edged.call("GET", "/s/any")
        direct = edged.call("GET", "/v1.0/state/store/KEY")

    assert saved.status == 204
    assert (read.status, read.body) == (200, b'"LOW"')
    assert (direct.status, direct.body) == (400, b"invalid router")


def test_a_step_that_is_not_loaded_stops_the_start(tmp_path: Path) -> None:
    edged = Sidecar(tmp_path, resources={"r.yaml": component("store", "state.in-memory")}, config=pipeline("guard"))

    assert edged.spawn().wait(20) == 1
    assert "names middleware that is not loaded: guard" in edged.log()


async def test_calls_of_the_app_go_through_its_pipeline(tmp_path: Path) -> None:
    resources = [
        component("bus", "pubsub.in-memory"),
        component("upper", "middleware.http.uppercase"),
        component("rule", "middleware.http.routerchecker", {"rule": "^/(dapr|in|e|probe)"}),
    ]
    subscriptions = [{"pubsubname": "bus", "topic": "t", "route": "/in/t"}]

    def mirror(seen: Seen) -> Answer:
        return Answer(200, seen.body, (("Content-Type", "text/plain"),))

    answers = {"/dapr/subscribe": Answer.json(subscriptions), "/e": mirror, "/in/t": Answer(200), "/well": Answer(200)}
    flags = ("--enable-app-health-check", "--app-health-check-path", "/well", "--app-health-probe-interval", "1")
    async with ScriptedApp(answers) as app:
        with sidecar(
            tmp_path,
            app_port=app.port,
            resources={"r.yaml": "\n---\n".join(resources)},
            config=pipeline("rule", "upper", of="appHttpPipeline"),
            flags=flags,
        ) as edged:

            async def call(path: str, body: bytes) -> tuple[int, bytes]:
                answer = await asyncio.to_thread(edged.call, "POST", path, body)
                return answer.status, answer.body

            await app.until(lambda: app.on("/dapr/subscribe"))  # it is healthy: the probe does not go through the pipeline
            assert await call("/v1.0/invoke/test/method/e", b"low") == (200, b"LOW")
            assert await call("/v1.0/invoke/test/method/e", b"a" * 200_000) == (200, b"A" * 200_000)
            assert await call("/v1.0/invoke/test/method/other", b"low") == (400, b"invalid router")
            assert (await call("/v1.0/publish/bus/t", b"word"))[0] == 204
            await app.until(lambda: app.on("/in/t"))

    assert b'"DATA":"WORD"' in app.on("/in/t")[0].body
    assert not app.on("/other")
