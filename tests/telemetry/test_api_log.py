"""The API log of a real sidecar: fields, names and levels as daprd's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.grpc_client import Client
from tests.harness import Sidecar, component, sidecar

STORE = {"st.yaml": component("st", "state.in-memory")}


def lines(one: Sidecar, text: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in one.log().splitlines() if line.startswith("{")]
    return [line for line in found if line["msg"] == text]


def test_each_call_is_a_line_with_daprds_fields(tmp_path: Path) -> None:
    with sidecar(tmp_path, app_id="jar", resources=STORE, flags=("--enable-api-logging", "--log-as-json")) as one:
        one.call("POST", "/v1.0/state/st", [{"key": "a b", "value": 1}])
        one.call("GET", "/v1.0/state/st/a%20b", headers={"user-agent": "till/1"})
        one.call("GET", "/v1.0/state/no/a")
        with Client(one.grpc_port) as client:
            client.call("GetState", {"storeName": "st", "key": "a"})
        http, grpc = lines(one, "HTTP API Called"), lines(one, "gRPC API Called")

    wanted = [("POST /v1.0/state/st", 204, 0), ("GET /v1.0/state/st/a b", 200, 1)]
    assert [(line["method"], line["code"], line["size"]) for line in http if "/state/st" in line["method"]] == wanted
    got = next(line for line in http if line["method"] == "GET /v1.0/state/st/a b")
    assert (got["useragent"], got["scope"], got["level"], got["app_id"]) == ("till/1", "dapr.runtime.http-info", "info", "jar")
    assert isinstance(got["duration"], int)
    assert next(line["code"] for line in http if line["method"] == "GET /v1.0/state/no/a") == 400
    assert [(line["method"], line["code"]) for line in grpc] == [("/dapr.proto.runtime.v1.Dapr/GetState", 0)]


def test_names_can_stand_for_urls(tmp_path: Path) -> None:
    api = {"enabled": True, "obfuscateURLs": True, "omitHealthChecks": True}
    spec = {"logging": {"apiLogging": api}}
    config = json.dumps({"apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": {"name": "c"}, "spec": spec})
    with sidecar(tmp_path, config=config, resources=STORE, flags=("--log-as-json",)) as one:
        one.call("GET", "/v1.0/state/st/secret")
        one.call("GET", "/v1.0/invoke/test/method/secret")
        names = [line["method"] for line in lines(one, "HTTP API Called")]

    assert names == ["GetState", "InvokeService/test"]
