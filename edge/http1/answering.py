"""The answering half of a server connection: calls the handler, writes its answer, knows when the connection may go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from typing import Any

from edge import eager
from edge.http1.arriving import Arriving
from edge.http1.encode import LAST_CHUNK, Plan, chunk
from edge.http1.hub import Hub
from edge.http1.messages import Request, Response
from edge.http1.streams import ClosedEarly
from edge.http1.writer import Writer
from edge.reading import Reading

log = logging.getLogger("dapr.runtime.http")


class Answering(Reading):
    """At most one request is in flight (`_request`); its body may still be `_arriving`. The input half implements `_go_on`."""

    __slots__ = ("_arriving", "_closing", "_eof", "_hub", "_keep", "_linger", "_pending", "_request", "_transport", "_writer")

    _transport: asyncio.Transport
    _writer: Writer

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._request: Request | None = None
        self._arriving: Arriving | None = None
        self._pending: asyncio.Future[Any] | None = None  # the handler, or the stream of its answer
        self._keep = True
        self._closing = False  # no more requests are taken; close once all is written
        self._linger = False  # and the client may still be sending then
        self._eof = False

    def _go_on(self) -> None:
        """Take the next request from what was held back, write what is answered."""
        raise NotImplementedError

    def _call(self, request: Request) -> None:
        try:
            answer = self._hub.handler(request)
        except Exception:
            log.exception("the handler of %s failed", request.method)
            answer = Response(500)
        if isinstance(answer, Response):
            self._respond(request, answer)
        else:
            self._await(request, answer)

    def _await(self, request: Request, answer: Awaitable[Response]) -> None:
        if isinstance(answer, asyncio.Future):
            future = answer
        else:
            future = eager.start(answer if isinstance(answer, Coroutine) else _run(answer), self._hub.loop, "http1.handler")
        if future.done() and not future.cancelled() and future.exception() is None:
            self._respond(request, future.result())
        else:
            self._pending = future
            future.add_done_callback(self._handled)

    def _handled(self, future: asyncio.Future[Response]) -> None:
        """The awaitable answer is there."""
        self._pending = None
        if future.cancelled():
            self._transport.abort()
            return
        error = future.exception()
        if error is not None and not isinstance(error, ClosedEarly):
            log.error("the handler failed", exc_info=error)
        if self._transport.is_closing() or self._request is None:
            return
        failure = Response(400 if isinstance(error, ClosedEarly) else 500)
        self._respond(self._request, future.result() if error is None else failure)
        if self._pending is None:
            self._go_on()

    def _respond(self, request: Request, response: Response) -> None:
        body = response.body
        if not isinstance(body, bytes):
            return self._respond_in_pieces(request, response)
        if self._keep and request.incoming is None and request.method != "HEAD" and request.version == "1.1":
            data = self._hub.encoder.short(response, body)
            if data is not None:
                self._writer.out.append(data)
                self._request = None
                return None
        plan = self._plan(request, response)
        self._writer.out.append(plan.head)
        if plan.chunked:
            self._writer.out.append(chunk(body) + LAST_CHUNK if body else LAST_CHUNK)
        elif plan.body:
            self._writer.out.append(body)
        return self._answered(request)

    def _respond_in_pieces(self, request: Request, response: Response) -> None:
        plan = self._plan(request, response)
        if not plan.body:
            self._writer.out.append(plan.head)
            self._answered(request)
        elif not isinstance(response.body, bytes):
            self._pending = self._hub.loop.create_task(self._writer.stream(plan, response.body), name="http1.answer")
            self._pending.add_done_callback(self._streamed)

    def _plan(self, request: Request, response: Response) -> Plan:
        keep = self._keep and (self._arriving is None or self._arriving.reusable())
        plan = self._hub.encoder.plan(response, request.method, request.version, keep)
        self._keep = plan.keep
        return plan

    def _streamed(self, future: asyncio.Future[None]) -> None:
        """The streamed answer is written, or broke off: then without its last chunk, so that the client sees it is not whole."""
        self._pending = None
        error = None if future.cancelled() else future.exception()
        if error is not None and not isinstance(error, OSError):
            log.error("the body of an answer failed", exc_info=error)
        if error is not None or future.cancelled() or self._request is None:
            self._transport.close()
            return
        self._answered(self._request)
        self._go_on()

    def _answered(self, request: Request) -> None:
        """The answer is complete; what is left of the request's body is nobody's any more."""
        self._request = None
        if not self._keep:
            self._closing = True
        if request.incoming is not None:
            self._set_reading(True)
        if self._arriving is not None:
            self._arriving.discard()
            self._linger = True

    def _set_reading(self, wanted: bool) -> None:
        if self._transport.is_closing() or self._eof:
            return
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _give_up(self) -> None:
        """The client is gone: nobody waits for the answer."""
        if self._pending is not None:
            self._pending.cancel()


async def _run(answer: Awaitable[Response]) -> Response:
    return await answer
