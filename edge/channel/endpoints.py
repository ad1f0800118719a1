"""HTTPEndpoint resources and plain URLs as targets of invocation: one client for each server, requests as daprd's.

Source: dapr pkg/runtime/channels/channels.go, pkg/channel/http/http_channel.go @1.18.3; differs: the app's token never leaves to them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from edge.app import App, AppUnavailable
from edge.channel.exchange import Exchange
from edge.channel.fields import PATH_SAFE, Fields, canonical
from edge.channel.http import HttpChannel
from edge.config.resources import Entry, HttpEndpoint
from edge.gourl import referer
from edge.http1.client import Client
from edge.model import InvokeRequest, InvokeResponse
from edge.record import record

if TYPE_CHECKING:
    import ssl

PORTS = {"http": 80, "https": 443}
MOST_SERVERS = 64
MOST_REDIRECTS = 10
SEE_OTHER = frozenset((301, 302, 303))
SAME_METHOD = frozenset((307, 308))
CROSS = frozenset(("authorization", "cookie", "www-authenticate"))

Resolve = Callable[[HttpEndpoint, Sequence[Entry]], Awaitable[Mapping[str, str]]]
"""The texts of an endpoint's entries by name: values, environment, secrets."""


@record
class Server:
    """Where a base URL leads. prefix: the path that it begins with, without a last slash."""

    scheme: str
    host: str
    port: int
    netloc: str
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Server:
        """Raises AppUnavailable."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise AppUnavailable(f'parse "{url}": {error}') from None
        if parts.scheme not in PORTS or not parts.hostname:
            raise AppUnavailable(f'unsupported URL "{url}": it needs http:// or https:// and a host')
        netloc = parts.netloc.rpartition("@")[2]
        return cls(parts.scheme, parts.hostname, port or PORTS[parts.scheme], netloc, parts.path.rstrip("/") if parts.path != "/" else "")


class EndpointExchange(Exchange):
    """The same exchange with a server that has a name, a scheme and perhaps certificates of its own."""

    def __init__(self, app: App, server: Server, tls: ssl.SSLContext | None) -> None:
        super().__init__(app, Client(server.host, server.port, tls))
        self.address = f"{server.host}:{server.port}"
        self.base = f"{server.scheme}://{server.netloc}"
        self.host = ("Host", server.netloc)


class EndpointChannel(HttpChannel):
    """One server. fixed: headers that the resource sets."""

    def __init__(self, server: Server, fixed: Fields, tls: ssl.SSLContext | None) -> None:
        app = App(server.netloc, port=server.port, channel_address=server.host)
        super().__init__(app, exchange=EndpointExchange(app, server, tls))
        self.server, self._fixed = server, fixed

    def target(self, path: str, query: str) -> str:
        """The request's target: the base URL's path, then the method's."""
        joined = f"{self.server.prefix}/{path}" if path else self.server.prefix or "/"
        text = quote(joined, safe=PATH_SAFE.replace("%", ""))
        return f"{text}?{query}" if query else text

    def own_fields(self) -> Fields:
        return self._fixed

    def url(self, request: InvokeRequest) -> str:
        """What is called."""
        return f"{self.server.scheme}://{self.server.netloc}{self.target(request.path, request.query)}"


