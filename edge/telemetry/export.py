"""Finished spans on their way out: OpenTelemetry's batches and encodings; imported when an exporter is configured (extra `tracing`).

Bounded: 2,048 spans wait at most, more are dropped; a collector that is away costs a warning a minute.
Source: dapr pkg/runtime/runtime.go setupTracing @1.18.3.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from edge.config.configuration import Otel, Tracing
from edge.telemetry.spans import Kind, Span

if TYPE_CHECKING:
    from edge.rpc.client import Channel

log = logging.getLogger("dapr.runtime.trace")
SCOPE = InstrumentationScope("dapr-diagnostics")
KINDS = {Kind.SERVER: SpanKind.SERVER, Kind.CLIENT: SpanKind.CLIENT, Kind.PRODUCER: SpanKind.PRODUCER}
SERVICE = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
TIMEOUT = 10.0
PATIENCE = 3.0
WARN_EVERY = 60.0


class Exporters:
    """What the Configuration names; close ends them."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self._processors: list[BatchSpanProcessor] = []
        self._shared: list[BatchSpanProcessor] = []
        self._up = AsyncExitStack()
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # what fails is told by Watched

    def open(self) -> None:
        """Those that all apps share. Raises ValueError for a protocol or address that is none."""
        tracing = self._tracing
        if tracing.stdout:
            self._share(Stdout())
        if tracing.otel.endpoint_address and tracing.otel.protocol:
            self._share(Watched(self._otlp(tracing.otel), tracing.otel.endpoint_address))

    def of(self, service: str) -> Callable[[Span], None]:
        """Where the spans of an app go."""
        processors = list(self._shared)
        if url := self._tracing.zipkin.endpoint_address:
            from opentelemetry.exporter.zipkin.json import ZipkinExporter

            processors.append(self._processor(Watched(ZipkinExporter(endpoint=url), url)))  # it takes one service at a time
        resource = Resource.create({"service.name": service})

        def export(span: Span) -> None:
            done = finished(span, resource)
            for processor in processors:
                processor.on_end(done)

        return export

    async def close(self) -> None:
        """Send what waits, for a moment."""
        threads = [threading.Thread(target=one.shutdown, name="spans", daemon=True) for one in self._processors]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + PATIENCE
        for thread in threads:
            await asyncio.to_thread(thread.join, max(deadline - time.monotonic(), 0.0))
        await self._up.aclose()

    def _share(self, exporter: SpanExporter) -> None:
        self._shared.append(self._processor(exporter))

    def _processor(self, exporter: SpanExporter) -> BatchSpanProcessor:
        made = BatchSpanProcessor(exporter)  # 2,048 wait, 512 go every 5 s, or as OTEL_BSP_… says
        self._processors.append(made)
        return made

    def _otlp(self, otel: Otel) -> SpanExporter:
        headers = dict(map(_header, otel.headers))
        timeout = TIMEOUT if otel.timeout is None else float(otel.timeout)
        if otel.protocol == "http":
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            url = f"{'https' if otel.is_secure else 'http'}://{otel.endpoint_address.rstrip('/')}/v1/traces"
            return OTLPSpanExporter(endpoint=url, headers=headers, timeout=timeout)
        if otel.protocol == "grpc":
            return self._grpc(otel, headers, timeout)
        raise ValueError(f"invalid protocol {otel.protocol} provided for Otel endpoint")

    def _grpc(self, otel: Otel, headers: Mapping[str, str], timeout: float) -> SpanExporter:
        from edge.rpc.client import Channel, Target  # HTTP/2, for this exporter alone

        tls = None
        if otel.is_secure:
            import ssl

            tls = ssl.create_default_context()
            tls.set_alpn_protocols(["h2"])
        host, _, port = otel.endpoint_address.rpartition(":")
        if not port.isdecimal():
            raise ValueError(f"endpointAddress {otel.endpoint_address!r} is not host:port")
        channel = Channel(Target(host.strip("[]"), int(port), tls=tls))
        self._up.push_async_callback(channel.close)
        return OtlpGrpc(channel, headers, timeout)


class OtlpGrpc(SpanExporter):  # type: ignore[misc]
    """OTLP over the daemon's own gRPC client; called in a thread, sends in the loop."""

    def __init__(self, channel: Channel, headers: Mapping[str, str], timeout: float) -> None:
        self._channel, self._timeout = channel, timeout
        self._fields = [(name.lower(), value) for name, value in headers.items()]
        self._loop = asyncio.get_running_loop()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Raises what the call raised."""
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        message = encode_spans(spans).SerializeToString()
        call = self._channel.unary(SERVICE, message, self._fields, self._timeout)
        asyncio.run_coroutine_threadsafe(call, self._loop).result(self._timeout + 1.0)
        return SpanExportResult.SUCCESS


class Watched(SpanExporter):  # type: ignore[misc]
    """Another exporter; its failures are told once a minute."""

    def __init__(self, exporter: SpanExporter, where: str) -> None:
        self._exporter, self._where = exporter, where
        self._lost, self._told = 0, -WARN_EVERY

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Raises nothing: a span is worth no more than a line in the log."""
        try:
            result, why = self._exporter.export(spans), "it refused them"
        except Exception as error:  # whatever the library raises
            result, why = SpanExportResult.FAILURE, f"{type(error).__name__}: {error}"
        if result is not SpanExportResult.SUCCESS:
            self._tell(len(spans), why)
        return result

    def _tell(self, lost: int, why: str) -> None:
        self._lost += lost
        if time.monotonic() - self._told >= WARN_EVERY:
            log.warning("%d spans could not be sent to %s: %s; is the collector there?", self._lost, self._where, why)
            self._lost, self._told = 0, time.monotonic()

    def shutdown(self) -> None:
        self._exporter.shutdown()


class Stdout(SpanExporter):  # type: ignore[misc]
    """`tracing.stdout`: a line in the log for each span, as daprd's."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            context, parent = span.context, span.parent
            assert context is not None
            ids = f"{context.trace_id:032x}", f"{parent.span_id if parent else 0:016x}", f"{context.span_id:016x}"
            log.info("[%s] Trace: %s Span: %s/%s Time: [%s ->  %s]", span.name, *ids, _moment(span.start_time), _moment(span.end_time))
        return SpanExportResult.SUCCESS


def _header(given: Any) -> tuple[str, str]:
    """`name=value`, or an object with both as in Kubernetes."""
    if isinstance(given, Mapping):
        return str(given.get("name", "")), str(given.get("value", ""))
    name, _, value = str(given).partition("=")
    return name, value


def _moment(ns: int | None) -> str:
    seconds, rest = divmod(ns or 0, 10**9)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(seconds))}.{rest:09d} +0000 UTC"


def finished(span: Span, resource: Any) -> ReadableSpan:
    """A span as the library has it."""
    state = TraceState.from_header([span.state]) if span.state else None
    flags, trace_id = TraceFlags(span.flags), int(span.trace_id, 16)
    parent = SpanContext(trace_id, int(span.parent_id, 16), True, flags, state) if span.parent_id else None
    return ReadableSpan(
        span.name,
        SpanContext(trace_id, int(span.span_id, 16), False, flags, state),
        parent,
        resource,
        span.attributes,
        kind=KINDS[span.kind],
        status=Status(StatusCode.ERROR, span.error) if span.error else Status(),
        start_time=span.began_ns,
        end_time=span.ended_ns,
        instrumentation_scope=SCOPE,
    )
