"""The HTTP API over HTTP/2, spoken by the h2 library: prior knowledge and h2c upgrade."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from edge.http1.messages import BodyTooLarge, Handler, Limits, Request, Response
from edge.http1.server import Tcp, serve
from edge.rpc.http2 import http2
from edge.rpc.room import OWN
from tests.unit.edge.rpc.serving import looping

LIMITS = Limits(max_body_bytes=300_000)
HEAD = ((":method", "GET"), (":scheme", "http"), (":authority", "x"))


def handler(request: Request) -> Response | Awaitable[Response]:
    match request.path:
        case "/body":
            return read(request)
        case "/stream":
            return count(request)
        case "/pieces":
            return Response(200, [], pieces())
        case "/broken":
            return Response(200, [], broken())
        case "/bug":
            raise RuntimeError("boom")
        case "/empty":
            return Response(204, [("X-Empty", "yes")])
    data = request.data or b""
    return Response(201, [("Content-Type", "text/plain"), ("X-Two", "a"), ("X-Two", "b"), ("Connection", "close")], data or b"none")


async def read(request: Request) -> Response:
    await asyncio.sleep(0.01)
    try:
        return Response(200, [], b"%d" % len(await request.body()))
    except BodyTooLarge as error:
        return Response(413, [], str(error).encode())


async def count(request: Request) -> Response:
    size = 0
    async for piece in request.stream(-1):
        size += len(piece)
        await asyncio.sleep(0)
    return Response(200, [], b"%d" % size)


async def pieces() -> AsyncIterator[bytes]:
    for number in range(20):
        yield b"%02d" % number * 20_000


async def broken() -> AsyncIterator[bytes]:
    yield b"first"
    raise RuntimeError("the source failed")


class Client:
    """One connection of the h2 library."""

    def __init__(self, port: int, upgrade: bool = False) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        if upgrade:
            settings = self.h2.initiate_upgrade_connection()
            head = b"POST /upgraded HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: "
            self.socket.sendall(head + settings + b"\r\nContent-Length: 5\r\n\r\nhello")
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += self.socket.recv(1)
            assert answer.startswith(b"HTTP/1.1 101 ")
        else:
            self.h2.initiate_connection()
        self.flush()

    def close(self) -> None:
        self.socket.close()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def ask(self, method: str, path: str, body: bytes = b"", extra: tuple[tuple[str, str], ...] = ()) -> tuple[dict[str, str], bytes]:
        stream = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "http"), (":authority", "test:1"), (":path", path), *extra]
        self.h2.send_headers(stream, head, end_stream=not body)
        self.flush()
        return self.answer(stream, body)

    def answer(self, stream: int, body: bytes = b"") -> tuple[dict[str, str], bytes]:
        """The answer's head and body; sends `body` as the windows open. Raises ConnectionError on a reset."""
        found: dict[str, str] = {}
        data = bytearray()
        while True:
            while body and (room := min(self.h2.local_flow_control_window(stream), 16_384, len(body))):
                self.h2.send_data(stream, body[:room], end_stream=room == len(body))
                body = body[room:]
            self.flush()
            for event in self.h2.receive_data(self.socket.recv(65_536)):
                match event:
                    case h2.events.ResponseReceived():
                        found = dict(event.headers)
                    case h2.events.DataReceived():
                        data += event.data
                        self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                    case h2.events.StreamEnded():
                        self.flush()
                        return found, bytes(data)
                    case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                        raise ConnectionError(str(event.error_code))


@contextmanager
def server(answers: Handler, limits: Limits) -> Iterator[int]:
    done = asyncio.Event()

    async def run(ready: asyncio.Future[int]) -> None:
        async with serve(answers, [Tcp("127.0.0.1", 0)], limits, h2=http2(limits)) as running:
            ready.set_result(running.ports[0])
            await done.wait()

    async def start() -> tuple[int, asyncio.Task[None]]:
        ready = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(run(ready))
        return await ready, task

    with looping(start) as ((port, task), loop):
        yield port
        loop.call_soon_threadsafe(done.set)
        asyncio.run_coroutine_threadsafe(_join(task), loop).result(10)


async def _join(task: asyncio.Task[None]) -> None:
    await task


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with server(handler, LIMITS) as number:
        yield number


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    with contextlib.closing(Client(port)) as made:
        yield made


def test_a_small_request_and_its_answer(client: Client) -> None:
    head, body = client.ask("POST", "/x?y=1", b"hello")

    assert body == b"hello"
    assert (head[":status"], head["content-type"], head["content-length"], head["x-two"]) == ("201", "text/plain", "5", "b")
    assert "date" in head
    assert "connection" not in head


