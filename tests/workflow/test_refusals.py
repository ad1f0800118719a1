"""What TaskHubSidecarService says to orders that can't be carried out, in durabletask's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from edge.rpc.pb import orchestrator_service_pb2 as service
from tests.grpc_client import Client
from tests.harness import Sidecar, sidecar

REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("PurgeInstances", {"instanceId": "none"}, "UNKNOWN", "failed to purge workflow state: no such instance exists"),
    (
        "PurgeInstances", {"instanceId": "none", "recursive": True}, "UNKNOWN",
        "failed to purge workflow state: failed to fetch workflow state: no such instance exists",
    ),
    ("PurgeInstances", {"purgeInstanceFilter": {}}, "UNKNOWN", "multi-instance purge is not unimplemented"),
    ("RerunWorkflowFromEvent", {"eventID": 1}, "INVALID_ARGUMENT", "rerun workflow source instance ID is required"),
    (
        "RerunWorkflowFromEvent", {"sourceInstanceID": "a", "newInstanceID": "a"}, "INVALID_ARGUMENT",
        "rerun workflow instance ID must be different from the original instance ID",
    ),
    ("RerunWorkflowFromEvent", {"sourceInstanceID": "none"}, "NOT_FOUND", "workflow instance does not exist with ID 'none'"),
    ("RaiseEvent", {"instanceId": "none", "name": "e"}, "UNKNOWN", "no such instance exists"),
    ("TerminateInstance", {"instanceId": "none"}, "UNKNOWN", "failed to submit termination request: no such instance exists"),
    ("PurgeInstances", {"instanceId": "later"}, "UNKNOWN", "failed to purge workflow state: orchestration has not yet completed"),
    ("PurgeInstances", {"instanceId": "later", "recursive": True}, "UNKNOWN", "failed to purge workflow state: no such instance exists"),
    ("RerunWorkflowFromEvent", {"sourceInstanceID": "later"}, "INVALID_ARGUMENT", "'later' is not in a terminal state"),
    ("GetInstanceHistory", {"instanceId": "none"}, "NOT_FOUND", "workflow instance 'none' not found"),
]  # fmt: skip
LATER = {"name": "w", "scheduledStartTimestamp": "2999-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def edged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """With an instance that starts in a far future."""
    with sidecar(tmp_path_factory.mktemp("hub"), resources={}) as edged:
        with Client(edged.grpc_port, "TaskHubSidecarService") as client:
            client.call("StartInstance", LATER | {"instanceId": "later"})
        yield edged


@pytest.fixture(scope="module")
def hub(edged: Sidecar) -> Iterator[Client]:
    with Client(edged.grpc_port, "TaskHubSidecarService") as client:
        yield client


@pytest.mark.parametrize(("name", "request_", "code", "text"), REFUSED)
def test_order_is_refused(hub: Client, name: str, request_: dict[str, Any], code: str, text: str) -> None:
    result = hub.call(name, request_)

    assert (result.code, result.text) == (code, text)


def test_workflow_that_has_not_begun_is_unknown_to_a_purge_over_http(edged: Sidecar) -> None:
    answer = edged.call("POST", "/v1.0/workflows/dapr/later/purge")

    assert (answer.status, answer.json()["errorCode"]) == (404, "ERR_INSTANCE_ID_NOT_FOUND")
    assert answer.json()["message"].endswith("instance ID: later: failed to purge workflow state: no such instance exists")


@pytest.mark.parametrize("instance_id", ["a/b", "a#b", "a?b"])
def test_id_that_no_instance_may_have_is_refused(hub: Client, instance_id: str) -> None:
    result = hub.call("StartInstance", LATER | {"instanceId": instance_id})

    text = f"""job name is invalid "{instance_id}": must not contain '/', '\\', '#' or '?'"""
    assert (result.code, result.text) == ("UNKNOWN", f"failed to create workflow instance: rpc error: code = Unknown desc = {text}")


@pytest.mark.parametrize(
    ("instance_id", "problem"),
    [
        ("a\\b", """"a\\\\b": must not contain '/', '\\', '#' or '?'"""),
        ("\0", '"\\x00": must not contain control characters'),
        ("a" * 513, f'"{"a" * 513}": must be at most 512 characters'),
    ],
)
def test_id_that_no_job_can_have_is_refused(hub: Client, instance_id: str, problem: str) -> None:
    result = hub.call("StartInstance", LATER | {"instanceId": instance_id})

    assert result.text == f"failed to create workflow instance: rpc error: code = Unknown desc = job name is invalid {problem}"


def test_a_start_past_the_calendar_is_refused(hub: Client) -> None:
    request = service.CreateInstanceRequest(instanceId="never", name="quick")
    request.scheduledStartTimestamp.seconds = 253402300800  # which JSON cannot say

    result = hub.raw("/TaskHubSidecarService/StartInstance", request.SerializeToString())

    assert (result.code, result.text.rpartition(": ")[2]) == ("UNKNOWN", "due time format not recognized")


def test_workflow_that_has_not_begun_can_be_purged_by_force(hub: Client) -> None:
    hub.call("StartInstance", LATER | {"instanceId": "unwanted"})

    result = hub.call("PurgeInstances", instanceId="unwanted", recursive=True, force=True)

    assert result.message == {"deletedInstanceCount": 1}
