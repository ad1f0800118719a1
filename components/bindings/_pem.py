"""TLS contexts from PEM texts or the paths of PEM files, for bindings that are clients."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from edge.errors import Invalid

Named = tuple[str, str]


def client_context(root: Named, certificate: Named, key: Named, base: Path | None) -> ssl.SSLContext:
    """A client's context. Each argument: the field's name, and PEM text or a path (relative to `base`), "" = not given.

    Reads files, so not for the event loop. Raises Invalid with the field's name.
    """
    context = ssl.create_default_context(cadata=_pem(root, base)) if root[1] else ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate[1] and key[1]:
        _load_pair(context, _pem(certificate, base), _pem(key, base))
    return context


def _pem(field: Named, base: Path | None) -> str:
    name, text = field
    if "-----BEGIN" in text:
        return text
    try:
        return ((base or Path.cwd()) / text).read_text()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no PEM block in it"
        raise Invalid(f'provided "{name}" value is neither a valid file path or nor a valid pem encoded string: {reason}') from error


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """The ssl module takes files only; these are gone when it has read them."""
    with tempfile.TemporaryDirectory(prefix="edged-") as folder:
        pair = Path(folder) / "pair.pem"
        pair.touch(mode=0o600)
        pair.write_text(f"{certificate}\n{key}\n")
        try:
            context.load_cert_chain(pair)
        except (ssl.SSLError, ValueError) as error:
            raise Invalid(f"failed to load client certificate: {error}") from error
