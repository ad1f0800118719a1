"""TLS to an app: at least 1.2, certificates are not verified (as daprd)."""

from __future__ import annotations

import ssl


def unverified(*protocols: str) -> ssl.SSLContext:
    """A client's context. protocols: to be offered by ALPN."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context
