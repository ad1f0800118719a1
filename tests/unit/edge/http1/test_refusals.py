"""What the server refuses by itself: malformed, oversized, ambiguous and slow requests. Texts as recorded from daprd (Go's net/http)."""

from __future__ import annotations

import asyncio
import re

import pytest

from edge.http1.messages import Limits, Request, Response
from tests.unit.edge.http1.peer import Memory, connected, echo, exchange, hello, run

HEADERS = b"\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
BAD_REQUEST = b"HTTP/1.1 400 Bad Request" + HEADERS + b"400 Bad Request"
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large" + HEADERS + b"431 Request Header Fields Too Large"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n"


def refused(data: bytes, answer: bytes = BAD_REQUEST, splits: tuple[int, ...] = ()) -> None:
    """`data` followed by an innocent request: one refusal, nothing reaches the handler, the connection ends."""
    seen: list[Request] = []

    def handler(request: Request) -> Response:
        seen.append(request)
        return Response(200)

    transport = exchange(data + GET + b"\r\n", handler, splits=splits)

    assert bytes(transport.written) == answer
    assert transport.eof or transport.closed
    assert not seen


@pytest.mark.parametrize(
    "data",
    [
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        POST + b"Content-Length: 3, 3\r\n\r\nabc",
        POST + b"Content-Length: +3\r\n\r\nabc",
        POST + b"Content-Length: -3\r\n\r\nabc",
        POST + b"Content-Length: 0x3\r\n\r\nabc",
        POST + b"Content-Length: 1_0\r\n\r\nabcdefghij",
        POST + b"Content-Length: 3 4\r\n\r\nabc",
        POST + b"Content-Length:\r\n\r\n",
        POST + b"Content-Length: 99999999999999999999\r\n\r\nabc",
        POST + "Content-Length: ３\r\n\r\nabc".encode(),
        POST + b"Content-Length\t: 3\r\n\r\nabc",
        POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_ambiguous_framing_is_refused(data: bytes) -> None:
    refused(data)


@pytest.mark.parametrize(
    "coding", [b"chunked, identity", b"chunked, chunked", b"xchunked", b"identity", b"gzip", b"", b"chunked\r\nTransfer-Encoding: chunked"]
)
def test_a_transfer_coding_other_than_chunked_is_not_implemented(coding: bytes) -> None:
    answer = b"HTTP/1.1 501 Not Implemented" + HEADERS + b"Unsupported transfer encoding"

    refused(POST + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n", answer)


@pytest.mark.parametrize("line", [b"Content-Length : 3", b"Transfer-Encoding : chunked", b"X Y: z"])
def test_a_space_in_a_header_name_is_named(line: bytes) -> None:
    text = b"400 Bad Request: invalid header name"

    refused(POST + line + b"\r\n\r\nabc", b"HTTP/1.1 " + text + HEADERS + text)


@pytest.mark.parametrize("host", [b"x y", b"a/b", b"\xff", b'"'])
def test_a_malformed_host_is_refused(host: bytes) -> None:
    answer = b"HTTP/1.1 400 Bad Request: malformed Host header" + HEADERS + b"400 Bad Request: malformed Host header"

    refused(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", answer)


def test_an_unknown_expectation_gets_no_body() -> None:
    written = exchange(POST + b"Expect: gold\r\n\r\n", hello).written

    assert re.fullmatch(rb"HTTP/1.1 417 Expectation Failed\r\nDate: [^\r]+ GMT\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", written)


def test_expectation_among_others_is_met() -> None:
    written = exchange(POST + b"Expect: 100-continue, x\r\nContent-Length: 3\r\n\r\nabc", hello).written

    assert written.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "body",
    [
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3 x\r\nabc\r\n0\r\n\r\n",
        b"\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\nabc",
        b"3;" + b"x" * 5000 + b"\r\nabc\r\n0\r\n\r\n",
        b"3;\x00\r\nabc\r\n0\r\n\r\n",
        b"0\r\nbad trailer\r\n\r\n",
        b"0\r\nX: a\nGET /x HTTP/1.1\r\n\r\n",
        b"1;" + b"x" * 4000 + b"\r\na\r\n" + (b"1;" + b"x" * 4000 + b"\r\na\r\n") * 5 + b"0\r\n\r\n",
    ],
)
def test_malformed_chunks_are_refused(body: bytes) -> None:
    refused(POST + b"Transfer-Encoding: chunked\r\n\r\n" + body)


def test_chunks_that_turn_bad_later_fail_the_reader_and_end_the_connection() -> None:
    async def handler(request: Request) -> Response:
        try:
            await request.body()
        except OSError as error:
            return Response(400, [], str(error).encode())
        return Response(200)

    data = POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n" + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    transport = exchange(data, handler, splits=(len(POST) + 30 + 8,))

    assert transport.written.count(b"HTTP/1.1") == 1 and transport.written.endswith(b"invalid chunked encoding")
    assert b"Connection: close" in transport.written and (transport.eof or transport.closed)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\xc3: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\r\nHost: a\r\n\r\n",
        b"GET HTTP/1.1\r\nHost: a\r\n\r\n",
        b"G\xc3T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"G{T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / http/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
        b"DESCRIBE / RTSP/1.0\r\nHost: a\r\n\r\n",
        b"GET x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET ?x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%G1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a%2 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /% HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://b/%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"hello\r\n\r\n",
        b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n"[:-8] + b"X\r\n\r\n",
    ],
)
def test_malformed_head_is_refused(data: bytes) -> None:
    refused(data)


def test_refusal_comes_at_every_cut() -> None:
    data = POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
    for at in range(1, len(data)):
        refused(data, splits=(at,))


def test_missing_host_is_named() -> None:
    text = b"400 Bad Request: missing required Host header"
    refused(b"GET / HTTP/1.1\r\nX: y\r\n\r\n", b"HTTP/1.1 " + text + HEADERS + text)


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9", b"HTTP/3.1"])
def test_unsupported_version_is_505(version: bytes) -> None:
    text = b"505 HTTP Version Not Supported: unsupported protocol version"
    refused(b"GET / " + version + b"\r\nHost: a\r\n\r\n", b"HTTP/1.1 " + text + HEADERS + text)


def test_unknown_transfer_coding_is_501() -> None:
    answer = b"HTTP/1.1 501 Not Implemented" + HEADERS + b"Unsupported transfer encoding"
    refused(POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", answer)


def test_answers_before_a_refusal_are_kept() -> None:
    written = exchange(GET + b"\r\n" + b"bad\r\n\r\n", hello).written

    assert written.startswith(b"HTTP/1.1 200 OK") and written.endswith(b"hello" + BAD_REQUEST)


@pytest.mark.parametrize(
    ("limit", "size", "passes"), [(4 << 10, 3000, True), (4 << 10, 9000, False), (2 << 10, 1500, True), (2 << 10, 7000, False)]
)
def test_head_limit_has_the_slack_of_go(limit: int, size: int, passes: bool) -> None:
    data = GET + b"X-Pad: " + b"p" * size + b"\r\n\r\n"
    limits = Limits(read_buffer_bytes=limit)

    for splits in ((), (10,), tuple(range(100, len(data), 100))):
        transport = exchange(data, hello, limits, splits)
        if passes:
            assert transport.written.endswith(b"hello")
        else:
            assert bytes(transport.written) == TOO_LARGE and (transport.eof or transport.closed)


def test_refused_client_can_read_the_answer_while_it_still_sends() -> None:
    async def case() -> None:
        async with connected(hello) as (raw, _):
            raw.writer.write(GET + b"X: " + b"x" * 300_000 + b"\r\n\r\n")
            assert await raw.rest() == TOO_LARGE

    run(case)


def test_empty_lines_before_a_request_are_ignored() -> None:
    assert exchange(b"\r\n\r\n" + GET + b"\r\n\r\n\r\n" + GET + b"\r\n", hello).written.count(b"200 OK") == 2


@pytest.mark.parametrize("start", [b"", b"G", b"GET / HTTP/1.1\r\nHost: a\r\nX: "])
def test_slow_head_is_cut_off_without_an_answer(start: bytes) -> None:
    async def case() -> None:
        async with connected(hello, Limits(header_timeout=0.1, grace=0.2)) as (raw, _):
            began = asyncio.get_running_loop().time()
            drip = asyncio.create_task(raw.send(start, *[b"x"] * 100, pause=0.02)) if start else None
            assert await raw.rest() == b""
            assert asyncio.get_running_loop().time() - began < 0.5
            if drip is not None:
                drip.cancel()

    run(case)


def test_idle_connection_is_not_cut_off_but_its_next_slow_head_is() -> None:
    async def case() -> None:
        async with connected(hello, Limits(header_timeout=0.04, grace=0.2)) as (raw, _):
            await raw.send(GET + b"\r\n")
            await raw.answer()
            assert await raw.silent(0.1)
            await raw.send(GET)
            assert await raw.rest() == b""

    run(case)


@pytest.mark.parametrize(
    ("headers", "written"),
    [
        ([("x", "a\r\nSet-Cookie: b")], b"X: a  Set-Cookie: b\r\n"),
        ([("x", "a\nb\x00c\x7f")], b"X: a b c \r\n"),
        ([("x", "a\tb")], b"X: a\tb\r\n"),
        ([("x\r\nset-cookie: b", "a")], b"OK\r\nDate"),
        ([("x y", "a"), ("", "b"), ("é", "c"), ("x:", "d")], b"OK\r\nDate"),
        ([("content-length", "1"), ("Content-Length", "99")], b"Content-Length: 5\r\n"),
    ],
)
def test_headers_of_a_handler_cannot_inject(headers: list[tuple[str, str]], written: bytes) -> None:
    transport: Memory = exchange(GET + b"\r\n", lambda request: Response(200, headers, b"hello"))

    head, _, body = bytes(transport.written).partition(b"\r\n\r\n")
    assert written in head + b"\r\n"
    assert b"\nSet-Cookie" not in head and b"\nset-cookie" not in head and head.count(b"Content-Length") == 1
    assert body == b"hello"


def test_nothing_is_taken_from_behind_a_request_that_closes() -> None:
    seen: list[str] = []

    async def handler(request: Request) -> Response:
        seen.append(request.path)
        return await echo(request)

    exchange(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n", handler)

    assert seen == ["/a"]
