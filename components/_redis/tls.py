"""TLS towards Redis from PEM texts in metadata."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from components._redis.fields import RedisFields
from edge.errors import Invalid

if TYPE_CHECKING:
    import ssl


def tls_context(fields: RedisFields) -> ssl.SSLContext:
    """Raises Invalid for a certificate or key that is none."""
    import ssl  # only for a server behind TLS

    context = ssl.create_default_context()
    if fields.insecure_skip_tls_verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if fields.client_cert and fields.client_key:
        descriptor = os.memfd_create("edged-tls")  # OpenSSL takes client keys from files only
        try:
            os.write(descriptor, f"{fields.client_cert}\n{fields.client_key}".encode())
            context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
        except ssl.SSLError as error:
            raise Invalid(f"redis client configuration error: clientCert or clientKey is no PEM text: {error.reason}") from None
        finally:
            os.close(descriptor)
    return context
