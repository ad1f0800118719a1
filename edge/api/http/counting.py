"""The requests of an app's HTTP API, counted by method, path and status (runtime.md §8: http_server_…)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from edge.api.http.call import Answer, Call
from edge.http1.messages import Response
from edge.telemetry.metrics import Metrics

Next = Callable[[Call], Answer]
PathLabel = Callable[[str], str]
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"))


def counted(metrics: Metrics, next_: Next, label: PathLabel) -> Next:
    """What follows, counted when it has answered; `next_` raises nothing but what ends the connection."""

    def counting(call: Call) -> Answer:
        began = time.perf_counter()
        answer = next_(call)
        if isinstance(answer, Response):
            _note(metrics, call, answer, began, label)
            return answer
        return later(call, answer, began)

    async def later(call: Call, answer: Awaitable[Response], began: float) -> Response:
        response = await answer
        _note(metrics, call, response, began, label)
        return response

    return counting


def _note(metrics: Metrics, call: Call, response: Response, began: float, label: PathLabel) -> None:
    method = call.method if call.method in METHODS else "UNKNOWN"
    labels = (method, label(call.path), str(response.status))
    metrics.count("http_server_request_count", labels)
    metrics.count("http_server_response_count", labels)
    metrics.took("http_server_latency", labels, int((time.perf_counter() - began) * 1000))
    announced = call.request.headers.get("content-length", "0")
    metrics.sized("http_server_request_bytes", (), int(announced) if announced.isdecimal() else 0)
    metrics.sized("http_server_response_bytes", (), len(response.body) if isinstance(response.body, bytes) else 0)
