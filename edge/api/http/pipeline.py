"""The user's pipeline (`spec.httpPipeline`): middleware components around every call of the API, in the order written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge.api.http.call import Call
from edge.api.http.router import clean
from edge.api.http.server import Middleware, Next
from edge.http1.messages import Request, Response


def pipeline(components: Sequence[Any]) -> tuple[Middleware, ...]:
    """Steps of a Face, outermost first. components: `edge.component.HttpMiddleware`."""
    return tuple(_step(component) for component in components)


def _step(component: Any) -> Middleware:
    async def step(call: Call, next_: Next) -> Response:
        async def go_on(request: Request) -> Response:
            if request is not call.request:
                _replace(call, request)
            answer = next_(call)
            return answer if isinstance(answer, Response) else await answer

        found: Response = await component.handle(call.request, go_on)
        return found

    return step


def _replace(call: Call, request: Request) -> None:
    """The call is about this request from now on."""
    call.request, call.method, call.query, call.raw_path = request, request.method, request.query, request.path
    call.path = clean(request.path)
