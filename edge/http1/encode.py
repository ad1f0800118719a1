"""Response heads as bytes, in the manner of Go's net/http: canonical names, Date, Content-Length or chunked, no injected lines."""

from __future__ import annotations

import re
import time
from typing import NamedTuple

from edge.http1.messages import Response

MAX_CACHED_NAMES = 1024
MAX_COUNTED = 2048  # as in Go: a longer body that its handler gave no length goes out chunked
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
SWITCH_TO_H2 = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_OURS = frozenset({"connection", "content-length", "date", "keep-alive", "transfer-encoding", "upgrade"})
NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PHRASES = {
    100: "Continue", 101: "Switching Protocols", 102: "Processing", 103: "Early Hints",
    200: "OK", 201: "Created", 202: "Accepted", 203: "Non-Authoritative Information", 204: "No Content", 205: "Reset Content",
    206: "Partial Content", 207: "Multi-Status", 208: "Already Reported", 226: "IM Used",
    300: "Multiple Choices", 301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified", 305: "Use Proxy",
    307: "Temporary Redirect", 308: "Permanent Redirect",
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout", 409: "Conflict", 410: "Gone",
    411: "Length Required", 412: "Precondition Failed", 413: "Request Entity Too Large", 414: "Request URI Too Long",
    415: "Unsupported Media Type", 416: "Requested Range Not Satisfiable", 417: "Expectation Failed", 418: "I'm a teapot",
    421: "Misdirected Request", 422: "Unprocessable Entity", 423: "Locked", 424: "Failed Dependency", 425: "Too Early",
    426: "Upgrade Required", 428: "Precondition Required", 429: "Too Many Requests", 431: "Request Header Fields Too Large",
    451: "Unavailable For Legal Reasons",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
    505: "HTTP Version Not Supported", 506: "Variant Also Negotiates", 507: "Insufficient Storage", 508: "Loop Detected",
    510: "Not Extended", 511: "Network Authentication Required",
}  # fmt: skip


class Prefixes(dict[str, str]):
    """Response header name → `Canonical-Name: `; "" for a name that is ours to write or that no header can have (dropped, as Go does)."""

    def __missing__(self, name: str) -> str:
        prefix = ""
        if NAME.fullmatch(name) and name.lower() not in _OURS:
            prefix = canonical(name) + ": "
        if len(self) < MAX_CACHED_NAMES:
            self[name] = prefix
        return prefix


class StatusLines(dict[int, str]):
    """Status → `HTTP/1.1 200 OK` and CRLF."""

    def __missing__(self, status: int) -> str:
        if not 100 <= status <= 999:
            raise ValueError(f"{status} is no HTTP status")
        line = self[status] = f"HTTP/1.1 {status} {_PHRASES.get(status, f'status code {status}')}\r\n"
        return line


class Plan(NamedTuple):
    """How an answer goes out: its head, whether a body follows, of which length (None: unknown), chunked or not, is the connection kept."""

    head: bytes
    body: bool
    length: int | None
    chunked: bool
    keep: bool


class Encoder:
    """Writes heads; shared by all connections of a server, for its caches (names, status lines, the second's Date)."""

    __slots__ = ("_date", "_lines", "_prefixes", "_until")

    def __init__(self) -> None:
        self._prefixes = Prefixes()
        self._lines = StatusLines()
        self._until = 0.0
        self._date = ""

    def short(self, response: Response, body: bytes) -> bytes | None:
        """Head and body of the usual answer: to anything but HEAD, over HTTP/1.1, kept connection. None: needs a `plan`."""
        prefixes, status = self._prefixes, response.status
        if len(body) > MAX_COUNTED:
            return None
        text = self._lines[status]
        for name, value in response.headers:
            prefix = prefixes[name]
            if not prefix or not value.isprintable():
                return None
            text = f"{text}{prefix}{value}\r\n"
        if self._until < time.time():
            self._tell_time()
        if status == 204 or not has_body(status):
            return f"{text}{self._date}\r\n".encode()
        return f"{text}{self._date}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def plan(self, response: Response, method: str, version: str, keep: bool) -> Plan:
        """Any answer. keep: what the request and the server allow. Source: net/http server.go (cw.writeHeader)."""
        text, ours = self._fields(response)
        ours = ours or {}
        date = f"Date: {ours['date']}\r\n" if "date" in ours else self.date()
        keep = keep and "close" not in ours.get("connection", "").lower()
        length = _length(response, method, ours)
        body = has_body(response.status) and method != "HEAD"
        chunked = body and length is None and version != "1.0"
        keep = keep and (chunked or not body or length is not None)  # HTTP/1.0 and a stream: the close is the end
        framing = "Transfer-Encoding: chunked\r\n" if chunked else "" if length is None else f"Content-Length: {length}\r\n"
        text += date + framing + _connection(version, keep, ours)
        if version == "1.0":
            text = text.replace("1.1", "1.0", 1)
        return Plan(f"{text}\r\n".encode("utf-8", "surrogateescape"), body, length, chunked, keep)

    def date(self) -> str:
        """The Date line of this second."""
        if self._until < time.time():
            self._tell_time()
        return self._date

    def _tell_time(self) -> None:
        second = int(time.time())
        self._until, self._date = second + 1.0, f"Date: {http_date(second)}\r\n"

    def _fields(self, response: Response) -> tuple[str, dict[str, str] | None]:
        """Status line and the handler's header lines; and those headers of his that are ours to write, by lower-case name."""
        prefixes, text, ours = self._prefixes, self._lines[response.status], None
        for name, value in response.headers:
            prefix = prefixes[name]
            if not value.isprintable():
                value = CONTROL.sub(" ", value)  # as Go does with line breaks: no header can bring another
            if prefix:
                text += f"{prefix}{value}\r\n"
            else:
                ours = {name.lower(): value} if ours is None else {**ours, name.lower(): value}
        return text, ours


def canonical(name: str) -> str:
    """`content-type` → `Content-Type` (Go's textproto.CanonicalMIMEHeaderKey)."""
    return "-".join(part.capitalize() for part in name.split("-"))


def has_body(status: int) -> bool:
    """RFC 9110 §6.4.1: 1xx, 204 and 304 have none."""
    return status >= 200 and status != 204 and status != 304


def http_date(second: int) -> str:
    """IMF-fixdate (RFC 9110 §5.6.7), whatever the locale."""
    year, month, day, hour, minute, sec, weekday, _, _ = time.gmtime(second)
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year} {hour:02}:{minute:02}:{sec:02} GMT"


def chunk(data: bytes) -> bytes:
    """One chunk with its frame; `data` is not empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _length(response: Response, method: str, ours: dict[str, str]) -> int | None:
    """What Content-Length says, None when it is not sent."""
    if not has_body(response.status):
        return None
    given = ours.get("content-length", "")
    length = int(given) if given.isdecimal() else None
    if not isinstance(response.body, bytes):
        return length
    known = len(response.body) if len(response.body) <= MAX_COUNTED else None
    if method == "HEAD":
        return length if length is not None or not response.body else known
    if length is not None:
        return len(response.body)
    return None if "chunked" in ours.get("transfer-encoding", "").lower() else known


def _connection(version: str, keep: bool, ours: dict[str, str]) -> str:
    if not keep:
        return "Connection: close\r\n" if version != "1.0" else ""
    if version == "1.0" or "keep-alive" in ours.get("connection", "").lower():
        return "Connection: keep-alive\r\n"
    return ""
