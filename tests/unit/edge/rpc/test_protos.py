"""Our message types are Dapr's: every message, field, number, enum and service as in the descriptors of the PyPI package `dapr`."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import dapr.proto.common.v1
import dapr.proto.runtime.v1
import pytest

import edge.rpc.pb

ROOT = Path(__file__).resolve().parents[4]
THEIRS = [
    importlib.import_module(f"{package.__name__}.{module.name}")
    for package in (dapr.proto.common.v1, dapr.proto.runtime.v1)
    for module in pkgutil.iter_modules(package.__path__)
    if module.name.endswith("_pb2")
]


def ours(name: str) -> Any:
    """Our module for their file `dapr/proto/runtime/v1/state.proto`."""
    return importlib.import_module(f"edge.rpc.pb.{Path(name).stem}_pb2")


def enum(found: Any) -> list[tuple[str, int]]:
    return [(value.name, value.number) for value in found.values]


def field(found: Any) -> tuple[object, ...]:
    points_to = found.message_type or found.enum_type
    oneof = found.containing_oneof.name if found.containing_oneof else ""
    oneof = "" if oneof.startswith("_") else oneof  # the one that `optional` makes; a message has presence without it
    return (
        found.number, found.type, found.is_repeated, found.has_presence, found.json_name, oneof,
        points_to.full_name if points_to else "", found.GetOptions().deprecated,
    )  # fmt: skip


def message(found: Any) -> dict[str, Any]:
    return {
        "fields": {each.name: field(each) for each in found.fields},
        "messages": {each.name: message(each) for each in found.nested_types},
        "enums": {each.name: enum(each) for each in found.enum_types},
    }


def service(found: Any) -> list[tuple[object, ...]]:
    return [(m.name, m.input_type.full_name, m.client_streaming, m.output_type.full_name, m.server_streaming) for m in found.methods]


@pytest.mark.parametrize("theirs", THEIRS, ids=lambda module: Path(module.DESCRIPTOR.name).stem)
def test_messages_and_services_are_dapr_s_field_by_field(theirs: Any) -> None:
    left, right = ours(theirs.DESCRIPTOR.name).DESCRIPTOR, theirs.DESCRIPTOR

    assert left.package == right.package
    assert {k: message(v) for k, v in left.message_types_by_name.items()} == {k: message(v) for k, v in right.message_types_by_name.items()}
    assert {k: enum(v) for k, v in left.enum_types_by_name.items()} == {k: enum(v) for k, v in right.enum_types_by_name.items()}
    assert {k: service(v) for k, v in left.services_by_name.items()} == {k: service(v) for k, v in right.services_by_name.items()}


def test_bytes_of_the_sdk_are_read_and_written_back() -> None:
    theirs = importlib.import_module("dapr.proto.runtime.v1.state_pb2")
    sent = theirs.SaveStateRequest(store_name="jar", states=[{"key": "k", "value": b"\0\xff", "etag": {"value": "1"}}])

    read = ours("state.proto").SaveStateRequest.FromString(sent.SerializeToString())

    assert (read.store_name, read.states[0].value, read.states[0].etag.value) == ("jar", b"\0\xff", "1")
    assert theirs.SaveStateRequest.FromString(read.SerializeToString()) == sent


def test_well_known_types_keep_their_powers() -> None:
    any_pb2, struct_pb2, jobs_pb2 = (importlib.import_module(f"edge.rpc.pb.{name}_pb2") for name in ("any", "struct", "jobs"))
    packed, struct = any_pb2.Any(), struct_pb2.Struct()

    packed.Pack(jobs_pb2.Job(name="tick"))
    struct.update({"list": [1, {"deep": None}]})

    assert packed.TypeName() == "dapr.proto.runtime.v1.Job"
    assert struct["list"][1]["deep"] is None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"state\.proto has no Nonsense"):
        _ = ours("state.proto").Nonsense


def test_every_generated_module_is_importable() -> None:
    names = [module.name for module in pkgutil.iter_modules(edge.rpc.pb.__path__)]

    assert len(names) > 30
    for name in names:
        importlib.import_module(f"edge.rpc.pb.{name}")


def test_generated_files_are_fresh() -> None:
    done = subprocess.run([sys.executable, ROOT / "packaging" / "protos", "--check"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
