"""Our server, called by grpcio (the C core)."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from edge.rpc.server import Method, StreamCall
from edge.rpc.status import RpcError
from tests.unit.edge.rpc.serving import METHODS, serving


def raw(data: bytes) -> bytes:
    return data


@pytest.fixture
def channel() -> Iterator[grpc.Channel]:
    with serving() as (port, _, _), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


def unary(channel: grpc.Channel, path: str) -> Any:
    return channel.unary_unary(path, raw, raw)


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_380, 65_535, 65_536, 1_000_000, 4 << 20])
def test_messages_of_any_size_come_back(channel: grpc.Channel, size: int) -> None:
    message = bytes(range(256)) * (size // 256) + b"\0" * (size % 256)

    assert unary(channel, "/t/Echo")(message) == message


def test_a_message_above_the_limit_is_refused_in_grpc_go_s_words(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        unary(channel, "/t/Echo")(b"x" * (4 << 20 | 1))

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details() == "grpc: received message larger than max (4194305 vs. 4194304)"


def test_an_answer_above_the_limit_is_refused() -> None:
    methods = {"/t/Large": Method(unary=lambda call, message: b"x" * 1000)}
    with serving(methods, max_send=999) as (port, _, _), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            unary(channel, "/t/Large")(b"")

    assert caught.value.details() == "trying to send message larger than max (1000 vs. 999)"


def test_errors_carry_status_text_and_trailers(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        unary(channel, "/t/Refuse")(b"", metadata=(("code", "5"),))

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "nöt % now\n"
    assert dict(caught.value.trailing_metadata()) == {"x-trailer": "t", "x-bin": b"\1\2"}


def test_metadata_come_in_and_go_out(channel: grpc.Channel) -> None:
    message, call = unary(channel, "/t/Meta").with_call(b"", metadata=(("x-a", "1"), ("x-a", "2"), ("x-b-bin", b"\xff\0")))

    assert [tuple(item) for item in call.initial_metadata()] == [("x-a", "1"), ("x-a", "2"), ("x-b-bin", b"\xff\0")]
    assert [tuple(item) for item in call.trailing_metadata()] == [("x-end", "z")]
    assert b"user-agent" in message
    assert b"content-type" in message
    assert b"te'" not in message


def test_an_unknown_path_is_unimplemented(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        unary(channel, "/t/Nothing")(b"")

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert caught.value.details() == "unknown method Nothing for service t"


def test_a_deadline_ends_the_handler(channel: grpc.Channel) -> None:
    began = time.monotonic()

    with pytest.raises(grpc.RpcError) as caught:
        unary(channel, "/t/Slow")(b"5", timeout=0.1)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 2


def test_messages_flow_both_ways(channel: grpc.Channel) -> None:
    sent = [bytes([i]) * (i * 20_000) for i in range(12)]

    assert list(channel.stream_stream("/t/Chat", raw, raw)(iter(sent))) == sent


def test_a_slow_reader_stops_the_handler_not_the_others() -> None:
    sent = 0

    async def flood(call: StreamCall) -> None:
        nonlocal sent
        for _ in range(1000):
            await call.send(b"x" * 10_000)
            sent += 1

    with serving({**METHODS, "/t/Flood": Method(stream=flood)}) as (port, _, _):
        with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.http2.bdp_probe", 0)]) as channel:
            answers = channel.stream_stream("/t/Flood", raw, raw)(iter([]))
            next(answers)
            time.sleep(0.05)
            before = sent

            assert unary(channel, "/t/Echo")(b"still here") == b"still here"
            assert before < 900
            assert sum(1 for _ in answers) == 999


def test_cancelling_a_stream_ends_its_handler() -> None:
    ended = threading.Event()

    async def wait(call: StreamCall) -> None:
        try:
            await call.send(b"started")
            await asyncio.Event().wait()
        finally:
            ended.set()

    with serving({"/t/Wait": Method(stream=wait)}) as (port, _, _), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answers = channel.stream_stream("/t/Wait", raw, raw)(iter([]))
        next(answers)
        answers.cancel()

        assert ended.wait(5)


def test_a_handler_may_answer_before_it_has_read_all(channel: grpc.Channel) -> None:
    async def first(call: StreamCall) -> None:
        await call.send(await call.receive() or b"")

    with serving({"/t/First": Method(stream=first)}) as (port, _, _), grpc.insecure_channel(f"127.0.0.1:{port}") as other:
        answers = list(other.stream_stream("/t/First", raw, raw)(bytes([i]) * 50_000 for i in range(100)))

    assert answers == [b"\0" * 50_000]


def test_compressed_requests_are_read() -> None:
    with serving() as (port, _, _):
        with grpc.insecure_channel(f"127.0.0.1:{port}", compression=grpc.Compression.Gzip) as channel:
            assert unary(channel, "/t/Echo")(b"x" * 100_000) == b"x" * 100_000


def test_an_interceptor_refuses_unary_and_streams() -> None:
    def refuse(call: Any) -> None:
        raise RpcError(16, "Unauthorized")

    with serving(intercept=refuse) as (port, _, _), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for path in ("/t/Echo", "/t/Chat", "/t/Unknown"):
            with pytest.raises(grpc.RpcError) as caught:
                list(channel.unary_stream(path, raw, raw)(b"x"))
            assert caught.value.details() == "Unauthorized"


def test_every_ended_call_is_told() -> None:
    seen: list[tuple[str, int]] = []
    with serving(done=lambda call, code: seen.append((call.path, code))) as (port, _, _):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            unary(channel, "/t/Echo")(b"")
            with pytest.raises(grpc.RpcError):
                unary(channel, "/t/Refuse")(b"")

    assert seen == [("/t/Echo", 0), ("/t/Refuse", 9)]


def test_a_bug_in_a_handler_is_internal_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    methods = {"/t/Bug": Method(unary=lambda call, message: bytes([1 // int(message)]))}
    with serving(methods) as (port, _, _), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            unary(channel, "/t/Bug")(b"0")

    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "ZeroDivisionError" in caplog.text


def test_draining_lets_calls_finish_and_takes_no_more() -> None:
    with serving() as (port, server, loop), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        under_way = unary(channel, "/t/Slow").future(b"0.2")
        time.sleep(0.05)
        drained = asyncio.run_coroutine_threadsafe(server.drain(5), loop)

        assert under_way.result() == b"0.2"
        drained.result(5)
        assert not server.connections
