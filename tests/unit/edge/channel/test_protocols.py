"""Every --app-protocol reaches an app that speaks it: TLS without verification, HTTP/2 with prior knowledge."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from edge.app import App, AppChannel
from edge.host import open_channel
from edge.http1.messages import Limits, Request, Response
from edge.http1.server import Tcp, serve
from edge.model import InvokeRequest, Message, Status, TopicEvent
from edge.received import unwrap
from edge.rpc.http2 import http2
from tests.certificates import self_signed, server_context
from tests.grpc_app import Reply, grpc_app


async def talk(protocol: str, port: int) -> None:
    """What any app must be able to take."""
    channel = open_channel(App("app", port=port, protocol=protocol))
    assert channel is not None
    message = Message("t", b'{"id":"1","data":{}}')
    received = unwrap(message, "hub", "t", raw=False)
    event = TopicEvent("hub", "t", "/t", received.body, received.event, message)
    try:
        assert await channel.reachable()
        assert (await channel.deliver(event)).status is Status.SUCCESS
        assert await channel.healthy("/healthz", 2.0)
        await invoke_all(channel)
    finally:
        await channel.close()


async def invoke_all(channel: AppChannel) -> None:
    answers = await asyncio.gather(*(channel.invoke(InvokeRequest("POST", "echo", body=b"%d" % n)) for n in range(20)))
    assert [await whole(answer.body) for answer in answers] == [b"%d" % n for n in range(20)]


async def whole(body: Any) -> bytes:
    return body if isinstance(body, bytes) else b"".join([piece async for piece in body])


async def echo(request: Request) -> Response:
    return Response(200, [], await request.body() if request.path == "/echo" else b"")


@pytest.mark.parametrize("protocol", ["http", "h2c"])
def test_http_app(protocol: str) -> None:
    async def run() -> None:
        async with serve(echo, [Tcp("127.0.0.1", 0)], Limits(), h2=http2()) as server:
            await talk(protocol, int(server.addresses[0].rpartition(":")[2]))

    asyncio.run(run())


def test_https_app_whose_certificate_nobody_signed(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        body = await reader.readexactly(length) if head.startswith(b"POST /echo") else b""
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    async def run() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_context(tmp_path)) as server:
            await talk("https", server.sockets[0].getsockname()[1])

    asyncio.run(run())


def grpc_answers() -> dict[str, Any]:
    def invoke(seen: Any) -> Reply:
        from edge.rpc.pb import common_pb2

        request = common_pb2.InvokeRequest.FromString(seen.data)
        return Reply(common_pb2.InvokeResponse(data={"value": request.data.value}).SerializeToString())

    return {"OnTopicEvent": Reply(), "HealthCheck": Reply(), "OnInvoke": invoke}


@pytest.mark.parametrize("protocol", ["grpc", "grpcs"])
def test_grpc_app(protocol: str) -> None:
    credentials = grpc.ssl_server_credentials([self_signed()]) if protocol == "grpcs" else None
    with grpc_app(answers=grpc_answers(), credentials=credentials) as app:
        asyncio.run(talk(protocol, app.port))
