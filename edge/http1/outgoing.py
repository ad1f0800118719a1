"""Requests as bytes: the client's half of RFC 9112 §3 and §6, in the manner of Go's Transport (canonical names, Content-Length: 0)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from edge.http1.encode import CONTROL, LAST_CHUNK, NAME, canonical, chunk

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})  # Go says "Content-Length: 0" for these
_SPECIAL = frozenset({"Host: ", "Content-Length: ", "Transfer-Encoding: "})
MAX_CACHED_NAMES = 1024


class Prefixes(dict[str, str]):
    """Request header name → `Canonical-Name: `; "" for what no header can be called (dropped)."""

    def __missing__(self, name: str) -> str:
        prefix = canonical(name) + ": " if NAME.fullmatch(name) else ""
        if len(self) < MAX_CACHED_NAMES:
            self[name] = prefix
        return prefix


class RequestEncoder:
    """Writes request heads for one server. host: what Host says unless the caller gives it."""

    __slots__ = ("_host", "_prefixes")

    def __init__(self, host: str) -> None:
        self._host = f"Host: {host}\r\n"
        self._prefixes = Prefixes()

    def encode(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes | AsyncIterator[bytes]
    ) -> tuple[bytes, int | None]:
        """Head and, when it is bytes, body; and the length that a streamed body must have (None: it goes out chunked).

        Control characters in header values become spaces. Raises ValueError for a method or target that cannot be sent.
        """
        if not NAME.fullmatch(method) or not target.isascii() or not target.isprintable() or " " in target or not target:
            raise ValueError(f"cannot request {method!r} {target!r}")
        lines, given, at = self._lines(headers)
        chunked = "chunked" in given.get("Transfer-Encoding: ", "").lower()
        length = given.get("Content-Length: ", "")
        framing, end = "", b""
        if chunked or (not isinstance(body, bytes) and not length.isdecimal()):
            chunked, framing = True, "Transfer-Encoding: chunked\r\n"
        elif not isinstance(body, bytes):
            framing = f"Content-Length: {int(length)}\r\n"
        elif body or method in _WITH_BODY:
            framing = f"Content-Length: {len(body)}\r\n"
        if isinstance(body, bytes):
            end = (chunk(body) if body else b"") + LAST_CHUNK if chunked else body
        head = f"{method} {target} HTTP/1.1\r\n{given.get('Host: ', self._host)}{lines[:at]}{framing}{lines[at:]}\r\n"
        return head.encode("utf-8", "surrogateescape") + end, None if chunked or not length.isdecimal() else int(length)

    def _lines(self, headers: Sequence[tuple[str, str]]) -> tuple[str, dict[str, str], int]:
        """Header lines; what was given of the special ones; where in the lines the framing goes (Go: third)."""
        prefixes, text, at = self._prefixes, "", -1
        given: dict[str, str] = {}
        for name, value in headers:
            prefix = prefixes[name]
            if not value.isprintable():
                value = CONTROL.sub(" ", value)
            if prefix in _SPECIAL:
                given[prefix] = f"{prefix}{value}\r\n" if prefix == "Host: " else value
                at = len(text) if prefix != "Host: " and at < 0 else at
            elif prefix:
                text = f"{text}{prefix}{value}\r\n"
        return text, given, len(text) if at < 0 else at
