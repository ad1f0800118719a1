"""Models: the echo, and a server that speaks OpenAI's chat API."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.app import App, Part, Parts
from edge.blocks.conversation import ConversationService
from edge.blocks.scrub import scrub
from edge.chat import ChatMessage, ChatRequest, Tool, ToolCall, Usage
from edge.errors import ComponentError, EdgeError, Invalid, Unavailable
from tests.apps import Answer, ScriptedApp
from tests.harness import free_port
from tests.harness_components import opened

SAW = Tool("saw", "cuts", {"type": "object", "properties": {"deep": {}, "at": {}}})
ASK = ChatRequest((ChatMessage("system", ("be kind",)), ChatMessage("human", ("hello",))))


async def test_the_echo_says_everything_again(tmp_path: Path) -> None:
    turns = (ChatMessage("ai", (), (ToolCall("saw", "{}", "7"),)), ChatMessage("tool", ("done",), tool_id="7", tool_name="saw"))
    async with opened("conversation.echo", tmp_path) as model:
        plain = await model.converse(ASK)
        tools = await model.converse(ChatRequest((*ASK.messages, *turns), (SAW,)))

    assert plain.outputs[0][0].content == "be kind\nhello"
    assert plain.usage == Usage(3, 3, 6)
    assert tools.outputs[0][0].finish_reason == "tool_calls"
    assert tools.outputs[0][0].tool_calls == (ToolCall("saw", "at,deep", "0"), ToolCall("saw", "{}", "7"))
    assert "Tool Response for tool ID '7' with name 'saw': done" in tools.outputs[0][0].content


async def test_a_chat_server_is_asked_in_its_words(tmp_path: Path) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "saw", "arguments": '{"at":1}'}}
    answer = {
        "choices": [{"finish_reason": "tool_calls", "message": {"content": None, "tool_calls": [call]}}],
        "usage": {"completion_tokens": 3, "prompt_tokens": 4, "total_tokens": 7, "prompt_tokens_details": {"cached_tokens": 2}},
    }
    request = ChatRequest(ASK.messages, (SAW,), "saw", 0.5, {"user": "x"}, {"type": "object"}, 90.0)
    async with ScriptedApp(default=Answer.json(answer)) as server:
        raw = {"endpoint": f"{server.url}/v1/", "key": "sk-1", "model": "m", "cacheTTL": "1m"}
        async with opened("conversation.openai", tmp_path, raw) as model:
            first = await model.converse(request)
            again = await model.converse(request)

    (seen,) = server.seen  # the second answer is the first one, kept
    sent = seen.json()
    assert (seen.target, seen.header("authorization")) == ("/v1/chat/completions", "Bearer sk-1")
    assert sent["messages"] == [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}]
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "saw"}}
    assert (sent["temperature"], sent["metadata"], sent["prompt_cache_retention"]) == (0.5, {"user": "x"}, "1m30s")
    assert first.outputs[0][0].tool_calls == (ToolCall("saw", '{"at":1}', "c1"),)
    assert (first.model, first.usage) == ("m", Usage(3, 4, 7, None, (0, 2)))
    assert again is first


async def test_azure_has_an_address_of_its_own(tmp_path: Path) -> None:
    async with ScriptedApp(default=Answer.json({"choices": [{"message": {"content": "hi"}}]})) as server:
        raw = {"endpoint": server.url, "apiType": "azure", "apiVersion": "2025-01-01", "key": "k", "model": "gpt x"}
        async with opened("conversation.openai", tmp_path, raw) as model:
            answer = await model.converse(ASK)

    (seen,) = server.seen
    assert seen.target == "/openai/deployments/gpt%20x/chat/completions?api-version=2025-01-01"
    assert seen.header("api-key") == "k"
    assert answer.outputs[0][0].finish_reason == "unknown"


async def test_what_goes_wrong_is_told_without_the_key(tmp_path: Path) -> None:
    refusal = Answer.json({"error": {"message": "no such model"}}, 404)
    async with ScriptedApp(default=refusal) as server, opened("conversation.ollama", tmp_path, {"endpoint": server.url}) as model:
        with pytest.raises(ComponentError, match="API returned unexpected status code: 404: no such model"):
            await model.converse(ASK)
    raw = {"endpoint": f"http://127.0.0.1:{free_port()}/v1", "key": "sk-secret"}
    async with opened("conversation.openai", tmp_path, raw) as model:
        with pytest.raises(Unavailable) as caught:
            await model.converse(ASK)
    assert "sk-secret" not in str(caught.value)
    with pytest.raises(Invalid, match="apiVersion must be provided"):
        async with opened("conversation.openai", tmp_path, {"apiType": "azure"}):
            pass


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (ChatRequest(ASK.messages, (), "required"), "tool choice must be 'auto'"),
        (ChatRequest(ASK.messages, (SAW,), "hammer"), "tool choice selected was not found"),
    ],
)
async def test_tool_choices_that_cannot_be(tmp_path: Path, request_: ChatRequest, error: str) -> None:
    async with opened("conversation.echo", tmp_path) as model:
        part = Part("parrot", "conversation.echo", "v1", model, {})
        service = ConversationService(Parts([part]))
        with pytest.raises(EdgeError, match=error) as caught:
            await service.converse(App("a"), service.lookup(App("a"), "parrot", 1), request_)

    assert caught.value.http == 400


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("mail joe@example.com or call +1 212 555 0199!", "mail <EMAIL_ADDRESS> or call <PHONE_NUMBER>!"),
        ("SSN 078-05-1120, card 4111 1111 1111 1111", "SSN <US_SSN>, card <CREDIT_CARD>"),
        ("from 192.168.1.7 and 2001:db8::1", "from <IP> and <IP>"),
        ("see https://example.com/4111111111111111", "see https://example.com/4111111111111111"),
        ("3 plants at 21.5 degrees", "3 plants at 21.5 degrees"),
        ("", ""),
    ],
)
def test_personal_data_are_masked(text: str, clean: str) -> None:
    assert scrub(text) == clean
