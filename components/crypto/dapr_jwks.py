"""`crypto.dapr.jwks`: keys of a JSON Web Key Set: written in the YAML, in a file (read again when it changes), or at a URL.

A URL that can't be reached at start is no failure: it is tried again with growing pauses, and the keys that are there stay in use.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from components.crypto._provider import LocalProvider
from edge.component import Context
from edge.errors import ComponentError
from edge.record import record
from edge.spec import Duration, meta

if TYPE_CHECKING:
    from components.crypto._keys import Key
    from edge.http1.client import Client

log = logging.getLogger("dapr.contrib")
FIRST_PAUSE = 1.0
LARGEST = 1 << 20
NOT_A_SET = "failed to parse property 'location': not a URL, path to local file, or JSON value (optionally base64-encoded)"


@record
class Fields:
    """Fields of the component."""

    jwks: str = meta(
        doc="The set itself (JSON, or that in base64), a URL, or the path of a file.",
        sensitive=True,
        missing="failed to load metadata: metadata property 'jwks' is required",
    )
    request_timeout: Duration = meta(Duration(30), doc="Longest wait for the URL.")
    min_refresh_interval: Duration = meta(Duration(600), doc="How often the URL is read again.")


class Provider(LocalProvider):
    """Keys by their `kid`."""

    Metadata: ClassVar[type] = Fields

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata, self._context = metadata, context
        self._keys: dict[str, Key] = {}
        self._file: Path | None = None
        self._read_at = 0
        self._why = ""
        self._task: asyncio.Task[None] | None = None

    def unhealthy(self) -> str | None:
        """Why there are no keys from the URL yet, or why they may be old."""
        return self._why or None

    async def open(self) -> None:
        """Read the set; from a URL once now and then again and again. Raises ComponentError for one that is no set."""
        location = self.metadata.jwks
        if location.startswith(("https://", "http://")):
            if location.startswith("http://"):
                log.warning("Loading JWK from an HTTP endpoint without TLS: this is not recommended on production environments.")
            await self._refresh(min(self.metadata.request_timeout or 30, self._context.init_timeout / 2))
            self._task = self._context.tasks.spawn(f"jwks[{self._context.name}]", self._keep_fresh)
            return
        await asyncio.to_thread(self._from_text, location)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def find(self, name: str) -> Key:
        if self._file is not None:
            await asyncio.to_thread(self._from_file, self._file)
        if name in self._keys:
            return self._keys[name]
        raise ComponentError("no JWKS loaded" if not self._keys and self._why else "key not found")

    def _from_text(self, location: str) -> None:
        from components.crypto._keys import parse_jwks

        path = (self._context.working_dir or Path()) / location if len(location) < 1024 and "\0" not in location else None
        if path is not None and path.is_file():
            self._file = path
            self._from_file(path)
            return
        try:
            text = base64.b64decode(location.rstrip("=") + "=" * (-len(location.rstrip("=")) % 4), validate=True)
        except (binascii.Error, ValueError):
            text = location.encode()
        try:
            self._keys = parse_jwks(text)
        except ValueError:
            raise ComponentError(NOT_A_SET) from None

    def _from_file(self, path: Path) -> None:
        """The file's keys; if it is broken after a change, those of before with a log line."""
        from components.crypto._keys import parse_jwks

        try:
            changed = path.stat().st_mtime_ns
            if changed == self._read_at:
                return
            keys = parse_jwks(path.read_bytes())
        except (OSError, ValueError) as error:
            if not self._read_at:
                raise ComponentError(f"failed to parse JWKS file: {error}") from error
            log.error("Error reading JWKS from disk: %s", error)
            return
        self._keys, self._read_at = keys, changed

    async def _keep_fresh(self) -> None:
        interval, pause = max(self.metadata.min_refresh_interval or 600.0, 1.0), FIRST_PAUSE
        while True:
            await asyncio.sleep(pause if self._why else interval)
            await self._refresh(self.metadata.request_timeout or 30.0)
            pause = min(pause * 2, interval) if self._why else FIRST_PAUSE

    async def _refresh(self, timeout: float) -> None:
        from components.crypto._keys import parse_jwks
        from edge.http1.streams import BodyTooLarge

        try:
            async with asyncio.timeout(timeout):
                self._keys = parse_jwks(await self._fetch())
            self._why = ""
        except (OSError, ValueError, TimeoutError, BodyTooLarge) as error:
            why = f"failed to fetch JWKS: {error or 'no answer in time'}"
            if why != self._why:
                log.warning("Error while refreshing JWKS cache: %s", why)
            self._why = why

    async def _fetch(self) -> bytes:
        """Raises OSError, ValueError (status, size)."""
        url = urlsplit(self.metadata.jwks)
        client = self._client(url.scheme == "https", url.hostname or "", url.port)
        try:
            answer = await client.request("GET", (url.path or "/") + (f"?{url.query}" if url.query else ""))
            body = await answer.read(LARGEST)
        finally:
            await client.close()
        if answer.status != 200:
            raise ValueError(f"{self.metadata.jwks} answered {answer.status}")
        return body

    @staticmethod
    def _client(tls: bool, host: str, port: int | None) -> Client:
        from edge.http1.client import Client  # only with a URL

        if not tls:
            return Client(host, port or 80)
        import ssl

        return Client(host, port or 443, ssl.create_default_context())
