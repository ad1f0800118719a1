"""Request heads: llhttp judges the header block; the start line and Go's own rules (net/http readRequest) are checked here."""

from __future__ import annotations

import re
from typing import NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from edge.http1.messages import Headers, Request

CHUNKED = -1
MAX_CACHED_NAMES = 1024
MAX_CACHED_BLOCKS = 128
MAX_CACHED_SIZE = 1024

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CODING = re.compile(rb"\r\ntransfer-encoding:[ \t]*((?:[!-~]+(?:[ ,]+[!-~]+)*)?)[ \t]*(?=\r\n)", re.IGNORECASE)
_SPACED_NAME = re.compile(rb"\r\n[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [!#$%&'*+\-.^_`|~0-9A-Za-z ]*:")
HOST = re.compile(r"[A-Za-z0-9!$%&'()*+,\-.:;=\[\]_~]*")  # httpguts.ValidHostHeader
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://([^/?]*)(.*)")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_START_LINE = b"GET / HTTP/1.1\r\n"  # for llhttp, which only knows the usual methods


class Refused(Exception):
    """A head that is answered by the server itself, the connection then closes. status: status line and text as Go writes them."""

    def __init__(self, status: str = "400 Bad Request", text: str | None = None) -> None:
        self.status = status
        self.text = status if text is None else text
        super().__init__(status)


class Block(NamedTuple):
    """What a header block says. length: of the body, or CHUNKED. keep: may the connection be kept. upgrade: has it such a header."""

    headers: Headers
    length: int
    keep: bool
    upgrade: bool


class LowerNames(dict[bytes, str]):
    """Header names seen so far in lower case, so that a name is decoded once."""

    def __missing__(self, name: bytes) -> str:
        lower = name.decode("ascii").lower()
        if len(self) < MAX_CACHED_NAMES:
            self[name] = lower
        return lower


class Methods(dict[bytes, str]):
    """Methods seen so far; any token is one (RFC 9110 §9.1)."""

    def __missing__(self, method: bytes) -> str:
        if not _TOKEN.fullmatch(method):
            raise Refused
        text = method.decode("ascii")
        if len(self) < MAX_CACHED_NAMES:
            self[method] = text
        return text


class HeadParser:
    """Parses one whole head per call; shared by all connections of a server.

    Clients repeat themselves: header blocks seen lately are not parsed again (2 us less per request).
    """

    __slots__ = ("_blocks", "_items", "_methods", "_names", "_parser")

    def __init__(self) -> None:
        self._names = LowerNames()
        self._methods = Methods()
        self._blocks: dict[bytes, Block] = {}
        self._items: list[tuple[str, str]] = []
        self._parser: HttpRequestParser | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by llhttp."""
        self._items.append((self._names[name], value.rstrip().decode("utf-8", "surrogateescape")))

    def parse(self, head: bytes, peer: tuple[str, int] | None, max_body_bytes: int) -> tuple[Request, Block]:
        """The request, its data still None, and what its headers say about the connection.

        head: from the method to the empty line. Raises Refused.
        """
        end = head.find(b"\r\n")
        parts = head[:end].split(b" ")
        if len(parts) != 3:
            raise Refused
        method, raw_target, protocol = parts
        version = "1.1" if protocol == b"HTTP/1.1" else _version(protocol)
        block = self._blocks.get(head[end:])
        if block is None or version != "1.1":
            block = self._parse_block(head[end:], version)
        target = raw_target.decode("latin-1")
        if target[:1] != "/" or "%" in target or not target.isascii() or not target.isprintable():
            target, block = _clean_target(method, raw_target, block)
        return Request(self._methods[method], target, block.headers, None, None, peer, version, max_body_bytes), block

    def _parse_block(self, block: bytes, version: str) -> Block:
        """block: from the CRLF of the start line to the empty line."""
        items = self._items = []
        parser = self._parser or HttpRequestParser(self)
        self._parser = None
        try:
            parser.feed_data(_START_LINE + block[2:])
        except HttpParserUpgrade:
            pass  # all headers are read; whether to switch is the connection's business
        except HttpParserError:
            raise _refusal(block) from None
        parsed = _framing(Headers(items), version)
        if parsed.length == 0 and parsed.keep and not parsed.upgrade:
            self._parser = parser  # else it waits for a body, or for the end
        if version == "1.1" and len(block) <= MAX_CACHED_SIZE:
            if len(self._blocks) >= MAX_CACHED_BLOCKS:
                self._blocks.clear()
            self._blocks[block] = parsed
        return parsed


def _refusal(block: bytes) -> Refused:
    """What Go's server says of a header block that llhttp refuses."""
    codings = _CODING.findall(block)
    if len(codings) > 1 or (codings and codings[0].lower() != b"chunked"):
        return Refused("501 Not Implemented", "Unsupported transfer encoding")
    return Refused("400 Bad Request: invalid header name") if _SPACED_NAME.search(block) else Refused()


def _framing(headers: Headers, version: str) -> Block:
    get = headers.get
    if get("host") is None and version == "1.1":
        raise Refused("400 Bad Request: missing required Host header")
    if headers.repeated() and len(headers.get_all("host")) > 1:
        raise Refused
    if not HOST.fullmatch(get("host", "")):
        raise Refused("400 Bad Request: malformed Host header")
    if get("expect") and not has_token(headers, "expect", "100-continue"):
        raise Refused("417 Expectation Failed", "")
    length, coding = get("content-length"), get("transfer-encoding")
    size = int(length) if length is not None else 0 if coding is None else _chunked(coding, version)
    return Block(headers, size, keeps_alive(headers, version), get("upgrade") is not None)


def _version(protocol: bytes) -> str:
    if protocol == b"HTTP/1.0":
        return "1.0"
    if re.fullmatch(rb"HTTP/1\.\d", protocol):
        return "1.1"
    if re.fullmatch(rb"HTTP/\d\.\d", protocol):
        raise Refused("505 HTTP Version Not Supported: unsupported protocol version")
    raise Refused


def keeps_alive(headers: Headers, version: str) -> bool:
    """RFC 9112 §9.3: `close` ends it, HTTP/1.0 must ask for it."""
    if headers.get("connection") is None:
        return version != "1.0"
    tokens = {token.strip() for value in headers.get_all("connection") for token in value.lower().split(",")}
    return "close" not in tokens and (version != "1.0" or "keep-alive" in tokens)


def has_token(headers: Headers, name: str, token: str) -> bool:
    """Whether a comma list header names `token`, in any case."""
    return any(part.strip() == token for value in headers.get_all(name) for part in value.lower().split(","))


def _chunked(coding: str, version: str) -> int:
    if version == "1.0":
        raise Refused  # RFC 9112 §6.1: faulty framing
    if coding.lower() != "chunked":
        raise Refused("501 Not Implemented", "Unsupported transfer encoding")
    return CHUNKED


def _clean_target(method: bytes, raw: bytes, block: Block) -> tuple[str, Block]:
    """Origin form of a target; refuses what Go's url.ParseRequestURI refuses. An absolute target's authority replaces Host."""
    target = _NOT_ASCII.sub(lambda match: f"%{match[0][0]:02X}".encode(), raw).decode("ascii")
    if not target or not target.isprintable() or _BAD_ESCAPE.search(target.partition("?")[0]):
        raise Refused
    if method == b"CONNECT":
        return "/", block
    if target[0] == "/" or target == "*":
        return target, block
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise Refused
    authority, rest = absolute.groups()
    items = [("host", authority), *(item for item in block.headers if item[0] != "host")]
    return rest if rest.startswith("/") else "/" + rest, block._replace(headers=Headers(items))
