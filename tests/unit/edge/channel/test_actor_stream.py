"""What an app with an actor stream gets."""

from __future__ import annotations

import asyncio

from edge.actor import ActorCall
from edge.channel.actor_stream import ActorStream


def metadata(call: ActorCall) -> dict[str, str]:
    """Of the request that the app gets."""

    async def run() -> dict[str, str]:
        stream = ActorStream()
        calling = asyncio.create_task(stream.invoke(call))
        request = await anext(stream.requests())
        calling.cancel()
        return dict(request.invoke_request.metadata)

    return asyncio.run(run())


def test_names_of_headers_are_go_s_unless_a_grpc_caller_spelled_them() -> None:
    headers = (("x-q", "1"), ("content-type", "t/u"), ("dapr-caller-app-id", "mill"))

    assert set(metadata(ActorCall("Hive", "q1", "m", headers=headers))) == {"X-Q", "Content-Type", "dapr-caller-app-id"}
    assert set(metadata(ActorCall("Hive", "q1", "m", headers=headers, spelling={"x-q": "x-Q", "content-type": "content-type"}))) == {
        *("x-Q", "content-type", "dapr-caller-app-id")
    }
