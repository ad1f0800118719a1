"""docs/security.md, "By default": what listens where, and who gets in without a token."""

from __future__ import annotations

from pathlib import Path

import psutil

from tests.harness import free_port, sidecar


def test_everything_listens_on_loopback(tmp_path: Path) -> None:
    public = free_port()
    with sidecar(tmp_path, flags=("--dapr-public-port", str(public))) as edged:
        assert edged.process is not None
        found = [one.laddr for one in psutil.Process(edged.process.pid).net_connections("tcp") if one.status == psutil.CONN_LISTEN]
        known = {edged.http_port, edged.grpc_port, edged.internal_port, edged.metrics_port, public}

    assert {one.port for one in found} == known and {one.ip for one in found} == {"127.0.0.1"}


def test_with_a_token_only_health_needs_none(tmp_path: Path) -> None:
    public = free_port()
    with sidecar(tmp_path, env={"DAPR_API_TOKEN": "t"}, flags=("--dapr-public-port", str(public))) as edged:
        api = {path: edged.call("GET", path).status for path in ("/v1.0/healthz", "/v1.0/healthz/outbound", "/v1.0/metadata", "/nothing")}
        head = edged.call("POST", "/v1.0/healthz").status, edged.call("POST", "/v1.0/shutdown").status
        edged.http_port = public
        open_ = {path: edged.call("GET", path).status for path in ("/v1.0/healthz", "/v1.0/metadata", "/v1.0/state/statestore/k")}
        shutdown = edged.call("POST", "/v1.0/shutdown").status

    assert api == {"/v1.0/healthz": 204, "/v1.0/healthz/outbound": 204, "/v1.0/metadata": 401, "/nothing": 401} and head == (401, 401)
    assert open_ == {"/v1.0/healthz": 204, "/v1.0/metadata": 200, "/v1.0/state/statestore/k": 404} and shutdown == 404


def test_what_the_configuration_denies_is_denied_on_the_public_port_too(tmp_path: Path) -> None:
    public = free_port()
    denied = '{"kind": "Configuration", "spec": {"api": {"denied": [{"name": "metadata", "version": "v1", "protocol": "http"}]}}}'
    with sidecar(tmp_path, config=denied, flags=("--dapr-public-port", str(public))) as edged:
        edged.http_port = public
        answers = [edged.call("GET", path).status for path in ("/v1.0/metadata", "/v1.0/healthz")]

    assert answers == [404, 204]
