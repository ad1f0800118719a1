"""A gRPC call with messages both ways, which a coroutine answers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Self

from edge.errors import Grpc
from edge.rpc.call import Call, CallHead
from edge.rpc.messages import PREFIX, prefixed
from edge.rpc.status import RpcError, Undecoded, trailer_fields

if TYPE_CHECKING:
    from edge.rpc.server import ServerConnection

INBOX_HIGH = 64 << 10  # unread bytes above which the peer gets no more credit


class StreamCall(Call):
    """Messages both ways, in the handler's own time. `async for message in call` reads to the caller's half-close."""

    _reader: asyncio.Future[None] | None = None
    _unread = 0

    def __init__(self, connection: ServerConnection, stream_id: int, call: CallHead) -> None:
        super().__init__(connection, stream_id, call)
        self._inbox: deque[bytes] = deque()
        self._broken: RpcError | None = None

    def begin(self) -> None:
        """Start the handler, or let it wait while the caller reads little of what it has asked for before."""
        if not self.connection.unsent or self.connection.begins(self, 0):
            self.resume()

    def resume(self) -> None:
        service = self.connection.service
        try:
            if service.intercept is not None:
                service.intercept(self)
        except Exception as error:
            self.fail(error)
        else:
            self.run(self._serve())

    async def _serve(self) -> None:
        assert self.head.method.stream is not None
        try:
            await self.head.method.stream(self)
        except Exception as error:
            self.fail(error)
        else:
            if not self.local_closed:
                if not self._headers_sent:
                    self._open()
                self._finish_with(trailer_fields(Grpc.OK, extra=self.trailing), Grpc.OK)

    def data(self, payload: bytes, end: bool, size: int) -> None:
        if self.local_closed:
            return
        try:
            for message in self._feed(payload):
                self._inbox.append(message)
                self._unread += len(message)
            if end and self._messages is not None and self._messages.unfinished >= PREFIX:
                raise Undecoded(Grpc.INTERNAL, "unexpected EOF")
        except RpcError as error:
            self._broken = error
        self.grant(size, later=self._unread > INBOX_HIGH)
        self._wake_reader()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _gone(self) -> None:
        super()._gone()
        self._inbox.clear()
        self._wake_reader()

    async def receive(self) -> bytes | None:
        """The next message; None after the caller's half-close. Raises RpcError for one that is too large or broken."""
        while not self._inbox:
            if self._broken is not None:
                raise self._broken
            if self.remote_closed:
                return None
            self._reader = self.connection.loop.create_future()
            await self._reader
        message = self._inbox.popleft()
        self._unread -= len(message)
        self.received += len(message)
        if self._unread <= INBOX_HIGH:
            self.settle()
        return message

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        message = await self.receive()
        if message is None:
            raise StopAsyncIteration
        return message

    def start_answer(self) -> None:
        """Send the head now (with `initial`), before any message."""
        if not self._headers_sent:
            self._send_head()

    async def send(self, message: bytes) -> None:
        """Send one message; waits while the caller reads slowly. Raises RpcError when it is too large."""
        limit = self.connection.service.max_send
        if 0 < limit < len(message):
            raise RpcError(Grpc.RESOURCE_EXHAUSTED, f"trying to send message larger than max ({len(message)} vs. {limit})")
        self.start_answer()
        self.sent += len(message)
        self.send_data(prefixed(message, self.head.zipped))
        self.connection.busy()
        if self.queued:
            await self.writable()


StreamHandler = Callable[[StreamCall], Coroutine[Any, Any, None]]
