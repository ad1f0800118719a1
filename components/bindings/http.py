"""`bindings.http`: requests to one HTTP endpoint, an operation for each verb.

Source: components-contrib bindings/http @1.18.4 (headers, texts and the manners of Go's client: redirects, gzip); differs: HTTP/1.1 only.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote, urljoin, urlsplit

from components.bindings._go import Answered
from edge.component import Context, Feature
from edge.errors import ComponentError, Invalid, Unavailable, Unsupported
from edge.gourl import BAD_ESCAPE, referer
from edge.http1.client import BadResponse, Client, ClientResponse, ClosedEarly, ConnectError, ResponseTimeout
from edge.model import BindingResult
from edge.record import record
from edge.spec import Duration, Size, meta, truthy

if TYPE_CHECKING:
    import ssl

VERBS = ("create", "get", "head", "post", "put", "patch", "delete", "options", "trace")
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
TRACE = ("traceparent", "tracestate", "baggage")
JSON = "application/json; charset=utf-8"
SAFE = "/%:@!$&'()*+,;=~-._[]?"
DIAL_TIMEOUT = 15.0
MOST_REDIRECTS = 10
MOST_CLIENTS = 64
SECRET = frozenset({"authorization", "www-authenticate", "cookie", "cookie2"})


@record
class Fields:
    """Metadata of the component."""

    url: str = meta(doc="Base address; the request's metadata `path` is appended.", example="https://example.com/api")
    response_timeout: Duration = meta(Duration(0), doc="Longest time for the whole exchange; 0 = no limit.")
    max_response_body_size: Size = meta(Size(100 << 20), doc="Bodies are cut off there; 0 or less = no limit.")
    mtls_root_ca: str = meta("", name="MTLSRootCA", doc="Authority that signed the server's certificate: PEM text or a file's path.")
    mtls_client_cert: str = meta("", name="MTLSClientCert", doc="The client's certificate: PEM text or a file's path.")
    mtls_client_key: str = meta("", name="MTLSClientKey", doc="The client's key: PEM text or a file's path.", sensitive=True)
    mtls_renegotiation: str = meta(
        "",
        name="MTLSRenegotiation",
        doc="Read and not needed: TLS renegotiation is never done.",
        choices=("", "RenegotiateNever", "RenegotiateOnceAsClient", "RenegotiateFreelyAsClient"),
    )
    security_token: str = meta("", doc="Value of the header `securityTokenHeader`.", sensitive=True)
    security_token_header: str = meta("", doc="Header that carries `securityToken`.", example="X-Security-Token")
    error_if_not2_xx: str = meta(
        "true", name="errorIfNot2XX", doc="Whether another status is an error; a request's metadata may say otherwise."
    )


class Binding:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset({Feature.OUTPUT_BINDING})
    operations: ClassVar[tuple[str, ...]] = VERBS
    journal_out: ClassVar[bool] = False

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._working_dir = context.working_dir
        self._clients: dict[tuple[str, str, int], Client] = {}
        self._tls: ssl.SSLContext | None = None

    async def open(self) -> None:
        """Connects to nothing yet. Raises Invalid for TLS material that cannot work."""
        fields = self.metadata
        if fields.mtls_root_ca or (fields.mtls_client_cert and fields.mtls_client_key):
            from components.bindings._pem import client_context  # OpenSSL, for those who need it

            pems = (
                ("MTLSRootCA", fields.mtls_root_ca),
                ("MTLSClientCert", fields.mtls_client_cert),
                ("MTLSClientKey", fields.mtls_client_key),
            )
            self._tls = await asyncio.to_thread(client_context, *pems, self._working_dir)

    async def close(self) -> None:
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.close()

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> BindingResult | None:
        """The response with metadata `statusCode`, `status` and its headers. Raises Answered for another status than 2xx, Unavailable."""
        method = "POST" if operation == "create" else operation.upper()
        if operation not in VERBS:
            raise Unsupported(f"invalid operation: {operation}")
        url = self.metadata.url
        if path := metadata.get("path", ""):
            url = f"{url.rstrip('/')}/{path.lstrip('/')}"
        timeout = self.metadata.response_timeout
        try:
            async with asyncio.timeout(timeout if timeout > 0 else None):
                response = await self._follow(method, url, self._headers(method, metadata), data if method in WITH_BODY else b"")
                result = await self._result(response)
        except TimeoutError:
            raise Unavailable(f'{method.capitalize()} "{url}": context deadline exceeded') from None
        strict = metadata.get("errorIfNot2XX") or self.metadata.error_if_not2_xx or "true"
        if truthy(strict) and response.status // 100 != 2:
            raise Answered(f"received status code {response.status}", result.metadata)
        return result

    def _headers(self, method: str, metadata: Mapping[str, str]) -> dict[str, str]:
        """Lower-case name → value; metadata that begin with a capital letter are headers."""
        headers = {"accept": JSON} | ({"content-type": JSON} if method in WITH_BODY else {})
        if self.metadata.security_token and self.metadata.security_token_header:
            headers[self.metadata.security_token_header.lower()] = self.metadata.security_token
        headers |= {name.lower(): value for name, value in metadata.items() if "A" <= name[:1] <= "Z"}
        headers |= {name: value for name in TRACE if (value := metadata.get(name, ""))}
        headers.pop("transfer-encoding", None)
        zipped = {} if method == "HEAD" else {"accept-encoding": "gzip"}
        return {"user-agent": "Go-http-client/1.1", **zipped, **headers}

    async def _follow(self, method: str, url: str, headers: dict[str, str], body: bytes) -> ClientResponse:
        """The answer after redirects, as Go's client follows them. Raises ComponentError."""
        for _ in range(MOST_REDIRECTS):
            response = await self._send(method, url, headers, body)
            location = response.headers.get("location", "")
            if response.status not in (301, 302, 303, 307, 308) or (response.status >= 307 and not location):
                return response
            if not location:
                raise Answered(f'{method.capitalize()} "{url}": {response.status} response missing Location header', {})
            await response.read()
            if response.status < 307:
                method, body = ("HEAD" if method == "HEAD" else "GET"), b""
                headers = {name: value for name, value in headers.items() if not name.startswith("content-")}
            following = urljoin(url, location)
            if (before := referer(url, following)) is not None:
                headers["referer"] = headers.get("referer") or before
            if urlsplit(following).hostname != urlsplit(url).hostname:
                headers = {name: value for name, value in headers.items() if name not in SECRET}
            url = following
        raise ComponentError(f'{method.capitalize()} "{url}": stopped after {MOST_REDIRECTS} redirects')

    async def _send(self, method: str, url: str, headers: dict[str, str], body: bytes) -> ClientResponse:
        client, target = await self._client(method, url)
        try:
            return await client.request(method, target, list(headers.items()), body)
        except ConnectError as error:
            known = error.errno is not None
            reason = f"dial tcp {error.address}: connect: {os.strerror(error.errno or 0).lower()}" if known else str(error)
            raise Unavailable(f'{method.capitalize()} "{url}": {reason}') from error
        except (BadResponse, ClosedEarly, ResponseTimeout, OSError) as error:
            raise Unavailable(f'{method.capitalize()} "{url}": {str(error) or "EOF"}') from error
        except ValueError as error:
            raise Invalid(f'{method.capitalize()} "{url}": {error}') from error

    async def _client(self, method: str, url: str) -> tuple[Client, str]:
        parts = urlsplit(url)
        try:
            host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise Invalid(f'parse "{url}": {error}') from error
        if wrong := BAD_ESCAPE.search(parts.path):
            raise Invalid(f'parse "{url}": invalid URL escape "{wrong[0]}"')
        if parts.scheme not in ("http", "https"):
            raise Invalid(f'{method.capitalize()} "{url}": unsupported protocol scheme "{parts.scheme}"')
        if not host:
            raise Invalid(f'{method.capitalize()} "{url}": http: no Host in request URL')
        key = (parts.scheme, host, port)
        client = self._clients.get(key)
        if client is None:
            if len(self._clients) >= MOST_CLIENTS:
                await self._clients.pop(next(iter(self._clients))).close()
            client = self._clients[key] = Client(host, port, ssl=self._context() if parts.scheme == "https" else None)
        target = quote(parts.path or "/", safe=SAFE) + (f"?{quote(parts.query, safe=SAFE)}" if parts.query else "")
        return client, target

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            import ssl  # only for https

            self._tls = ssl.create_default_context()
        return self._tls

    async def _result(self, response: ClientResponse) -> BindingResult:
        limit = self.metadata.max_response_body_size
        metadata = {"statusCode": str(response.status), "status": f"{response.status} {response.reason}".rstrip()}
        zipped = response.headers.get("content-encoding", "").lower() == "gzip"
        left_out = {"transfer-encoding", "trailer"} | ({"content-encoding", "content-length"} if zipped else set())
        for name, value in response.headers:
            if name not in left_out:
                name = "-".join(part.capitalize() for part in name.split("-"))
                metadata[name] = f"{metadata[name]}, {value}" if name in metadata else value
        try:
            body = await _cut(response, limit) if not zipped else _unzipped(await _cut(response, limit), limit)
        except (ClosedEarly, OSError, zlib.error, EOFError) as error:
            raise Unavailable(f"reading the answer: {str(error) or 'unexpected EOF'}") from error
        return BindingResult(body, metadata)


async def _cut(response: ClientResponse, limit: int) -> bytes:
    """The body, at most so many bytes."""
    if response.data is not None:
        return response.data[:limit] if limit > 0 else response.data
    pieces, size = [], 0
    async for piece in response.stream():
        pieces.append(piece)
        size += len(piece)
        if 0 < limit <= size:
            response.close()
            break
    body = b"".join(pieces)
    return body[:limit] if limit > 0 else body


def _unzipped(data: bytes, limit: int) -> bytes:
    """A gzip body as Go's transport hands it on, cut at the limit."""
    if limit <= 0:
        return gzip.decompress(data)
    return zlib.decompressobj(wbits=31).decompress(data, limit)
