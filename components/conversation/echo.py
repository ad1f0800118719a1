"""`conversation.echo`: answers with what it was told; a double in tests. Source: components-contrib conversation/echo @1.18.4."""

from __future__ import annotations

from typing import Any, ClassVar

from edge.chat import ChatRequest, ChatResponse, Choice, Tool, ToolCall, Usage
from edge.component import Context, Feature
from edge.errors import Invalid
from edge.record import record


@record
class Fields:
    """It has no metadata."""


class Model:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()

    def __init__(self, metadata: Fields, context: Context) -> None: ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def converse(self, request: ChatRequest) -> ChatResponse:
        """The texts of all messages, a line each; a call of every tool, and the calls that the messages have."""
        texts: list[str] = []
        calls = [_call(number, tool) for number, tool in enumerate(request.tools)]
        for message in request.messages:
            if message.role == "tool":
                about = f"Tool Response for tool ID '{message.tool_id}' with name '{message.tool_name}': "
                texts += [about + text for text in message.texts]
            else:
                texts += message.texts
            calls += message.tool_calls
        content = "\n".join(texts)
        choice = Choice(content, tuple(calls), "tool_calls" if calls else "stop")
        words = len(content.split())
        return ChatResponse(((choice,),), usage=Usage(words, words, 2 * words))


def _call(number: int, tool: Tool) -> ToolCall:
    properties: Any = (tool.parameters or {}).get("properties", {})
    if not isinstance(properties, dict):
        raise Invalid(f"tool function properties must be a map[string]any, got {type(properties).__name__}")
    return ToolCall(tool.name, ",".join(sorted(properties)), str(number))
