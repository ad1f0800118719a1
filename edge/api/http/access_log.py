"""The API log: a line for each call of an app's HTTP API, fields and names as daprd's. Imported where it is on.

Source: dapr pkg/api/http/server.go useAPILogging @1.18.3; differs: the size of an answer that is streamed is 0.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from edge.api.http.call import Answer, Call
from edge.api.http.invoke import find_target
from edge.http1.messages import Response
from edge.record import record

log = logging.getLogger("dapr.runtime.http-info")

Next = Callable[[Call], Answer]


@record
class AccessLog:
    """obfuscate: calls by name, not by URL. health: health checks too. ids: actors' ids are part of a name."""

    obfuscate: bool = False
    health: bool = True
    ids: bool = True

    def logged(self, next_: Next) -> Next:
        """What follows, logged when it has answered."""

        def logged(call: Call) -> Answer:
            began = time.monotonic()
            answer = next_(call)
            if isinstance(answer, Response):
                self._note(call, answer, began)
                return answer
            return self._later(call, answer, began)

        return logged

    async def _later(self, call: Call, answer: Awaitable[Response], began: float) -> Response:
        response = await answer
        self._note(call, response, began)
        return response

    def _note(self, call: Call, response: Response, began: float) -> None:
        route = call.route
        if route is None or (route.health and not self.health):
            return
        fields: dict[str, object] = {
            "duration": int((time.monotonic() - began) * 1000),
            "method": self._name(call, route.name) if self.obfuscate else f"{call.method} {unquote(call.request.path)}",
            "code": response.status,
            "size": len(response.body) if isinstance(response.body, bytes) else 0,
        }
        agent = call.request.headers.get("user-agent")
        if agent:
            fields["useragent"] = agent
        log.info("HTTP API Called", extra={"fields": fields})

    def _name(self, call: Call, name: str) -> str:
        if name == "InvokeService":
            app, _ = find_target(unquote(call.raw_path, errors="surrogateescape"), call.request.headers)
            return f"{name}/{app}" if app else name
        if name == "InvokeActor":
            return f"{name}/{'.'.join(call.params[: 2 if self.ids else 1])}"
        return name
