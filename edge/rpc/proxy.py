"""Pass a call on to another server: messages as raw bytes both ways, metadata, deadline and status unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol, Self

from edge.errors import Grpc
from edge.resiliency import CircuitOpen, CodeError, Final, Policy, TimedOut
from edge.rpc.hpack import Field
from edge.rpc.reply import Refused
from edge.rpc.status import RpcError
from edge.rpc.stream_call import StreamCall

OWN = frozenset(("content-type", "grpc-encoding", "grpc-accept-encoding"))
NO_RETRIES = "cannot use resiliency policies with retries on streaming RPCs"
DRAINING = "the connection is draining"


class Passage(Protocol):
    """The call on its way to the other server; see edge.rpc.reply.StreamReply."""

    trailers: Sequence[Field]

    @property
    def over(self) -> bool: ...
    async def send(self, message: bytes) -> None: ...
    def half_close(self) -> None: ...
    def give_up(self, error: Exception) -> None: ...
    def cancel(self) -> None: ...
    async def head(self) -> Sequence[Field]: ...
    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> bytes: ...


class Onward(Protocol):
    """Where calls are passed on to: a Channel, or what stands for one."""

    async def stream(self, path: str, metadata: Sequence[Field] = (), timeout: float | None = None) -> Passage: ...


async def forward(call: StreamCall, channel: Onward, path: str, metadata: Sequence[Field]) -> None:
    """Serve `call` by the same call on `channel`. Raises RpcError with the other server's status and trailers."""
    await _Passing(call).run(await channel.stream(path, metadata, call.head.timeout or None))


async def forward_guarded(call: StreamCall, channel: Onward, path: str, metadata: Sequence[Field], policy: Policy, *, stream: bool) -> None:
    """The same under a policy. stream: it is about the call's beginning only, else about all of it, which may then be sent again."""
    passing = _Passing(call, replays=not stream and policy.retries)

    async def begin() -> Passage:
        try:
            reply = await channel.stream(path, metadata, call.head.timeout or None)
        except RpcError as error:
            raise CodeError(error.code, error.message, error) from None
        return reply

    async def whole() -> None:
        reply = await begin()
        try:
            await passing.run(reply)
        except RpcError as error:
            failure = CodeError(error.code, error.message, error)
            raise Final(failure) if passing.begun or passing.spent else failure from None

    try:
        if stream:
            await passing.run(await policy.run(begin))
        else:
            await policy.run(whole)
    except CodeError as error:
        raise error.result from None
    except TimedOut as error:
        raise RpcError(Grpc.DEADLINE_EXCEEDED, str(error)) from None
    except CircuitOpen as error:
        raise RpcError(Grpc.UNKNOWN, str(error)) from None


class _Passing:
    """One call on its way. replays: its only message is kept, to be sent again. begun: the caller saw something of an answer.

    spent: it turned out to be a stream, which can't be sent again.
    """

    def __init__(self, call: StreamCall, *, replays: bool = False) -> None:
        self._call, self._replays = call, replays
        self._own = tuple(call.initial)
        self._kept: bytes | None = None
        self._complete = False
        self.begun = self.spent = False

    async def run(self, reply: Passage) -> None:
        """Raises RpcError with the other server's status and trailers."""
        upward = asyncio.create_task(self._up(reply), name="rpc.proxy")
        try:
            await self._down(reply)
        except RpcError as error:
            if not self.begun:
                self._call.initial = self._head(error.headers)
            raise
        except Refused:
            raise RpcError(Grpc.UNAVAILABLE, DRAINING) from None
        finally:
            upward.cancel()
            reply.cancel()

    async def _up(self, reply: Passage) -> None:
        try:
            if self._kept is not None:
                await reply.send(self._kept)
            while not self._complete and (message := await self._call.receive()) is not None:
                if self._replays:
                    if self._kept is not None:
                        self.spent = True
                        raise RpcError(Grpc.FAILED_PRECONDITION, NO_RETRIES)
                    self._kept = message
                await reply.send(message)
        except RpcError as error:
            reply.give_up(error)
        else:
            self._complete = True
            reply.half_close()

    async def _down(self, reply: Passage) -> None:
        head = self._head(await reply.head())
        if not reply.over:
            self._start(head)
        async for message in reply:
            self._start(head)
            await self._call.send(message)
        self._call.initial = head if not self.begun else self._call.initial
        self._call.trailing = reply.trailers

    def _head(self, fields: Sequence[Field]) -> list[Field]:
        """What this server says itself, and what the other one said."""
        return [*self._own, *(field for field in fields if field[0] not in OWN and field not in self._own)]

    def _start(self, head: Sequence[Field]) -> None:
        if not self.begun:
            self.begun = True
            self._call.initial = head
            self._call.start_answer()
