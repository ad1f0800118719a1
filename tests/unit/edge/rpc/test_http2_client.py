"""The HTTP/2 client of h2c apps, against our server (h2spec's judgement) and against the h2 library."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from edge.app import App, AppUnavailable
from edge.channel.http import HttpChannel
from edge.http1.client import ClosedEarly, ConnectError, ResponseTimeout
from edge.http1.messages import Request, Response
from edge.http1.server import Limits, Tcp, serve
from edge.model import InvokeRequest
from edge.rpc.http2 import http2
from edge.rpc.http2_client import Http2Client
from tests.harness import free_port

LARGE = 3 << 20


async def handler(request: Request) -> Response:
    match request.path:
        case "/echo":
            return Response(200, [("X-Agent", request.headers.get("user-agent", "")), ("X-Version", request.version)], await request.body())
        case "/stream":
            return Response(200, [], pieces())
        case "/slow":
            await asyncio.sleep(30)
        case "/broken":
            return Response(200, [], broken())
    return Response(404, [], b"none")


async def pieces() -> AsyncIterator[bytes]:
    for number in range(40):
        yield b"%02d" % number * 20_000


async def broken() -> AsyncIterator[bytes]:
    yield b"first"
    raise ConnectionError("the source failed")


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(0)
        yield part


def talk(script: Callable[[Http2Client], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with serve(handler, [Tcp("127.0.0.1", 0)], Limits(max_body_bytes=8 << 20), h2=http2()) as server:
            client = Http2Client("127.0.0.1", int(server.addresses[0].rpartition(":")[2]))
            try:
                return await script(client)
            finally:
                await client.close()

    return asyncio.run(run())


def test_large_body_goes_and_comes_whole() -> None:
    async def script(client: Http2Client) -> None:
        answer = await client.request("POST", "/echo", [("Host", "h"), ("User-Agent", "Go-http-client/1.1")], b"x" * LARGE)
        assert (answer.status, answer.headers.get("x-agent"), answer.headers.get("x-version")) == (200, "Go-http-client/2.0", "2")
        assert len(await answer.read()) == LARGE

    talk(script)


def test_streamed_body_goes_as_it_comes() -> None:
    async def script(client: Http2Client) -> None:
        answer = await client.request("POST", "/echo", (), chunks(b"a" * 100_000, b"b", b""))
        assert await answer.read() == b"a" * 100_000 + b"b"

    talk(script)


def test_many_requests_share_one_connection() -> None:
    async def script(client: Http2Client) -> None:
        answers = await asyncio.gather(*(client.request("POST", "/echo", (), b"%d" % n) for n in range(100)))
        assert [await answer.read() for answer in answers] == [b"%d" % n for n in range(100)]
        connection = await client._channel.connection()
        assert (connection.next_id, connection.streams) == (201, {})

    talk(script)


def test_reader_that_stops_slows_the_server_and_others_go_on() -> None:
    async def script(client: Http2Client) -> None:
        slow = await client.request("GET", "/stream")
        await (await client.request("POST", "/echo", (), b"x" * 200_000)).read()
        assert len(await slow.read()) == 1_600_000

    talk(script)


def test_abandoned_answer_frees_its_stream() -> None:
    async def script(client: Http2Client) -> None:
        (await client.request("GET", "/stream")).close()
        with pytest.raises(ResponseTimeout):
            await client.request("GET", "/slow", timeout=0.02)
        assert (await client._channel.connection()).streams == {}

    talk(script)


def test_broken_answer_is_told() -> None:
    async def script(client: Http2Client) -> None:
        answer = await client.request("GET", "/broken")
        with pytest.raises(ClosedEarly):
            await answer.read()

    talk(script)


def test_nobody_there_is_a_connect_error() -> None:
    async def run() -> None:
        client = Http2Client("127.0.0.1", free_port())
        with pytest.raises(ConnectError) as caught:
            await client.request("GET", "/")
        assert caught.value.errno is not None
        assert caught.value.address == client.address

    asyncio.run(run())


async def _library_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with trailers; refuses the first stream, as a server that drains may."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    connection.initiate_connection()
    writer.write(connection.data_to_send())
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived) and event.stream_id == 1:
                    connection.reset_stream(1, 7)
                elif isinstance(event, h2.events.RequestReceived):
                    headers = dict(event.headers)
                    connection.send_headers(event.stream_id, [(":status", "103"), ("link", "x")])
                    connection.send_headers(
                        event.stream_id, [(":status", "200"), ("x-path", headers[":path"]), ("x-host", headers[":authority"])]
                    )
                    connection.send_data(event.stream_id, b"body")
                    connection.send_headers(event.stream_id, [("x-sum", "1")], end_stream=True)
            writer.write(connection.data_to_send())
    writer.close()


def test_refused_request_is_sent_again_and_trailers_end_the_body() -> None:
    async def run() -> None:
        ended = asyncio.Event()

        async def serve_h2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _library_server(reader, writer)
            ended.set()

        async with await asyncio.start_server(serve_h2, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            client = Http2Client("127.0.0.1", port)
            answer = await client.request("GET", "/p?q=1", [("Host", "there")])
            assert (answer.status, await answer.read()) == (200, b"body")
            assert (answer.headers.get("x-path"), answer.headers.get("x-host")) == ("/p?q=1", "there")
            await client.close()
            await ended.wait()

    asyncio.run(run())


def test_http1_server_ends_the_request_with_an_error() -> None:
    async def serve_http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(serve_http1, "127.0.0.1", 0) as server:
            app = App("a", port=server.sockets[0].getsockname()[1], protocol="h2c")
            channel = HttpChannel(app, Http2Client("127.0.0.1", app.port))
            with pytest.raises(AppUnavailable):
                await channel.invoke(InvokeRequest("GET", "m"))
            await channel.close()

    asyncio.run(run())
