"""A real gRPC app on loopback (grpcio, on threads of its own) whose answers a test scripts and whose calls it keeps as they came."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

CALLBACK = "/dapr.proto.runtime.v1.AppCallback/"


@dataclass(frozen=True)
class Seen:
    """One call: path, metadata, deadline in seconds (None = none), the request's bytes, monotonic seconds."""

    path: str
    metadata: list[tuple[str, str | bytes]]
    deadline: float | None
    data: bytes
    at: float

    @property
    def method(self) -> str:
        return self.path.rpartition("/")[2]

    def value(self, name: str) -> str | bytes | None:
        return next((value for key, value in self.metadata if key == name), None)


@dataclass(frozen=True)
class Reply:
    """What the app says. after: seconds before it does."""

    data: bytes = b""
    code: grpc.StatusCode = grpc.StatusCode.OK
    text: str = ""
    after: float = 0.0
    headers: Sequence[tuple[str, str | bytes]] = ()
    trailers: Sequence[tuple[str, str | bytes]] = ()


Script = Reply | list[Reply] | Callable[[Seen], Reply]
UNIMPLEMENTED = Reply(code=grpc.StatusCode.UNIMPLEMENTED)


@dataclass
class GrpcApp:
    """`answers`: method name → what to say; a list is used up one by one, its last answer stays. handlers: streams by path."""

    answers: dict[str, Script] = field(default_factory=dict)
    default: Script = UNIMPLEMENTED
    handlers: dict[str, Any] = field(default_factory=dict)
    credentials: Any = None
    options: Sequence[tuple[str, Any]] = ()
    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    busy: int = 0
    most_busy: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _server: grpc.Server | None = None

    def up(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = grpc.server(ThreadPoolExecutor(32), options=(("grpc.so_reuseport", 0), *self.options))
        self._server.add_generic_rpc_handlers((_Handler(self),))
        place = f"127.0.0.1:{self.port}"
        if self.credentials is None:
            self.port = self._server.add_insecure_port(place)
        else:
            self.port = self._server.add_secure_port(place, self.credentials)
        self._server.start()

    def down(self) -> None:
        """Cut everything and refuse connections."""
        if self._server is not None:
            self._server.stop(0).wait(5)
            self._server = None

    def on(self, method: str) -> list[Seen]:
        """The calls of that method, in order."""
        with self._changed:
            return [seen for seen in self.seen if seen.method == method]

    def until(self, condition: Callable[[], object], timeout: float = 10.0) -> None:
        """Wait until `condition()` holds; it is looked at after each call."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, f"not in time; the app saw {[seen.method for seen in self.seen]}"
            with self._changed:
                self._changed.wait(0.05)

    def serve(self, path: str, data: bytes, context: grpc.ServicerContext) -> bytes:
        metadata = [(key, value) for key, value in context.invocation_metadata()]
        left = context.time_remaining()
        seen = Seen(path, metadata, None if left is None or left > 1e6 else left, data, time.monotonic())
        with self._changed:
            self.seen.append(seen)
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
            reply = self._reply(seen)
            self._changed.notify_all()
        try:
            if reply.after:
                time.sleep(reply.after)
        finally:
            with self._changed:
                self.busy -= 1
        if reply.headers:
            context.send_initial_metadata(tuple(reply.headers))
        if reply.trailers:
            context.set_trailing_metadata(tuple(reply.trailers))
        if reply.code is not grpc.StatusCode.OK:
            context.abort(reply.code, reply.text)
        return reply.data

    def _reply(self, seen: Seen) -> Reply:
        script = self.answers.get(seen.method, self.default)
        if isinstance(script, list):
            script = script.pop(0) if len(script) > 1 else script[0]
        return script if isinstance(script, Reply) else script(seen)


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, app: GrpcApp) -> None:
        self._app = app

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        path = str(details.method)
        if path in self._app.handlers:
            return self._app.handlers[path]
        return grpc.unary_unary_rpc_method_handler(lambda data, context: self._app.serve(path, data, context))


@contextmanager
def grpc_app(**settings: Any) -> Iterator[GrpcApp]:
    """A started app that is ended with the block."""
    app = GrpcApp(**settings)
    app.up()
    try:
        yield app
    finally:
        app.down()
