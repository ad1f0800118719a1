"""What a gRPC client notices of the wire: sockets, sizes, deadlines, cancellation, health, reflection, and calls passed on to the app."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from edge.rpc.pb import common_pb2, health_pb2, invoke_pb2, reflection_pb2, state_pb2
from tests.grpc_app import GrpcApp, Reply, Seen, grpc_app
from tests.grpc_client import Client, wait_until
from tests.harness import Sidecar, component, sidecar

ANY_SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
TOKEN = "t0k3n"


def echo(seen: Seen) -> Reply:
    request = common_pb2.InvokeRequest.FromString(seen.data)
    return Reply(common_pb2.InvokeResponse(data={"value": request.data.value}).SerializeToString())


def invocation(app: str, data: bytes = b"") -> bytes:
    message = common_pb2.InvokeRequest(method="m", data={"value": data}, http_extension=common_pb2.HTTPExtension(verb="POST"))
    return bytes(invoke_pb2.InvokeServiceRequest(id=app, message=message).SerializeToString())


# --- sizes, sockets
def test_limits_that_were_raised_hold_in_both_directions(tmp_path: Path) -> None:
    large = b"x" * (9 << 20)
    settings = {
        "flags": ["--app-protocol", "grpc", "--max-body-size", "10Mi"],
        "resources": {"c.yaml": component("cup", "state.in-memory")},
    }
    with grpc_app(answers={"OnInvoke": echo}, options=ANY_SIZE) as app, sidecar(tmp_path, app_port=app.port, **settings) as edged:
        edged.wait()
        with Client(edged.grpc_port, options=ANY_SIZE) as client:
            saved = client.raw(client.path("SaveState"), _save(large))
            got = client.raw(client.path("GetState"), state_pb2.GetStateRequest(store_name="cup", key="k").SerializeToString())
            refused = client.raw(client.path("SaveState"), _save(large * 2))
            over_http = edged.call("POST", "/v1.0/invoke/test/method/m", large)
            too_large = edged.call("POST", "/v1.0/invoke/test/method/m", large * 2)

    assert saved.code == "OK"
    assert state_pb2.GetStateResponse.FromString(got.message).data == large
    assert refused.code == "RESOURCE_EXHAUSTED"
    assert refused.text.startswith("grpc: received message larger than max (")
    assert over_http.body == large
    assert too_large.json()["message"] == "failed to invoke, id: test, err: stream too large"


def _save(value: bytes) -> bytes:
    return bytes(state_pb2.SaveStateRequest(store_name="cup", states=[{"key": "k", "value": value}]).SerializeToString())


def test_app_answer_beyond_the_limit_is_resource_exhausted(tmp_path: Path) -> None:
    answer = Reply(common_pb2.InvokeResponse(data={"value": b"x" * 5000}).SerializeToString())
    flags = ["--app-protocol", "grpc", "--max-body-size", "2Ki"]
    with grpc_app(answers={"OnInvoke": answer}) as app, sidecar(tmp_path, app_port=app.port, flags=flags) as edged:
        edged.wait()
        with Client(edged.grpc_port) as client:
            result = client.raw(client.path("InvokeService"), invocation("test"))
        over_http = edged.call("POST", "/v1.0/invoke/test/method/m", b"1")

    assert result.code == "RESOURCE_EXHAUSTED"
    assert result.text.startswith("grpc: received message larger than max (")
    assert over_http.status == 429


def test_unix_sockets_serve_the_same_api(tmp_path: Path) -> None:
    sockets = tmp_path / "run"
    sockets.mkdir()
    one = Sidecar(tmp_path, flags=["--unix-domain-socket", str(sockets)], resources={"c.yaml": component("cup", "state.in-memory")})
    one.spawn()
    try:
        wait_until((sockets / "dapr-test-grpc.socket").exists, 20)
        with Client(f"unix:{sockets}/dapr-test-grpc.socket") as client:
            wait_until(lambda: client.call("GetMetadata", {}).code == "OK")
            assert client.call("SaveState", {"storeName": "cup", "states": [{"key": "k", "value": "MQ=="}]}).code == "OK"
            assert client.call("GetState", {"storeName": "cup", "key": "k"}).message["data"] == "MQ=="
    finally:
        assert one.stop() == 0
    assert not list(sockets.glob("*.socket"))


# --- deadlines, cancellation
@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[GrpcApp, Sidecar, threading.Event]]:
    """An app whose /s/Forever ends when the caller goes; the event is set then."""
    ended = threading.Event()

    def forever(data: bytes, context: grpc.ServicerContext) -> bytes:
        gone = threading.Event()
        context.add_callback(lambda: (gone.set(), ended.set()))
        gone.wait(20)
        return b""

    handlers = {"/s/Forever": grpc.unary_unary_rpc_method_handler(forever)}
    with grpc_app(answers={"OnInvoke": Reply(after=5)}, handlers=handlers) as app:
        with sidecar(tmp_path, app_port=app.port, flags=["--app-protocol", "grpc"]) as edged:
            edged.wait()
            yield app, edged, ended


def test_deadline_ends_a_call_and_what_it_waits_for(slow: Any) -> None:
    _, edged, ended = slow
    with Client(edged.grpc_port) as client:
        result = client.raw(client.path("InvokeService"), invocation("test"), timeout=0.3)
        proxied = client.raw("/s/Forever", b"", [("dapr-app-id", "test")], timeout=0.3)

        assert (result.code, proxied.code) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
        assert ended.wait(5)
        assert client.call("GetMetadata", {}).code == "OK"


def test_cancelled_call_is_cancelled_in_the_app(slow: Any) -> None:
    _, edged, ended = slow
    with Client(edged.grpc_port) as client:
        call = client.channel.unary_unary("/s/Forever").future(b"", metadata=(("dapr-app-id", "test"),))
        with pytest.raises(grpc.FutureTimeoutError):
            call.result(0.3)
        call.cancel()

        assert ended.wait(5)


# --- health, reflection
def test_health_says_serving(tmp_path: Path) -> None:
    with sidecar(tmp_path) as edged, Client(edged.grpc_port) as client:
        answer = client.raw("/grpc.health.v1.Health/Check")
        unknown = client.raw("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest(service="no").SerializeToString())

    assert health_pb2.HealthCheckResponse.FromString(answer.message).status == 1
    assert unknown.code == "NOT_FOUND"


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_describes_the_service(tmp_path: Path, version: str) -> None:
    with sidecar(tmp_path) as edged, Client(edged.grpc_port) as client:
        request = reflection_pb2.ServerReflectionRequest
        asked = [request(list_services="*"), request(file_containing_symbol="dapr.proto.runtime.v1.Dapr.GetState")]
        call = client.channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
        answers = [
            reflection_pb2.ServerReflectionResponse.FromString(each) for each in call(iter(one.SerializeToString() for one in asked))
        ]

    assert "dapr.proto.runtime.v1.Dapr" in [one.name for one in answers[0].list_services_response.service]
    assert answers[1].file_descriptor_response.file_descriptor_proto


# --- calls passed on
def proxied_handlers(seen: list[Any]) -> dict[str, Any]:
    def unary(data: bytes, context: grpc.ServicerContext) -> bytes:
        seen.append(dict(context.invocation_metadata()))
        context.send_initial_metadata((("x-first", "1"), ("x-bin", b"\x00\xff")))
        context.set_trailing_metadata((("x-last", "2"),))
        if data == b"fail":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "göne")
        return data[::-1]

    def server_stream(data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for n in range(int(data)):
            yield b"%d" % n

    def client_stream(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        return b"+".join(messages)

    def both(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for message in messages:
            yield message.upper()

    return {
        "/own.Service/Unary": grpc.unary_unary_rpc_method_handler(unary),
        "/own.Service/Server": grpc.unary_stream_rpc_method_handler(server_stream),
        "/own.Service/Client": grpc.stream_unary_rpc_method_handler(client_stream),
        "/own.Service/Both": grpc.stream_stream_rpc_method_handler(both),
    }


def test_all_kinds_of_calls_are_passed_on_to_the_own_app(tmp_path: Path) -> None:
    seen: list[Any] = []
    env = {"APP_API_TOKEN": TOKEN, "DAPR_API_TOKEN": "caller"}
    metadata = (("dapr-app-id", "test"), ("dapr-api-token", "caller"), ("x-mine", "m"), ("x-bytes-bin", b"\x01\x02"))
    with grpc_app(handlers=proxied_handlers(seen)) as app:
        with sidecar(tmp_path, app_port=app.port, flags=["--app-protocol", "grpc"], env=env) as edged, Client(edged.grpc_port) as client:
            wait_until(lambda: client.raw("/own.Service/Unary", b"abc", metadata).code == "OK")
            unary = client.raw("/own.Service/Unary", b"abc", metadata)
            failed = client.raw("/own.Service/Unary", b"fail", metadata)
            missing = client.raw("/own.Service/Nothing", b"", metadata)
            with_baggage = [
                client.raw("/own.Service/Unary", sent, (*metadata, ("baggage", "a=b, c=d"))).initial.get("baggage")
                for sent in (b"abc", b"fail")
            ]
            no_message = client.call("InvokeService", {"id": "test"}, metadata)
            many = list(client.channel.unary_stream("/own.Service/Server")(b"200", metadata=metadata))
            joined = client.channel.stream_unary("/own.Service/Client")(iter((b"a", b"b" * 100_000, b"c")), metadata=metadata)
            talk = [each for each in client.channel.stream_stream("/own.Service/Both")(iter((b"x", b"", b"y")), metadata=metadata)]

    assert (unary.message, unary.initial["x-first"], unary.initial["x-bin"], unary.trailing) == (b"cba", "1", b"\x00\xff", {"x-last": "2"})
    assert (failed.code, failed.text, failed.trailing["x-last"]) == ("FAILED_PRECONDITION", "göne", "2")
    assert missing.code == "UNIMPLEMENTED"
    assert with_baggage == ["a=b,c=d"] * 2
    assert (no_message.code, no_message.text) == ("INTERNAL", "failed to invoke, id: test, err: message is nil")
    assert many == [b"%d" % n for n in range(200)]
    assert joined == b"a+" + b"b" * 100_000 + b"+c"
    assert talk == [b"X", b"", b"Y"]
    assert seen[-1]["dapr-api-token"] == TOKEN
    assert (seen[-1]["x-mine"], seen[-1]["x-bytes-bin"]) == ("m", b"\x01\x02")
    assert "dapr-app-id" not in seen[-1]


def test_messages_pass_on_one_by_one_as_they_come(tmp_path: Path) -> None:
    with grpc_app(handlers=proxied_handlers([])) as app, sidecar(tmp_path, app_port=app.port, flags=["--app-protocol", "grpc"]) as edged:
        edged.wait()
        with Client(edged.grpc_port) as client:
            stop, more = threading.Event(), threading.Semaphore(1)

            def messages() -> Iterator[bytes]:
                for n in range(3):
                    more.acquire()
                    yield b"m%d" % n
                stop.wait(10)

            call = client.channel.stream_stream("/own.Service/Both")(messages(), metadata=(("dapr-app-id", "test"),))
            got = []
            for _ in range(3):
                got.append(next(call))
                more.release()
            stop.set()
            rest = list(call)

    assert (got, rest) == ([b"M0", b"M1", b"M2"], [])


def test_app_with_details_in_its_status_keeps_them_through_both_ways(tmp_path: Path) -> None:
    from edge.rpc.pb import any_pb2, error_details_pb2, status_pb2

    info = error_details_pb2.ErrorInfo(reason="WHY", domain="own")
    packed = any_pb2.Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=info.SerializeToString())
    details = status_pb2.Status(code=9, message="no", details=[packed]).SerializeToString()
    reply = Reply(code=grpc.StatusCode.FAILED_PRECONDITION, text="no", trailers=(("grpc-status-details-bin", details),))
    with grpc_app(answers={"OnInvoke": reply}) as app, sidecar(tmp_path, app_port=app.port, flags=["--app-protocol", "grpc"]) as edged:
        edged.wait()
        with Client(edged.grpc_port) as client:
            result = client.raw(client.path("InvokeService"), invocation("test"))
        over_http = edged.call("POST", "/v1.0/invoke/test/method/m", b"1")

    assert (result.code, result.details[0]["reason"]) == ("FAILED_PRECONDITION", "WHY")
    assert over_http.status == 400
    assert json.loads(over_http.body)["details"][0]["reason"] == "WHY"
