"""A gRPC call with one message in and one out, which a function answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from edge.errors import Grpc
from edge.rpc.call import Call
from edge.rpc.frames import DATA, END_HEADERS, END_STREAM, HEADERS, head
from edge.rpc.hpack import NO_MESSAGE
from edge.rpc.messages import PREFIX, prefix, prefixed, whole
from edge.rpc.room import SMALL
from edge.rpc.status import RpcError, Undecoded, trailer_fields

DONE = (("grpc-status", "0"), NO_MESSAGE)


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
        if size > room or connection.paused or self.initial or self.late or self.trailing or self.head.zipped:
            self._open()
            self.send_data(prefixed(message, self.head.zipped))
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


UnaryHandler = Callable[[UnaryCall, bytes], "bytes | Awaitable[bytes]"]
