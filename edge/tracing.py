"""Tracing of the hosted apps: whether there is any, where spans go (layer 6).

Source: dapr pkg/runtime/runtime.go setupTracing, pkg/config/configuration.go SetTracingSpecFromEnv @1.18.3.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from edge.app import App
from edge.config.configuration import Otel, Tracing
from edge.errors import ComponentError
from edge.spec import Duration

log = logging.getLogger("dapr.runtime")
OTLP = "OTEL_EXPORTER_OTLP_"


@asynccontextmanager
async def traced(apps: Iterable[App], configured: Tracing, environ: Mapping[str, str]) -> AsyncIterator[None]:
    """Give the apps their tracers, if any is wanted; spans leave while the block runs. Raises ComponentError."""
    tracing = from_environment(configured, environ)
    if not (tracing.sampling_rate or _exported(tracing)):
        yield
        return
    from edge.telemetry.spans import Tracer, rate_of  # with tracing

    rate, exported = rate_of(tracing.sampling_rate), _exported(tracing)
    if rate == 0:
        yield
        return
    text = f"ParentBased{{root:TraceIDRatioBased{{{rate:g}}},remoteParentSampled:AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler}}"
    log.info("Dapr trace sampler initialized: %s", text)
    if not exported:
        for app in apps:
            app.tracer = Tracer(rate)
        yield
        return
    try:
        from edge.telemetry.export import Exporters  # OpenTelemetry, for those who export
    except ImportError as error:
        raise ComponentError(f"tracing is configured, but {error.name} is not installed: pip install 'edged[tracing]'") from None
    exporters = Exporters(tracing)
    try:
        exporters.open()
    except ValueError as error:
        raise ComponentError(f"spec.tracing.otel: {error}") from None
    try:
        for app in apps:
            app.tracer = Tracer(rate, exporters.of(environ.get("OTEL_SERVICE_NAME") or app.id))
        yield
    finally:
        await exporters.close()


def _exported(tracing: Tracing) -> bool:
    otel = tracing.otel
    return bool(tracing.stdout or tracing.zipkin.endpoint_address or (otel.endpoint_address and otel.protocol))


def from_environment(tracing: Tracing, environ: Mapping[str, str]) -> Tracing:
    """The `OTEL_EXPORTER_OTLP_…` variables where the file names no endpoint."""

    def value(name: str) -> str:
        return environ.get(f"{OTLP}TRACES_{name}") or environ.get(OTLP + name) or ""

    otel, endpoint = tracing.otel, value("ENDPOINT")
    if otel.endpoint_address:
        return tracing
    headers, timeout = value("HEADERS"), value("TIMEOUT")
    otel = replace(
        otel,
        headers=(*otel.headers, *filter(None, headers.split(","))),
        timeout=Duration(int(timeout) / 1000) if timeout.isdecimal() and int(timeout) else otel.timeout,
    )
    if not endpoint:
        return replace(tracing, otel=otel)
    return replace(tracing, otel=_at(otel, endpoint, value("PROTOCOL"), environ), sampling_rate=tracing.sampling_rate or "1")


def _at(otel: Otel, endpoint: str, protocol: str, environ: Mapping[str, str]) -> Otel:
    insecure = environ.get(f"{OTLP}INSECURE") == "true"
    return replace(
        otel,
        endpoint_address=endpoint.removeprefix("http://").removeprefix("https://"),
        protocol="http" if protocol.startswith("http") else "grpc",
        is_secure=otel.is_secure and not insecure,
    )
