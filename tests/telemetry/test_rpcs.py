"""What a scrape shows of gRPC: calls of the API by method and status, calls to an app that speaks gRPC, its health."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edge.rpc.pb import common_pb2, invoke_pb2
from tests.grpc_app import Reply, grpc_app
from tests.grpc_client import Client, wait_until
from tests.harness import component, sidecar
from tests.telemetry.scrapes import Samples, scrape, value, values

DAPR = "/dapr.proto.runtime.v1.Dapr/"
CALLBACK = "/dapr.proto.runtime.v1.AppCallback/"
LABELS = {"app_id": "metered"}


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samples]:
    answer = Reply(common_pb2.InvokeResponse(data={"value": b"four"}).SerializeToString())
    message = common_pb2.InvokeRequest(method="m", data={"value": b"x"}, http_extension={"verb": "POST"})
    asked = invoke_pb2.InvokeServiceRequest(id="metered", message=message).SerializeToString()
    flags = ["--app-protocol", "grpc", "--enable-app-health-check", "--app-health-probe-interval", "1"]
    with grpc_app(answers={"OnInvoke": answer, "HealthCheck": Reply()}) as app:
        folder = tmp_path_factory.mktemp("rpcs")
        with sidecar(
            folder, app_id="metered", app_port=app.port, flags=flags, resources={"c.yaml": component("cup", "state.in-memory")}
        ) as one:
            one.wait()
            with Client(one.grpc_port) as client:
                wait_until(lambda: client.raw(client.path("InvokeService"), asked).code == "OK")
                client.call("GetState", {"storeName": "none", "key": "k"})
                client.call("GetMetadata", {})
                client.raw(client.path("EncryptAlpha1"), b"", streaming=True)
                client.raw("/own.Service/Method", b"", [("dapr-app-id", "metered")])
            text = scrape(one)
    yield values(text)


def test_statuses_have_go_s_names(scraped: Samples) -> None:
    def count(path: str, status: str) -> float | None:
        return value(scraped, "grpc_io_server_completed_rpcs", **LABELS, grpc_server_method=path, grpc_server_status=status)

    assert count(f"{DAPR}GetState", "InvalidArgument") == 1
    assert count(f"{DAPR}GetMetadata", "OK") == 1
    assert count("/own.Service/Method", "Unimplemented") == 1


def test_of_streams_only_those_passed_on_are_counted_and_nobody_counts_their_bytes(scraped: Samples) -> None:
    named = {dict(labels).get("grpc_server_method") for name, labels in scraped if name.startswith("dapr_grpc_io_server_received")}

    assert not [labels for _, labels in scraped if f"{DAPR}EncryptAlpha1" in dict(labels).values()]
    assert "/own.Service/Method" not in named
    assert f"{DAPR}GetMetadata" in named


def test_calls_of_the_app_are_counted(scraped: Samples) -> None:
    path = f"{CALLBACK}OnInvoke"
    done = value(scraped, "grpc_io_client_completed_rpcs", **LABELS, grpc_client_method=path, grpc_client_status="OK")
    took = value(scraped, "grpc_io_client_roundtrip_latency_count", **LABELS, grpc_client_method=path, grpc_client_status="OK")
    received = value(scraped, "grpc_io_client_received_bytes_per_rpc_sum", **LABELS, grpc_client_method=path)

    assert done == took == 1
    assert received is not None and received > 4


def test_health_of_the_app_has_families_of_its_own(scraped: Samples) -> None:
    names = {name for name, _ in scraped}

    assert {"dapr_grpc_io_healthprobes_roundtrip_latency_count"} <= names
    assert not [labels for _, labels in scraped if "HealthCheck" in str(dict(labels).get("grpc_client_method"))]
