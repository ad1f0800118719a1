"""A collector on loopback: what comes over OTLP/HTTP and as Zipkin JSON, decoded."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest

ExportTraceServiceRequest = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2").ExportTraceServiceRequest

KINDS = {2: "SERVER", 3: "CLIENT", 4: "PRODUCER"}


@dataclass(frozen=True)
class Told:
    """One span. error: the status' text, None = no error."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str]
    error: str | None = None


@dataclass
class Collector:
    """spans: what came until now. headers: of the last request."""

    port: int = 0
    spans: list[Told] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def take(self, path: str, body: bytes) -> None:
        """A batch."""
        self.spans += zipkin(json.loads(body)) if path.startswith("/api/v2") else otlp(ExportTraceServiceRequest.FromString(body))

    def wait(self, found: Callable[[Told], bool], timeout: float = 20.0) -> Told:
        """The first such span."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for span in list(self.spans):
                if found(span):
                    return span
            time.sleep(0.02)
        raise AssertionError(f"not among {[(span.service, span.name) for span in self.spans]}")

    def named(self, name: str, service: str = "") -> Told:
        """The first of that name."""
        return self.wait(lambda span: span.name == name and service in ("", span.service))


def otlp(request: Any) -> list[Told]:
    """The spans of an OTLP message."""
    found = []
    for resource in request.resource_spans:
        service = _attributes(resource.resource.attributes)["service.name"]
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            error = span.status.message if span.status.code == 2 else None
            ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
            found.append(Told(service, span.name, KINDS[span.kind], *ids, _attributes(span.attributes), error))
            assert span.start_time_unix_nano <= span.end_time_unix_nano <= time.time_ns()
    return found


def _attributes(pairs: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in pairs}


def zipkin(spans: list[dict[str, Any]]) -> list[Told]:
    """The spans of a Zipkin v2 list."""
    return [
        Told(
            span["localEndpoint"]["serviceName"],
            span["name"],
            span["kind"],
            span["traceId"],
            span["id"],
            span.get("parentId", ""),
            span.get("tags", {}),
            span.get("tags", {}).get("error"),
        )
        for span in spans
    ]


@contextmanager
def collector() -> Iterator[Collector]:
    """A listening collector."""
    told = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.headers = {name.lower(): value for name, value in self.headers.items()}
            told.take(self.path, body)
            self.send_response(202 if self.path.startswith("/api") else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def grpc_collector() -> Iterator[Collector]:
    """The same over OTLP/gRPC, a grpcio server."""
    told = Collector()

    def export(data: bytes, context: Any) -> bytes:
        told.headers = dict(context.invocation_metadata())
        told.take("", data)
        return b""

    method = grpc.unary_unary_rpc_method_handler(export)
    service = grpc.method_handlers_generic_handler("opentelemetry.proto.collector.trace.v1.TraceService", {"Export": method})
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((service,))
    told.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield told
    finally:
        server.stop(None).wait()
