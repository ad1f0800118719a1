"""`grpc-trace-bin`: every answer of Dapr's own services tells of its trace, unless its head was on its way before the handler ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.rpc.pb import state_pb2
from tests.harness import Sidecar, component, sidecar
from tests.raw_grpc import blocks, message

DAPR = "/dapr.proto.runtime.v1.Dapr/"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OF_PARENT, OF_NONE = "AAAK92UZFs1D3YRI6yEcgDGcAbeta3FpIDMxAgE", "AAAAAAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAgA"
GET = message(state_pb2.GetStateRequest(store_name="cup", key="k").SerializeToString())
NO_STORE = message(state_pb2.GetStateRequest(store_name="none", key="k").SerializeToString())
RATE = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: c}}\nspec:\n  tracing: {{samplingRate: '{}'}}\n"


@pytest.fixture(scope="module")
def edged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    resources = {"c.yaml": component("cup", "state.in-memory")}
    with sidecar(tmp_path_factory.mktemp("trace"), resources=resources) as one:
        yield one


@pytest.mark.parametrize(
    ("sent", "expected"), [({}, OF_NONE), ({"traceparent": PARENT}, OF_PARENT), ({"grpc-trace-bin": OF_PARENT}, OF_PARENT)]
)
def test_success_and_failure_tell_the_callers_trace(edged: Sidecar, sent: dict[str, str | None], expected: str) -> None:
    found = blocks(edged.grpc_port, {":path": f"{DAPR}GetState", **sent}, GET)
    failed = blocks(edged.grpc_port, {":path": f"{DAPR}GetState", **sent}, NO_STORE)
    stream = blocks(edged.grpc_port, {":path": f"{DAPR}EncryptAlpha1", **sent}, message(b""))

    assert [block.get("grpc-trace-bin") for block in found] == [expected, None]
    assert [(block.get("grpc-trace-bin"), block.get("grpc-status")) for block in failed] == [(expected, None), (None, "3")]
    assert [(block.get("grpc-trace-bin"), block.get("grpc-status")) for block in stream] == [(expected, None), (None, "3")]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{DAPR}InvokeService", message(b"")),
        (f"{DAPR}GetState", message(b"\xff\xff")),
        (f"{DAPR}EncryptAlpha1", message(b"\xff\xff")),
        ("/own.Service/Method", message(b"")),
    ],
)
def test_invocation_and_what_is_no_message_end_without_it(edged: Sidecar, path: str, body: bytes) -> None:
    answer = blocks(edged.grpc_port, {":path": path, "traceparent": PARENT}, body)

    assert len(answer) == 1
    assert answer[0]["grpc-status"] != "0"
    assert "grpc-trace-bin" not in answer[0]


def test_tracing_that_is_on_tells_the_span(tmp_path: Path) -> None:
    with sidecar(tmp_path, config=RATE.format("1"), resources={}) as one:
        unary = blocks(one.grpc_port, {":path": f"{DAPR}GetMetadata", "traceparent": PARENT}, message(b""))
        stream = blocks(one.grpc_port, {":path": f"{DAPR}EncryptAlpha1"}, message(b""))

    assert unary[0]["grpc-trace-bin"][:24] == OF_PARENT[:24]
    assert unary[0]["grpc-trace-bin"] != OF_PARENT
    assert stream[0]["grpc-trace-bin"][:24] not in (OF_NONE[:24], OF_PARENT[:24])


def test_rate_of_zero_leaves_trace_and_baggage_alone(tmp_path: Path) -> None:
    with sidecar(tmp_path, config=RATE.format("0"), resources={}) as one:
        answer = blocks(one.grpc_port, {":path": f"{DAPR}GetMetadata", "traceparent": PARENT, "baggage": "=bad"}, message(b""))

    assert answer[0] == {":status": "200", "content-type": "application/grpc"}
