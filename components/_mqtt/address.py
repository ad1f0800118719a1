"""Where a broker is: the component's `url` and TLS material. Nothing here is ever logged with credentials."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from edge.errors import Invalid
from edge.record import record

if TYPE_CHECKING:
    import ssl

PLAIN = ("tcp", "mqtt")
TLS = ("ssl", "mqtts", "tcps", "tls")
PORTS = {False: 1883, True: 8883}


@record
class Broker:
    """A broker's address; str() is fit for logs."""

    host: str
    port: int
    tls: bool = False
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


@record
class Certificates:
    """PEM texts, "" = not given."""

    ca: str = ""
    cert: str = ""
    key: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.ca or self.cert or self.key)


NO_CERTIFICATES = Certificates()


def parse_url(url: str) -> Broker:
    """Path and query are ignored, as daprd does. Raises Invalid, without the url's credentials in the text."""
    shown = url.rpartition("@")[2]
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Invalid(f"url: {shown} is no address; it looks like tcp://localhost:1883") from None
    if parts.scheme not in PLAIN + TLS:
        raise Invalid(f"url: {shown} has not a known scheme ({', '.join(PLAIN + TLS)}); it looks like tcp://localhost:1883")
    if not parts.hostname:
        raise Invalid(f"url: {shown} names no host; it looks like {parts.scheme}://localhost:1883")
    tls = parts.scheme in TLS
    username = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    return Broker(parts.hostname, port or PORTS[tls], tls, username, password)


def tls_context(certificates: Certificates) -> ssl.SSLContext:
    """What checks the broker's certificate and shows the client's. Raises Invalid, saying which field is wrong and what to do."""
    import ssl  # only for a broker behind TLS

    context = ssl.create_default_context()
    if certificates.ca:
        try:
            context.load_verify_locations(cadata=certificates.ca)
        except (ssl.SSLError, ValueError):
            raise Invalid(f"invalid TLS configuration: invalid caCert: {_pem_advice('CERTIFICATE')}") from None
    if bool(certificates.cert) != bool(certificates.key):
        missing = "clientKey" if certificates.cert else "clientCert"
        raise Invalid(f"invalid TLS configuration: {missing} is missing: a client certificate needs clientCert and clientKey")
    if certificates.cert:
        _load_pair(context, certificates)
    return context


def _load_pair(context: ssl.SSLContext, certificates: Certificates) -> None:
    import ssl

    with _as_file(certificates.cert + "\n" + certificates.key) as path:
        try:
            context.load_cert_chain(path, password="")  # without one OpenSSL would ask at the terminal for an encrypted key
        except ssl.SSLError as error:
            reason = "the key is not the certificate's" if "MISMATCH" in (error.reason or "") else _pem_advice("CERTIFICATE, and clientKey")
            raise Invalid(f"invalid TLS configuration: invalid clientCert or clientKey: {reason}") from None


def _pem_advice(kind: str) -> str:
    return f"paste the PEM text with its line breaks (YAML `|-`), from -----BEGIN {kind} to -----END, unencrypted"


@contextmanager
def _as_file(text: str) -> Iterator[str]:
    """A path with that content which no other process of the machine can read: OpenSSL takes client keys from files only."""
    descriptor = os.memfd_create("edged-tls")
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
