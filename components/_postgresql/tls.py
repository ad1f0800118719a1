"""libpq's TLS words as asyncpg's `ssl` argument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.errors import Invalid

MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def tls_of(found: Mapping[str, str]) -> Any:
    """False, a mode that asyncpg knows, or a context with the certificates given. Raises Invalid."""
    mode = found.get("sslmode", "prefer")
    if mode not in MODES:
        raise Invalid(f"failed to parse connection string: sslmode is one of {', '.join(MODES)}")
    root = found.get("sslrootcert", "")
    if mode == "disable":
        return False
    if not (root or found.get("sslcert")):
        return mode if mode in ("allow", "prefer", "require") else _context(mode, "", found)
    return _context(mode, root, found)


def _context(mode: str, root: str, found: Mapping[str, str]) -> Any:
    import ssl  # only for a server behind TLS

    context = ssl.create_default_context()
    context.check_hostname = mode == "verify-full"
    if mode not in ("verify-ca", "verify-full") and not root:
        context.verify_mode = ssl.CERT_NONE
    try:
        if root and root != "system":
            context.load_verify_locations(root)
        if found.get("sslcert"):
            context.load_cert_chain(found["sslcert"], found.get("sslkey") or None, found.get("sslpassword") or "")
    except (OSError, ssl.SSLError) as error:
        text = f"sslrootcert, sslcert or sslkey can't be read: {error}"
        raise Invalid(f"failed to parse connection string: {text}") from None
    return context
