"""A sidecar's certificate, key and trust anchors as TLS contexts, and what a peer's certificate says.

Source: dapr pkg/security/security.go, go-spiffe @1.18.3: both sides show a certificate; the caller wants namespace and app id of the
callee, whatever its trust domain; the callee takes anyone that an anchor vouches for, and its access list decides.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any

from edge.errors import ComponentError, Unavailable
from edge.identity.spiffe import Identity
from edge.record import record

HANDSHAKE = 10.0


class IdentityError(ComponentError):
    """There is no usable certificate; the text says which file or server, and what to do."""


@record
class Credentials:
    """PEM texts: the anchors, the own chain (leaf first), its key. until: epoch seconds at which the leaf ends."""

    anchors: str
    chain: str
    key: str
    until: float = 0.0

    def server(self) -> ssl.SSLContext:
        """For the internal port: callers must show a certificate. Raises IdentityError."""
        return self._context(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def client(self) -> ssl.SSLContext:
        """For calls of other sidecars; who answers is looked at by `check_peer`. Raises IdentityError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        return self._context(context)

    def _context(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        try:
            context.load_verify_locations(cadata=self.anchors)
            if self.chain:
                self._load(context)
        except (ssl.SSLError, ValueError) as error:
            raise IdentityError(f"the certificates of this sidecar can't be used: {error}; look at them with `edged ca show`") from None
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        """OpenSSL reads certificates from files only: this one is in memory."""
        file = os.memfd_create("edged-identity")
        try:
            os.write(file, f"{self.key}\n{self.chain}\n".encode())
            context.load_cert_chain(f"/proc/self/fd/{file}")
        finally:
            os.close(file)


def peer_identity(transport: asyncio.BaseTransport | None) -> Identity | None:
    """Who is on the other end of a TLS connection; None in the clear, or when the certificate names no workload."""
    found: Any = transport.get_extra_info("ssl_object") if transport is not None else None
    if found is None:
        return None
    for kind, value in (found.getpeercert() or {}).get("subjectAltName", ()):
        if kind == "URI":
            return Identity.parse(value)
    return None


def check_peer(transport: asyncio.BaseTransport, namespace: str, app_id: str) -> None:
    """Raises Unavailable when another app answers than the one that was called."""
    found = peer_identity(transport)
    if found is None or (found.namespace, found.app_id) != (namespace, app_id):
        who = found.url if found is not None else "a certificate without identity"
        raise Unavailable(f'transport: authentication handshake failed: unexpected ID "{who}": wanted /ns/{namespace}/{app_id}')
