"""One gRPC call as its caller sees it: a unary answer in a future, or messages both ways."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

from edge.errors import Grpc
from edge.rpc.frames import H2
from edge.rpc.hpack import Field
from edge.rpc.messages import PREFIX, Messages, prefix, whole
from edge.rpc.status import FROM_HTTP, FROM_RESET, RpcError, read_trailers
from edge.rpc.stream import Stream

if TYPE_CHECKING:
    from edge.rpc.client import ClientConnection

INBOX_HIGH = 64 << 10


class Refused(Exception):
    """The server did not look at the call (GOAWAY, REFUSED_STREAM): it may be sent again elsewhere."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A unary call's success: the message, the metadata before it and those after it, as on the wire."""

    message: bytes
    headers: Sequence[Field]
    trailers: Sequence[Field]


class Reply(Stream):
    """The common part: the answer's head and end become metadata, a status or an error."""

    connection: ClientConnection
    initial: Sequence[Field] = ()
    _answered = False
    _over = False
    _messages: Messages | None = None
    _encoding = ""
    _timer: asyncio.TimerHandle | None = None

    @property
    def over(self) -> bool:
        """The status is here, or will never come."""
        return self._over

    def expire_after(self, timeout: float) -> None:
        """The deadline, in seconds from now."""
        self._timer = self.connection.loop.call_later(timeout, self._expire)

    def _expire(self) -> None:
        self.give_up(RpcError(Grpc.DEADLINE_EXCEEDED, "context deadline exceeded"))

    def give_up(self, error: Exception) -> None:
        """End the call from our side: RST_STREAM, and `error` for whoever waits."""
        if not self._over:
            self.connection.reset(self, H2.CANCEL)
            self._end_with(error)
            self._gone()

    def ended(self, error: Exception | None, trailers: Sequence[Field]) -> None:
        """The call is over; error None = status OK."""
        raise NotImplementedError

    def message(self, data: bytes) -> None:
        """A message came."""
        raise NotImplementedError

    def _end_with(self, error: Exception | None, trailers: Sequence[Field] = ()) -> None:
        if not self._over:
            self._over = True
            if self._timer is not None:
                self._timer.cancel()
            self.ended(error, trailers)

    def headers(self, fields: list[Field], end: bool) -> None:
        if not self._answered:
            if fields and fields[0][1][:1] == "1" and not end:
                return  # 1xx
            error = self._check_head(fields)
            if error is not None:
                return self.give_up(error)
            self._answered = True
            if not end:
                self.initial = [field for field in fields if field[0][:1] != ":"]
                return self.head_came()
        if end:
            self._finish(fields)
            self._close()
        return None

    def _close(self) -> None:
        """The server said all; what we had not said yet is not wanted."""
        if self.local_closed:
            self.connection.forget(self)
        else:
            self.connection.reset(self, H2.NO_ERROR)
            self._gone()

    def head_came(self) -> None:
        """`initial` is set."""

    def _finish(self, fields: list[Field]) -> None:
        code, message, details, extra = read_trailers(fields)
        if code == Grpc.OK:
            self._end_with(None, extra)
        else:
            self._end_with(RpcError(code, message, details, extra, self.initial), extra)

    def _check_head(self, fields: list[Field]) -> RpcError | None:
        status, content = "", ""
        for name, value in fields:
            if name == ":status":
                status = value
            elif name == "content-type":
                content = value
            elif name == "grpc-encoding":
                self._encoding = value
            elif name == "grpc-status":
                return None
        if status == "200" and content.startswith("application/grpc"):
            return None
        number = int(status) if status.isascii() and status.isdigit() else 0
        if number == HTTPStatus.OK:
            return RpcError(Grpc.UNKNOWN, f'transport: received unexpected content-type "{content}"')
        phrase = HTTPStatus(number).phrase if number in HTTPStatus._value2member_map_ else ""
        text = f"unexpected HTTP status code received from server: {number} ({phrase})"
        return RpcError(FROM_HTTP.get(number, Grpc.UNKNOWN), f'{text}; transport: received unexpected content-type "{content}"')

    def data(self, payload: bytes, end: bool, size: int) -> None:
        if self._over:
            return
        try:
            if self._messages is None and whole(payload) and not 0 < self.connection.max_receive < size - PREFIX:
                self.message(payload[PREFIX:])
            else:
                if self._messages is None:
                    self._messages = Messages(self.connection.max_receive, self._encoding)
                for data in self._messages.feed(payload):
                    self.message(data)
        except RpcError as error:
            return self.give_up(error)
        if end:
            self._end_with(RpcError(Grpc.INTERNAL, "server closed the stream without sending trailers"))
            return self._close()
        return self.paid(size)

    def paid(self, size: int) -> None:
        """`size` bytes of the window were used."""
        self.credit(size)

    def reset_by(self, code: int) -> None:
        self._gone()
        if code == H2.REFUSED_STREAM and not self._answered:
            return self._end_with(Refused())
        known = H2(code).name if code in H2._value2member_map_ else str(code)
        text = f"stream terminated by RST_STREAM with error code: {known}"
        return self._end_with(RpcError(FROM_RESET.get(code, Grpc.INTERNAL), text))

    def lost(self, error: Exception | None) -> None:
        self._gone()
        self._end_with(RpcError(Grpc.UNAVAILABLE, self.connection.wording(error)))


