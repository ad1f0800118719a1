"""Health and shutdown routes (http-api.md §17, §18)."""

from __future__ import annotations

from edge.api.http.call import Call
from edge.api.http.router import Route
from edge.http1.messages import Response

FORCE = "dapr-force-shutdown"


def healthz(call: Call) -> Response:
    call.blocks.health.check(call.app, call.argument("appid"))
    return Response(204)


def outbound(call: Call) -> Response:
    call.blocks.health.check_outbound(call.app)
    return Response(204)


def shutdown(call: Call) -> Response:
    if call.blocks.shutdown is not None:
        call.blocks.shutdown(call.app, call.request.headers.get(FORCE, "").lower() == "true")
    return Response(204)


ROUTES = [
    Route(("GET",), "/v1.0/healthz", healthz, "healthz", "Healthz", health=True),
    Route(("GET",), "/v1.0/healthz/outbound", outbound, "healthz", "HealthzOutbound", health=True),
    Route(("POST",), "/v1.0/shutdown", shutdown, "shutdown", "Shutdown"),
]
