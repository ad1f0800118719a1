"""The two conversation calls on protobuf messages, shared by both faces (HTTP reads and writes them as protobuf-JSON)."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import MessageToDict

from edge.app import App
from edge.blocks.conversation import ConversationService, masked_texts, of_role, plain, refused
from edge.chat import ChatMessage, ChatRequest, ChatResponse, Choice, Tool, ToolCall, Usage
from edge.rpc.pb import ai_pb2

ROLES = {"of_developer": "human", "of_user": "human", "of_system": "system", "of_assistant": "ai"}


async def alpha1(service: ConversationService, app: App, request: Any) -> Any:
    """A ConversationResponse. Raises EdgeError."""
    part = service.lookup(app, request.name, len(request.inputs))
    messages = tuple(plain(of_role(one.role), [one.content], masked=one.scrubPII) for one in request.inputs)
    answer = await service.converse(app, part, ChatRequest(messages, temperature=request.temperature), masked=request.scrubPII)
    response = ai_pb2.ConversationResponse()
    if request.contextID:
        response.contextID = request.contextID
    for choices in answer.outputs:
        output = response.outputs.add(result=choices[0].content if choices else "")
        for name, value in request.parameters.items():
            output.parameters[name].CopyFrom(value)
    return response


async def alpha2(service: ConversationService, app: App, request: Any) -> Any:
    """A ConversationResponseAlpha2. Raises EdgeError."""
    part = service.lookup(app, request.name, len(request.inputs))
    messages = tuple(_message(request.name, one, masked=each.scrub_pii) for each in request.inputs for one in each.messages)
    chat = ChatRequest(
        messages,
        tuple(_tool(tool.function) for tool in request.tools if tool.HasField("function")),
        request.tool_choice,
        request.temperature,
        dict(request.metadata),
        MessageToDict(request.response_format) if request.HasField("response_format") else None,
        _seconds(request.prompt_cache_retention) if request.HasField("prompt_cache_retention") else None,
    )
    return _response(request, await service.converse(app, part, chat, masked=request.scrub_pii))


def _message(name: str, message: Any, *, masked: bool) -> ChatMessage:
    kind = message.WhichOneof("message_types")
    if kind is None:
        raise refused(name, "message type cannot be nil")
    body = getattr(message, kind)
    texts = masked_texts([content.text for content in body.content], masked=masked)
    if kind == "of_tool":
        return ChatMessage("tool", texts, tool_id=body.tool_id, tool_name=body.name)
    calls: list[ToolCall] = []
    for call in body.tool_calls if kind == "of_assistant" else ():
        if not call.HasField("function"):
            raise refused(name, "tool types cannot be nil")
        calls.append(ToolCall(call.function.name, call.function.arguments, call.id))
    return ChatMessage(ROLES[kind], texts, tuple(calls))


def _tool(function: Any) -> Tool:
    return Tool(function.name, function.description, MessageToDict(function.parameters))


def _seconds(duration: Any) -> float:
    seconds: float = duration.seconds + duration.nanos / 1e9
    return seconds


def _response(request: Any, answer: ChatResponse) -> Any:
    response = ai_pb2.ConversationResponseAlpha2()
    if request.context_id:
        response.context_id = request.context_id
    for choices in answer.outputs:
        output = response.outputs.add()
        if answer.model:
            output.model = answer.model
        if answer.usage is not None:
            _fill_usage(output.usage, answer.usage)
        for choice in choices:
            _fill_choice(output.choices.add(finish_reason=choice.finish_reason, index=choice.index), choice)
    return response


def _fill_choice(target: Any, choice: Choice) -> None:
    target.message.SetInParent()
    target.message.content = choice.content
    for call in choice.tool_calls:
        added = target.message.tool_calls.add()
        if call.id:
            added.id = call.id
        added.function.name, added.function.arguments = call.name, call.arguments


def _fill_usage(target: Any, usage: Usage) -> None:
    target.SetInParent()
    target.completion_tokens, target.prompt_tokens, target.total_tokens = usage.completion, usage.prompt, usage.total
    if usage.completion_details is not None:
        details = target.completion_tokens_details
        details.accepted_prediction_tokens, details.audio_tokens, details.reasoning_tokens, details.rejected_prediction_tokens = (
            usage.completion_details
        )
    if usage.prompt_details is not None:
        target.prompt_tokens_details.audio_tokens, target.prompt_tokens_details.cached_tokens = usage.prompt_details
