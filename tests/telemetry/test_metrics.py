"""A scrape of a real sidecar after real traffic: every line is read by a Prometheus parser, names and labels are daprd's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import component, sidecar
from tests.telemetry.scrapes import scrape, values

DATA = Path(__file__).parent.parent / "data" / "metrics.json"
SERIES = re.compile(r'^(\w+)\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\}', re.M)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("metrics")
    (folder / "secrets.json").write_text('{"a": "b"}')
    made = [
        component("st", "state.in-memory"),
        component("bus", "pubsub.in-memory"),
        component("sec", "secretstores.local.file", {"secretsFile": str(folder / "secrets.json")}),
        component("files", "bindings.localstorage", {"rootPath": str(folder / "files")}),
    ]
    with sidecar(folder, app_id="metered", resources={"all.yaml": "\n---\n".join(made)}) as edged:
        edged.call("POST", "/v1.0/state/st", [{"key": "a", "value": 1}])
        edged.call("GET", "/v1.0/state/st/a")
        edged.call("GET", "/v1.0/state/st/b")
        edged.call("DELETE", "/v1.0/state/st/a")
        edged.call("GET", "/v1.0/state/no/a")
        edged.call("POST", "/v1.0/publish/bus/t", {"n": 1})
        edged.call("GET", "/v1.0/secrets/sec/a")
        edged.call("POST", "/v1.0/bindings/files", {"operation": "create", "data": "x!"})
        edged.call("POST", "/v1.0/bindings/no", {"operation": "x", "data": "x"})
        edged.call("GET", '/nope/with"quote\\')
        yield scrape(edged)


def test_every_line_is_read_by_a_prometheus_parser(scraped: str) -> None:
    found = values(scraped)

    assert found["process_resident_memory_bytes", frozenset()] > 1e6
    assert found["process_open_fds", frozenset()] > 3


def test_calls_are_counted_as_daprd_counts_them(scraped: str) -> None:
    found = values(scraped)

    def count(name: str, **labels: str) -> float:
        own = frozenset({"app_id": "metered", **labels}.items())
        return next(found[key, own] for key in (f"dapr_{name}", f"dapr_{name}_total") if (key, own) in found)  # the parser renames counters

    assert count("http_server_request_count", method="GET", path="/v1.0/state/st", status="200") == 1
    assert count("http_server_request_count", method="GET", path="/v1.0/state/st", status="204") == 1
    assert count("http_server_latency_count", method="POST", path="/v1.0/state/st", status="204") == 1
    assert count("component_state_count", component="st", namespace="", operation="get", success="true") == 2
    assert count("component_state_count", component="st", namespace="", operation="set", success="true") == 1
    assert count("component_state_count", component="st", namespace="", operation="delete", success="true") == 1
    assert count("component_pubsub_egress_count", component="bus", namespace="", success="true", topic="t") == 1
    assert count("component_secret_count", component="sec", namespace="", operation="get", success="true") == 1
    assert count("component_output_binding_count", component="files", namespace="", operation="create", success="true") == 1
    assert count("component_output_binding_count", component="no", namespace="", operation="x", success="false") == 1
    assert count("runtime_component_loaded") == 4
    assert not any("component" in dict(labels) and dict(labels)["component"] == "no" for name, labels in found if "component_state" in name)


def test_labels_and_buckets_of_a_family_are_those_that_daprd_shows(scraped: str) -> None:
    recorded = {name: (frozenset(labels), frozenset(bounds)) for name, (labels, bounds) in json.loads(DATA.read_text()).items()}

    for name, (labels, bounds) in shapes(scraped).items():
        assert name in recorded or name.startswith("edged_"), name
        if name in recorded:
            assert labels == recorded[name][0], name
            assert not bounds or bounds == recorded[name][1] or not recorded[name][1], name


def shapes(text: str) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """Label names and bucket bounds by metric name."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for name, labels in SERIES.findall(text):
        if name.startswith(("go_", "promhttp")):
            continue
        pairs = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))
        names, bounds = found.setdefault(name, (set(), set()))
        bounds |= {pairs.pop("le")} if "le" in pairs else set()
        names.update(pairs)
    return {name: (frozenset(names), frozenset(bounds)) for name, (names, bounds) in found.items()}


def test_metrics_can_be_turned_off(tmp_path: Path) -> None:
    with sidecar(tmp_path, flags=("--enable-metrics=false",)) as edged, pytest.raises(OSError):
        scrape(edged)


def test_a_port_in_use_costs_the_metrics_only(tmp_path: Path) -> None:
    with sidecar(tmp_path / "a") as first, sidecar(tmp_path / "b", flags=("--metrics-port", str(first.metrics_port))) as second:
        assert second.call("GET", "/v1.0/healthz/outbound").status == 204
        assert "choose another port with --metrics-port" in second.log()
