"""What the conversation API sends to a model and gets back; the same for both faces and every component."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.model import NO_METADATA
from edge.record import record


@record
class ToolCall:
    """A call that a model wants. arguments: JSON text."""

    name: str
    arguments: str = ""
    id: str = ""


@record
class Tool:
    """A function that a model may call. parameters: JSON schema."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None


@record
class ChatMessage:
    """One turn. role: `human`, `system`, `ai` or `tool`; for `tool`: id and name of the call that is answered, `texts` its results."""

    role: str
    texts: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_id: str = ""
    tool_name: str = ""


@record
class ChatRequest:
    """tool_choice: `auto`, `none`, `required` or a tool's name, "" = not given. response_format: a schema. temperature: 0 = not given."""

    messages: tuple[ChatMessage, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = ""
    temperature: float = 0.0
    metadata: Mapping[str, str] = NO_METADATA
    response_format: Mapping[str, Any] | None = None
    cache_retention: float | None = None


@record
class Usage:
    """Tokens. completion_details: accepted, audio, reasoning, rejected; prompt_details: audio, cached; None = not told."""

    completion: int
    prompt: int
    total: int
    completion_details: tuple[int, int, int, int] | None = None
    prompt_details: tuple[int, int] | None = None


@record
class Choice:
    """One answer of a model."""

    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    index: int = 0


@record
class ChatResponse:
    """outputs: each its choices."""

    outputs: tuple[tuple[Choice, ...], ...]
    model: str = ""
    usage: Usage | None = None
