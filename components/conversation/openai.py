"""`conversation.openai`: OpenAI, Azure OpenAI, and every server that speaks their chat API (a local llama.cpp, say).

Source of fields: components-contrib conversation/openai, conversation/models.go @1.18.4.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import orjson

from edge.chat import ChatMessage, ChatRequest, ChatResponse, Choice, ToolCall, Usage
from edge.component import Context, Feature
from edge.durations import format_go_duration
from edge.errors import ComponentError, Invalid, Unavailable
from edge.http1.client import BadResponse, Client, ClosedEarly, ConnectError, ResponseTimeout
from edge.record import record
from edge.spec import Duration, meta

ROLES = {"human": "user", "ai": "assistant", "system": "system"}
MOST_CACHED = 256
MOST_BYTES = 16 << 20


@record
class Fields:
    """Metadata of the component."""

    key: str = meta("", doc="API key.", sensitive=True)
    model: str = meta("", doc="The model; else the environment's OPENAI_MODEL, else gpt-5-nano.", example="gpt-5-nano")
    endpoint: str = meta("https://api.openai.com/v1", doc="Address of the API.", example="http://localhost:8080/v1")
    api_type: str = meta("open_ai", doc="`open_ai` or `azure`.", choices=("open_ai", "azure", "AZURE", "OPEN_AI", "openai"))
    api_version: str = meta("", doc="API version, for Azure.")
    response_cache_ttl: Duration = meta(
        Duration(0),
        name="responseCacheTTL",
        aliases=("cacheTTL",),
        doc="How long an answer is given again for the same request; 0 = never.",
    )
    timeout: Duration = meta(Duration(120), doc="Longest time for an answer. Not in daprd.", least=1)


class Model:
    """See the module."""

    Metadata: ClassVar[type] = Fields
    features: ClassVar[frozenset[Feature]] = frozenset()
    variable: ClassVar[str] = "OPENAI_MODEL"
    default: ClassVar[str] = "gpt-5-nano"

    def __init__(self, metadata: Fields, context: Context) -> None:
        self.metadata = metadata
        self._azure = metadata.api_type.lower() == "azure"
        variable = "AZURE_OPENAI_MODEL" if self._azure else self.variable
        self._model = metadata.model or os.environ.get(variable, "") or ("gpt-4.1-nano" if self._azure else self.default)
        self._client: Client | None = None
        self._target = ""
        self._cached: OrderedDict[bytes, tuple[float, ChatResponse]] = OrderedDict()

    async def open(self) -> None:
        """Connects to nothing yet. Raises Invalid for an address that is none."""
        fields = self.metadata
        if self._azure and not fields.api_version:
            raise Invalid("endpoint and apiVersion must be provided when apiType is set to 'azure'")
        parts = urlsplit(fields.endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Invalid(f"endpoint: {fields.endpoint} is no http or https address")
        tls = None
        if parts.scheme == "https":
            import ssl  # only for https

            tls = await asyncio.to_thread(ssl.create_default_context)
        self._client = Client(parts.hostname, parts.port or (443 if tls else 80), ssl=tls)
        path = parts.path.rstrip("/")
        if self._azure:
            version = quote(fields.api_version, safe="")
            self._target = f"{path}/openai/deployments/{quote(self._model, safe='')}/chat/completions?api-version={version}"
        else:
            self._target = f"{path}/chat/completions"

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def converse(self, request: ChatRequest) -> ChatResponse:
        """Raises Unavailable (no server, no answer), ComponentError with the server's words."""
        body = orjson.dumps(self._body(request))
        if (known := self._known(body)) is not None:
            return known
        answer = await self._ask(body)
        response = _response(answer, self._model)
        if (
            request.tool_choice in ("required", "any")
            and request.tools
            and not any(c.content or c.tool_calls for o in response.outputs for c in o)
        ):
            raise ComponentError(f"LLM returned empty response with no tool calls despite {len(request.tools)} tools being available")
        if self.metadata.response_cache_ttl > 0:
            self._cached[body] = (time.monotonic() + self.metadata.response_cache_ttl, response)
            if len(self._cached) > MOST_CACHED:
                self._cached.popitem(last=False)
        return response

    def _known(self, body: bytes) -> ChatResponse | None:
        until, response = self._cached.get(body, (0.0, None))
        return response if response is not None and time.monotonic() < until else None

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self._model, "messages": [one for message in request.messages for one in _messages(message)]}
        if request.temperature > 0:
            body["temperature"] = request.temperature
        if request.tools:
            body["tools"] = [_tool(tool) for tool in request.tools]
        if request.tool_choice and request.tools:
            body["tool_choice"] = _tool_choice(request.tool_choice)
        if request.response_format is not None:
            schema = {"name": "response", "schema": dict(request.response_format), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        metadata = dict(request.metadata)
        if request.cache_retention is not None:
            body["prompt_cache_retention"] = format_go_duration(request.cache_retention)
        if metadata:
            body["metadata"] = metadata
        return body

    async def _ask(self, body: bytes) -> dict[str, Any]:
        if self._client is None:
            raise Unavailable("the component is closed")
        headers = [("content-type", "application/json"), ("accept", "application/json")]
        if self.metadata.key:
            headers.append(("api-key", self.metadata.key) if self._azure else ("authorization", f"Bearer {self.metadata.key}"))
        try:
            async with asyncio.timeout(self.metadata.timeout):
                response = await self._client.request("POST", self._target, headers, body)
                data = await response.read(MOST_BYTES)
        except (ConnectError, BadResponse, ClosedEarly, ResponseTimeout, TimeoutError, OSError) as error:
            raise Unavailable(f"{self.metadata.endpoint}: {error or 'no answer in time'}") from error
        try:
            answer = orjson.loads(data)
        except orjson.JSONDecodeError:
            answer = None
        if response.status != 200 or not isinstance(answer, dict):
            raise ComponentError(f"API returned unexpected status code: {response.status}{_reason(answer)}")
        return answer


def _reason(answer: Any) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    text = error.get("message") if isinstance(error, dict) else error
    return f": {text}" if isinstance(text, str) else ""


def _messages(message: ChatMessage) -> list[dict[str, Any]]:
    if message.role == "tool":
        return [{"role": "tool", "tool_call_id": message.tool_id, "name": message.tool_name, "content": text} for text in message.texts]
    found: dict[str, Any] = {"role": ROLES[message.role], "content": "\n".join(message.texts)}
    if message.tool_calls:
        found["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}} for call in message.tool_calls
        ]
    return [found]


def _tool(tool: Any) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters or {})}
    return {"type": "function", "function": function}


