"""Conversation: which component answers, with personal data masked on the way in and out where the request says so.

Source: dapr pkg/api/universal/conversation.go @1.18.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edge import errors
from edge.app import App, Part, Parts
from edge.blocks.retries import PolicyOf, no_policy
from edge.blocks.scrub import scrub
from edge.chat import ChatMessage, ChatRequest, ChatResponse
from edge.errors import ComponentError, EdgeError

CHOICES = ("auto", "none", "")
NEEDS_TOOLS = "tool choice must be 'auto', 'none', 'required', or a specific tool name matching the tools available to be used"
UNKNOWN_TOOL = "tool choice selected was not found. Must be " + NEEDS_TOOLS.partition(" must be ")[2]


class ConversationService:
    """The conversation API of all apps."""

    def __init__(self, parts: Parts, policy_of: PolicyOf = no_policy) -> None:
        self._parts, self._policy_of = parts, policy_of

    def lookup(self, app: App, name: str, inputs: int) -> Part:
        """The component, when there are inputs. Raises EdgeError CONVERSATION_NOT_FOUND, CONVERSATION_MISSING_INPUTS."""
        part = self._parts.find("conversation", name, app)
        if part is None:
            raise EdgeError(errors.CONVERSATION_NOT_FOUND, name=name)
        if not inputs:
            raise EdgeError(errors.CONVERSATION_MISSING_INPUTS, name=name)
        return part

    async def converse(self, app: App, part: Part, request: ChatRequest, *, masked: bool = False) -> ChatResponse:
        """The model's answer. masked: personal data in it are replaced. Raises EdgeError CONVERSATION_INVALID, CONVERSATION_INVOKE."""
        request = replace(request, tool_choice=_tool_choice(part.name, request))
        policy = self._policy_of(app, part.name)
        try:
            if policy is None:
                response: ChatResponse = await part.component.converse(request)
            else:
                response = await policy.run(lambda: part.component.converse(request))
        except ComponentError as error:
            raise EdgeError(errors.CONVERSATION_INVOKE, name=part.name, error=error) from error
        return _masked(response) if masked else response


def refused(name: str, reason: str) -> EdgeError:
    """The request is not as it should be."""
    return EdgeError(errors.CONVERSATION_INVALID, name=name, error=reason)


def masked_texts(texts: Sequence[str], *, masked: bool) -> tuple[str, ...]:
    """Texts of an input, without personal data if it asks for that."""
    return tuple(scrub(text) for text in texts) if masked else tuple(texts)


def of_role(role: str) -> str:
    """A role of the old API as `ChatMessage` names it."""
    known = {"system": "system", "assistant": "ai", "ai": "ai", "tool": "tool", "function": "tool"}
    return known.get(role, "human")


def plain(role: str, texts: Sequence[str], *, masked: bool) -> ChatMessage:
    """A message of texts alone."""
    return ChatMessage(role, masked_texts(texts, masked=masked))


def _tool_choice(name: str, request: ChatRequest) -> str:
    choice = request.tool_choice or ("auto" if request.tools else "")
    if choice in CHOICES or (choice == "required" and request.tools):
        return choice
    if choice == "required":
        raise refused(name, NEEDS_TOOLS)
    if request.tools and choice not in {tool.name for tool in request.tools}:
        raise refused(name, UNKNOWN_TOOL)
    return choice


def _masked(response: ChatResponse) -> ChatResponse:
    outputs = tuple(tuple(replace(choice, content=scrub(choice.content)) for choice in choices) for choices in response.outputs)
    return replace(response, outputs=outputs)
