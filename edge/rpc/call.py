"""One gRPC call as its server sees it: unary ones answer from a function, streaming ones from a coroutine."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from edge import eager
from edge.errors import Grpc
from edge.rpc.frames import DATA, END_HEADERS, END_STREAM, H2, HEADERS, head
from edge.rpc.hpack import NO_MESSAGE, Field
from edge.rpc.messages import PREFIX, Messages, prefix, whole
from edge.rpc.room import SMALL, UNKNOWN
from edge.rpc.status import CONTENT_TYPE, RpcError, Undecoded, metadata, trailer_fields
from edge.rpc.stream import Stream

if TYPE_CHECKING:
    from edge.rpc.server import ServerConnection

log = logging.getLogger("dapr.runtime.grpc.api")
ANSWER: tuple[Field, ...] = ((":status", "200"), CONTENT_TYPE)
DONE = (("grpc-status", "0"), NO_MESSAGE)
FORGETTING = 6  # each answer takes a 64th of the way
INBOX_HIGH = 64 << 10  # unread bytes above which the peer gets no more credit


@dataclass(slots=True)
class Method:
    """How a path is served: one of the two is set. expected: bytes of its next answer, from those before."""

    unary: UnaryHandler | None = None
    stream: StreamHandler | None = None
    expected: int = 0

    def answered(self, size: int) -> None:
        """An answer had this many bytes: a large one is remembered for some hundred answers."""
        known = self.expected
        self.expected = size if size > known or known == UNKNOWN else known - ((known - size) >> FORGETTING)


@dataclass(slots=True)
class CallHead:
    """What a call's first header block says; the same block again gives the same object. timeout: seconds, 0 = none.

    context: what a front found out from the fields, for it to keep. answer: how an answer that is under way began.
    opening: how one begins whose handler sent nothing before it ended; a front may add to it.
    """

    path: str
    fields: Sequence[Field]
    method: Method
    timeout: float
    encoding: str
    length: int
    answer: tuple[Field, ...] = ANSWER
    opening: tuple[Field, ...] = ANSWER
    context: Any = None

    def metadata(self) -> list[Field]:
        """As grpc-go shows it to a server (`:authority`, `user-agent` and `content-type` included)."""
        return metadata(self.fields)

    def get(self, name: str, default: str = "") -> str:
        """The first value of a field."""
        for key, value in self.fields:
            if key == name:
                return value
        return default


class Call(Stream):
    """The common part. initial, trailing: metadata that the handler adds to the answer's head and end (wire form).

    late: fields of the head that are known when the handler has ended, and only sent if it sent nothing before; they replace the opening's.

    began: monotonic seconds, kept only where a `done` is told. received, sent: bytes of messages until now.
    span, context: what a front keeps of its trace. problem: the text of the status it failed with.
    """

    connection: ServerConnection
    began = 0.0
    received = sent = 0
    span: Any = None
    context: Any = None
    problem = ""
    initial: Sequence[Field] = ()
    trailing: Sequence[Field] = ()
    late: Sequence[Field] = ()
    _headers_sent = False
    _task: asyncio.Future[None] | None = None
    _timer: asyncio.TimerHandle | None = None
    _messages: Messages | None = None
    _held = 0
    _charged = 0

    def __init__(self, connection: ServerConnection, stream_id: int, call: CallHead) -> None:
        self.connection = connection
        self.id = stream_id
        self.send_window = connection.peer_window
        self.receive_left = connection.limits.stream_window
        self.head = call
        self.expected = call.length
        if connection.service.done is not None:
            self.began = time.monotonic()

    @property
    def path(self) -> str:
        """`/package.Service/Method`."""
        return self.head.path

    def metadata(self) -> list[Field]:
        """What the caller sent, in order, `-bin` values in base64."""
        return self.head.metadata()

    def headers(self, fields: list[Field], end: bool) -> None:
        if not end:
            self.connection.reset(self, H2.PROTOCOL_ERROR)
            self._gone()
        else:
            self.data(b"", True, 0)

    # --- running the handler
    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a handler up to its end, the deadline or the caller's cancel."""
        task = eager.start(work, self.connection.loop, self.head.path)
        if not task.done():
            self._task = task
            self._watch()

    def _watch(self) -> None:
        if self.head.timeout and self._timer is None:
            self._timer = self.connection.loop.call_later(self.head.timeout, self._expire)

    def _expire(self) -> None:
        self._stop()
        self.fail(RpcError(Grpc.DEADLINE_EXCEEDED, "context deadline exceeded"))

    def _stop(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            task.cancel()

    def _gone(self) -> None:
        super()._gone()
        self._let_go()
        self._stop()

    def _let_go(self) -> None:
        """The request is read, or nobody wants it any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._held:
            self.connection.buffered -= self._held
            self._held = 0
        if self._charged:
            self.charge(0)

    def _hold(self, size: int) -> None:
        """Bytes of the request that the connection keeps. Raises Undecoded when they are too many."""
        connection = self.connection
        connection.buffered += size - self._held
        self._held = size
        if connection.buffered > connection.limits.buffered:
            raise Undecoded(Grpc.RESOURCE_EXHAUSTED, "too many unfinished messages on this connection")

    def charge(self, size: int) -> None:
        """Room that is taken for the answer before it is there."""
        change, self._charged = size - self._charged, size
        self.connection.owe(change)

    def resume(self) -> None:
        """There is room for the answer."""
        raise NotImplementedError

    def _feed(self, payload: bytes) -> list[bytes]:
        """The messages that `payload` completes; what stays unfinished counts on the connection. Raises RpcError."""
        if self._messages is None:
            self._messages = Messages(self.connection.service.max_receive, self.head.encoding)
        found = self._messages.feed(payload)
        self._hold(self._messages.unfinished)
        return found

    # --- the answer
    def fail(self, error: Exception) -> None:
        """End the call with the status of `error`."""
        if self.local_closed:
            return
        problem = error if isinstance(error, RpcError) else self.connection.service.render(error)
        self.problem = problem.message
        extra = (*self.trailing, *problem.trailers) if problem.trailers else self.trailing
        has_head = self.initial or self.late or self.head.opening is not self.head.answer
        if has_head and not self._headers_sent and not isinstance(error, Undecoded):
            self._open()
        self._finish_with(trailer_fields(problem.code, problem.message, problem.details, extra), problem.code)

    def _finish_with(self, trailers: tuple[Field, ...], code: int) -> None:
        if self._headers_sent:
            self.send_trailers(trailers)
        else:
            self._headers_sent = True
            self.send_headers((*self.head.answer, *trailers), end=True)
        self._over(code)

    def _over(self, code: int) -> None:
        self._let_go()
        self.connection.busy()
        if (done := self.connection.service.done) is not None:
            done(self, code)

    def _send_head(self) -> None:
        self._headers_sent = True
        self.send_headers((*self.head.answer, *self.initial))

    def _open(self) -> None:
        """The head of an answer whose handler has ended."""
        self._headers_sent = True
        self.send_headers((*(self.head.answer if self.late else self.head.opening), *self.initial, *self.late))


class UnaryCall(Call):
    """One message in, one out."""

    _message: bytes | None = None
    _kept: bytes | None = None

    def data(self, payload: bytes, end: bool, size: int) -> None:
        limit = self.connection.service.max_receive
        if end and self._messages is None and whole(payload) and not 0 < limit < size - PREFIX:
            self._call(payload[PREFIX:])
            return
        if self.local_closed:
            return
        try:
            self._collect(payload, end)
        except RpcError as error:
            self.fail(error)
        else:
            self.credit(size)

    def _collect(self, payload: bytes, end: bool) -> None:
        """Of several messages the first counts (as grpc-go)."""
        for message in self._feed(payload):
            if self._message is None:
                self._message = message
        if not end:
            return
        if self._message is None:
            broken = self._messages is not None and self._messages.unfinished >= PREFIX
            raise Undecoded(Grpc.UNKNOWN, "unexpected EOF" if broken else "EOF")
        self._call(self._message)

    def _call(self, message: bytes) -> None:
        expected = self.head.method.expected
        if expected <= SMALL or self.connection.begins(self, expected):
            self._serve(message)
            return
        self._kept = message
        self._watch()
        try:
            self._hold(len(message))
        except Undecoded as error:
            self.fail(error)

    def resume(self) -> None:
        message, self._kept = self._kept, None
        assert message is not None
        self.connection.buffered -= self._held
        self._held = 0
        self._serve(message)

    def _serve(self, message: bytes) -> None:
        service = self.connection.service
        self.received = len(message)
        try:
            if service.intercept is not None:
                service.intercept(self)
            assert self.head.method.unary is not None
            answer = self.head.method.unary(self, message)
        except Exception as error:
            self.fail(error)
            return
        if isinstance(answer, bytes):
            self.reply(answer)
        else:
            self.run(self._wait(answer))

    async def _wait(self, answer: Awaitable[bytes]) -> None:
        try:
            message = await answer
        except Exception as error:
            self.fail(error)
        else:
            self.reply(message)

    def reply(self, message: bytes) -> None:
        """Answer OK. Head, message and trailers leave as one piece when the windows allow."""
        connection, size = self.connection, len(message) + PREFIX
        if self.local_closed:
            return
        if 0 < connection.service.max_send < size - PREFIX:
            text = f"trying to send message larger than max ({size - PREFIX} vs. {connection.service.max_send})"
            return self.fail(RpcError(Grpc.RESOURCE_EXHAUSTED, text))
        self.sent = size - PREFIX
        method = self.head.method
        if size > SMALL or method.expected > SMALL:
            method.answered(size)
        room = min(connection.send_window, self.send_window, connection.max_frame)
        if size > room or connection.paused or self.initial or self.late or self.trailing:
            self._open()
            self.send_data(prefix(size - PREFIX) + message)
            return self._finish_with(trailer_fields(Grpc.OK, extra=self.trailing), Grpc.OK)
        self._headers_sent = True
        connection.send_window -= size
        constant = connection.encoder.constant
        first, last = constant(self.head.opening), constant(DONE)
        connection.send(
            b"".join((
                head(len(first), HEADERS, END_HEADERS, self.id), first,
                head(size, DATA, 0, self.id), prefix(size - PREFIX), message,
                head(len(last), HEADERS, END_HEADERS | END_STREAM, self.id), last,
            ))
        )  # fmt: skip
        self._end()
        return self._over(Grpc.OK)


class StreamCall(Call):
    """Messages both ways, in the handler's own time. `async for message in call` reads to the caller's half-close."""

    _reader: asyncio.Future[None] | None = None
    _unread = 0
    _unpaid = 0

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
            if end and self._messages is not None and self._messages.unfinished:
                raise Undecoded(Grpc.UNKNOWN, "unexpected EOF")
        except RpcError as error:
            self._broken = error
        if self._unread > INBOX_HIGH:
            self._unpaid += size
        else:
            self.credit(size)
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
        if self._unpaid and self._unread <= INBOX_HIGH:
            self.credit(self._unpaid)
            self._unpaid = 0
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
        self.send_data(prefix(len(message)) + message)
        self.connection.busy()
        if self.queued:
            await self.writable()


UnaryHandler: TypeAlias = "Callable[[UnaryCall, bytes], bytes | Awaitable[bytes]]"
StreamHandler: TypeAlias = Callable[[StreamCall], Coroutine[Any, Any, None]]
