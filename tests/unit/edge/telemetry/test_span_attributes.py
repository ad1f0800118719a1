"""What spans say of a call's headers, without a collector: never a token."""

from __future__ import annotations

from typing import Any, cast

from edge.api.grpc import spans as grpc_spans
from edge.api.http import spans as http_spans
from edge.api.http import trace
from edge.api.http.call import Call
from edge.app import App
from edge.http1.messages import Headers, Request, Response
from edge.telemetry.spans import Kind, Span

SENT = [("dapr-api-token", "open-sesame-7"), ("dapr-shelf", "top"), ("authorization", "open-sesame-7")]
PARENT = ("0af7651916cd43dd8448eb211c80319c", "", 1)


class Wire:
    """As much of a gRPC call as a span's end looks at."""

    path, problem = "/dapr.proto.runtime.v1.Dapr/GetMetadata", ""

    def __init__(self, span: Span) -> None:
        self.span = span

    def metadata(self) -> list[tuple[str, str]]:
        return SENT


def test_spans_carry_daprs_headers_but_no_token() -> None:
    told: list[Span] = []
    http, grpc = (Span(told.append, name, Kind.CLIENT, PARENT, "") for name in ("http", "grpc"))
    request = Request("GET", "/v1.0/metadata", Headers(SENT))

    http_spans.ending(http, Call(App("shop"), cast(Any, None), request, request.path, trace.UNTRACED), Response(200))
    grpc_spans.end(cast(Any, Wire(grpc)), 0)

    assert [span.attributes["dapr-shelf"] for span in told] == ["top", "top"]
    assert not any("sesame" in value for span in told for value in span.attributes.values())
