"""ConverseAlpha1 and ConverseAlpha2."""

from __future__ import annotations

from typing import Any

from edge.api import conversation
from edge.api.grpc.call import Call, Unary
from edge.rpc.pb import ai_pb2


async def converse1(call: Call, request: Any) -> Any:
    return await conversation.alpha1(call.blocks.conversation, call.app, request)


async def converse2(call: Call, request: Any) -> Any:
    return await conversation.alpha2(call.blocks.conversation, call.app, request)


RPCS: dict[str, tuple[type, Unary]] = {
    "ConverseAlpha1": (ai_pb2.ConversationRequest, converse1),
    "ConverseAlpha2": (ai_pb2.ConversationRequestAlpha2, converse2),
}
