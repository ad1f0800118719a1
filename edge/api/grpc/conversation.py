"""ConverseAlpha1 and ConverseAlpha2. This version has no conversation component, so every name is one that does not exist."""

from __future__ import annotations

from typing import Any

from edge import errors
from edge.api.grpc.call import Call, Unary
from edge.errors import EdgeError
from edge.rpc.pb import ai_pb2


def converse(call: Call, request: Any) -> Any:
    raise EdgeError(errors.CONVERSATION_NOT_FOUND, name=request.name)


RPCS: dict[str, tuple[type, Unary]] = {
    "ConverseAlpha1": (ai_pb2.ConversationRequest, converse),
    "ConverseAlpha2": (ai_pb2.ConversationRequestAlpha2, converse),
}
