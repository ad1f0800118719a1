"""The requests of an app's HTTP API, counted by method, path and status (runtime.md §8: http_server_…)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from edge.api.http.call import Answer, Call
from edge.http1.messages import Response
from edge.telemetry.metrics import Cell, Histogram, Metrics

Next = Callable[[Call], Answer]
MOST_KNOWN = 2048


def counted(metrics: Metrics, next_: Next) -> Next:
    """What follows, counted when it has answered; `next_` raises nothing but what ends the connection."""
    note = _Requests(metrics).note

    def counting(call: Call) -> Answer:
        began = time.perf_counter()
        answer = next_(call)
        if isinstance(answer, Response):
            note(call, answer, began)
            return answer
        return later(call, answer, began)

    async def later(call: Call, answer: Awaitable[Response], began: float) -> Response:
        response = await answer
        note(call, response, began)
        return response

    return counting


class _Requests:
    """The counters that a request adds to, found once per method, path and status."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._asked, self._answered = (metrics.sizes(f"http_server_{way}_bytes", ()) for way in ("request", "response"))
        self._known: dict[tuple[str, str, int], tuple[Cell, Cell, Histogram]] = {}

    def note(self, call: Call, response: Response, began: float) -> None:
        request = call.request
        key = (request.method, call.path, response.status)
        known = self._known.get(key) or self._find(key)
        known[0][0] += 1
        known[1][0] += 1
        known[2].add(int((time.perf_counter() - began) * 1000))
        announced = "0" if request.method == "GET" else request.headers.get("content-length", "0")
        self._asked.add(int(announced) if announced.isdecimal() else 0)
        self._answered.add(len(response.body) if isinstance(response.body, bytes) else 0)

    def _find(self, key: tuple[str, str, int]) -> tuple[Cell, Cell, Histogram]:
        method, path, status = key
        metrics = self._metrics
        labels = (*metrics.http.of(method, path), str(status))
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        asked = metrics.cell("http_server_request_count", labels)
        answered = metrics.cell("http_server_response_count", labels) if metrics.http.responses else [0.0]
        found = self._known[key] = asked, answered, metrics.times("http_server_latency", labels)
        return found