class EndpointChannels:
    """The channels of a daemon, by endpoint or base URL."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._channels: OrderedDict[str, EndpointChannel] = OrderedDict()
        self._opening = asyncio.Lock()

    async def invoke(self, target: str, endpoint: HttpEndpoint | None, request: InvokeRequest) -> InvokeResponse:
        """target: the endpoint's name, or a URL. An endpoint's redirects are followed, a URL's are answers. Raises AppUnavailable."""
        channel = await self._channel(target, endpoint)
        answer = await channel.invoke(request)
        home = f"{channel.server.scheme}://{channel.server.netloc}"
        from_caller = any(name == "referer" for name, _ in request.headers)
        for _ in range(MOST_REDIRECTS if endpoint is not None else 0):
            further = _redirected(channel, request, answer)
            if further is None:
                break
            await _drop(answer)
            url, next_ = further
            request = next_ if from_caller else _referred(next_, channel.url(request), url)
            channel = await (self._channel(f"{target} {home}", endpoint, root=True) if url == home else self._channel(url, None))
            answer = await channel.invoke(request)
        return answer

    async def close(self) -> None:
        """End all connections."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()

    async def _channel(self, name: str, endpoint: HttpEndpoint | None, *, root: bool = False) -> EndpointChannel:
        """root: without the path of the base URL."""
        async with self._opening:
            found = self._channels.get(name)
            if found is None:
                found = self._channels[name] = await self._open(name, endpoint, root=root)
                while len(self._channels) > MOST_SERVERS:
                    await self._channels.popitem(last=False)[1].close()
            self._channels.move_to_end(name)
            return found

    async def _open(self, name: str, endpoint: HttpEndpoint | None, *, root: bool) -> EndpointChannel:
        server = Server.parse(name if endpoint is None else endpoint.base_url)
        if root:
            server = replace(server, prefix="")
        fixed: Fields = []
        pem: Mapping[str, str] = {}
        if endpoint is not None:
            texts = await self._resolve(endpoint, endpoint.headers)
            fixed = [(canonical(header), value) for header, value in texts.items() if header.lower() != "host"]
            pem = await self._resolve(endpoint, endpoint.tls)
        tls = await asyncio.to_thread(_context, name, pem) if server.scheme == "https" else None
        return EndpointChannel(server, fixed, tls)


def _redirected(channel: EndpointChannel, request: InvokeRequest, answer: InvokeResponse) -> tuple[str, InvokeRequest] | None:
    """Where a redirect leads (the server's base URL), and the request for it; None when the answer is none that can be followed."""
    location = next((value for name, value in answer.headers if name.lower() == "location"), "")
    if not location or answer.status not in SEE_OTHER | SAME_METHOD:
        return None
    url = urlsplit(urljoin(channel.url(request), location))
    base = f"{url.scheme}://{url.netloc}"
    headers = [(name, value) for name, value in request.headers if url.netloc == channel.server.netloc or name not in CROSS]
    if answer.status in SEE_OTHER:
        method = request.method if request.method in ("GET", "HEAD") else "GET"
        headers = [field for field in headers if field[0] not in ("content-length", "transfer-encoding")]
        return base, InvokeRequest(method, url.path.lstrip("/"), url.query, headers)
    if not isinstance(request.body, bytes):
        return None
    return base, InvokeRequest(request.method, url.path.lstrip("/"), url.query, headers, request.body, request.content_type)


def _referred(request: InvokeRequest, came_from: str, url: str) -> InvokeRequest:
    """The request with what net/http says of a redirect's origin: nothing of https to http, no password."""
    headers = [field for field in request.headers if field[0] != "referer"]
    if (before := referer(came_from, url)) is not None:
        headers.append(("referer", before))
    return replace(request, headers=headers)


async def _drop(answer: InvokeResponse) -> None:
    if not isinstance(answer.body, bytes):
        async for _ in answer.body:
            pass


def _context(name: str, pem: Mapping[str, str]) -> ssl.SSLContext:
    """TLS as the resource says: its authority, its client certificate; else the system's authorities. Raises AppUnavailable."""
    import os
    import ssl

    try:
        context = ssl.create_default_context(cadata=pem.get("rootCA") or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if pem.get("certificate") and pem.get("privateKey"):
            file = os.memfd_create("edged-client-certificate")
            try:
                os.write(file, f"{pem['privateKey']}\n{pem['certificate']}\n".encode())
                context.load_cert_chain(f"/proc/self/fd/{file}")
            finally:
                os.close(file)
    except (ssl.SSLError, ValueError, OSError):
        raise AppUnavailable(f"failed to use the certificates of http endpoint {name}: check spec.clientTLS") from None
    return context
