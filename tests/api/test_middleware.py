"""Pipelines of a Configuration around a real sidecar's API."""

from __future__ import annotations

import json
from pathlib import Path

from tests.harness import Sidecar, component, sidecar


def pipeline(*names: str) -> str:
    handlers = [{"name": name, "type": "middleware.http.uppercase"} for name in names]
    return json.dumps({"kind": "Configuration", "metadata": {"name": "c"}, "spec": {"httpPipeline": {"handlers": handlers}}})


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
