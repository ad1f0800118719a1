"""One request to an HTTP app and its answer: dialing, Go's error texts, gzip, the limit on calls at a time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

from edge.app import App, AppUnavailable
from edge.channel.fields import Fields
from edge.channel.gzip import is_gzip, unpacked
from edge.http1.client import BadResponse, Client, ClientResponse, ClosedEarly, ConnectError, ResponseTimeout
from edge.http1.messages import BodyTooLarge, Headers
from edge.telemetry.metrics import Cell, Histogram, Metrics

if TYPE_CHECKING:
    import ssl

AGENT = ("User-Agent", "Go-http-client/1.1")
GZIP = ("Accept-Encoding", "gzip")
BODILESS = frozenset(("GET", "HEAD", "DELETE", "OPTIONS"))
DIAL_TIMEOUT = 0.5
MOST_KNOWN = 2048
FAILED = 500  # as daprd counts calls that came to no answer


class HttpClient(Protocol):
    """What sends requests: `edge.http1.client.Client` or, for an app that speaks HTTP/2, `edge.rpc.http2_client.Http2Client`."""

    async def request(
        self, method: str, target: str, headers: Fields = ..., body: bytes | AsyncIterator[bytes] = ..., timeout: float | None = ...
    ) -> ClientResponse: ...
    async def close(self) -> None: ...


class Exchange:
    """Sends requests to one app. Everything raises AppUnavailable when the transport fails."""

    def __init__(self, app: App, client: HttpClient | None = None, middleware: Sequence[Any] = ()) -> None:
        """middleware: of the Configuration's appHttpPipeline."""
        scheme = "https" if app.protocol == "https" else "http"
        self.address = f"{app.channel_address}:{app.port}"
        self.base = f"{scheme}://{self.address}"
        self.host = ("Host", self.address)
        self.slots = asyncio.Semaphore(app.max_concurrency) if app.max_concurrency > 0 else None
        self._app = app
        self._tls = _tls() if scheme == "https" else None
        self._plain: HttpClient = client or Client(app.channel_address, app.port, self._tls, max_head_bytes=app.read_buffer_bytes)
        self._client = self._plain
        self._known: dict[tuple[str, str, int], tuple[Cell, Histogram, Histogram, Histogram]] = {}
        if middleware:
            from edge.channel.pipeline import PipedClient  # few have one

            self._client = PipedClient(self._plain, middleware)

    async def whole(
        self, method: str, target: str, fields: Fields, body: bytes = b"", agent: str = AGENT[1], *, zipping: bool = True
    ) -> tuple[int, Headers, bytes]:
        """Status, headers and whole body of the answer; waits for a free slot. fields are sorted in place.

        zipping: gzip is asked for and unpacked here; else what the caller accepts is in `fields` and the body stays as it came.
        """
        if self.slots is None:
            return await self._whole(method, target, fields, body, agent, zipping)
        async with self.slots:
            return await self._whole(method, target, fields, body, agent, zipping)

    async def _whole(self, method: str, target: str, fields: Fields, body: bytes, agent: str, zipping: bool) -> tuple[int, Headers, bytes]:
        head = [self.host, ("User-Agent", agent)]
        if body or method not in BODILESS:
            head.append(("Content-Length", str(len(body))))
        fields.sort(key=by_name)
        answer = await self.send(method, target, [*head, *fields, GZIP] if zipping else [*head, *fields], body)
        data = answer.data
        if data is None:
            data = await self._read(answer, method, target)
        return answer.status, answer.headers, unpacked(data) if zipping and is_gzip(answer.headers) else data

    async def send(
        self, method: str, target: str, head: Fields, body: bytes | AsyncIterator[bytes] = b"", *, plain: bool = False
    ) -> ClientResponse:
        """The answer with its head complete; takes no slot. plain: not through the user's pipeline, and not counted."""
        client = self._plain if plain else self._client
        began = time.perf_counter()
        try:
            answer = await self._send(client, method, target, head, body)
        except AppUnavailable:
            if not plain:
                self._count(method, target, FAILED, body, began, 0)
            raise
        if not plain:
            self._count(method, target, answer.status, body, began, len(answer.data or b""))
        return answer

    def _count(self, method: str, target: str, status: int, body: object, began: float, received: int) -> None:
        if (metrics := self._app.metrics) is not None:
            counters = self._known.get((method, target, status)) or self._find(metrics, method, target, status)
            counters[0][0] += 1
            counters[1].add((time.perf_counter() - began) * 1000)
            counters[2].add(len(body) if isinstance(body, bytes) else 0)
            counters[3].add(received)

    def _find(self, metrics: Metrics, method: str, target: str, status: int) -> tuple[Cell, Histogram, Histogram, Histogram]:
        """The counters of calls like this one, found once."""
        verb, path = metrics.http.of(method, target.partition("?")[0])
        labels = (verb, path, str(status))
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        found = self._known[method, target, status] = (
            metrics.cell("http_client_completed_count", labels),
            metrics.times("http_client_roundtrip_latency", labels),
            metrics.sizes("http_client_sent_bytes", (verb, path, "")),
            metrics.sizes("http_client_received_bytes", ()),
        )
        return found

    async def _send(self, client: HttpClient, method: str, target: str, head: Fields, body: bytes | AsyncIterator[bytes]) -> ClientResponse:
        try:
            return await client.request(method, target, head, body)
        except ConnectError as error:
            raise AppUnavailable(self.wording(method, target, _dial(error))) from None
        except ResponseTimeout:
            raise AppUnavailable(self.wording(method, target, "context deadline exceeded"), sent=True) from None
        except BodyTooLarge as error:
            raise AppUnavailable(self.wording(method, target, str(error)), sent=True) from None
        except BadResponse as error:
            raise AppUnavailable(self.wording(method, target, str(error)), sent=True) from None
        except (ClosedEarly, OSError):
            raise AppUnavailable(self.wording(method, target, "EOF"), sent=True) from None

    async def _read(self, answer: ClientResponse, method: str, target: str) -> bytes:
        try:
            return await answer.read(self._app.max_body_bytes)
        except BodyTooLarge as error:
            answer.close()
            raise AppUnavailable(self.wording(method, target, str(error)), sent=True) from None
        except OSError:
            raise AppUnavailable(self.wording(method, target, "unexpected EOF"), sent=True) from None

    async def dial(self) -> bool:
        """The port accepts a connection (and a TLS handshake for https)."""
        try:
            async with asyncio.timeout(DIAL_TIMEOUT):
                _, writer = await asyncio.open_connection(self._app.channel_address, self._app.port, ssl=self._tls)
        except (OSError, TimeoutError):
            return False
        writer.close()
        return True

    def wording(self, method: str, target: str, cause: str) -> str:
        """Go's url.Error."""
        return f'{method.capitalize()} "{self.base}{target}": {cause}'

    async def close(self) -> None:
        await self._client.close()


class Body:
    """A streamed answer; when it was read, failed or was given up, the connection and the slot are free again."""

    def __init__(self, answer: ClientResponse, release: Callable[[], None] | None, pieces: AsyncIterator[bytes]) -> None:
        self._answer, self._release, self._pieces = answer, release, pieces

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._pieces)
        except BaseException:
            self.close()
            raise

    async def aclose(self) -> None:
        """Give up on the rest."""
        self.close()

    def close(self) -> None:
        """The same, at once."""
        self._answer.close()
        if self._release is not None:
            self._release()
            self._release = None

    def __del__(self) -> None:
        self.close()


def by_name(field: tuple[str, str]) -> str:
    """Sort key of header fields (Go writes them by name)."""
    return field[0]


def _dial(error: ConnectError) -> str:
    """Go's net.OpError of a failed dial."""
    network = "unix" if error.address.startswith(("/", "@")) else "tcp"
    if error.errno is None:
        return f"dial {network} {error.address}: {error}"
    return f"dial {network} {error.address}: connect: {os.strerror(error.errno).lower()}"


def _tls() -> ssl.SSLContext:
    from edge.channel.tls import unverified  # only an https app needs it

    return unverified()
