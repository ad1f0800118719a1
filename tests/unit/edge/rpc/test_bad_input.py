"""Broken and hostile clients: their connection ends, memory stays bounded, others go on."""

from __future__ import annotations

import asyncio
import random
import resource
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.rpc import frames
from edge.rpc.frames import H2
from edge.rpc.server import LIMITS, Method, StreamCall
from tests.unit.edge.rpc.serving import Raw, serving


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(limits=replace(LIMITS, max_header_list=64 << 10)) as (number, _, _):
        yield number


def answers(port: int) -> bool:
    """Another client is served."""
    with Raw(port) as other:
        other.call(1, message=b"still here")
        return other.until(frames.DATA)[3][5:] == b"still here"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0" * 100,
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ],
    ids=["HTTP/1", "TLS", "zeros", "almost"],
)
def test_what_is_no_http2_is_closed(port: int, data: bytes) -> None:
    with Raw(port, greet=False) as client:
        client.send(data)

        assert client.goodbye() == (H2.PROTOCOL_ERROR, "this is not HTTP/2")
    assert answers(port)


def test_a_preface_in_single_bytes_is_understood(port: int) -> None:
    with Raw(port, greet=False) as client:
        for byte in frames.PREFACE + frames.settings_frame(()):
            client.send(bytes((byte,)))
        client.call(1)

        assert client.until(frames.DATA)[3] == b"\0\0\0\0\2hi"


def test_frames_cut_at_every_byte_are_put_together(port: int) -> None:
    with Raw(port) as client:
        parts: list[bytes] = []
        client.send, send = parts.append, client.send  # type: ignore[method-assign]
        client.call(1, message=b"abc" * 100)
        for byte in b"".join(parts):
            send(bytes((byte,)))

        assert client.until(frames.DATA)[3][5:] == b"abc" * 100


def test_rapid_resets_end_the_connection(port: int) -> None:
    with Raw(port) as client:
        for number in range(1, 10_001, 2):
            client.call(number, "/t/Slow", None)
            client.send(frames.reset_frame(number, H2.CANCEL))

        assert client.goodbye() == (H2.ENHANCE_YOUR_CALM, "too many RST_STREAM")
    assert answers(port)


def test_a_flood_of_continuations_ends_the_connection(port: int) -> None:
    with Raw(port) as client:
        client.send(frames.frame(frames.HEADERS, 0, 1, b"\x82"))
        client.send(frames.frame(frames.CONTINUATION, 0, 1) * 2000)

        assert client.goodbye() == (H2.ENHANCE_YOUR_CALM, "header block too large")
    assert answers(port)


def test_a_large_header_block_ends_the_connection(port: int) -> None:
    with Raw(port) as client:
        client.send(frames.frame(frames.HEADERS, 0, 1, b"\x82"))
        for _ in range(5):
            client.send(frames.frame(frames.CONTINUATION, 0, 1, b"\0" * 16_000))

        assert client.goodbye() == (H2.ENHANCE_YOUR_CALM, "header block too large")


