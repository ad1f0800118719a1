"""The conversation API over HTTP, as daprd answered (its recordings), on a real sidecar."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness import Sidecar, component, sidecar

HELLO = {"ofUser": {"content": [{"text": "hello"}]}}
STOP = {"finishReason": "stop"}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    with sidecar(tmp_path_factory.mktemp("s"), resources={"a.yaml": component("parrot", "conversation.echo")}) as started:
        yield started


def said(text: str, words: int, **more: Any) -> dict[str, Any]:
    usage = {"completionTokens": str(words), "promptTokens": str(words), "totalTokens": str(2 * words)} if words else {}
    message = {"content": text} if text else {}
    return {**more, "outputs": [{"choices": [{**STOP, "message": message}], "usage": usage}]}


@pytest.mark.parametrize(
    ("body", "status", "answer"),
    [
        ({"inputs": [{"messages": [HELLO]}]}, 200, said("hello", 1)),
        ({"inputs": [{}]}, 200, said("", 0)),
        (
            {"inputs": [{"messages": [{"ofSystem": {"content": [{"text": "be kind"}]}}, HELLO]}], "contextId": "c-1"},
            200,
            said("be kind\nhello", 3, contextId="c-1"),
        ),
        ({"inputs": [{"messages": [HELLO]}], "toolChoice": "hammer"}, 200, said("hello", 1)),
        ({}, 400, ("ERR_CONVERSATION_MISSING_INPUTS", "failed conversing with component parrot: missing inputs in request")),
        (
            {"inputs": [{"messages": [{}]}]},
            400,
            (
                "ERR_CONVERSATION_INVALID_PARMS",
                "failed conversing with component parrot: invalid params: message type cannot be nil",
            ),
        ),
    ],
)
def test_alpha2(one: Sidecar, body: Any, status: int, answer: Any) -> None:
    got = one.call("POST", "/v1.0-alpha2/conversation/parrot/converse", body)

    expected = answer if isinstance(answer, dict) else {"errorCode": answer[0], "message": answer[1]}
    assert (got.status, got.json()) == (status, expected)


def test_alpha1_gives_the_first_choice_and_the_parameters_back(one: Sidecar) -> None:
    body = {"inputs": [{"content": "mail me at joe@example.com", "role": "user", "scrubPII": True}], "contextID": "7"}
    got = one.call("POST", "/v1.0-alpha1/conversation/parrot/converse", body)

    assert got.json() == {"contextID": "7", "outputs": [{"result": "mail me at <EMAIL_ADDRESS>"}]}


@pytest.mark.parametrize("version", ["alpha1", "alpha2"])
def test_unknown_and_malformed(one: Sidecar, version: str) -> None:
    unknown = one.call("POST", f"/v1.0-{version}/conversation/macaw/converse", {"inputs": [{}]})
    malformed = one.call("POST", f"/v1.0-{version}/conversation/parrot/converse", b"[")

    assert (unknown.status, json.loads(unknown.body)["errorCode"]) == (400, "ERR_CONVERSATION_NOT_FOUND")
    assert malformed.json()["message"] == "failed deserializing HTTP body: proto:\u00a0syntax error (line 1:1): unexpected token ["


def test_over_grpc(one: Sidecar) -> None:
    grpc = pytest.importorskip("grpc")
    from dapr.proto import api_service_v1, api_v1

    with grpc.insecure_channel(f"127.0.0.1:{one.grpc_port}") as channel:
        stub = api_service_v1.DaprStub(channel)
        request = api_v1.ConversationRequestAlpha2(name="parrot")
        request.inputs.add().messages.add().of_user.content.add(text="squawk")
        answer = stub.ConverseAlpha2(request, timeout=10)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ConverseAlpha1(api_v1.ConversationRequest(), timeout=10)

    assert answer.outputs[0].choices[0].message.content == "squawk"
    assert caught.value.details() == "failed finding conversation component "
