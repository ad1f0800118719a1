"""Outside judges: h2spec on both HTTP/2 faces, and gRPC's interoperability tests (grpc-go's client and server)."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc_tools.protoc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from edge.http1.messages import Response
from edge.rpc.client import Channel, Target
from edge.rpc.server import Method, StreamCall, UnaryCall
from edge.rpc.status import RpcError
from tests import gotools
from tests.harness import free_port
from tests.unit.edge.rpc.serving import serving
from tests.unit.edge.rpc.test_http2 import LIMITS, server

pytestmark = pytest.mark.timeout(300)  # the first run builds the judges
DATA = Path(__file__).resolve().parents[3] / "data"
GRPC = "v1.76.0"
CASES = [
    "empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream", "timeout_on_sleeping_server",
    "cancel_after_begin", "cancel_after_first_response", "status_code_and_message", "special_status_message", "custom_metadata",
    "unimplemented_method", "unimplemented_service",
]  # fmt: skip


def h2spec(port: int) -> str:
    """The summary line, after what failed."""
    program = gotools.built("github.com/summerwind/h2spec/cmd/h2spec", "v2.2.1+incompatible")
    done = subprocess.run([program, "-h", "127.0.0.1", "-p", str(port), "-o", "5"], capture_output=True, text=True, check=False)
    return done.stdout[done.stdout.rfind("Failures") :] if done.returncode else done.stdout.splitlines()[-1]


def test_h2spec_passes_on_the_grpc_port() -> None:
    with serving() as (port, _, _):
        assert h2spec(port) == "145 tests, 145 passed, 0 skipped, 0 failed"


def test_h2spec_passes_on_the_http_port() -> None:
    with server(lambda request: Response(404, [], b"nothing here"), LIMITS) as port:
        assert h2spec(port) == "145 tests, 145 passed, 0 skipped, 0 failed"


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The interop message classes by name."""
    out = tmp_path_factory.mktemp("interop") / "set.bin"
    assert not grpc_tools.protoc.main(["", f"-I{DATA}", f"--descriptor_set_out={out}", str(DATA / "interop.proto")])
    (file,) = FileDescriptorSet.FromString(out.read_bytes()).file
    described = DescriptorPool().AddSerializedFile(file.SerializeToString())
    return SimpleNamespace(**{name: GetMessageClass(each) for name, each in described.message_types_by_name.items()})


class TestService:
    """gRPC's interop service on our server."""

    __test__ = False

    def __init__(self, messages: SimpleNamespace) -> None:
        self.pb = messages

    def methods(self) -> dict[str, Method]:
        path = "/grpc.testing.TestService/"
        return {
            path + "EmptyCall": Method(unary=lambda call, message: b""),
            path + "UnaryCall": Method(unary=self.unary),
            path + "StreamingInputCall": Method(stream=self.input),
            path + "StreamingOutputCall": Method(stream=self.output),
            path + "FullDuplexCall": Method(stream=self.output),
        }

    def unary(self, call: UnaryCall, message: bytes) -> bytes:
        request = self.pb.SimpleRequest.FromString(message)
        self.echo_metadata(call)
        self.check_status(request)
        reply: bytes = self.pb.SimpleResponse(payload={"body": bytes(request.response_size)}).SerializeToString()
        return reply

    async def input(self, call: StreamCall) -> None:
        size = 0
        async for message in call:
            size += len(self.pb.StreamingInputCallRequest.FromString(message).payload.body)
        await call.send(self.pb.StreamingInputCallResponse(aggregated_payload_size=size).SerializeToString())

    async def output(self, call: StreamCall) -> None:
        self.echo_metadata(call)
        async for message in call:
            request = self.pb.StreamingOutputCallRequest.FromString(message)
            self.check_status(request)
            for wanted in request.response_parameters:
                await asyncio.sleep(wanted.interval_us / 1e6)
                await call.send(self.pb.StreamingOutputCallResponse(payload={"body": bytes(wanted.size)}).SerializeToString())

    def echo_metadata(self, call: Any) -> None:
        given = dict(call.metadata())
        if (value := given.get("x-grpc-test-echo-initial")) is not None:
            call.initial = [("x-grpc-test-echo-initial", value)]
        if (value := given.get("x-grpc-test-echo-trailing-bin")) is not None:
            call.trailing = [("x-grpc-test-echo-trailing-bin", value)]

    def check_status(self, request: Any) -> None:
        if request.HasField("response_status") and request.response_status.code:
            raise RpcError(request.response_status.code, request.response_status.message)


@pytest.mark.parametrize("case", CASES)
def test_grpc_go_s_interop_client(messages: SimpleNamespace, case: str) -> None:
    program = gotools.built("google.golang.org/grpc/interop/client", GRPC)
    with serving(TestService(messages).methods()) as (port, _, _):
        done = subprocess.run(
            [program, "--server_host=127.0.0.1", f"--server_port={port}", f"--test_case={case}"],
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip

    assert done.returncode == 0, done.stderr


@contextmanager
def interop_server() -> Iterator[int]:
    port = free_port()
    with subprocess.Popen([gotools.built("google.golang.org/grpc/interop/server", GRPC), f"--port={port}"]) as process:
        try:
            yield port
        finally:
            process.kill()


def test_grpc_go_s_interop_server(messages: SimpleNamespace) -> None:
    async def main(port: int) -> None:
        channel = await reached(port)
        path = "/grpc.testing.TestService/"
        request = messages.SimpleRequest(response_size=314159, payload={"body": bytes(271828)})
        answer = await channel.unary(path + "UnaryCall", request.SerializeToString(), [("x-grpc-test-echo-initial", "here")])
        assert len(messages.SimpleResponse.FromString(answer.message).payload.body) == 314159
        assert ("x-grpc-test-echo-initial", "here") in answer.headers
        for code, text in ((2, "test status message"), (2, "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n")):
            with pytest.raises(RpcError) as caught:
                status = messages.SimpleRequest(response_status={"code": code, "message": text})
                await channel.unary(path + "UnaryCall", status.SerializeToString())
            assert (caught.value.code, caught.value.message) == (code, text)
        with pytest.raises(RpcError) as caught:
            await channel.unary(path + "UnimplementedCall", b"")
        assert caught.value.code == 12
        await ping_pong(channel, path)
        await channel.close()

    async def ping_pong(channel: Channel, path: str) -> None:
        sizes = [(31415, 27182), (9, 8), (2653, 1828), (58979, 45904)]
        reply = await channel.stream(path + "FullDuplexCall")
        for answer, size in sizes:
            asked = messages.StreamingOutputCallRequest(response_parameters=[{"size": answer}], payload={"body": bytes(size)})
            await reply.send(asked.SerializeToString())
            got = await reply.receive()
            assert len(messages.StreamingOutputCallResponse.FromString(got or b"").payload.body) == answer
        reply.half_close()
        assert await reply.receive() is None

    with interop_server() as port:
        asyncio.run(main(port))


async def reached(port: int) -> Channel:
    channel = Channel(Target("127.0.0.1", port))
    for _ in range(200):
        try:
            await channel.connect()
            break
        except RpcError:
            await asyncio.sleep(0.05)
    return channel
