"""What metrics tell of gRPC calls, in the words of OpenCensus' plugin as daprd has them (pkg/diagnostics/grpc_monitoring.go @1.18.3)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from edge.telemetry.metrics import Cell, Histogram, Metrics

STATUS = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
    "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss",
    "Unauthenticated",
)  # fmt: skip
MOST_KNOWN = 2048
APP_HEALTH = "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck"

Told = Callable[[str, int, int, int, float], None]
"""(path, status, bytes of the request, bytes of the answer, monotonic seconds when it began): a unary call is over."""


class Calls:
    """Calls of one side. kind: `server` or `client`. sizes: names of the families for the request's bytes and the answer's."""

    def __init__(self, metrics: Metrics, kind: str, latency: str, sizes: tuple[str, str]) -> None:
        self._metrics, self._kind, self._latency, self._sizes = metrics, f"grpc_io_{kind}_", latency, sizes
        self._known: dict[tuple[str, int], tuple[Cell, Histogram, tuple[Histogram, Histogram] | None]] = {}

    def unary(self, path: str, code: int, asked: int, answered: int, began: float) -> None:
        """One message each way."""
        number, times, sizes = self._known.get((path, code)) or self._find(path, code)
        number[0] += 1
        times.add((time.monotonic() - began) * 1000)
        if sizes is None:
            sizes = self._size(path)
            if (path, code) in self._known:
                self._known[path, code] = (number, times, sizes)
        sizes[0].add(asked)
        sizes[1].add(answered)

    def stream(self, path: str, code: int, began: float) -> None:
        """A stream, of which nobody counts the bytes."""
        number, times, _ = self._known.get((path, code)) or self._find(path, code)
        number[0] += 1
        times.add((time.monotonic() - began) * 1000)

    def _find(self, path: str, code: int) -> tuple[Cell, Histogram, tuple[Histogram, Histogram] | None]:
        labels = (path, STATUS[code] if code < len(STATUS) else f"Code({code})")
        metrics, kind = self._metrics, self._kind
        found = metrics.cell(f"{kind}completed_rpcs", labels), metrics.times(kind + self._latency, labels), None
        if len(self._known) < MOST_KNOWN:
            self._known[path, code] = found
        return found

    def _size(self, path: str) -> tuple[Histogram, Histogram]:
        asked, answered = (self._metrics.sizes(f"{self._kind}{size}_bytes_per_rpc", (path,)) for size in self._sizes)
        return asked, answered


def server(metrics: Metrics) -> Calls:
    """Calls that come in."""
    return Calls(metrics, "server", "server_latency", ("received", "sent"))


def outgoing(metrics: Metrics) -> Calls:
    """Calls that go out."""
    return Calls(metrics, "client", "roundtrip_latency", ("sent", "received"))


def client(metrics: Metrics | None) -> Told | None:
    """What a Channel tells of the unary calls that go out; the app's health check has families of its own."""
    if metrics is None:
        return None
    calls = outgoing(metrics)

    def told(path: str, code: int, asked: int, answered: int, began: float) -> None:
        if path != APP_HEALTH:
            calls.unary(path, code, asked, answered, began)
            return
        metrics.count("grpc_io_healthprobes_completed_count", (STATUS[code],))
        metrics.took("grpc_io_healthprobes_roundtrip_latency", (STATUS[code],), (time.monotonic() - began) * 1000)

    return told


def passed_on(wire: Any) -> bool:
    """Of streams daprd counts those for another app."""
    return bool(wire.head.get("dapr-app-id"))
