"""The content type of a body that its sender gave none, as Go's server guesses it (net/http DetectContentType; WHATWG MIME Sniffing)."""

from __future__ import annotations

import re

LOOKED_AT = 512
TAGS = rb"!DOCTYPE HTML|HTML|HEAD|SCRIPT|IFRAME|H1|DIV|FONT|TABLE|A|STYLE|TITLE|B|BODY|BR|P|!--"
SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (rb"[\t\n\f\r ]*(?i:<(?:%b))[ >]" % TAGS, "text/html; charset=utf-8"),
    (rb"[\t\n\f\r ]*<\?xml", "text/xml; charset=utf-8"),
    (rb"%PDF-", "application/pdf"),
    (rb"%!PS-Adobe-", "application/postscript"),
    (rb"\xfe\xff..", "text/plain; charset=utf-16be"),
    (rb"\xff\xfe..", "text/plain; charset=utf-16le"),
    (rb"\xef\xbb\xbf.", "text/plain; charset=utf-8"),
    (rb"\x00\x00[\x01\x02]\x00", "image/x-icon"),
    (rb"BM", "image/bmp"),
    (rb"GIF8[79]a", "image/gif"),
    (rb"RIFF.{4}WEBPVP", "image/webp"),
    (rb"\x89PNG\r\n\x1a\n", "image/png"),
    (rb"\xff\xd8\xff", "image/jpeg"),
    (rb"FORM.{4}AIFF", "audio/aiff"),
    (rb"ID3", "audio/mpeg"),
    (rb"OggS\x00", "application/ogg"),
    (rb"MThd\x00\x00\x00\x06", "audio/midi"),
    (rb"RIFF.{4}AVI ", "video/avi"),
    (rb"RIFF.{4}WAVE", "audio/wave"),
    (rb"(?P<mp4>.{4}ftyp.{4})", "video/mp4"),
    (rb"\x1a\x45\xdf\xa3", "video/webm"),
    (rb".{34}LP", "application/vnd.ms-fontobject"),
    (rb"\x00\x01\x00\x00", "font/ttf"),
    (rb"OTTO", "font/otf"),
    (rb"ttcf", "font/collection"),
    (rb"wOFF", "font/woff"),
    (rb"wOF2", "font/woff2"),
    (rb"\x1f\x8b\x08", "application/x-gzip"),
    (rb"PK\x03\x04", "application/zip"),
    (rb"Rar!\x1a\x07(?:\x00|\x01\x00)", "application/x-rar-compressed"),
    (rb"\x00asm", "application/wasm"),
)
COMPILED = [(re.compile(pattern, re.DOTALL), type_) for pattern, type_ in SIGNATURES]
BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")


def content_type(body: bytes) -> str:
    """By the first 512 bytes of a body that is not empty."""
    head = body[:LOOKED_AT]
    for pattern, type_ in COMPILED:
        match = pattern.match(head)
        if match is not None and ("mp4" not in match.groupdict() or _is_mp4(head)):
            return type_
    return "application/octet-stream" if BINARY.search(head) else "text/plain; charset=utf-8"


def _is_mp4(head: bytes) -> bool:
    """The file type box names an mp4 brand."""
    size = int.from_bytes(head[:4], "big")
    if len(head) < size or size % 4:
        return False
    return any(head[at : at + 3] == b"mp4" for at in range(8, size, 4) if at != 12)
