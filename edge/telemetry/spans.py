"""Spans: who decides that a call is traced, and what a traced call tells when it is over. Exporting is edge/telemetry/export.py's.

A call that is not sampled costs two ids. Source: dapr pkg/diagnostics/tracing.go @1.18.3; sampling as OpenTelemetry's
ParentBased(TraceIDRatioBased).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from enum import IntEnum
from http import HTTPStatus

DEFAULT_RATE = 1e-4
SAMPLED = 1
HEX_SPAN, HALF = 16, 1 << 63
FIRST_ERROR = 400

Attributes = dict[str, str]


class Kind(IntEnum):
    """As OpenTelemetry numbers them."""

    SERVER = 1
    CLIENT = 2
    PRODUCER = 3


class Span:
    """One call. trace_id, span_id, parent_id: hex; parent_id "" = it is the first. error: why it failed, "" = it did not."""

    __slots__ = (
        "_end",
        "attributes",
        "began_ns",
        "ended_ns",
        "error",
        "flags",
        "kind",
        "name",
        "parent_id",
        "span_id",
        "state",
        "trace_id",
    )

    def __init__(self, end: Callable[[Span], None] | None, name: str, kind: Kind, parent: tuple[str, str, int], state: str) -> None:
        self._end, self.name, self.kind, self.state = end, name, kind, state
        self.trace_id, self.parent_id, self.flags = parent
        self.span_id = f"{random.getrandbits(64) or 1:016x}"
        self.attributes: Attributes = {}
        self.error = ""
        self.began_ns = time.time_ns() if self.sampled else 0
        self.ended_ns = 0

    @property
    def sampled(self) -> bool:
        """It is told to somebody."""
        return self.flags & SAMPLED != 0

    @property
    def traceparent(self) -> str:
        """W3C, for what is called within it."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    def describe(self, attributes: Mapping[str, str]) -> None:
        """Add what is not empty."""
        for key, value in attributes.items():
            if value:
                self.attributes[key] = value

    def fail(self, error: str) -> None:
        """It failed."""
        self.error = error

    def answered(self, status: int) -> None:
        """It ended with an HTTP status."""
        if status >= FIRST_ERROR:
            known = status in HTTPStatus._value2member_map_
            self.error = f"Code({status}): {HTTPStatus(status).phrase if known else 'Unknown'}"

    def end(self) -> None:
        """It is over; once."""
        if self._end is not None and self.sampled:
            self.ended_ns = time.time_ns()
            self._end(self)


class Tracer:
    """Makes the spans of one app's sidecar. export: gets each sampled one when it is over, None = nobody wants them."""

    def __init__(self, rate: float, export: Callable[[Span], None] | None = None) -> None:
        self._bound, self._export = int(min(max(rate, 0.0), 1.0) * HALF), export

    def client(self, name: str, traceparent: str = "", tracestate: str = "") -> Span:
        """For what an app asks, and for calls of it."""
        return self.start(name, Kind.CLIENT, traceparent, tracestate)

    def server(self, name: str, traceparent: str = "", tracestate: str = "") -> Span:
        """For what another sidecar asks."""
        return self.start(name, Kind.SERVER, traceparent, tracestate)

    def producer(self, name: str, traceparent: str = "", tracestate: str = "") -> Span:
        """For each event of a bulk call."""
        return self.start(name, Kind.PRODUCER, traceparent, tracestate)

    def start(self, name: str, kind: Kind, traceparent: str = "", tracestate: str = "") -> Span:
        """A call begins. traceparent: a valid one or "": then it begins a trace, sampled by the rate."""
        if traceparent:
            return Span(self._export, name, kind, (traceparent[3:35], traceparent[36:52], int(traceparent[53:55], 16)), tracestate)
        low = random.getrandbits(64)
        trace_id = f"{random.getrandbits(64):016x}{low or 1:016x}"
        return Span(self._export, name, kind, (trace_id, "", SAMPLED if low >> 1 < self._bound else 0), "")


def rate_of(text: str) -> float:
    """`samplingRate` as a number; what is none is daprd's default."""
    try:
        return float(text)
    except ValueError:
        return DEFAULT_RATE
