"""What Go's client says of an answer that is none: the first fault of its head (net/http ReadResponse, net/textproto). Imported at one."""

from __future__ import annotations

import re

VERSION = re.compile(r"HTTP/\d\.\d")
NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z ]+")
STATUS_DIGITS = 3


def fault(head: bytes, found: str) -> str:
    """head: as far as it came. found: what our own parser says, where Go has no other words."""
    lines = head.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")
    return _of_status_line(lines[0]) or _of_fields(lines[1:]) or f"malformed HTTP response: {found}"


def _of_status_line(line: str) -> str:
    version, space, rest = line.partition(" ")
    if not space:
        return f"malformed HTTP response {quoted(line)}"
    code = rest.lstrip(" ").partition(" ")[0]
    if len(code) != STATUS_DIGITS or not code.isdecimal() or code[0] == "0":
        return f"malformed HTTP status code {quoted(code)}"
    return "" if VERSION.fullmatch(version) else f"malformed HTTP version {quoted(version)}"


def _of_fields(lines: list[str]) -> str:
    lengths, coding = [], "chunked"
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            return f"malformed MIME header: missing colon: {quoted(line)}"
        if not NAME.fullmatch(name) or "\0" in value:
            return f"malformed MIME header line: {quoted(line)}"
        if name.lower() == "content-length":
            lengths.append(value.strip())
        elif name.lower() == "transfer-encoding":
            coding = value.strip()
    if coding.lower() != "chunked":
        return f"unsupported transfer encoding: {quoted(coding)}"
    if len(set(lengths)) > 1:
        return f"http: message cannot contain multiple Content-Length headers; got [{' '.join(map(quoted, lengths))}]"
    return "" if all(each.isdecimal() for each in lengths) else f"bad Content-Length {quoted(lengths[0])}"


def quoted(text: str) -> str:
    """As Go's %q of bytes that are no UTF-8 beyond ASCII."""
    named = {"\\": "\\\\", '"': '\\"', "\t": "\\t", "\n": "\\n", "\r": "\\r"}
    return '"' + "".join(named.get(c) or (c if " " <= c <= "~" else f"\\x{ord(c):02x}") for c in text) + '"'
