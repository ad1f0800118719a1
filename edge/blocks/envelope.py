"""Dapr's encryption scheme `dapr.io/enc/v1`: a signed header in three lines, then authenticated segments of 64 KiB.

Both ways stream: memory is one segment, whatever the length. Source: dapr/kit schemes/enc/v1 (README and code), tried both ways
against daprd 1.18.3.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from edge.record import record

SCHEME = b"dapr.io/enc/v1"
SEGMENT_BYTES, TAG_BYTES, KEY_BYTES, PREFIX_BYTES = 64 << 10, 16, 32, 7
MOST_SEGMENTS = 1 << 32
ALGORITHMS = ("A256KW", "A128CBC-NOPAD", "A192CBC-NOPAD", "A256CBC-NOPAD", "RSA-OAEP-256")
ALIASES = {"AES": "A256KW", "RSA": "RSA-OAEP-256"}
CIPHERS: dict[str, Any] = {"AES-GCM": AESGCM, "CHACHA20-POLY1305": ChaCha20Poly1305}

Wrap = Callable[[bytes, str, str], Awaitable[bytes]]
"""Wraps or unwraps a file key: (key, algorithm, key name)."""


class SchemeError(Exception):
    """What the scheme refuses; the text is Dapr's."""


@record
class Manifest:
    """The header's second line. key_name "" = not said. algorithm, cipher: by name."""

    key_name: str
    algorithm: str
    wrapped: bytes
    cipher: str
    prefix: bytes

    def encoded(self) -> bytes:
        """Compact JSON, as Go writes it."""
        named = {"k": self.key_name} if self.key_name else {}
        numbers = {"kw": ALGORITHMS.index(self.algorithm) + 1, "cph": list(CIPHERS).index(self.cipher) + 1}
        rest = {"kw": numbers["kw"], "wfk": _text(self.wrapped), "cph": numbers["cph"], "np": _text(self.prefix)}
        return json.dumps(named | rest, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def decoded(cls, line: bytes) -> Manifest:
        """Raises SchemeError, which says no more than that."""
        try:
            found = {key.lower(): value for key, value in json.loads(line).items()}
            wrapped, prefix = (base64.b64decode(found[key], validate=True) for key in ("wfk", "np"))
            kw, cph = found["kw"], found["cph"]
            if not wrapped or len(prefix) != PREFIX_BYTES or type(kw) is not int or type(cph) is not int or min(kw, cph) < 1:
                raise ValueError
            return cls(str(found.get("k") or ""), ALGORITHMS[kw - 1], wrapped, list(CIPHERS)[cph - 1], prefix)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise SchemeError("invalid header: invalid manifest") from None


class FileKey:
    """The key of one document and what is derived from it."""

    def __init__(self, key: bytes, prefix: bytes, cipher: str) -> None:
        self._prefix = prefix
        self._header = _derive(key, b"header", None)
        self._cipher = CIPHERS[cipher](_derive(key, b"payload", prefix))

    def sign(self, manifest: bytes) -> bytes:
        """The whole header: scheme, manifest, signature, a newline after each."""
        message = SCHEME + b"\n" + manifest + b"\n"
        return message + base64.b64encode(hmac.digest(self._header, message, "sha256")) + b"\n"

    def verify(self, manifest: bytes, mac: bytes) -> None:
        """Raises SchemeError."""
        try:
            given = base64.b64decode(mac, validate=True)
        except binascii.Error:
            raise SchemeError("failed to decode header's signature: illegal base64 data") from None
        if not hmac.compare_digest(hmac.digest(self._header, SCHEME + b"\n" + manifest + b"\n", "sha256"), given):
            raise SchemeError("failed to validate the document's signature")

    def seal(self, data: bytes, number: int, last: bool) -> bytes:
        sealed: bytes = self._cipher.encrypt(self._nonce(number, last), data, None)
        return sealed

    def unseal(self, data: bytes, number: int, last: bool) -> bytes:
        """Raises SchemeError: the segment was changed, moved or cut."""
        try:
            plain: bytes = self._cipher.decrypt(self._nonce(number, last), data, None)
        except InvalidTag:
            raise SchemeError(f"error processing segment {number}: failed to decrypt segment") from None
        return plain

    def _nonce(self, number: int, last: bool) -> bytes:
        return self._prefix + number.to_bytes(4, "big") + (b"\1" if last else b"\0")


async def encrypt(
    source: AsyncIterator[bytes], wrap: Wrap, key_name: str, algorithm: str, cipher: str = "", shown_key_name: str | None = None
) -> AsyncIterator[bytes]:
    """The document of what `source` gives, in pieces; the file key is wrapped before the first.

    shown_key_name: the name in the manifest, None = key_name, "" = none. Raises SchemeError now; what `wrap` raises passes.
    """
    algorithm, cipher = ALIASES.get(algorithm.upper(), algorithm.upper()), cipher.upper() or "AES-GCM"
    if algorithm not in ALGORITHMS:
        raise SchemeError(f"option Algorithm is not valid: algorithm {algorithm} is not supported")
    if cipher not in CIPHERS:
        raise SchemeError(f"option Cipher is not valid: cipher {cipher} is not supported")
    key, prefix = os.urandom(KEY_BYTES), os.urandom(PREFIX_BYTES)
    wrapped = await wrap(key, algorithm, key_name)
    name = key_name if shown_key_name is None else shown_key_name
    file_key = FileKey(key, prefix, cipher)
    header = file_key.sign(Manifest(name, algorithm, wrapped, cipher, prefix).encoded())
    if len(header) > SEGMENT_BYTES:
        raise SchemeError("failed to sign header: header is too long")
    return _process(source, SEGMENT_BYTES, file_key.seal, header)


async def decrypt(source: AsyncIterator[bytes], unwrap: Wrap, key_name: str = "") -> AsyncIterator[bytes]:
    """The text of a document, in pieces, each authenticated; a changed later segment ends the iteration with SchemeError.

    key_name: instead of the manifest's. unwrap: if it raises or gives no key, the signature is refused, so that a caller can't tell
    a missing key from a wrong one. Raises SchemeError now for a bad header.
    """
    line, mac, source = await _read_header(source)
    manifest = Manifest.decoded(line)
    if not (name := key_name or manifest.key_name):
        raise SchemeError("document's manifest does not contain a key name, and no key name was provided")
    try:
        key = await unwrap(manifest.wrapped, manifest.algorithm, name)
    except Exception:  # whatever went wrong with the key, the answer is the same
        key = b""
    file_key = FileKey(key if len(key) == KEY_BYTES else bytes(KEY_BYTES), manifest.prefix, manifest.cipher)
    file_key.verify(line, mac)
    return _process(source, SEGMENT_BYTES + TAG_BYTES, file_key.unseal)


async def _process(
    source: AsyncIterator[bytes], size: int, work: Callable[[bytes, int, bool], bytes], header: bytes = b""
) -> AsyncIterator[bytes]:
    if header:
        yield header
    number, rest = 0, bytearray()
    async for chunk in source:
        rest += chunk
        while len(rest) > size:  # one byte more than a segment: it is not the last
            if number == MOST_SEGMENTS - 1:
                raise SchemeError("input stream is too large")
            yield work(bytes(rest[:size]), number, False)
            del rest[:size]
            number += 1
    if rest:
        yield work(bytes(rest), number, True)


async def _read_header(source: AsyncIterator[bytes]) -> tuple[bytes, bytes, AsyncIterator[bytes]]:
    """Manifest, signature, and the source from behind them."""
    read = bytearray()
    async for chunk in source:
        read += chunk
        if read.count(b"\n") >= 3 or len(read) >= SEGMENT_BYTES:
            break
    lines = bytes(read).split(b"\n", 3)
    for number, line in enumerate(lines[:-1]):
        if not line:
            raise SchemeError("invalid header: invalid format")
        if number == 0 and line != SCHEME:
            raise SchemeError("invalid header: unsupported scheme")
    if len(lines) < 4:
        missing = ("scheme name", "manifest", "message authentication code")[len(lines) - 1]
        raise SchemeError(f"invalid header: {missing} not found")

    async def behind() -> AsyncIterator[bytes]:
        yield lines[3]
        async for chunk in source:
            yield chunk

    return lines[1], lines[2], behind()


def _derive(key: bytes, info: bytes, salt: bytes | None) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=info).derive(key)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