def test_the_request_is_as_over_http1() -> None:
    seen: list[Any] = []

    def look(request: Request) -> Response:
        seen.append(
            (request.method, request.target, request.version, request.headers.get("host"), request.headers.get("x-a"), request.peer)
        )
        return Response(204)

    with server(look, LIMITS) as port, contextlib.closing(Client(port)) as client:
        client.ask("PUT", "/a%20b?c=d", extra=(("x-a", "1"),))

    assert seen[0][:5] == ("PUT", "/a%20b?c=d", "2", "test:1", "1")
    assert seen[0][5][0] == "127.0.0.1"


def test_request_has_the_fields_that_it_would_have_over_http1() -> None:
    seen: list[list[tuple[str, str]]] = []

    def keep(request: Request) -> Response:
        seen.append(list(request.headers))
        return Response(200)

    extra = (("cookie", "a=1"), ("x-a", "1"), ("cookie", "b=2"), ("expect", "100-continue"))
    with server(keep, LIMITS) as port, contextlib.closing(Client(port)) as client:
        client.ask("GET", "/", b"", extra)
        client.ask("POST", "/", b"x", (("content-length", "1"),))
        client.ask("POST", "/", b"x")

    assert seen == [
        [("host", "test:1"), ("x-a", "1"), ("cookie", "a=1; b=2")],
        [("host", "test:1"), ("content-length", "1")],
        [("host", "test:1"), ("transfer-encoding", "chunked")],
    ]


def test_an_upgraded_request_is_stream_one(port: int) -> None:
    with contextlib.closing(Client(port, upgrade=True)) as client:
        assert client.answer(1)[1] == b"hello"
        assert client.ask("GET", "/next")[1] == b"none"


def test_no_body_where_none_belongs(client: Client) -> None:
    head, body = client.ask("GET", "/empty")
    assert (head[":status"], head["x-empty"], body, "content-length" in head) == ("204", "yes", b"", False)
    head, body = client.ask("HEAD", "/x")
    assert (head["content-length"], body) == ("4", b"")


@pytest.mark.parametrize("path", ["/body", "/stream"])
@pytest.mark.parametrize("size", [1, 65_000, 70_000, 300_000])
def test_bodies_are_read_whole_and_in_pieces(client: Client, path: str, size: int) -> None:
    assert client.ask("POST", path, b"x" * size)[1] == b"%d" % size


@pytest.mark.parametrize("extra", [(), (("content-length", "400000"),)])
def test_a_body_above_the_limit_is_told_to_the_handler(client: Client, extra: tuple[tuple[str, str], ...]) -> None:
    head, body = client.ask("POST", "/body", b"x" * 400_000, extra)

    assert (head[":status"], body) == ("413", b"stream too large")


def test_an_answer_in_pieces(client: Client) -> None:
    assert client.ask("GET", "/pieces")[1] == b"".join(b"%02d" % number * 20_000 for number in range(20))


def test_an_answer_that_breaks_off_resets_its_stream(client: Client) -> None:
    with pytest.raises(ConnectionError, match="2"):
        client.ask("GET", "/broken")
    assert client.ask("GET", "/x")[1] == b"none"


def test_a_bug_in_the_handler_is_a_500(client: Client) -> None:
    assert client.ask("GET", "/bug")[0][":status"] == "500"


def test_a_head_above_the_limit_is_a_431(client: Client) -> None:
    assert client.ask("GET", "/x", extra=(("x-large", "x" * 9000),))[0][":status"] == "431"
    assert client.ask("GET", "/x")[0][":status"] == "201"


def test_a_client_that_leaves_cancels_the_handler() -> None:
    cancelled = asyncio.Event()

    async def wait(request: Request) -> Response:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        return Response(200)

    with server(wait, LIMITS) as port:
        client = Client(port)
        client.h2.send_headers(1, [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", "/")], end_stream=True)
        client.flush()
        client.socket.recv(100)
        client.socket.close()
        for _ in range(500):
            if cancelled.is_set():
                break
            time.sleep(0.01)

    assert cancelled.is_set()


def test_requests_wait_while_much_of_the_answers_is_unread() -> None:
    calls: list[str] = []

    def large(request: Request) -> Response:
        calls.append(request.path)
        return Response(200, [], bytes(1 << 20))

    with server(large, LIMITS) as port, contextlib.closing(Client(port)) as client, contextlib.closing(Client(port)) as other:
        for number in range(30):
            client.h2.send_headers(2 * number + 1, [*HEAD, (":path", f"/{number}")], end_stream=True)
        client.flush()
        _, body = other.ask("GET", "/other")
        started = len(calls) - 1
        size = read_all(client, 30)

    assert (len(body), size) == (1 << 20, 30 << 20)
    assert started <= (OWN >> 20) + 1
    assert sorted(calls) == sorted(["/other", *(f"/{number}" for number in range(30))])


def read_all(client: Client, streams: int) -> int:
    """The bytes of all answers."""
    size = ended = 0
    while ended < streams:
        for event in client.h2.receive_data(client.socket.recv(65_536)):
            if isinstance(event, h2.events.DataReceived):
                size += len(event.data)
                client.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            ended += isinstance(event, h2.events.StreamEnded)
        client.flush()
    return size
