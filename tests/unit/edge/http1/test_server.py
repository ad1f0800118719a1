"""The server as ordinary clients meet it: keep-alive, pipelining, bodies, streams, HTTP/1.0, HEAD, odd verbs and targets."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator

import pytest

from edge.http1.messages import BodyTooLarge, ClosedEarly, Limits, Request, Response
from edge.http1.server import retire
from tests.unit.edge.http1.peer import SOON, Raw, connected, echo, exchange, hello, run

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def head(method: str = "GET", target: str = "/", *lines: str) -> bytes:
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: a", *lines, "", "")).encode()


def test_answer_is_written_as_go_writes_it() -> None:
    written = exchange(GET, hello).written.decode()

    assert re.fullmatch(
        r"HTTP/1\.1 200 OK\r\nContent-Type: text/plain\r\n"
        r"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\nContent-Length: 5\r\n\r\nhello",
        written,
    )


def test_connection_serves_many_requests() -> None:
    async def case() -> None:
        async with connected(echo) as (raw, _):
            for number in range(3):
                await raw.send(head("GET", f"/{number}"))
                assert (await raw.answer())[2] == b"/%d|" % number

    run(case)


def test_pipelined_answers_come_in_order_though_the_first_is_slow() -> None:
    async def handler(request: Request) -> Response:
        await asyncio.sleep(0.03 if request.path == "/0" else 0)
        return Response(200, [], request.path.encode())

    async def case() -> None:
        async with connected(handler) as (raw, _):
            await raw.send(b"".join(head("GET", f"/{number}") for number in range(5)))
            assert [(await raw.answer())[2] for _ in range(5)] == [b"/0", b"/1", b"/2", b"/3", b"/4"]

    run(case)


def test_pipelined_requests_are_handled_one_at_a_time() -> None:
    running: list[int] = []

    async def handler(request: Request) -> Response:
        running.append(1)
        assert len(running) == 1
        await asyncio.sleep(0.001)
        running.pop()
        return Response(200)

    async def case() -> None:
        async with connected(handler) as (raw, _):
            await raw.send(head() * 4)
            assert [(await raw.answer())[0] for _ in range(4)] == [200] * 4

    run(case)


def test_more_pipelined_bytes_than_are_held_are_all_answered() -> None:
    async def handler(request: Request) -> Response:
        await asyncio.sleep(0)
        return Response(204)

    async def case() -> None:
        async with connected(handler) as (raw, _):
            count = 6000  # 700 kB
            sender = asyncio.create_task(raw.send(head("GET", "/" + "x" * 80) * count))
            for _ in range(count):
                assert (await raw.answer())[0] == 204
            await sender

    run(case)


def test_a_client_that_does_not_read_stops_being_served() -> None:
    served = 0

    def handler(request: Request) -> Response:
        nonlocal served
        served += 1
        return Response(200, [], b"x" * 50_000)

    async def case() -> None:
        async with connected(handler) as (raw, _):
            raw.writer.write(head() * 2000)
            await asyncio.sleep(0.2)
            assert served < 500
            for _ in range(2000):
                assert len((await raw.answer())[2]) == 50_000
            assert served == 2000

    run(case)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [0, 1, 1000, 64 << 10, (64 << 10) + 1, 3_000_000])
def test_body_of_any_size_arrives_whole(framing: str, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"z" * (size % 256)

    async def handler(request: Request) -> Response:
        return Response(200, [], await request.body())

    async def case() -> None:
        async with connected(handler) as (raw, _):
            if framing == "length":
                await raw.send(head("POST", "/", f"Content-Length: {size}") + body)
            else:
                pieces = [b"%x\r\n%b\r\n" % (len(body[at : at + 70_000]), body[at : at + 70_000]) for at in range(0, size, 70_000)]
                await raw.send(head("POST", "/", "Transfer-Encoding: chunked") + b"".join(pieces) + b"0\r\n\r\n")
            assert (await raw.answer())[2] == body
            await raw.send(head())
            assert (await raw.answer())[0] == 200

    run(case)


def test_small_body_sent_after_its_head_is_there_at_the_call() -> None:
    def handler(request: Request) -> Response:
        return Response(200, [], request.data or b"not here")

    async def case() -> None:
        async with connected(handler) as (raw, _):
            await raw.send(head("POST", "/", "Content-Length: 6"), b"abc", b"def")
            assert (await raw.answer())[2] == b"abcdef"

    run(case)


def test_streamed_body_reaches_the_handler_piece_by_piece() -> None:
    seen: list[bytes] = []

    async def handler(request: Request) -> Response:
        async for piece in request.stream():
            seen.append(piece)
        return Response(200)

    async def case() -> None:
        async with connected(handler) as (raw, _):
            await raw.send(head("POST", "/", "Transfer-Encoding: chunked"), b"3\r\none\r\n", pause=0.02)
            await asyncio.sleep(0.02)
            assert seen == [b"one"]
            await raw.send(b"3\r\ntwo\r\n0\r\n\r\n")
            assert (await raw.answer())[0] == 200
            assert seen == [b"one", b"two"]

    run(case)


def test_a_handler_that_reads_slowly_slows_the_sender() -> None:
    go = asyncio.Event()

    async def handler(request: Request) -> Response:
        await go.wait()
        return Response(200, [], b"%d" % len(await request.body(-1)))

    async def case() -> None:
        async with connected(handler) as (raw, _):
            size = 60_000_000
            raw.writer.write(head("POST", "/", f"Content-Length: {size}"))
            sender = asyncio.create_task(raw.send(b"x" * size))
            await asyncio.sleep(0.2)
            assert not sender.done()
            go.set()
            assert (await raw.answer())[2] == b"%d" % size
            await sender

    run(case)


def test_body_over_the_limit_is_the_handlers_to_report() -> None:
    async def handler(request: Request) -> Response:
        assert request.data is None
        try:
            await request.body()
        except BodyTooLarge as error:
            return Response(400, [], str(error).encode())
        return Response(200)

    async def case() -> None:
        for size in (101, 50_000, 1_000_000):
            async with connected(handler, Limits(max_body_bytes=100, grace=0.2)) as (raw, _):
                await raw.send(head("POST", "/", f"Content-Length: {size}") + b"x" * size)
                status, _, body = await raw.answer()
                assert (status, body) == (400, b"stream too large")

    run(case)


def test_unread_small_rest_of_a_body_keeps_the_connection() -> None:
    def handler(request: Request) -> Response:
        return Response(200)

    async def case() -> None:
        async with connected(handler) as (raw, _):
            await raw.send(head("POST", "/", "Content-Length: 100000") + b"x" * 10)
            status, headers, _ = await raw.answer()
            assert (status, headers.get("connection")) == (200, None)
            await raw.send(b"x" * 99_990 + GET)
            assert (await raw.answer())[0] == 200

    run(case)


def test_unread_large_rest_of_a_body_closes_the_connection() -> None:
    async def case() -> None:
        async with connected(hello) as (raw, _):
            await raw.send(head("POST", "/", "Content-Length: 1000000") + b"x" * 10)
            status, headers, _ = await raw.answer()
            assert (status, headers["connection"]) == (200, "close")
            assert await raw.rest() == b""

    run(case)


def test_expect_is_answered_when_the_handler_wants_the_body() -> None:
    async def case() -> None:
        async with connected(echo) as (raw, _):
            await raw.send(head("PUT", "/", "Content-Length: 3", "Expect: 100-continue"))
            assert await raw.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            await raw.send(b"abc" + GET)
            assert (await raw.answer())[2] == b"/|abc"
            assert (await raw.answer())[2] == b"/|"

    run(case)


def test_expect_unread_closes_without_continue() -> None:
    async def case() -> None:
        async with connected(hello) as (raw, _):
            await raw.send(head("PUT", "/", "Content-Length: 3", "Expect: 100-continue"))
            status, headers, _ = await raw.answer()
            assert (status, headers["connection"]) == (200, "close")

    run(case)


def test_unknown_expectation_fails() -> None:
    assert exchange(head("PUT", "/", "Content-Length: 3", "Expect: tea")).written.startswith(b"HTTP/1.1 417 Expectation Failed\r\n")


async def pieces(*texts: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    for text in texts:
        yield text
        await asyncio.sleep(pause)


def test_streamed_answer_is_chunked_and_each_piece_goes_out_at_once() -> None:
    go = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        await go.wait()
        yield b""
        yield b"two"

    async def case() -> None:
        async with connected(lambda request: Response(200, [], body())) as (raw, _):
            await raw.send(GET)
            assert b"Transfer-Encoding: chunked" in await raw.reader.readuntil(b"\r\n\r\n")
            assert await raw.reader.readexactly(8) == b"3\r\none\r\n"
            go.set()
            assert await raw.reader.readexactly(13) == b"3\r\ntwo\r\n0\r\n\r\n"
            await raw.send(GET)
            assert (await raw.answer())[0] == 200

    run(case)


def test_streamed_answer_with_a_length_is_not_chunked() -> None:
    async def case() -> None:
        async with connected(lambda request: Response(200, [("Content-Length", "6")], pieces(b"one", b"two-and-more"))) as (raw, _):
            await raw.send(GET)
            _, headers, body = await raw.answer()
            assert (headers["content-length"], body) == ("6", b"onetwo")

    run(case)


@pytest.mark.parametrize("headers", [[("content-length", "60")], []])
def test_streamed_answer_that_breaks_off_is_seen_as_incomplete(headers: list[tuple[str, str]]) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        raise ClosedEarly("upstream went away")

    async def case() -> None:
        async with connected(lambda request: Response(200, headers, body())) as (raw, _):
            await raw.send(GET)
            assert (await raw.rest()).endswith(b"one\r\n" if not headers else b"one")

    run(case)


def test_streamed_answer_waits_for_a_slow_client() -> None:
    made = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal made
        for _ in range(400):
            made += 1
            yield b"x" * 100_000

    async def case() -> None:
        async with connected(lambda request: Response(200, [], body())) as (raw, _):
            await raw.send(GET)
            await asyncio.sleep(0.2)
            assert made < 200
            assert len((await raw.answer())[2]) == 40_000_000

    run(case)


def test_bytes_can_be_sent_chunked() -> None:
    written = exchange(GET, lambda request: Response(200, [("transfer-encoding", "chunked")], b"hello")).written

    assert b"Content-Length" not in written
    assert written.endswith(b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
def test_bodiless_status_has_neither_length_nor_body(status: int) -> None:
    written = exchange(GET + GET, lambda request: Response(status, [], b"ignored")).written

    assert written.count(b"HTTP/1.1 %d " % status) == 2
    assert b"Content-Length" not in written and b"ignored" not in written


def test_head_has_the_headers_of_get_and_no_body() -> None:
    written = exchange(head("HEAD") + GET, hello).written

    assert written.count(b"Content-Length: 5\r\n") == 2
    assert written.count(b"hello") == 1


def test_http10_closes_unless_asked_and_is_never_chunked() -> None:
    async def case() -> None:
        async with connected(lambda request: Response(200, [], pieces(b"one", b"two"))) as (raw, _):
            await raw.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer = await raw.rest()
            assert answer.startswith(b"HTTP/1.0 200 OK\r\n") and answer.endswith(b"\r\n\r\nonetwo")

    run(case)
    kept = exchange(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2, hello).written
    assert kept.count(b"Connection: keep-alive\r\n") == 2
    assert exchange(b"GET / HTTP/1.0\r\n\r\n" * 2, hello).written.count(b"HTTP/1.0 200 OK") == 1


def test_connection_close_is_honoured() -> None:
    transport = exchange(head("GET", "/", "Connection: close") + GET, hello)

    assert transport.closed and transport.written.count(b"200 OK") == 1
    assert b"Connection: close\r\n" in transport.written


@pytest.mark.parametrize("verb", ["PRUNE", "PROPFIND", "get", "X-Y!z", "CONNECT", "M-SEARCH", "PRI"])
def test_any_token_is_a_verb(verb: str) -> None:
    written = exchange(head(verb, "/v1.0/x", "Content-Length: 3") + b"abc" + head(verb), echo).written

    assert written.count(f"X-Method: {verb}\r\n".encode()) == 2
    assert b"|abc" in written


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("http://b.example:80/x/y?z=1", "/x/y?z=1"),
        ("https://b.example", "/"),
        ("http://b.example?q", "/?q"),
        ("*", "*"),
        ("/a//b/../c", "/a//b/../c"),
        ("/a?b?c#d", "/a?b?c#d"),
        ("/ü?ü", "/%C3%BC?%C3%BC"),
        ("/%2F%41?%zz", "/%2F%41?%zz"),
    ],
)
def test_target_reaches_the_handler_in_origin_form(target: str, seen: str) -> None:
    assert exchange(head("GET", target)).written.endswith(f"\r\n\r\n{seen}|".encode())


def test_authority_of_an_absolute_target_is_the_host() -> None:
    def handler(request: Request) -> Response:
        return Response(200, [], ",".join(request.headers.get_all("host")).encode())

    assert exchange(head("GET", "http://b.example/x"), handler).written.endswith(b"b.example")


def test_headers_are_a_multimap_of_lower_case_names() -> None:
    def handler(request: Request) -> Response:
        headers = request.headers
        assert (headers.get("x-a"), headers.get_all("x-a"), headers.get("x-c"), "x-b" in headers) == ("1", ["1", "ü\u00a0"], None, True)
        assert list(headers) == [("host", "a"), ("x-a", "1"), ("x-b", ""), ("x-a", "ü\u00a0")]
        return Response(200, [("x-back", headers.get_all("x-a")[1])])

    written = exchange(head("GET", "/", "X-A:  1 \t", "x-b:", "x-A: ü\u00a0"), handler).written
    assert "X-Back: ü\u00a0\r\n".encode() in written


def test_header_bytes_that_are_no_utf8_pass_through() -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\nX-A: \xff\xfe\r\n\r\n"

    written = exchange(request, lambda request: Response(200, [("x-b", request.headers.get("x-a", ""))])).written

    assert b"X-B: \xff\xfe\r\n" in written


def test_peer_is_the_clients_address() -> None:
    async def case() -> None:
        async with connected(lambda request: Response(200, [], f"{request.peer}".encode())) as (raw, _):
            await raw.send(GET)
            assert (await raw.answer())[2] == str(raw.writer.get_extra_info("sockname")).encode()

    run(case)


def test_a_handler_that_fails_is_a_500_and_the_connection_lives(caplog: pytest.LogCaptureFixture) -> None:
    async def later(request: Request) -> Response:
        await asyncio.sleep(0)
        raise KeyError("secret-body")

    def now(request: Request) -> Response:
        raise KeyError("x")

    for handler in (later, now):
        written = exchange(GET + GET, handler, splits=(len(GET),)).written
        assert written.count(b"HTTP/1.1 500 Internal Server Error\r\n") == 2
    assert "the handler" in caplog.text


def test_client_that_leaves_cancels_the_handler() -> None:
    events: list[str] = []

    async def handler(request: Request) -> Response:
        events.append("called")
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise
        return Response(200)

    async def case() -> None:
        async with connected(handler) as (raw, _):
            await raw.send(GET)
            await asyncio.sleep(0.02)
            raw.reset()
            await asyncio.sleep(0.02)
            assert events == ["called", "cancelled"]

    run(case)


def test_a_flood_of_pipelined_requests_leaves_others_their_turn() -> None:
    seen: list[str] = []

    def handler(request: Request) -> Response:
        seen.append(request.path)
        return Response(204)

    async def case() -> None:
        async with connected(handler) as (raw, server):
            other = Raw(*await asyncio.open_connection("127.0.0.1", server.ports[0]))
            raw.writer.write(head("GET", "/flood") * 1000)
            other.writer.write(head("GET", "/other"))
            await other.answer()
            assert len(seen) < 1000
            raw.writer.write_eof()
            assert (await raw.rest()).count(b"204 No Content") == 1000
            other.writer.close()

    run(case)
    assert seen.count("/flood") == 1000


def test_client_that_shuts_its_half_still_gets_the_answers() -> None:
    async def handler(request: Request) -> Response:
        await asyncio.sleep(0.02)
        return Response(200, [], request.path.encode())

    async def case() -> None:
        async with connected(handler) as (raw, _):
            await raw.send(head("GET", "/a") + head("GET", "/b"))
            raw.writer.write_eof()
            assert [(await raw.answer())[2], (await raw.answer())[2], await raw.rest()] == [b"/a", b"/b", b""]

    run(case)


def test_large_answers_to_one_read_are_not_collected() -> None:
    served = 0

    def handler(request: Request) -> Response:
        nonlocal served
        served += 1
        return Response(200, [], bytes(8 << 20))

    async def case() -> None:
        async with connected(handler) as (raw, _):
            raw.writer.transport.pause_reading()
            raw.writer.write(head() * 10)
            await asyncio.sleep(0.1)
            assert served < 4

    run(case)


@pytest.mark.parametrize("reset", [False, True])
def test_connections_of_broken_uploads_are_closed(reset: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def case() -> None:
        async with connected(echo) as (_, server):
            for number in range(20):
                raw = Raw(*await asyncio.open_connection("127.0.0.1", server.ports[0]))
                await raw.send(head("POST", "/", "Content-Length: 4000000") + b"x" * number * 1000)
                raw.reset() if reset else raw.writer.close()
            async with asyncio.timeout(SOON):
                while len(server._hub.connections) > 1:
                    await asyncio.sleep(0.01)

    run(case)

    assert not caplog.records


def test_client_that_shuts_its_half_in_a_body_is_told() -> None:
    async def case() -> None:
        async with connected(echo) as (raw, _):
            await raw.send(head("POST", "/", "Content-Length: 90000") + b"abc")
            raw.writer.write_eof()
            assert (await raw.rest()).startswith(b"HTTP/1.1 400 ")

    run(case)


def test_client_that_leaves_in_the_middle_of_a_body_fails_the_reader() -> None:
    seen: list[str] = []

    async def handler(request: Request) -> Response:
        try:
            await request.body()
        except ClosedEarly as error:
            seen.append(str(error))
            raise
        return Response(200)

    async def case() -> None:
        for framing in ("Content-Length: 90000", "Transfer-Encoding: chunked"):
            async with connected(handler) as (raw, _):
                await raw.send(head("POST", "/", framing) + b"5\r\nabcde")
                await asyncio.sleep(0.01)
                raw.writer.close()
                await asyncio.sleep(0.02)
        assert seen == ["unexpected EOF"] * 2

    run(case)


def test_answers_of_one_read_go_out_in_one_write() -> None:
    transport = exchange(GET * 10, hello)

    assert transport.writes == 1 and transport.written.count(b"hello") == 10


def test_client_that_closes_cancels_the_handler_after_a_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.http1.connection.EOF_GRACE", 0.02)
    ended = asyncio.Event()

    async def handler(request: Request) -> Response:
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()
        return Response(200)

    async def case() -> None:
        async with connected(handler) as (raw, _):
            await raw.send(GET)
            raw.writer.close()
            async with asyncio.timeout(1):
                await ended.wait()

    run(case)


class Greets(asyncio.Protocol):
    """Says hi to whoever comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hi")


@pytest.mark.parametrize("turns", range(6))
async def test_who_was_accepted_before_a_listener_retires_is_served(turns: int) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(5)
        old = await loop.create_server(Greets, sock=bound.dup())
        with socket.create_connection(bound.getsockname()) as client:
            client.setblocking(False)
            for _ in range(turns):
                await asyncio.sleep(0)
            await retire([old])
            new = await loop.create_server(Greets, sock=bound.dup())
            async with asyncio.timeout(5):
                assert await loop.sock_recv(client, 10) == b"hi"
        new.close()
