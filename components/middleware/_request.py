"""What several middlewares need: a request with something else in it, and answers as Go's http.Error writes them without a line end."""

from __future__ import annotations

from collections.abc import Sequence

from edge.http1.messages import Headers, Request, Response

TEXT = ("content-type", "text/plain; charset=utf-8")


def changed(
    request: Request, *, target: str | None = None, headers: Sequence[tuple[str, str]] | None = None, data: bytes | None = None
) -> Request:
    """The same request but for what is given. headers: names in lower case."""
    return Request(
        request.method,
        request.target if target is None else target,
        request.headers if headers is None else Headers(headers),
        request.data if data is None else data,
        request.incoming if data is None else None,
        request.peer,
        request.version,
        request.max_body_bytes,
    )


def text(status: int, words: str) -> Response:
    """A refusal in plain text."""
    return Response(status, (TEXT,), words.encode())
