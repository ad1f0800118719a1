"""The user's pipeline (`spec.appHttpPipeline`) around every request to an HTTP app but health probes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from edge.channel.exchange import HttpClient
from edge.channel.fields import Fields, canonical
from edge.http1.client import ClientResponse
from edge.http1.messages import BodyTooLarge, Headers, Request, Response

FRAMING = frozenset(("content-length", "transfer-encoding"))

Next = Callable[[Request], Awaitable[Response]]


class PipedClient:
    """Sends requests through middleware. steps: `edge.component.HttpMiddleware`, the outermost first."""

    def __init__(self, client: HttpClient, steps: Sequence[Any]) -> None:
        self.plain, self._steps = client, steps

    async def request(
        self,
        method: str,
        target: str,
        headers: Fields | tuple[()] = (),
        body: bytes | AsyncIterator[bytes] = b"",
        timeout: float | None = None,
    ) -> ClientResponse:
        """Raises as the client's."""
        fields = Headers([(name.lower(), value) for name, value in headers])
        whole = isinstance(body, bytes)
        given = Request(method, target, fields, body if isinstance(body, bytes) else None, None if whole else _Passing(body))  # type: ignore[arg-type]
        last = _Last(self.plain, given, timeout)
        next_: Next = last
        for step in reversed(self._steps):
            next_ = _behind(step, next_)
        answer = await next_(given)
        return await last.as_answered(answer)

    async def close(self) -> None:
        await self.plain.close()


def _behind(step: Any, next_: Next) -> Next:
    async def run(request: Request) -> Response:
        found: Response = await step.handle(request, next_)
        return found

    return run


class _Passing:
    """A request's body that comes in pieces, as a middleware may read it."""

    def __init__(self, pieces: Any) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        found: AsyncIterator[bytes] = aiter(self._pieces)
        return found

    async def read(self, limit: int = -1) -> bytes:
        body = b"".join([piece async for piece in self])
        if 0 < limit < len(body):
            raise BodyTooLarge
        return body


class _Last:
    """What follows the pipeline: the app itself."""

    def __init__(self, client: HttpClient, given: Request, timeout: float | None) -> None:
        self._client, self._given, self._timeout = client, given, timeout
        self._answer: ClientResponse | None = None
        self._shown: Response | None = None

    async def __call__(self, request: Request) -> Response:
        body = request.data if request.data is not None else aiter(request.incoming)  # type: ignore[arg-type]
        changed = request.data is not self._given.data  # then its length is what it has now
        fields = [(canonical(name), value) for name, value in request.headers if not changed or name not in FRAMING]
        answer = self._answer = await self._client.request(request.method, request.target, fields, body, self._timeout)
        self._shown = Response(answer.status, list(answer.headers), answer.data if answer.data is not None else aiter(answer.stream()))
        return self._shown

    async def as_answered(self, response: Response) -> ClientResponse:
        """The app's own answer if nothing changed it, else one with what the pipeline made of it."""
        if response is self._shown and self._answer is not None:
            return self._answer
        body = response.body if isinstance(response.body, bytes) else b"".join([piece async for piece in response.body])
        headers = Headers([(name.lower(), value) for name, value in response.headers])
        return ClientResponse(response.status, "", headers, self._abort, body)

    def _abort(self) -> None:
        if self._answer is not None:
            self._answer.close()
