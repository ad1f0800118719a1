"""Answers that an app compressed because Go's client asks for gzip: unpacked before anyone sees them."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

from edge.http1.client_response import BadResponse
from edge.http1.messages import Headers


def is_gzip(headers: Headers) -> bool:
    """The body is gzip."""
    return headers.get("content-encoding", "").lower() == "gzip"


def unpacked(data: bytes) -> bytes:
    """The unpacked bytes; damaged ones as they are, so that the reader's own check refuses them."""
    import zlib  # few apps compress

    try:
        return zlib.decompress(data, wbits=31)
    except zlib.error:
        return data


async def unpacking(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The unpacked bytes of a gzip stream. Raises BadResponse when it is damaged."""
    import zlib  # few apps compress

    unpacker = zlib.decompressobj(wbits=31)
    try:
        async for piece in pieces:
            if data := unpacker.decompress(piece):
                yield data
        if data := unpacker.flush():
            yield data
    except zlib.error:
        raise BadResponse("gzip: invalid header") from None
