"""Answers in Dapr's forms: nothing, JSON, bytes, text; and the one place where an EdgeError becomes an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from edge import errors
from edge.errors import EdgeError, Violation
from edge.gojson import encode, escape
from edge.http1.messages import Response

JSON = ("content-type", "application/json")
TEXT = (("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff"))
TYPES = "type.googleapis.com/google.rpc."
KEY_WRAPPING = "api error: code = InvalidArgument desc = "

Fields = Sequence[tuple[str, str]]


def empty() -> Response:
    """204."""
    return Response(204)


def data(body: bytes, headers: Fields = (), status: int = 200) -> Response:
    """Bytes that count as JSON, whatever they are."""
    return Response(status, (JSON, *headers), body)


def json(value: Any, status: int = 200) -> Response:
    """A value as Go's json.Encoder writes it: keys in the order given, a line end behind."""
    return Response(status, (JSON,), escape(orjson.dumps(value)) + b"\n")


def sorted_json(value: Any) -> Response:
    """The same for what is a map in Go."""
    return Response(200, (JSON,), encode(value) + b"\n")


def text(status: int, message: str) -> Response:
    """As Go's http.Error."""
    return Response(status, TEXT, f"{message}\n".encode("utf-8", "surrogateescape"))


def metadata_headers(metadata: Mapping[str, str]) -> list[tuple[str, str]]:
    """Response metadata as `metadata.<name>` headers."""
    return [(f"metadata.{name}", value) for name, value in metadata.items()]


def render(error: EdgeError) -> Response:
    """The JSON body of http-api.md §2.1, or the error's own body."""
    if error.body is not None:
        return Response(error.http, (JSON, *error.headers), error.body)
    code, message, violations = error.code, error.message, error.violations
    if code is errors.STATE_ILLEGAL_KEY:  # Dapr's HTTP face wraps this text once more
        message = KEY_WRAPPING + message
        violations = tuple(Violation(violation.field, message) for violation in violations)
    body: dict[str, Any] = {"errorCode": code.tag, "message": message}
    if code.reason:
        body["details"] = _details(error, message, violations)
    return Response(error.http, (JSON, *error.headers), escape(orjson.dumps(body)))


def _details(error: EdgeError, message: str, violations: Sequence[Violation]) -> list[dict[str, Any]]:
    """google.rpc details in Dapr's order; within one, keys as a Go map has them."""
    found: list[dict[str, Any]] = []
    if error.links:
        found.append({"@type": TYPES + "Help", "links": [{"description": link.description, "url": link.url} for link in error.links]})
    if violations:
        items = [
            {"field": item.field, "description": item.description} if item.field else {"description": item.description}
            for item in violations
        ]
        found.append({"@type": TYPES + "BadRequest", "field_violations": items})
    if (resource := error.resource) is not None:
        found.append(
            {
                "@type": TYPES + "ResourceInfo",
                "description": message if resource.description is None else resource.description,
                "owner": resource.owner,
                "resource_name": resource.name,
                "resource_type": resource.type,
            }
        )
    metadata = None if error.info is None else dict(sorted(error.info.items()))
    found.append({"@type": TYPES + "ErrorInfo", "domain": "dapr.io", "metadata": metadata, "reason": error.code.reason})
    return found
