"""What TaskHubSidecarService says to orders that can't be carried out, in durabletask's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.grpc_client import Client
from tests.harness import sidecar

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
    ("GetInstanceHistory", {"instanceId": "none"}, "NOT_FOUND", "workflow instance 'none' not found"),
]  # fmt: skip


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with sidecar(tmp_path_factory.mktemp("hub"), resources={}) as edged, Client(edged.grpc_port, "TaskHubSidecarService") as client:
        yield client


@pytest.mark.parametrize(("name", "request_", "code", "text"), REFUSED)
def test_order_is_refused(hub: Client, name: str, request_: dict[str, Any], code: str, text: str) -> None:
    result = hub.call(name, request_)

    assert (result.code, result.text) == (code, text)