def _tool_choice(choice: str) -> Any:
    if choice in ("auto", "none", "required"):
        return choice
    return "required" if choice == "any" else {"type": "function", "function": {"name": choice}}


def _response(answer: Mapping[str, Any], model: str) -> ChatResponse:
    outputs = []
    for index, choice in enumerate(answer.get("choices") or ()):
        message = choice.get("message") or {}
        calls = tuple(
            ToolCall(call["function"].get("name", ""), call["function"].get("arguments", ""), call.get("id") or "")
            for call in message.get("tool_calls") or ()
            if isinstance(call.get("function"), dict)
        )
        outputs.append((Choice(message.get("content") or "", calls, choice.get("finish_reason") or "unknown", index),))
    if not outputs:
        raise ComponentError("no response")
    return ChatResponse(tuple(outputs), model, _usage(answer.get("usage")))


def _usage(given: Any) -> Usage | None:
    if not isinstance(given, dict) or not any(given.get(name) for name in ("completion_tokens", "prompt_tokens", "total_tokens")):
        return None
    completion, prompt = given.get("completion_tokens_details") or {}, given.get("prompt_tokens_details") or {}
    first = tuple(
        int(completion.get(f"{name}_tokens") or 0) for name in ("accepted_prediction", "audio", "reasoning", "rejected_prediction")
    )
    second = tuple(int(prompt.get(f"{name}_tokens") or 0) for name in ("audio", "cached"))
    counts = [int(given.get(name) or 0) for name in ("completion_tokens", "prompt_tokens", "total_tokens")]
    return Usage(counts[0], counts[1], counts[2], first if any(first) else None, second if any(second) else None)  # type: ignore[arg-type]
