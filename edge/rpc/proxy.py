"""Pass a call on to another server: messages as raw bytes both ways, metadata, deadline and status unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from edge.errors import Grpc
from edge.rpc.call import StreamCall
from edge.rpc.client import Channel
from edge.rpc.hpack import Field
from edge.rpc.reply import Refused, StreamReply
from edge.rpc.status import RpcError

OWN = frozenset(("content-type", "grpc-encoding", "grpc-accept-encoding"))


async def forward(call: StreamCall, channel: Channel, path: str, metadata: Sequence[Field]) -> None:
    """Serve `call` by the same call on `channel`. Raises RpcError with the other server's status and trailers."""
    reply = await channel.stream(path, metadata, call.head.timeout or None)
    upward = asyncio.create_task(_up(call, reply), name="rpc.proxy")
    try:
        await _down(call, reply)
    except RpcError as error:
        call.initial = _passed(error.headers)
        raise
    except Refused:
        raise RpcError(Grpc.UNAVAILABLE, "the connection is draining") from None
    finally:
        upward.cancel()
        reply.cancel()


async def _up(call: StreamCall, reply: StreamReply) -> None:
    try:
        async for message in call:
            await reply.send(message)
    except RpcError as error:
        reply.give_up(error)
    else:
        reply.half_close()


async def _down(call: StreamCall, reply: StreamReply) -> None:
    call.initial = _passed(await reply.head())
    if not reply.over:
        call.start_answer()
    async for message in reply:
        await call.send(message)
    call.trailing = reply.trailers


def _passed(fields: Sequence[Field]) -> list[Field]:
    return [field for field in fields if field[0] not in OWN]
