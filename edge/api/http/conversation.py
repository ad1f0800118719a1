"""The conversation routes (http-api.md §15): protobuf-JSON in and out, so protobuf comes with the first call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from google.protobuf import json_format

from edge import errors
from edge.api import conversation
from edge.api.http import answers, protobody
from edge.api.http.call import Call
from edge.api.http.router import Route
from edge.errors import EdgeError
from edge.http1.messages import Response
from edge.protojson import Message
from edge.rpc.pb import ai_pb2
from edge.rpc.pb.pool import POOL

ANYTHING = Message({})


def _handler(type_: str, run: Callable[..., Any]) -> Callable[[Call], Any]:
    async def converse(call: Call) -> Response:
        request = await _read(call, getattr(ai_pb2, type_)())
        request.name = call.params[0]
        answer = await run(call.blocks.conversation, call.app, request)
        return answers.data(orjson.dumps(json_format.MessageToDict(answer, descriptor_pool=POOL)))

    return converse


async def _read(call: Call, request: Any) -> Any:
    """The request's message. Raises EdgeError BODY_READ, MALFORMED_REQUEST."""
    await protobody.fields(call, ANYTHING)  # what is no JSON object at all, in Go's words
    try:
        return json_format.Parse(await call.body() or b"{}", request, ignore_unknown_fields=True, descriptor_pool=POOL)
    except json_format.ParseError as error:
        raise EdgeError(errors.MALFORMED_REQUEST, error=f"proto:\u00a0{error}") from None


ROUTES = [
    Route(("POST",), f"/v1.0-{version}/conversation/{{name}}/converse", _handler(type_, run), "conversation", "Converse")
    for version, type_, run in (
        ("alpha1", "ConversationRequest", conversation.alpha1),
        ("alpha2", "ConversationRequestAlpha2", conversation.alpha2),
    )
]
