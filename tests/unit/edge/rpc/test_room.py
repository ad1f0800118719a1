"""Callers that ask for large answers and do not read them: what waits is bounded, everybody else is served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from edge.rpc import frames
from edge.rpc.room import UNKNOWN, Room
from edge.rpc.server import Method, UnaryCall
from tests.grpc_client import wait_until
from tests.unit.edge.rpc.serving import METHODS, Raw, serving

LARGE = 256 << 10
ROOM = 4 * LARGE


class Store:
    """Methods that answer with LARGE bytes, at once or after a turn of the loop, and how often each was called."""

    def __init__(self) -> None:
        self.calls = 0
        self.methods = {**METHODS, "/t/Now": Method(unary=self.now), "/t/Soon": Method(unary=self.soon, expected=UNKNOWN)}

    def now(self, call: UnaryCall, message: bytes) -> bytes:
        self.calls += 1
        return bytes(LARGE)

    def soon(self, call: UnaryCall, message: bytes) -> Any:
        async def later() -> bytes:
            await asyncio.sleep(0.01)
            return bytes(LARGE)

        self.calls += 1
        return later()


def flood(port: int, path: str, calls: int = 40) -> Raw:
    """A client that asks so often and reads nothing."""
    client = Raw(port)
    for n in range(calls):
        client.call(2 * n + 1, path)
    return client


def read_all(client: Raw, calls: int) -> int:
    """The bytes of all answers."""
    size = ended = 0
    while ended < calls:
        kind, flags, stream_id, payload = client.read() or (0, 0, 0, b"")
        assert stream_id or kind, "the connection ended"
        if kind == frames.DATA and payload:
            size += len(payload)
            client.send(frames.window_frame(0, len(payload)) + frames.window_frame(stream_id, len(payload)))
        ended += bool(kind == frames.HEADERS and flags & frames.END_STREAM)
    return size


@pytest.mark.parametrize("path", ["/t/Now", "/t/Soon"])
def test_unread_answers_are_bounded_and_all_come_when_they_are_read(path: str) -> None:
    store = Store()
    with serving(store.methods, room=Room(ROOM, 2 * ROOM)) as (port, server, _), flood(port, path) as client, Raw(port) as other:
        wait_until(lambda: store.calls >= 1 and server.service.room.taken >= LARGE)
        other.call(1, "/t/Echo")
        other.until(frames.DATA, 1)
        wait_until(lambda: server.service.room.taken < UNKNOWN)  # the first call has answered, its size is known
        started, taken = store.calls, server.service.room.taken
        size = read_all(client, 40)

        assert started <= ROOM // LARGE + 1
        assert taken <= ROOM + LARGE
        assert size == 40 * (LARGE + 5)
        wait_until(lambda: server.service.room.taken == 0)


def test_all_connections_share_the_room_and_each_has_one_call_of_its_own() -> None:
    store = Store()
    with serving(store.methods, room=Room(ROOM, ROOM)) as (port, server, _):
        clients = [flood(port, "/t/Now", 10) for _ in range(8)]
        wait_until(lambda: store.calls >= 8)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            answer = channel.unary_unary("/t/Now")(b"", timeout=10)
        taken, started = server.service.room.taken, store.calls
        for client in clients:
            client.socket.close()
        wait_until(lambda: server.service.room.taken == 0)

    assert len(answer) == LARGE
    assert taken <= ROOM + 9 * LARGE
    assert started <= ROOM // LARGE + 9


def test_small_call_on_the_same_connection_begins_at_once() -> None:
    store = Store()
    with serving(store.methods, room=Room(ROOM, ROOM)) as (port, _, _), flood(port, "/t/Now", 20) as client:
        client.call(101, "/t/Refuse")

        _, flags, _, _ = client.until(frames.HEADERS, 101)
        assert flags & frames.END_STREAM


def end_by_deadline(client: Raw) -> Any:
    return client.until(frames.HEADERS, 99)


def end_by_cancel(client: Raw) -> Any:
    client.send(frames.reset_frame(99, frames.H2.CANCEL))
    client.call(101, "/t/Refuse")
    return client.until(frames.HEADERS, 101)


@pytest.mark.parametrize("end", [end_by_deadline, end_by_cancel])
def test_waiting_call_ends_by_its_deadline_and_by_cancel(end: Callable[[Raw], Any]) -> None:
    store = Store()
    with serving(store.methods, room=Room(ROOM, ROOM)) as (port, _, _), flood(port, "/t/Now", 20) as client:
        client.call(99, "/t/Now", extra=(("grpc-timeout", "200m"),))
        end(client)
        client.send(frames.window_frame(0, 65535) + frames.window_frame(1, 65535))  # for what was skipped
        before = store.calls
        read_all(client, 20)

        assert before < 20
        assert store.calls == 20


def test_small_answers_make_a_method_small_again() -> None:
    method = Method(expected=UNKNOWN)
    method.answered(LARGE)
    assert method.expected == LARGE
    for _ in range(400):
        method.answered(100)

    assert method.expected < 4096


def test_large_answer_goes_into_a_large_window_as_fast_as_it_is_read() -> None:
    size = 12 << 20
    with serving({"/t/Huge": Method(unary=lambda call, message: bytes(size))}, max_send=0) as (port, _, _), Raw(port) as client:
        client.send(frames.settings_frame(((frames.Setting.INITIAL_WINDOW_SIZE, 2 * size),)) + frames.window_frame(0, 2 * size))
        client.call(1, "/t/Huge")
        time.sleep(0.05)  # it reads late

        assert read_all(client, 1) == size + 5
