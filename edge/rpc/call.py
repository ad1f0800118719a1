"""What all gRPC calls have as their server sees them: the head, a handler that runs, an answer that ends with a status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge import eager
from edge.errors import Grpc
from edge.rpc.frames import H2
from edge.rpc.hpack import Field
from edge.rpc.messages import Messages
from edge.rpc.room import UNKNOWN
from edge.rpc.status import CONTENT_TYPE, RpcError, Undecoded, metadata, trailer_fields
from edge.rpc.stream import Stream

if TYPE_CHECKING:
    from edge.rpc.server import ServerConnection
    from edge.rpc.stream_call import StreamHandler
    from edge.rpc.unary_call import UnaryHandler

ANSWER: tuple[Field, ...] = ((":status", "200"), CONTENT_TYPE)
FORGETTING = 6  # each answer takes a 64th of the way


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

    context: what a front found out from the fields, for it to keep. answer: how an answer begins that has no message.
    begun: how one that is under way began. opening: how one begins whose handler sent nothing before it ended; a front may add to it.
    zipped: the caller sends gzip and so gets it.
    """

    path: str
    fields: Sequence[Field]
    method: Method
    timeout: float
    encoding: str
    length: int
    answer: tuple[Field, ...] = ANSWER
    begun: tuple[Field, ...] = ANSWER
    opening: tuple[Field, ...] = ANSWER
    zipped: bool = False
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
        has_head = self.initial or self.late or self.head.opening is not self.head.begun
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
        self.send_headers((*self.head.begun, *self.initial))

    def _open(self) -> None:
        """The head of an answer whose handler has ended."""
        self._headers_sent = True
        self.send_headers((*(self.head.begun if self.late else self.head.opening), *self.initial, *self.late))
