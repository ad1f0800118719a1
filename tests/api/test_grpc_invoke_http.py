"""InvokeService for an app that speaks HTTP: what its answer's odd parts become in gRPC, and what tells of the trace."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from edge.rpc.pb import common_pb2, invoke_pb2
from tests.harness import Sidecar, sidecar
from tests.raw_grpc import Fields, blocks, message

PATH = "/dapr.proto.runtime.v1.Dapr/InvokeService"
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
APPS = "00-11111111111111111111111111111111-2222222222222222-00"
IN_BINARY = {CALLER: "AAAK92UZFs1D3YRI6yEcgDGcAbeta3FpIDMxAgE", APPS: "AAARERERERERERERERERERERASIiIiIiIiIiAgA"}


class App(BaseHTTPRequestHandler):
    """/odd: headers that gRPC has other ideas of. /cut: half of a body. /traced: a trace of its own. Else the request line."""

    def answer(self) -> None:
        if self.path == "/cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            return
        self.send_response(200)
        if self.path == "/odd":
            self.send_header("X-Bytes-Bin", "a")
        if self.path == "/traced":
            self.send_header("Traceparent", APPS)
        line = f"{self.command} {self.path}".encode()
        self.send_header("Content-Length", str(len(line)))
        self.end_headers()
        self.wfile.write(line)

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture(scope="module")
def edged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), App)
    threading.Thread(target=server.serve_forever, name="app").start()
    try:
        with sidecar(tmp_path_factory.mktemp("invoke"), app_port=server.server_port, resources={}) as one:
            one.wait()
            yield one
    finally:
        server.shutdown()
        server.server_close()


def ask(edged: Sidecar, method: str, verb: int = 1, query: str = "", **sent: str) -> list[Fields]:
    asked = common_pb2.InvokeRequest(method=method)
    asked.http_extension.verb = verb  # type: ignore[assignment]
    asked.http_extension.querystring = query
    data = invoke_pb2.InvokeServiceRequest(id="test", message=asked).SerializeToString()
    return blocks(edged.grpc_port, {":path": PATH, **sent}, message(data))


@pytest.mark.parametrize(("method", "expected"), [("x", CALLER), ("traced", APPS)])
def test_trace_is_told_in_both_forms_the_apps_own_first(edged: Sidecar, method: str, expected: str) -> None:
    head = ask(edged, method, traceparent=CALLER)[0]

    assert (head["traceparent"], head["grpc-trace-bin"]) == (expected, IN_BINARY[expected])


def test_bin_header_of_the_app_is_bytes_for_the_caller(edged: Sidecar) -> None:
    assert ask(edged, "odd")[0]["x-bytes-bin"] == "YQ"


def test_body_that_breaks_off_is_named(edged: Sidecar) -> None:
    (answer,) = ask(edged, "cut")

    assert (answer["grpc-status"], answer["grpc-message"]) == ("13", "failed to invoke, id: test, err: unexpected EOF")


@pytest.mark.parametrize(("verb", "query"), [(99, ""), (1, "q=\u00fc")])
def test_verb_without_a_name_and_query_beyond_ascii_reach_the_app(edged: Sidecar, verb: int, query: str) -> None:
    assert ask(edged, "x", verb, query)[-1]["grpc-status"] == "0"
