"""One HTTP exchange with an identity provider."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from edge.http1.client import Client

LARGEST = 1 << 20


async def fetch(
    url: str, method: str = "GET", headers: Sequence[tuple[str, str]] = (), body: bytes = b"", timeout: float = 30.0
) -> tuple[int, bytes]:
    """Status and body. Raises OSError, TimeoutError, BodyTooLarge (over a MiB)."""
    parts = urlsplit(url)
    host, tls = parts.hostname or "", parts.scheme == "https"
    client = _client(host, parts.port, tls=tls)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = [("Host", parts.netloc.rpartition("@")[2]), *headers]
    try:
        async with asyncio.timeout(timeout):
            answer = await client.request(method, target, fields, body)
            return answer.status, await answer.read(LARGEST)
    finally:
        await client.close()


def _client(host: str, port: int | None, *, tls: bool) -> Client:
    if not tls:
        return Client(host, port or 80)
    import ssl  # OpenSSL only with https

    return Client(host, port or 443, ssl.create_default_context())
