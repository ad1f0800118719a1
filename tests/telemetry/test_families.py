"""What actors, jobs, workflows, other apps, breakers and error codes show at a scrape, with daprd's names and labels."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.apps import Answer, ScriptedApp, Seen
from tests.harness import ROOT, Sidecar, component, sidecar
from tests.telemetry.scrapes import Samples, scrape, value, values
from tests.telemetry.test_metrics import DATA, shapes

APP = "metered"
BULK = {"pubsubname": "bus", "topic": "b", "route": "/bulk", "bulkSubscribe": {"enabled": True, "maxAwaitDurationMs": 50}}
STRING = "type.googleapis.com/google.protobuf.StringValue"
RESILIENCY = """
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: rules}
spec:
  policies:
    circuitBreakers: {one: {maxRequests: 1, timeout: 60s, trip: consecutiveFailures >= 1}}
  targets: {apps: {metered: {circuitBreaker: one}}}
"""


def taken(seen: Seen) -> Answer:
    """The answer of a bulk subscriber that takes all."""
    return Answer.json({"statuses": [{"entryId": entry["entryId"], "status": "SUCCESS"} for entry in seen.json()["entries"]]})


def configuration(folder: Path, **spec: Any) -> str:
    names = {"component": "sqlite", "version": "v1", "configuration": {"connectionString": str(folder / "names.db")}}
    kind = {"apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": {"name": "c"}}
    return json.dumps(kind | {"spec": {"nameResolution": names, **spec}})


def wait_for(condition: Callable[[], Any], what: str, timeout: float = 30.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield asyncio.run(_played(tmp_path_factory.mktemp("families")))


async def _played(folder: Path) -> str:
    entities = {"entities": ["Gauge"], "actorIdleTimeout": "1h"}
    answers: dict[Any, Any] = {
        "/dapr/config": Answer.json(entities),
        "/dapr/subscribe": Answer.json([BULK]),
        "/bulk": taken,
        "/fails": Answer(500),
    }
    async with ScriptedApp(answers, default=Answer(200)) as app:
        return await asyncio.to_thread(_play, folder, app.port)


def _play(folder: Path, app_port: int) -> str:
    config = configuration(folder, metric={"recordErrorCodes": True, "enabled": True})
    made = [component("echo", "conversation.echo"), component("bus", "pubsub.in-memory"), RESILIENCY]
    resources = {"all.yaml": "\n---\n".join(made)}
    with ExitStack() as up:
        flags = ("--enable-app-health-check", "--app-health-probe-interval", "1")
        one = up.enter_context(sidecar(folder / "one", app_id=APP, app_port=app_port, resources=resources, config=config, flags=flags))
        other = up.enter_context(sidecar(folder / "other", app_id="other", config=configuration(folder)))
        _use(one, other)
        return scrape(one) + scrape(other).replace("\n# EOF", "")


def _use(one: Sidecar, other: Sidecar) -> None:
    env = os.environ | {"DAPR_GRPC_PORT": str(one.grpc_port), "DAPR_RUNTIME_HOST": "127.0.0.1"}
    worker = subprocess.Popen([sys.executable, str(ROOT / "tests/sdk/python/saga_worker.py")], env=env, stderr=subprocess.DEVNULL)
    try:
        one.call("POST", "/v1.0/actors/Gauge/1/method/go", b"", timeout=30)
        wait_for(lambda: one.call("GET", "/v1.0/metadata").json().get("subscriptions"), "subscribed")
        events = [{"entryId": str(number), "event": "x", "contentType": "text/plain"} for number in range(2)]
        one.call("POST", "/v1.0-alpha1/publish/bulk/bus/b", events)
        one.call("POST", "/v1.0/actors/Gauge/1/timers/t", {"dueTime": "0s", "period": "1h"})
        one.call("POST", "/v1.0/actors/Gauge/1/reminders/r", {"dueTime": "0s"})
        one.call("POST", "/v1.0/jobs/j", {"dueTime": "0s", "data": {"@type": STRING, "value": "x"}})
        one.call("POST", "/v1.0-alpha2/conversation/echo/converse", {"inputs": [{"messages": [{"ofUser": {"content": [{"text": "a"}]}}]}]})
        one.call("GET", "/v1.0/state/no/a")
        assert other.call("POST", f"/v1.0/invoke/{APP}/method/hello", b"x", timeout=30).status == 200
        one.call("POST", f"/v1.0/invoke/{APP}/method/fails", b"x")
        assert one.call("POST", "/v1.0/workflows/dapr/trip/start?instanceID=i", b"0", timeout=30).status == 202
        ended = ("runtime_workflow_execution_count", {"namespace": "", "workflow_name": "trip", "status": "success"})
        fired = [(f"runtime_actor_{what}_fired_total", {"actor_type": "Gauge", "success": "true"}) for what in ("timers", "reminders")]
        job = ("component_job_success_count", {"namespace": "", "operation": "job_trigger_op"})
        bulk = {"component": "bus", "namespace": "", "process_status": "SUCCESS", "topic": "b"}
        wanted = [ended, *fired, job]
        family = "component_pubsub_ingress_bulk_event_count"
        wait_for(lambda: value(values(scrape(one)), family, app_id=APP, **bulk) == 2, family)
        wait_for(lambda: all(value(values(scrape(one)), name, app_id=APP, **labels) for name, labels in wanted), f"{wanted}")
    finally:
        worker.kill()
        worker.wait()


def number(samples: Samples, family: str, app_id: str = APP, **labels: str) -> float | None:
    return value(samples, family, app_id=app_id, **labels)


def test_actors_and_jobs_are_counted(scraped: str) -> None:
    found = values(scraped)

    assert number(found, "runtime_actor_timers", actor_type="Gauge") == 1
    assert number(found, "runtime_actor_pending_actor_calls", actor_type="Gauge") == 0
    assert number(found, "runtime_actor_timers_fired_total", actor_type="Gauge", success="true") == 1
    assert number(found, "runtime_actor_reminders_fired_total", actor_type="Gauge", success="true") == 1
    assert number(found, "component_job_success_count", namespace="", operation="job_trigger_op") == 1
    assert number(found, "component_job_latencies_count", namespace="", operation="job_trigger_op", success="true") == 1
    assert number(found, "component_conversation_count", component="echo", namespace="", success="true") == 1
    assert number(found, "http_healthprobes_completed_count", status="200")


def test_workflows_are_counted(scraped: str) -> None:
    found = values(scraped)

    assert number(found, "runtime_workflow_operation_count", namespace="", operation="create_workflow", status="success") == 1
    assert number(found, "runtime_workflow_execution_count", namespace="", workflow_name="trip", status="success") == 1
    assert number(found, "runtime_workflow_execution_latency_count", namespace="", workflow_name="trip", status="success") == 1
    assert number(found, "runtime_workflow_scheduling_latency_count", namespace="", workflow_name="trip") == 1
    assert number(found, "runtime_workflow_activity_execution_count", namespace="", activity_name="book", status="success") == 3
    assert number(found, "runtime_workflow_activity_operation_latency_count", namespace="", activity_name="book", status="success") == 3
    assert number(found, "runtime_workflow_payload_size_ratio_bucket", namespace="", workflow_name="trip", le="0.1") == 4
    assert (
        number(found, "runtime_workflow_activity_payload_size_ratio_count", namespace="", workflow_name="trip", activity_name="book") == 3
    )


def test_bulk_deliveries_are_counted_by_event(scraped: str) -> None:
    found = values(scraped)

    assert (
        number(found, "component_pubsub_ingress_bulk_event_count", component="bus", namespace="", process_status="SUCCESS", topic="b") == 2
    )
    assert number(found, "component_pubsub_ingress_bulk_count", component="bus", namespace="", process_status="", topic="b")


def test_calls_between_sidecars_are_counted_on_both_sides(scraped: str) -> None:
    found = values(scraped)

    assert number(found, "runtime_service_invocation_req_sent_total", "other", dst_app_id=APP, type="unary") == 1
    assert number(found, "runtime_service_invocation_res_recv_total", "other", src_app_id=APP, status="200", type="unary") == 1
    assert number(found, "runtime_service_invocation_res_recv_latency_ms_count", "other", src_app_id=APP, status="200") == 1
    assert number(found, "runtime_service_invocation_req_recv_total", src_app_id="other") == 1
    assert number(found, "runtime_service_invocation_res_sent_total", dst_app_id="other", status="200") == 1


def test_breakers_and_error_codes_are_shown(scraped: str) -> None:
    found = values(scraped)
    breaker = {"flow_direction": "outbound", "name": "rules", "namespace": "", "policy": "circuitbreaker", "target": f"app_{APP}"}

    assert number(found, "resiliency_cb_state", status="open", **breaker) == 1
    assert number(found, "resiliency_cb_state", status="closed", **breaker) == 0
    assert number(found, "error_code_total", error_code="ERR_STATE_STORE_NOT_CONFIGURED", category="state") == 1


def test_every_family_that_daprd_showed_has_its_labels(scraped: str) -> None:
    recorded = json.loads(DATA.read_text())

    for name, (labels, bounds) in shapes(scraped).items():
        if name in recorded:
            assert (name, labels) == (name, frozenset(recorded[name][0]))
            assert not bounds or bounds == frozenset(recorded[name][1]), name


def test_paths_verbs_and_rules_are_as_configured(tmp_path: Path) -> None:
    http = {"increasedCardinality": False, "pathMatching": ["/v1.0/state/{store}/{key}"], "excludeVerbs": True}
    rules = [{"name": "dapr_http_server_request_count", "labels": [{"name": "status", "regex": {"good": "^2[0-9][0-9]$"}}]}]
    config = configuration(tmp_path, metric={"enabled": True, "http": http, "rules": rules})
    with sidecar(tmp_path, app_id=APP, config=config, resources={"st.yaml": component("st", "state.in-memory")}) as one:
        one.call("GET", "/v1.0/state/st/a")
        one.call("GET", "/v1.0/state/st/b")
        one.call("GET", "/v1.0/metadata")

        found = values(scrape(one))

    assert number(found, "http_server_request_count", method="", path="/v1.0/state/{store}/{key}", status="good") == 2
    assert number(found, "http_server_latency_count", method="", path="/v1.0/state/{store}/{key}", status="204") == 2
    assert number(found, "http_server_request_count", method="", path="", status="good")
    assert not any(name.startswith("dapr_http_server_response_count") for name, _ in found)


def test_a_rule_that_is_no_expression_stops_the_start(tmp_path: Path) -> None:
    rules = [{"name": "dapr_http_server_latency", "labels": [{"name": "path", "regex": {"x": "("}}]}]
    one = Sidecar(tmp_path, config=configuration(tmp_path, metric={"enabled": True, "rules": rules}))

    assert one.spawn().wait(20) != 0
    assert "label path: '(' is no regular expression" in one.log()
