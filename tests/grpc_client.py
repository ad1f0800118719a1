"""A gRPC client for tests: grpcio, messages of our own descriptors, everything of an answer in one value."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from edge.rpc.pb import dapr_pb2, error_details_pb2, orchestrator_service_pb2, status_pb2  # noqa: F401  (their files are looked up)
from edge.rpc.pb.pool import POOL

DAPR = "dapr.proto.runtime.v1.Dapr"
Metadata = Sequence[tuple[str, "str | bytes"]]


@dataclass
class Result:
    """code: a name as in `INVALID_ARGUMENT`. details: of grpc-status-details-bin, each as JSON with its type's short name first."""

    code: str = "OK"
    text: str = ""
    message: Any = None
    details: list[Any] = field(default_factory=list)
    initial: dict[str, Any] = field(default_factory=dict)
    trailing: dict[str, Any] = field(default_factory=dict)
    replies: list[Any] = field(default_factory=list)


class Client:
    """Calls one server. service: of methods that are given without one."""

    def __init__(self, target: int | str, service: str = DAPR, options: Sequence[tuple[str, Any]] = ()) -> None:
        place = f"127.0.0.1:{target}" if isinstance(target, int) else target
        self.channel = grpc.insecure_channel(place, options=[("grpc.enable_retries", 0), *options])
        self.service = service

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.channel.close()

    def call(self, name: str, request: Any = None, metadata: Metadata = (), timeout: float = 30.0, **fields: Any) -> Result:
        """One call; `request` as JSON, or `fields` by name. The reply as JSON. Of a server stream all replies."""
        method = self.method(name)
        message = GetMessageClass(method.input_type)()
        json_format.ParseDict(request if request is not None else fields, message, descriptor_pool=POOL)
        data = message.SerializeToString()
        result = self.raw(self.path(name), data, metadata, timeout, streaming=method.server_streaming)
        type_ = GetMessageClass(method.output_type)
        result.replies = [json_format.MessageToDict(type_.FromString(each), descriptor_pool=POOL) for each in result.replies]
        result.message = result.replies[-1] if result.replies else None
        return result

    def raw(self, path: str, data: bytes = b"", metadata: Metadata = (), timeout: float = 30.0, *, streaming: bool = False) -> Result:
        """Bytes for bytes."""
        if streaming:
            call: Any = self.channel.unary_stream(path)(data, metadata=tuple(metadata), timeout=timeout)
            return finished(call, call)
        started: Any = self.channel.unary_unary(path).future(data, metadata=tuple(metadata), timeout=timeout)
        return finished(started, _only(started))

    def stream(self, name: str, metadata: Metadata = (), timeout: float | None = None) -> Stream:
        """A call with messages both ways."""
        method = self.method(name)
        return Stream(
            self.channel, self.path(name), GetMessageClass(method.input_type), GetMessageClass(method.output_type), metadata, timeout
        )

    @staticmethod
    def finished(call: Any, replies: Iterable[Any]) -> Result:
        """Everything that a call of `channel` said."""
        return finished(call, replies)

    def path(self, name: str) -> str:
        return name if name.startswith("/") else f"/{self.service}/{name}"

    def method(self, name: str) -> Any:
        service, _, method = self.path(name).lstrip("/").rpartition("/")
        return POOL.FindServiceByName(service).methods_by_name[method]


class Stream:
    """An open call: `send` and `next` messages as JSON, `end` tells how it ended."""

    def __init__(self, channel: grpc.Channel, path: str, request: Any, reply: Any, metadata: Metadata, timeout: float | None) -> None:
        self._queue: queue.Queue[Any] = queue.Queue()
        serialize = request.SerializeToString
        start = channel.stream_stream(path, serialize, reply.FromString)
        self.call: Any = start(iter(self._queue.get, None), metadata=tuple(metadata), timeout=timeout)
        self._request = request

    def send(self, message: Any) -> None:
        self._queue.put(json_format.ParseDict(message, self._request(), descriptor_pool=POOL))

    def half_close(self) -> None:
        self._queue.put(None)

    def next(self) -> Any:
        """The next message; raises grpc.RpcError at the end of the call."""
        return json_format.MessageToDict(next(self.call), descriptor_pool=POOL)

    def cancel(self) -> None:
        self.call.cancel()
        self._queue.put(None)

    def end(self) -> Result:
        """Read to the end."""
        result = finished(self.call, (json_format.MessageToDict(each, descriptor_pool=POOL) for each in self.call))
        self._queue.put(None)
        return result


def _only(call: Any) -> Iterator[bytes]:
    yield call.result()


def finished(call: Any, replies: Iterable[Any]) -> Result:
    """Everything that a call said."""
    result = Result()
    try:
        for reply in replies:
            result.message = reply
            result.replies.append(reply)
    except grpc.RpcError as error:
        result.code, result.text = error.code().name, error.details() or ""
    if call.code() is not grpc.StatusCode.OK:
        result.code, result.text = call.code().name, call.details() or ""
    result.initial, result.trailing = dict(call.initial_metadata() or ()), dict(call.trailing_metadata() or ())
    if (packed := result.trailing.pop("grpc-status-details-bin", None)) is not None:
        status = status_pb2.Status.FromString(packed)
        result.details = [json_format.MessageToDict(detail, descriptor_pool=POOL) for detail in status.details]
    return result


def wait_until(condition: Any, timeout: float = 10.0) -> None:
    """Wait until it is true."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.005)
