"""Apps written with the SDKs: subscriptions, retries, dead letters, routing, bulk, streams, input bindings, invocation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.sdk import garden, programs

PYTHON = {
    "plain": [["plain", {"n": n}] for n in range(5)],
    "again and dead": [3, [["dead", "u"], ["fickle", "f"], ["unwanted", "u"]]],
    "bulk": [["plain", n] for n in range(3)],
}


def seen_by(command: list[str], folder: Path, **settings: Any) -> dict[str, Any]:
    return dict(programs.run(command, folder, app_id="sdk", resources=garden.resources(folder), **settings))


@pytest.mark.parametrize(
    ("kind", "protocol", "echo"), [("grpc", "grpc", "echo hello"), ("fastapi", "http", '"echo hello"'), ("flask", "http", '"echo hello"')]
)
def test_python_app(tmp_path: Path, kind: str, protocol: str, echo: str) -> None:
    seen = seen_by([*programs.python("subscriber"), kind], tmp_path, app_protocol=protocol)

    assert seen == PYTHON | {"invoked": echo, "bound": True}


def test_python_streams_need_no_app_port(tmp_path: Path) -> None:
    assert seen_by([*programs.python("subscriber"), "stream"], tmp_path, needs_app=False) == PYTHON


@pytest.mark.parametrize(("protocol", "query"), [("http", "/echo"), ("grpc", "")])
def test_node_app(tmp_path: Path, protocol: str, query: str) -> None:
    seen = seen_by([*programs.node("server"), protocol], tmp_path, app_protocol=protocol)

    bulk = {"bulk": [f'["bulky",{{"a":{n}}}]' for n in (1, 2, 3)]} if protocol == "http" else {}
    assert seen == bulk | {
        "plain": [f'["plain",{{"n":{n}}}]' for n in range(5)],
        "again and dead": ['["dead","u"]', '["fickle","f"]', '["unwanted","u"]'],
        "tries": 3,
        "routed": ['["big",{"size":20}]', '["never",{"size":20}]', '["never",{"size":2}]', '["other",{"size":2}]'],
        "invoked": {"body": '{"hello":1}', "query": query},
        "bound": True,
    }


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_go_app(tmp_path: Path, protocol: str) -> None:
    seen = seen_by(programs.go(f"service-{protocol}"), tmp_path, app_protocol=protocol)

    assert seen == {
        "plain": [f'plain {{"n":{n}}}' for n in range(5)],
        "again and dead": ['dead "unwanted"', 'fickle "fickle"', 'unwanted "unwanted"'],
        "tries": 3,
        "routed": ['big "r"', 'other "r"'],
        "invoked": "echo hello",
        "bound": True,
    }
