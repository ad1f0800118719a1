"""Errors as daprd's HTTP API writes them: the one place where an EdgeError becomes a response."""

from __future__ import annotations

from typing import Any

from edge import errors
from edge.errors import EdgeError
from edge.gojson import encode as dumps
from edge.http1.messages import Response

JSON = ("content-type", "application/json")
TEXT = ("content-type", "text/plain; charset=utf-8")
TYPE = "type.googleapis.com/google.rpc."
NO_CONTENT = Response(204)


def error_response(error: EdgeError) -> Response:
    """Status and body of a refusal."""
    headers = [JSON, *error.headers]
    return Response(error.http, headers, error_body(error) if error.body is None else error.body)


def error_body(error: EdgeError) -> bytes:
    """`{"errorCode","message"}`, with `details` for rich errors (http-api.md §2.1)."""
    body: dict[str, Any] = {"errorCode": error.code.tag or error.code.reason, "message": error.message}
    text = b'{"errorCode":' + dumps(body["errorCode"]) + b',"message":' + dumps(error.message)
    if error.code.reason:
        text += b',"details":[' + b",".join(dumps(item) for item in _details(error)) + b"]"
    return text + b"}"


def _details(error: EdgeError) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if error.violations:
        rows = [{"field": v.field, "description": v.description} for v in error.violations]
        found.append({"@type": f"{TYPE}BadRequest", "field_violations": rows})
    if error.links:
        found.append({"@type": f"{TYPE}Help", "links": [{"url": link.url, "description": link.description} for link in error.links]})
    if (resource := error.resource) is not None:
        found.append(
            {
                "@type": f"{TYPE}ResourceInfo",
                "resource_type": resource.type,
                "resource_name": resource.name,
                "owner": resource.owner,
                "description": error.message if resource.description is None else resource.description,
            }
        )
    info = None if error.info is None else dict(error.info)
    found.append({"@type": f"{TYPE}ErrorInfo", "reason": error.code.reason, "domain": "dapr.io", "metadata": info})
    return found


def text_response(status: int, text: str, *headers: tuple[str, str]) -> Response:
    """A plain text answer of Go's own server or router."""
    return Response(status, [TEXT, *headers], text.encode())


NOSNIFF = ("x-content-type-options", "nosniff")


def not_found() -> Response:
    """The router's own 404 (only where the invocation fallback is not allowed)."""
    return text_response(404, "404 page not found\n", NOSNIFF)


def unauthorized() -> Response:
    return text_response(401, "invalid api token\n", NOSNIFF)


def json_response(body: bytes, status: int = 200) -> Response:
    return Response(status, [JSON], body)


def unclassified(error: BaseException) -> Response:
    """A bug, or an error nobody classified."""
    return error_response(EdgeError(errors.UNCLASSIFIED, error=error))
