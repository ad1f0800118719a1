"""Where a sidecar's certificate comes from: a folder of `edged ca`, or a Sentry; and its renewal in time.

$DAPR_TRUST_ANCHORS: a folder, a file of anchors, or the PEM text (as daprd). A folder that has the issuer's key issues for its apps by
itself. Source: dapr pkg/security/sentry.go @1.18.3.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

from edge.identity.credentials import Credentials, IdentityError

log = logging.getLogger("dapr.runtime.security")
PEM = "-----BEGIN"
LOOK = 30.0  # seconds between looks at the files
OWN_LIFE_DAYS = 7
SPENT = 0.7  # of its life, when a certificate is renewed
SENTRY_RETRY = 5.0


class Source(Protocol):
    """Gives certificates."""

    async def get(self) -> Credentials:
        """Raises IdentityError."""
        ...

    def pause(self, held: Credentials) -> float:
        """Seconds until somebody should ask again."""
        ...


class Folder:
    """The certificate of one app in a folder of `edged ca`."""

    def __init__(self, folder: Path, app_id: str, namespace: str) -> None:
        self._folder, self._app_id, self._namespace = folder, app_id, namespace

    async def get(self) -> Credentials:
        """Reads the files; where the issuer's key lies beside, a missing or old certificate is made."""
        return await asyncio.to_thread(self._read)

    def pause(self, held: Credentials) -> float:
        return LOOK

    def _read(self) -> Credentials:
        from edge.identity import ca  # cryptography comes with it

        file, key = self._folder / f"{self._app_id}.crt", self._folder / f"{self._app_id}.key"
        if (self._folder / "issuer.key").exists() and (not file.exists() or _spent(ca.validity(file.read_bytes()))):
            from datetime import timedelta

            ca.Authority(self._folder).issue(self._app_id, self._namespace, life=timedelta(days=OWN_LIFE_DAYS))
            log.info("issued a certificate for %s in %s", self._app_id, self._folder)
        try:
            anchors, chain, secret = (path.read_text() for path in (self._folder / "ca.crt", file, key))
        except OSError as error:
            hint = f"issue one with `edged ca issue {self._app_id} --dir <authority>` and copy it there"
            raise IdentityError(f"no certificate for {self._app_id}: {error.filename}: {error.strerror}; {hint}") from None
        return Credentials(anchors, chain, secret, ca.validity(chain.encode())[1])


class Sentry:
    """Certificates signed by a Sentry. anchors: gives the PEM text."""

    def __init__(self, address: str, anchors: Callable[[], str], app_id: str, namespace: str, environ: Mapping[str, str]) -> None:
        self._address, self._anchors, self._app_id, self._namespace, self._environ = address, anchors, app_id, namespace, environ

    async def get(self) -> Credentials:
        """Asks for a new certificate."""
        from edge.identity import sentry  # protobuf, HTTP/2 and cryptography come with it

        anchors = self._anchors()
        return await sentry.sign(self._address, anchors, self._app_id, self._namespace, self._environ)

    def pause(self, held: Credentials) -> float:
        return max((held.until - time.time()) * SPENT, SENTRY_RETRY)


def _spent(validity: tuple[float, float]) -> bool:
    begin, end = validity
    return time.time() > begin + (end - begin) * SPENT


def source_of(app_id: str, namespace: str, sentry_address: str, environ: Mapping[str, str]) -> Source:
    """By what the environment says. Raises IdentityError."""
    text = environ.get("DAPR_TRUST_ANCHORS", "")
    path = Path(environ.get("DAPR_TRUST_ANCHORS_FILE", "") or ("" if PEM in text else text))
    if text and PEM not in text and path.is_dir():
        return Folder(path, app_id, namespace)
    if not text and not environ.get("DAPR_TRUST_ANCHORS_FILE"):
        raise IdentityError("trust anchors are required: set DAPR_TRUST_ANCHORS to a folder of `edged ca`, or to PEM with --sentry-address")
    if not sentry_address:
        raise IdentityError("sentry address is required: give --sentry-address, or a folder of `edged ca` in DAPR_TRUST_ANCHORS")
    return Sentry(sentry_address, (lambda: text) if PEM in text else path.read_text, app_id, namespace, environ)


class Keeper:
    """The credentials of one app, renewed in time. changed: awaited with each new ones."""

    def __init__(self, source: Source, changed: Callable[[Credentials], Awaitable[None]]) -> None:
        self._source, self._changed = source, changed
        self.held: Credentials | None = None

    async def first(self) -> Credentials:
        """Raises IdentityError."""
        self.held = await self._source.get()
        return self.held

    async def run(self) -> None:
        """Renew for ever; a failure is logged and tried again while the old certificate still counts."""
        while self.held is not None:
            await asyncio.sleep(self._source.pause(self.held))
            try:
                got = await self._source.get()
            except (IdentityError, OSError) as error:
                log.error("the certificate could not be renewed, it counts %d s more: %s", self.held.until - time.time(), error)
                continue
            if got != self.held:
                self.held = got
                log.info("the certificate was renewed; it counts until %s", time.strftime("%FT%TZ", time.gmtime(got.until)))
                await self._changed(got)
