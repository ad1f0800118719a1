"""Answers of an app that are odd, broken or too long: what is read as Go's client does, and what it is called if it can't be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edge.app import App, AppUnavailable
from edge.channel.http import HttpChannel
from edge.model import InvokeRequest

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = b"Content-Length: 0\r\n\r\n"
BROKEN = "net/http: HTTP/1.x transport connection broken: "


@asynccontextmanager
async def app_that_says(answer: bytes, **settings: Any) -> AsyncIterator[tuple[App, HttpChannel, list[bytes]]]:
    """An app that reads one request and answers these bytes; what it read."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        while b"chunked" in head and not head.endswith(b"\r\n0\r\n\r\n"):
            head += await reader.read(4096)
        seen.append(head)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    app = App("orchard", port=server.sockets[0].getsockname()[1], **settings)
    channel = HttpChannel(app)
    try:
        yield app, channel, seen
    finally:
        await channel.close()
        server.close()


def invoke(answer: bytes, method: str = "GET", body: bytes = b"", headers: Sequence[tuple[str, str]] = ()) -> tuple[Any, list[bytes]]:
    """(status, headers, body) or the error's text, the app's address left out; and the requests."""

    async def run() -> tuple[Any, list[bytes]]:
        async with app_that_says(answer) as (app, channel, seen):
            try:
                found = await channel.invoke(InvokeRequest(method, "m", "", headers, body))
                whole = found.body if isinstance(found.body, bytes) else b"".join([piece async for piece in found.body])
            except AppUnavailable as error:
                return str(error).replace(f"127.0.0.1:{app.port}", "app"), seen
            return (found.status, dict(found.headers), whole), seen

    return asyncio.run(run())


REFUSED = {
    b"garbage\r\n\r\n": 'malformed HTTP response "garbage"',
    b"HTTP/1.1\r\n\r\n": 'malformed HTTP response "HTTP/1.1"',
    b"HTTP/1.1 abc OK\r\n\r\n": 'malformed HTTP status code "abc"',
    b"HTTP/1.1 099 OK\r\n" + EMPTY: 'malformed HTTP status code "099"',
    OK + b"Transfer-Encoding: identity\r\n" + EMPTY: 'unsupported transfer encoding: "identity"',
    b"HTTP/1.1 2000 OK\r\n\r\n": 'malformed HTTP status code "2000"',
    b"HTTX/1.1 200 OK\r\n\r\n": 'malformed HTTP version "HTTX/1.1"',
    OK + b"NoColon\r\n" + EMPTY: 'malformed MIME header: missing colon: "NoColon"',
    OK + b": x\r\n" + EMPTY: 'malformed MIME header line: ": x"',
    OK + b"X-\xc4: \xfc\r\n" + EMPTY: 'malformed MIME header line: "X-\\xc4: \\xfc"',
    OK + b"Content-Length: x\r\n\r\n": 'bad Content-Length "x"',
    OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc": (
        'http: message cannot contain multiple Content-Length headers; got ["3" "4"]'
    ),
    OK + b"X-Long: " + b"a" * 4100 + b"\r\n" + EMPTY: "net/http: server response headers exceeded 4096 bytes; aborted",
}


@pytest.mark.parametrize("answer", REFUSED, ids=lambda answer: answer[:30].decode("latin-1"))
def test_broken_answer_is_called_what_go_calls_it(answer: bytes) -> None:
    assert invoke(answer)[0] == f'Get "http://app/m": {BROKEN}{REFUSED[answer]}'


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        OK + b"X-Long: " + b"a" * 3900 + b"\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi",
    ],
)
def test_odd_answer_that_go_reads_is_read(answer: bytes) -> None:
    status, _, body = invoke(answer)[0]

    assert (status, body) == (200, b"hi")


def test_body_that_came_in_chunks_goes_on_in_chunks() -> None:
    chunked = invoke(OK + EMPTY, "POST", b"abc", [("transfer-encoding", "chunked")])[1][0]
    whole = invoke(OK + EMPTY, "POST", b"abc")[1][0]

    assert b"Transfer-Encoding: chunked\r\n" in chunked and chunked.endswith(b"3\r\nabc\r\n0\r\n\r\n")
    assert b"Content-Length: 3\r\n" in whole


def test_connect_is_no_verb_for_an_app() -> None:
    assert invoke(OK + EMPTY, "CONNECT") == ("rpc error: code = InvalidArgument desc = invalid HTTP verb", [])