def test_an_hpack_bomb_ends_the_connection(port: int) -> None:
    with Raw(port) as client:
        client.send(frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x40\x01a" + b"\x7f\x81\x1e" + b"x" * 3968 + b"\xbe" * 9000))

        assert client.goodbye() == (H2.ENHANCE_YOUR_CALM, "header list too large")
    assert answers(port)


def test_a_flood_of_settings_ends_the_connection(port: int) -> None:
    with Raw(port) as client:
        client.send(frames.settings_frame(()) * 3000)

        assert client.goodbye() == (H2.ENHANCE_YOUR_CALM, "too many SETTINGS")


def test_pings_more_often_than_allowed_end_the_connection(port: int) -> None:
    with Raw(port) as client:
        for _ in range(4):
            client.send(frames.frame(frames.PING, 0, 0, b"12345678"))

        assert client.goodbye() == (H2.ENHANCE_YOUR_CALM, "too_many_pings")


def test_pings_that_answer_data_do_not_count() -> None:
    size = 200_000

    with serving({"/t/Big": Method(unary=lambda call, message: b"x" * size)}) as (port, _, _), Raw(port) as client:
        client.call(1, "/t/Big")
        left = size + 5
        while left:
            data = client.until(frames.DATA)[3]
            left -= len(data)
            grant = len(data).to_bytes(4, "big")
            probe = frames.frame(frames.PING, 0, 0, b"probe---")  # grpc-go measures the bandwidth so
            client.send(probe + frames.frame(frames.WINDOW_UPDATE, 0, 0, grant) + frames.frame(frames.WINDOW_UPDATE, 0, 1, grant))

        assert client.until(frames.HEADERS)[2] == 1


def test_empty_data_frames_are_counted(port: int) -> None:
    with Raw(port) as client:
        client.call(1, "/t/Chat", None)
        client.send(frames.frame(frames.DATA, 0, 1) * 3000)

        assert client.goodbye() == (H2.ENHANCE_YOUR_CALM, "too many empty DATA")


def test_more_streams_than_granted_are_refused_one_by_one() -> None:
    with serving(limits=replace(LIMITS, max_streams=2)) as (port, _, _), Raw(port) as client:
        for number in (1, 3, 5):
            client.call(number, "/t/Slow", b"0.1")

        assert client.until(frames.RST_STREAM)[2:] == (5, H2.REFUSED_STREAM.to_bytes(4, "big"))
        assert client.until(frames.DATA)[2] == 1


def test_a_peer_that_never_reads_is_cut_off() -> None:
    with serving() as (port, _, _), Raw(port) as client:
        with pytest.raises(OSError, match=r"reset|pipe"):
            for number in range(1, 20_000, 2):
                client.call(number, "/t/Refuse", b"", (("text", "x" * 4000),))


def test_unfinished_messages_are_bounded_per_connection() -> None:
    with serving(limits=replace(LIMITS, buffered=200_000)) as (port, _, _), Raw(port) as client:
        for number in (1, 3, 5):
            client.call(number, message=None)
            for _ in range(6):
                client.send(frames.frame(frames.DATA, 0, number, (1 << 20).to_bytes(5, "big") + b"x" * 15_000))

        kind, _, stream_id, _ = client.until(frames.HEADERS)
        assert (kind, stream_id) == (frames.HEADERS, 5)


def test_data_beyond_the_stream_s_window_resets_it() -> None:
    async def never(call: StreamCall) -> None:
        await asyncio.sleep(60)

    with serving({"/t/Never": Method(stream=never)}) as (port, _, _), Raw(port) as client:
        client.call(1, "/t/Never", None)
        message = frames.frame(frames.DATA, 0, 1, (16_000).to_bytes(5, "big") + b"x" * 16_000)
        client.send(message * 30)

        assert client.until(frames.RST_STREAM)[3] == H2.FLOW_CONTROL_ERROR.to_bytes(4, "big")


def test_dead_clients_are_noticed() -> None:
    limits = replace(LIMITS, ping_interval=0.05, ping_timeout=0.05)
    with serving(limits=limits) as (port, server, _), Raw(port) as client:
        client.call(1)
        client.until(frames.DATA)
        client.until(frames.PING)
        deadline = time.monotonic() + 5
        while server.connections and time.monotonic() < deadline:
            time.sleep(0.01)

        assert not server.connections


def test_a_client_that_answers_pings_stays() -> None:
    limits = replace(LIMITS, ping_interval=0.03, ping_timeout=0.5)
    with serving(limits=limits) as (port, server, _), Raw(port) as client:
        for _ in range(3):
            ping = client.until(frames.PING)
            client.send(frames.frame(frames.PING, frames.ACK, 0, ping[3]))

        assert len(server.connections) == 1


def test_an_idle_connection_is_told_to_go() -> None:
    limits = replace(LIMITS, ping_interval=0, idle=0.05)
    with serving(limits=limits) as (port, _, _), Raw(port) as client:
        assert client.until(frames.GOAWAY)[3][4:] == b"\0\0\0\0graceful_stop"


def test_silence_after_connecting_ends_it() -> None:
    with serving(limits=replace(LIMITS, handshake=0.05)) as (port, _, _), Raw(port, greet=False) as client:
        assert client.goodbye() is None


KINDS, FLAGS = st.integers(0, 12), st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D, 0xFF])
IDS = st.sampled_from([0, 1, 2, 3, 5, 2**31 - 1])
FRAMES = st.builds(frames.frame, KINDS, FLAGS, IDS, st.binary(max_size=40))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FRAMES, max_size=12), st.booleans())
def test_random_frames_never_hurt_the_server(port: int, sent: list[bytes], call_first: bool) -> None:
    with Raw(port) as client:
        try:
            if call_first:
                client.call(1, "/t/Chat", None)
            client.send(b"".join(sent))
        except OSError:
            pass  # it ended the connection before we had said all

    assert answers(port)


def test_random_bytes_and_mutated_calls_never_hurt_the_server(port: int) -> None:
    rng = random.Random(7)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(300):
        with Raw(port, greet=rng.random() < 0.8) as client:
            parts: list[bytes] = []
            client.send, send = parts.append, client.send  # type: ignore[method-assign]
            client.call(1, message=rng.randbytes(200))
            data = bytearray(b"".join(parts))
            for _ in range(rng.randrange(1, 5)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            try:
                send(bytes(data))
            except OSError:
                continue

    assert answers(port)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # kB
