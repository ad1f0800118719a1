"""What a server sends keeps within both windows of the peer, and goes on when they open."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from edge.rpc import frames
from edge.rpc.client import Channel, Target
from edge.rpc.server import Method, StreamCall
from tests.unit.edge.rpc.serving import Raw, serving

COUNT, SIZE, MUCH = 8, 10_000, 1 << 20
ALL = COUNT * (SIZE + 5)


async def flood(call: StreamCall) -> None:
    for _ in range(COUNT):
        await call.send(b"x" * SIZE)


def arrived(client: Raw, stream_id: int, wanted: int) -> int:
    """Bytes of DATA until there are so many, or until nothing comes for a while."""
    found = 0
    client.socket.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        while found < wanted and (got := client.read()) is not None:
            found += len(got[3]) if got[0] == frames.DATA and got[2] == stream_id else 0
    return found


@pytest.mark.parametrize(
    ("stream_window", "more", "first", "opens"),
    [(MUCH, 0, 65535, 0), (25_000, MUCH, 25_000, 1)],
    ids=["of the connection", "of the stream"],
)
def test_data_keep_within_the_window(stream_window: int, more: int, first: int, opens: int) -> None:
    with serving({"/t/Flood": Method(stream=flood)}) as (port, _, _), Raw(port, greet=False) as client:
        client.send(frames.PREFACE + frames.settings_frame([(frames.Setting.INITIAL_WINDOW_SIZE, stream_window)]))
        if more:
            client.send(frames.window_frame(0, more))
        client.call(1, "/t/Flood", b"")

        before = arrived(client, 1, ALL)
        client.send(frames.window_frame(opens, MUCH))

        assert before == first
        assert before + arrived(client, 1, ALL - before) == ALL


def test_a_changed_initial_window_reaches_streams_that_are_open() -> None:
    with serving({"/t/Flood": Method(stream=flood)}) as (port, _, _), Raw(port, greet=False) as client:
        client.send(frames.PREFACE + frames.settings_frame([(frames.Setting.INITIAL_WINDOW_SIZE, 0)]) + frames.window_frame(0, MUCH))
        client.call(1, "/t/Flood", b"")

        before = arrived(client, 1, ALL)
        client.send(frames.settings_frame([(frames.Setting.INITIAL_WINDOW_SIZE, MUCH)]))

        assert (before, arrived(client, 1, ALL)) == (0, ALL)


def test_a_client_that_does_not_read_stops_the_sender() -> None:
    sent = 0

    async def endless(call: StreamCall) -> None:
        nonlocal sent
        while sent < 400:
            await call.send(b"x" * 65_536)
            sent += 1

    async def read(port: int) -> tuple[int, int]:
        channel = Channel(Target("127.0.0.1", port))
        reply = await channel.stream("/t/Endless")
        reply.half_close()
        while sent < 5:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        before, received = sent, 0
        async for _ in reply:
            received += 1
        await channel.close()
        return before, received

    with serving({"/t/Endless": Method(stream=endless)}) as (port, _, _):
        before, received = asyncio.run(read(port))

    assert before < 200
    assert received == 400
