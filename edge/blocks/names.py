"""The rules for names that become parts of a path or key: actor types and ids, methods, timers, reminders, jobs.

Source: Dapr pkg/messaging/method @1.18.3, diagridio/go-etcd-cron internal/api/validator @v0.12.7 (texts).
"""

from __future__ import annotations

import posixpath
import unicodedata

LONGEST_JOB = 512
ANY = "a"  # what a prefix is checked with, as the scheduler does
ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b", "\f": "\\f", "\v": "\\v"}


def go_quote(text: str) -> str:
    """The text as Go's %q prints it."""
    return '"' + "".join(ESCAPES.get(char) or (char if char.isprintable() else _escaped(char)) for char in text) + '"'


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def check_name(name: str) -> None:
    """Raises ValueError unless the name is one path segment without control characters."""
    if any(char in "#?\0/\\" for char in name):
        raise ValueError(f"name contains forbidden character: {go_quote(name)}")
    if (at := _control(name)) is not None:
        raise ValueError(f"name contains control character at position {at}: {go_quote(name)}")
    if name in (".", ".."):
        raise ValueError(f"name is a path traversal sequence: {go_quote(name)}")


def normal_method(method: str) -> str:
    """The method's path with `.`, `..` and double slashes resolved. Raises ValueError."""
    if any(char in "#?\0" for char in method):
        raise ValueError(f"method contains forbidden character: {go_quote(method)}")
    if (at := _control(method)) is not None:
        raise ValueError(f"method contains control character at position {at}: {go_quote(method)}")
    if "/" not in method and not method.startswith("."):
        return method
    clean = posixpath.normpath(method)
    while clean.startswith("../"):
        clean = clean[3:]
    return "" if clean in (".", "..") else clean


def check_job(name: str) -> None:
    """Raises ValueError unless the scheduler takes the full name (`app||<namespace>||<app>||<job>`)."""
    if len(name.encode()) > LONGEST_JOB:
        raise ValueError(f"job name is invalid {go_quote(name)}: must be at most {LONGEST_JOB} characters")
    if any(char in "#?/\\" for char in name):
        raise ValueError(f"job name is invalid {go_quote(name)}: must not contain '/', '\\', '#' or '?'")
    if any(unicodedata.category(char) == "Cc" for char in name):
        raise ValueError(f"job name is invalid {go_quote(name)}: must not contain control characters")


def _control(text: str) -> int | None:
    """The byte position of the first control character."""
    if text.isprintable():
        return None
    return next((at for at, byte in enumerate(text.encode("utf-8", "surrogateescape")) if byte < 0x20 or byte == 0x7F), None)