class UnaryReply(Reply):
    """One message back, through a future of Answer."""

    _message: bytes | None = None

    def __init__(self, connection: ClientConnection, stream_id: int) -> None:
        super().__init__(connection, stream_id)
        self.future: asyncio.Future[Answer] = connection.loop.create_future()

    def message(self, data: bytes) -> None:
        if self._message is not None:
            raise RpcError(
                Grpc.INTERNAL, "cardinality violation: expected <EOF> for non server-streaming RPCs, but received another message"
            )
        self._message = data

    def ended(self, error: Exception | None, trailers: Sequence[Field]) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        elif self._message is None:
            text = "cardinality violation: received no response message from non-server-streaming RPC"
            self.future.set_exception(RpcError(Grpc.INTERNAL, text))
        else:
            self.future.set_result(Answer(self._message, self.initial, trailers))


class StreamReply(Reply):
    """Messages both ways. `async for message in reply` ends at status OK and raises RpcError at any other."""

    _reader: asyncio.Future[None] | None = None
    _unread = 0
    _error: Exception | None = None
    trailers: Sequence[Field] = ()

    def __init__(self, connection: ClientConnection, stream_id: int) -> None:
        super().__init__(connection, stream_id)
        self._inbox: deque[bytes] = deque()

    def message(self, data: bytes) -> None:
        self._inbox.append(data)
        self._unread += len(data)
        self._wake_reader()

    def paid(self, size: int) -> None:
        self.grant(size, later=self._unread > INBOX_HIGH)

    def ended(self, error: Exception | None, trailers: Sequence[Field]) -> None:
        self._error, self.trailers = error, trailers
        self._wake_reader()

    def head_came(self) -> None:
        self._wake_reader()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def _wait(self) -> None:
        self._reader = self.connection.loop.create_future()
        await self._reader

    async def head(self) -> Sequence[Field]:
        """The metadata that came first; empty for an answer that is only a status."""
        while not self._answered and not self._over:
            await self._wait()
        return self.initial

    async def receive(self) -> bytes | None:
        """The next message; None after status OK (then `trailers` is set). Raises RpcError, or Refused."""
        while not self._inbox:
            if self._over:
                if self._error is not None:
                    raise self._error
                return None
            await self._wait()
        message = self._inbox.popleft()
        self._unread -= len(message)
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

    async def send(self, message: bytes) -> None:
        """Send one message; waits while the server reads slowly. After the call's end it does nothing: `receive()` says why."""
        limit = self.connection.max_send
        if 0 < limit < len(message):
            raise RpcError(Grpc.RESOURCE_EXHAUSTED, f"trying to send message larger than max ({len(message)} vs. {limit})")
        self.send_data(prefix(len(message)) + message)
        if self.queued:
            await self.writable()

    def half_close(self) -> None:
        """No more messages from us."""
        self.send_data(b"", end=True)

    def cancel(self) -> None:
        """Give the call up."""
        self.give_up(RpcError(Grpc.CANCELLED, "context canceled"))
