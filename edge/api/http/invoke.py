"""Service invocation (http-api.md §7): by path, by header, by basic auth; also what every request that no route takes falls to."""

from __future__ import annotations

import base64
import binascii
import contextlib
import posixpath
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import unquote, unquote_plus

from edge import errors
from edge.api.http.call import Call
from edge.api.http.router import Route
from edge.errors import EdgeError
from edge.http1.messages import Headers, Response
from edge.model import InvokeRequest, InvokeResponse

APP_ID = "dapr-app-id"
IN_PATH = re.compile(r"/+v1\.0/+invoke/+(.+?)/method/(.*)", re.DOTALL)
JSON = ("content-type", "application/json")
CHUNKED = ("transfer-encoding", "chunked")
TYPED = frozenset(("content-type", "content-encoding"))
EVENT_STREAM = "text/event-stream"
SSE = (("content-type", EVENT_STREAM), ("cache-control", "no-cache"), ("connection", "keep-alive"))
SSE_NAMES = frozenset(name for name, _ in SSE)
FIRST_GOOD, NOT_MODIFIED, FIRST_ERROR = 200, 304, 400


async def invoke(call: Call) -> Response:
    """The target's answer, whatever its status; ERR_DIRECT_INVOKE for all that is not the target's own.

    An answer goes on as it comes, in chunks; that of a failed call is read first (a resiliency policy looks at it), so its length is known.
    """
    request = call.request
    target, method = find_target(unquote(call.raw_path, errors="surrogateescape"), request.headers)
    if not target:
        raise EdgeError(errors.NO_APP_ID)
    headers, body = request.headers, request.stream() if request.data is None else request.data
    length = None if request.data is not None or "content-length" not in headers else int(headers.get("content-length", ""))
    asked = InvokeRequest(call.method.upper(), method, call.query, forwarded(call), body, headers.get("content-type"), length=length)
    if not call.trace.headers:
        asked = replace(asked, traced=False)
    answer = await call.blocks.invoke.invoke(call.app, target, asked)
    wants_events = headers.get("accept", "").strip().lower() == EVENT_STREAM and answer.status // 100 == 2
    if wants_events and target.partition(".")[0] == call.app.id:
        framing = () if isinstance(answer.body, bytes) else (CHUNKED,)
        return Response(200, [*answer.headers, *framing], answer.body)  # the own app's answer as it is
    if wants_events:
        answer.status = 200
    fields = returned(answer, sse=wants_events, read=headers.get("transfer-encoding") is None)
    if answer.grpc_status is None and answer.status >= FIRST_ERROR and headers.get("transfer-encoding") is None:
        whole = answer.body if isinstance(answer.body, bytes) else await _what_came(answer.body)
        return Response(answer.status, [*fields, ("content-length", str(len(whole)))], whole)
    if not answer.body:
        return Response(answer.status, fields)
    if any(name.lower() in TYPED for name, _ in fields):
        return Response(answer.status, [*fields, CHUNKED], answer.body)
    from edge.http1.sniff import content_type  # few apps answer without a type

    try:
        first, rest = await _begun(answer.body)
    except OSError as error:
        raise EdgeError(errors.DIRECT_INVOKE, app=target, error=error) from error
    return Response(answer.status, [*fields, *([("content-type", content_type(first))] if first else ()), CHUNKED], rest)


async def _what_came(body: AsyncIterator[bytes]) -> bytes:
    """The body of a failure, as far as the app told it."""
    found: list[bytes] = []
    with contextlib.suppress(OSError):
        async for piece in body:
            found += (piece,)
    return b"".join(found)


async def _begun(body: bytes | AsyncIterator[bytes]) -> tuple[bytes, bytes | AsyncIterator[bytes]]:
    """The first piece, and the body with it."""
    if isinstance(body, bytes):
        return body, body
    first = await anext(body, b"")
    return first, _again(first, body)


async def _again(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in rest:
        yield piece


def find_target(path: str, headers: Headers) -> tuple[str, str]:
    """Target and method of a request; ("", "") when it names no target. path: as sent, but unescaped."""
    target = headers.get(APP_ID) or _from_basic(headers.get("authorization", ""))
    if target:
        return target, _clean(path)
    match = IN_PATH.fullmatch(path)
    if match is None:
        return "", ""
    name = match[1].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return unquote_plus(name) or name, _clean(match[2])


def _clean(path: str) -> str:
    path = posixpath.normpath(path).lstrip("/") if path else ""
    return "" if path == "." else path


def _from_basic(text: str) -> str:
    """The password of `Basic dapr-app-id:<app>`."""
    if not text.startswith("Basic "):
        return ""
    try:
        user, _, password = base64.b64decode(text[6:], validate=True).decode("utf-8", "replace").partition(":")
    except (binascii.Error, ValueError):
        return ""
    return password if user.lower() == APP_ID and ":" not in password else ""


def forwarded(call: Call) -> list[tuple[str, str]]:
    """The caller's headers but those that were for the runtime; the trace context as it goes on."""
    headers, trace = call.request.headers, call.trace
    dropped = {"traceparent", "tracestate", "baggage"} if trace.headers else set()
    if not trace.traceparent:
        dropped.discard("traceparent")  # what is no trace context is the app's to judge
        if not trace.headers:
            dropped.add("tracestate")
    if headers.get(APP_ID):
        dropped.add(APP_ID)
    if call.app.api_token:
        dropped.add("dapr-api-token")
    return [*(item for item in headers if item[0] not in dropped), *(trace.metadata().items() if trace.headers else ())]


def returned(answer: InvokeResponse, *, sse: bool = False, read: bool = True) -> list[tuple[str, str]]:
    """The answer's headers for the caller. sse: the caller asked for an event stream. read: a failure's body is read first."""
    headers = [
        (f"dapr-{name}" if name.lower().startswith("grpc-") else name, value)
        for name, value in answer.headers
        if name[-4:] != "-bin" and name.lower() != "content-type"
    ]
    if sse:
        return [*(item for item in headers if item[0].lower() not in SSE_NAMES), *SSE]
    if answer.status == NOT_MODIFIED:
        return headers
    kind = next((value for name, value in answer.headers if name.lower() == "content-type"), answer.content_type)
    if kind:
        headers.append(("content-type", kind))
    elif read and not FIRST_GOOD <= answer.status < FIRST_ERROR:
        headers.append(JSON)
    return headers


FALLBACK = Route((), "/v1.0/invoke/{app…}", invoke, "invoke", "InvokeService")
