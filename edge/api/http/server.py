"""The HTTP face of one app: what happens to a request before and behind its handler (http-api.md §1.2).

Order: clean path, trace context, CORS, API token, middleware pipeline, API log, router. Steps that are not configured cost nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from edge import errors
from edge.api.baggage import problem
from edge.api.http import trace
from edge.api.http.answers import render, text
from edge.api.http.call import Answer, Call
from edge.api.http.cors import Cors
from edge.api.http.counting import counted
from edge.api.http.router import Router, clean
from edge.app import App
from edge.blocks import Blocks
from edge.errors import EdgeError
from edge.http1.messages import Request, Response
from edge.record import record

if TYPE_CHECKING:
    from edge.telemetry.spans import Tracer

log = logging.getLogger("dapr.runtime.http")
EXEMPT = frozenset(("v1.0/healthz", "v1.0/healthz/outbound"))
TOKEN = "dapr-api-token"

Next = Callable[[Call], Answer]
Middleware = Callable[[Call, Next], Awaitable[Response]]
"""Part of the user's pipeline: may answer itself, change `call.path`, `call.query` or the request, or call what follows."""


@record
class FaceSettings:
    """How one listener behaves. token: what callers must send, "" = nothing. pipeline: outermost first. traced: False if sampling is 0.

    api_logging: what logs each call, None = nothing does.
    """

    token: str = ""
    allowed_origins: str = ""
    pipeline: tuple[Middleware, ...] = ()
    traced: bool = True
    api_logging: Callable[[Next], Next] | None = None


class Face:
    """Answers the requests of one app: `Face.handle` is a handler of edge/http1."""

    def __init__(self, app: App, blocks: Blocks, router: Router, settings: FaceSettings) -> None:
        self.app, self._blocks, self._router, self._settings = app, blocks, router, settings
        self._traced, self._tracer = settings.traced, app.tracer
        self._cors = Cors(settings.allowed_origins) if settings.allowed_origins else None
        next_: Next = self._route
        if settings.api_logging is not None:
            next_ = settings.api_logging(_caught(next_))
        for middleware in reversed(settings.pipeline):
            next_ = _through(middleware, next_)
        if settings.token:
            next_ = self._guarded(next_)
        if self._cors is not None:
            next_ = self._crossed(self._cors, next_)
        self._next = next_ if app.metrics is None else counted(app.metrics, _caught(next_))

    def handle(self, request: Request) -> Answer:
        """The answer, or its coroutine."""
        path = request.path
        if path == "*" and request.method == "OPTIONS":
            return Response(200)
        health = "/healthz" in path
        if "//" in path or "/." in path or path.endswith("/"):
            path = clean(path)
        if health or not self._traced:
            context = trace.UNTRACED if health else trace.untraced(request.headers)
            return _answer(Call(self.app, self._blocks, request, path, context), self._next)
        context = trace.of(request.headers)
        if context.baggage and (wrong := problem(context.baggage)):
            return text(400, f"invalid baggage header: {wrong}")
        if self._tracer is not None:
            return self._spanned(self._tracer, request, path, context)
        call = Call(self.app, self._blocks, request, path, context)
        return _with(_answer(call, self._next), context.headers)

    def _spanned(self, tracer: Tracer, request: Request, path: str, context: trace.Trace) -> Answer:
        """The answer of a call that has a span."""
        from edge.api.http import spans  # with tracing

        span, context = spans.begin(tracer, path, context)
        call = Call(self.app, self._blocks, request, path, context)
        return spans.ending(span, call, _with(_answer(call, self._next), context.headers))

    def _route(self, call: Call) -> Answer:
        refused = self._router(call)
        if refused is not None or call.route is None:
            return refused or Response(404)
        return call.route.handler(call)

    def _guarded(self, next_: Next) -> Next:
        from hmac import compare_digest  # brings OpenSSL: only with a token

        token = self._settings.token.encode()

        def guarded(call: Call) -> Answer:
            given = call.request.headers.get(TOKEN, "").encode("utf-8", "surrogateescape")
            if compare_digest(given, token) or (call.method == "GET" and call.raw_path.strip("/") in EXEMPT):
                return next_(call)
            return text(401, "invalid api token")

        return guarded

    @staticmethod
    def _crossed(cors: Cors, next_: Next) -> Next:
        def crossed(call: Call) -> Answer:
            if call.method == "OPTIONS" and (preflight := cors.preflight(call.request.headers)) is not None:
                return preflight
            return _with(_answer(call, next_), tuple(cors.fields(call.request.headers)))

        return crossed


def _answer(call: Call, next_: Next) -> Answer:
    """What follows, its failures as answers."""
    try:
        answer = next_(call)
    except EdgeError as error:
        return _refusal(call, error)
    except Exception as error:
        return _bug(call, error)
    return answer if isinstance(answer, Response) else _answer_later(call, answer)


def _caught(next_: Next) -> Next:
    return lambda call: _answer(call, next_)


async def _answer_later(call: Call, answer: Awaitable[Response]) -> Response:
    try:
        return await answer
    except EdgeError as error:
        return _refusal(call, error)
    except OSError:
        raise  # the caller is gone: the server closes the connection
    except Exception as error:
        return _bug(call, error)


def _refusal(call: Call, error: EdgeError) -> Response:
    if (metrics := call.app.metrics) is not None and metrics.errors:
        from edge.telemetry.categories import note  # few want them

        note(metrics, error.code.tag)
    return render(error)


def _bug(call: Call, error: Exception) -> Response:
    log.error("%s %s failed", call.method, call.route.name if call.route else "", exc_info=error)
    return render(EdgeError(errors.INTERNAL, error=f"internal error: {type(error).__name__}"))


def _with(answer: Answer, fields: tuple[tuple[str, str], ...]) -> Answer:
    """The answer with these headers; a handler's own of the same name win."""
    if not isinstance(answer, Response):
        return _with_later(answer, fields)
    own = answer.headers
    if own:
        names = {name.lower() for name, _ in own}
        fields = tuple(item for item in fields if item[0] not in names or item[0] == "vary")
    return Response(answer.status, (*own, *fields), answer.body)


async def _with_later(answer: Awaitable[Response], fields: tuple[tuple[str, str], ...]) -> Response:
    done = _with(await answer, fields)
    assert isinstance(done, Response)
    return done


def _through(middleware: Middleware, next_: Next) -> Next:
    return lambda call: middleware(call, next_)
