"""h11 as the second opinion: what this server takes for a request, and what both encoders write, means the same to another parser."""

from __future__ import annotations

from typing import Any

import h11
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge.http1.messages import Limits, Request, Response
from edge.http1.outgoing import RequestEncoder
from tests.unit.edge.http1.peer import exchange

Seen = list[tuple[str, str, bytes]]
"""Method, target and body of each request of a connection."""
LIMITS = Limits(max_body_bytes=1 << 20)
QUICK = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

END = [b"\r\n"] * 50 + [b"\n", b"\r", b"\r\r\n", b"\r\n ", b"\r\n\t"]
NAME = [b"Content-Length", b"Transfer-Encoding"] * 6 + [
    b"content-length",
    b"Transfer-Encoding ",
    b"X",
    b" X",
    b"Content_Length",
    b"X\x00",
    b"Expect",
]
VALUE = [b"3", b"chunked"] * 10 + [
    b"0", b"3", b"5", b"+3", b"-1", b"3, 3", b"3,5", b"0x3", b" 3 ", b"3\t", b"", b"chunked", b"Chunked", b"identity", b"chunked, chunked",
    b"gzip, chunked", b"xchunked", b"\x0bchunked", b"chunked\x00", b"\"chunked\"", b"a\rb", b"100-continue", b"00003", b"3;", b"\xb2",
]  # fmt: skip
BODY = [
    b"", b"abc", b"abcde", b"0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"3;x=y\r\nabc\r\n0\r\n\r\n", b"3 ;x\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabc\r\n0\r\nX: y\r\n\r\n", b"3\nabc\n0\n\n", b"3\r\nabcX0\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n",
    b"3;\"\r\n\"\r\nabc\r\n0\r\n\r\n",
    b"00000003\r\nabc\r\n000\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: b\r\n\r\n", b"3;\rx\r\nabc\r\n0\r\n\r\n",
]  # fmt: skip
lines = st.lists(
    st.tuples(st.sampled_from(NAME), st.sampled_from([b": "] * 9 + [b":", b" : "]), st.sampled_from(VALUE), st.sampled_from(END)),
    max_size=3,
)
starts = st.tuples(
    st.sampled_from([b"POST", b"GET", b"PUT"] * 5 + [b"P\xd6ST"]),
    st.sampled_from([b" "] * 30 + [b"  ", b"\t"]),
    st.sampled_from([b"/a"] * 20 + [b"/a?b=c", b"http://h/x", b"/a b", b"/\r/", b"*"]),
    st.sampled_from([b" HTTP/1.1\r\n"] * 30 + [b" HTTP/1.0\r\n", b" HTTP/1.1\n", b" HTTP/1.1 \r\n", b"\r\n"]),
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """One or two requests, right, odd or wrong."""
    data = b""
    for _ in range(draw(st.integers(1, 2))):
        head = b"".join(draw(starts)) + b"Host: h" + draw(st.sampled_from(END))
        data += head + b"".join(b"".join(line) for line in draw(lines)) + b"\r\n" + draw(st.sampled_from(BODY))
    return data


def ours(data: bytes) -> tuple[Seen, bytes]:
    """The requests that reached the handler with their whole body, and what was written."""
    seen: Seen = []

    async def handler(request: Request) -> Response:
        body = await request.body()
        seen.append((request.method, request.target, body))
        return Response(200)

    return seen, bytes(exchange(data, handler, LIMITS).written)


def theirs(data: bytes) -> tuple[Seen, bool]:
    """The same by h11; and whether it found something wrong."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    seen: Seen = []
    head, body = None, b""
    while True:
        try:
            event: Any = connection.next_event()
        except h11.RemoteProtocolError:
            return seen, True
        if isinstance(event, h11.Request):
            head, body = event, b""
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            seen.append((head.method.decode(), head.target.decode(), body))
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return seen, False
            connection.start_next_cycle()
        else:
            return seen, False


SMUGGLED = b"POST /a HTTP/1.1\r\nHost: h\r\n%b\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"


@QUICK
@given(streams())
@example(SMUGGLED % b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")
@example(SMUGGLED % b"Transfer-Encoding: chunked\r\nContent-Length: 41\r\n")
@example(SMUGGLED % b"Content-Length: 5\r\nContent-Length: 41\r\n")
@example(SMUGGLED % b"Transfer-Encoding:\r\n chunked\r\n")
@example(SMUGGLED % b"Transfer-Encoding\r\n : chunked\r\n")
@example(SMUGGLED % b"X: y\rTransfer-Encoding: chunked\r\n")
def test_no_request_is_cut_differently(data: bytes) -> None:
    mine, written = ours(data)
    other, refused = theirs(data)

    short = min(len(mine), len(other))
    assert [(m, b) for m, _, b in mine[:short]] == [(m, b) for m, _, b in other[:short]]
    assert len(mine) <= len(other) or (
        refused and b"3 ;" in data
    )  # a blank before an extension is allowed (RFC 9112 §7.1.1), h11 refuses it
    if len(mine) < len(other):
        assert b"HTTP/1.1 4" in written or b"HTTP/1.1 5" in written or b"Connection: close" in written


texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["a\r\nSet-Cookie: b", "\r\n\r\nHTTP/1.1 200 OK\r\n", "\n", "x\r"]
)
fields = st.lists(
    st.tuples(st.sampled_from(["X-A", "x-b", "Content-Length", "Transfer-Encoding", "Connection"]) | texts, texts), max_size=4
)


@QUICK
@given(fields, st.sampled_from([200, 201, 404, 500]), st.binary(max_size=40))
def test_an_answer_is_one_answer_whatever_its_headers_hold(headers: list[tuple[str, str]], status: int, body: bytes) -> None:
    written = exchange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", lambda request: Response(status, headers, body)).written
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(bytes(written))

    head: Any = client.next_event()
    names = {name for name, _ in head.headers}
    got, event = b"", client.next_event()
    while isinstance(event, h11.Data):
        got, event = got + event.data, client.next_event()

    assert (head.status_code, got) == (status, body) and isinstance(event, h11.EndOfMessage) and client.trailing_data[0] == b""
    asked = {name.lower().encode() for name, _ in headers if name.isascii()}
    assert names <= asked | {b"date", b"content-length", b"content-type", b"transfer-encoding", b"connection"}


@QUICK
@given(texts | st.sampled_from(["GET", "POST"]), texts | st.just("/a"), fields, st.binary(max_size=40))
def test_a_request_to_an_app_is_one_request_or_none(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> None:
    try:
        message, _ = RequestEncoder("app").encode(method, target, [f for f in headers if f[0].lower() != "connection"], body)
    except ValueError:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(message)

    head: Any = server.next_event()
    got, event = b"", server.next_event()
    while isinstance(event, h11.Data):
        got, event = got + event.data, server.next_event()

    assert (head.method.decode(), head.target.decode(), got) == (method, target, body)
    assert isinstance(event, h11.EndOfMessage) and server.trailing_data[0] == b""
    asked = {name.lower().encode() for name, _ in headers if name.isascii()}
    assert {name for name, _ in head.headers} <= asked | {b"host", b"content-length", b"transfer-encoding"}
