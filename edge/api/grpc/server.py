"""The gRPC face of one app: finds the handler of a path, checks the caller, decodes, calls, encodes."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any

from google.protobuf.message import DecodeError, Message

from edge.api.grpc import context, proxy, rpcs
from edge.api.grpc.call import Call, Direct, Streaming, Unary
from edge.api.grpc.errors import from_http, render
from edge.app import App
from edge.blocks import Blocks
from edge.config.configuration import Configuration
from edge.errors import EdgeError, Grpc
from edge.rpc.call import Call as WireCall
from edge.rpc.call import Method
from edge.rpc.room import UNKNOWN
from edge.rpc.server import LIMITS, Server, Service
from edge.rpc.status import RpcError, Undecoded
from edge.rpc.stream_call import StreamCall
from edge.rpc.unary_call import UnaryCall
from edge.settings import AppSettings
from edge.telemetry import rpcs as rpcs_of

info_log = logging.getLogger("dapr.runtime.grpc.api-info")
NO_WIRE_FORMAT, NO_UTF8 = "proto:\u00a0cannot parse invalid wire-format data", "string field contains invalid UTF-8"
NOT_IMPLEMENTED = 501


def make_server(app: App, blocks: Blocks, settings: AppSettings, configuration: Configuration) -> Server:
    """The server behind an app's gRPC listener."""
    api, logging_ = configuration.api, configuration.logging.api_logging
    paths = rpcs.allowed_paths(api.rules("allowed", "grpc"), api.rules("denied", "grpc"))
    face = Face(app, blocks, paths, traced=configuration.tracing.on)
    logged = logging_.enabled if settings.api_logging is None else settings.api_logging
    service = Service(
        face,
        unknown=face.proxied,
        intercept=face.admit,
        render=_render(app),
        done=_done(app, logged),
        max_receive=settings.max_body_bytes,
        max_send=settings.max_body_bytes,
        room=blocks.room,
    )
    header_list = max(settings.read_buffer_bytes << 10, 64 << 10)  # daprd counts its KiB twice
    return Server(service, LIMITS.with_header_list(min(header_list, 16 << 20)))


class Face:
    """Methods by path, made at their first call. paths: those of the service Dapr that are open, None = all."""

    def __init__(self, app: App, blocks: Blocks, paths: frozenset[str] | None = None, *, traced: bool = True) -> None:
        self._traced = traced
        self.app, self.blocks, self._paths = app, blocks, paths
        self._token = app.api_token.encode()
        self._spans = _spans(app)
        self._methods: dict[str, Method] = {}
        self._modules = {rpcs.DAPR + name: (module, name) for _, module, names in rpcs.GROUPS for name in names}

    # --- who may call
    def admit(self, wire: WireCall) -> None:
        """Read the caller's context, once per header block. Raises RpcError for a call that must not be served."""
        head = wire.head
        if self._paths is not None and head.path.startswith("/dapr.proto.runtime.") and head.path not in self._paths:
            raise from_http(NOT_IMPLEMENTED, "requested endpoint is not available", Grpc.UNIMPLEMENTED)
        found: context.Context | None = head.context
        if found is None:
            found = head.context = context.read(head, self._token, traced=self._traced)
            if self._traced and head.path.startswith(rpcs.TRACED) and head.path != rpcs.INVOKE and found.refused is None:
                head.opening = (*head.begun, context.trace_field(found.traceparent))
        if found.refused is not None:
            raise found.refused
        if found.echoed:
            wire.initial = found.echoed
        if self._spans is not None and self.app.tracer is not None and not wire.path.startswith(rpcs.HEALTH):
            wire.context = self._spans.begin(self.app.tracer, wire, found)

    # --- what serves a path
    def get(self, path: str) -> Method | None:
        """The method of a path; None: nobody here knows it."""
        method = self._methods.get(path)
        if method is None and (found := self._find(path)) is not None:
            method = self._methods[path] = found
        return method

    def _find(self, path: str) -> Method | None:
        module, name = self._modules.get(path, ("", ""))
        if path.startswith(rpcs.TASK_HUB):
            module, name = "taskhub", path.removeprefix(rpcs.TASK_HUB)
        elif path.startswith((rpcs.HEALTH, *rpcs.REFLECTION)):
            return Method(stream=self._own_or_proxied)
        return self._load(module, name) if module else None

    def _load(self, module: str, name: str) -> Method | None:
        loaded = importlib.import_module(f"edge.api.grpc.{module}")
        if name in (table := getattr(loaded, "RPCS", {})):
            return Method(unary=self._unary(*table[name]), expected=UNKNOWN if name in rpcs.READS else 0)
        if name in (table := getattr(loaded, "STREAMS", {})):
            return Method(stream=self._stream(*table[name]))
        if name in (table := getattr(loaded, "DIRECT", {})):
            return Method(stream=self._direct(table[name]))
        return None

    async def proxied(self, wire: StreamCall) -> None:
        """A path that no service here has: the call is for another app."""
        await proxy.forward(self._call(wire), wire, traced=self._traced)

    async def _own_or_proxied(self, wire: StreamCall) -> None:
        """Health and reflection: ours, unless the caller names an app (daprd knows only the latter)."""
        call = self._call(wire)
        if proxy.names_app(call):
            return await proxy.forward(call, wire, traced=self._traced)
        module = "healthcheck" if wire.path.startswith(rpcs.HEALTH) else "reflection"
        serve: Direct | None = importlib.import_module(f"edge.api.grpc.{module}").DIRECT.get(wire.path.rpartition("/")[2])
        if serve is None:
            raise RpcError(Grpc.UNIMPLEMENTED, f"unknown method {wire.path.rpartition('/')[2]}")
        return await serve(call, wire)

    # --- decode, call, encode
    def _call(self, wire: WireCall) -> Call:
        return Call(self.app, self.blocks, wire.context or wire.head.context)

    def _unary(self, request_type: Any, handler: Unary) -> Any:
        parse, spans = request_type.FromString, self._spans

        def serve(wire: UnaryCall, data: bytes) -> bytes | Coroutine[Any, Any, bytes]:
            call = Call(self.app, self.blocks, wire.context or wire.head.context)
            try:
                request = parse(data)
                if spans is not None and wire.span is not None:
                    spans.asked(wire, request)
                answer = handler(call, request)
            except DecodeError as error:
                raise Undecoded(Grpc.INTERNAL, f"grpc: error unmarshalling request: {_problem(error)}") from None
            except EdgeError as error:
                _tell(wire, call, error)
                raise
            if isinstance(answer, Message):
                if call.headers:
                    wire.initial = (*wire.initial, *call.headers)
                return answer.SerializeToString()
            return _later(wire, call, answer)

        return serve

    def _stream(self, request_type: Any, handler: Streaming) -> Any:
        async def serve(wire: StreamCall) -> None:
            call = self._call(wire)
            answers: Any = handler(call, _decoded(wire, request_type.FromString))
            async with aclosing(answers):
                async for message in answers:
                    if call.headers:
                        wire.initial, call.headers = (*wire.initial, *call.headers), []
                    await wire.send(message.SerializeToString())

        return serve

    def _direct(self, handler: Direct) -> Any:
        async def serve(wire: StreamCall) -> None:
            await handler(self._call(wire), wire)

        return serve


async def _later(wire: UnaryCall, call: Call, answer: Awaitable[Message]) -> bytes:
    try:
        message = await answer
    except (EdgeError, RpcError) as error:
        _tell(wire, call, error)
        raise
    if call.headers:
        wire.initial = (*wire.initial, *call.headers)
    if call.trailers:
        wire.trailing = call.trailers
    return message.SerializeToString()


def _tell(wire: WireCall, call: Call, error: EdgeError | RpcError) -> None:
    """Metadata that go with an error (bindings, invocation)."""
    if error.headers or call.headers:
        wire.initial = (*wire.initial, *call.headers, *((name.lower(), value) for name, value in error.headers))


async def _decoded(wire: StreamCall, parse: Any) -> AsyncIterator[Any]:
    async for data in wire:
        try:
            message = parse(data)
        except DecodeError as error:
            raise Undecoded(Grpc.INTERNAL, f"grpc: failed to unmarshal the received message: {_problem(error)}") from None
        yield message


def _problem(error: DecodeError) -> str:
    return NO_UTF8 if "UTF-8" in str(error) else NO_WIRE_FORMAT


def _render(app: App) -> Callable[[Exception], RpcError]:
    """`render`, counting error codes where they are wanted."""
    metrics = app.metrics
    if metrics is None or not metrics.errors:
        return render
    from edge.telemetry.categories import note  # few want them

    def counted(error: Exception) -> RpcError:
        if isinstance(error, EdgeError):
            note(metrics, error.code.tag)
        return render(error)

    return counted


def _done(app: App, logged: bool) -> Callable[[WireCall, int], None] | None:
    """What is told of every ended call."""
    told = _counting(app, logged)
    if (spans := _spans(app)) is None:
        return told

    def done(wire: WireCall, code: int) -> None:
        if told is not None:
            told(wire, code)
        spans.end(wire, code)

    return done


def _spans(app: App) -> Any:
    """How calls are traced; None: they are not."""
    if app.tracer is None:
        return None
    from edge.api.grpc import spans  # with tracing

    return spans


def _counting(app: App, logged: bool) -> Callable[[WireCall, int], None] | None:
    metrics = app.metrics
    if metrics is None:
        return _log_call if logged else None

    calls = rpcs_of.server(metrics)

    def done(wire: WireCall, code: int) -> None:
        if isinstance(wire, UnaryCall):
            calls.unary(wire.path, code, wire.received, wire.sent, wire.began)
        elif rpcs_of.passed_on(wire):
            calls.stream(wire.path, code, wire.began)
        if logged:
            _log_call(wire, code)

    return done


def _log_call(wire: WireCall, code: int) -> None:
    fields: dict[str, object] = {"method": wire.path, "duration": int((time.monotonic() - wire.began) * 1000), "code": code}
    if agent := wire.head.get("user-agent"):
        fields["useragent"] = agent
    info_log.info("gRPC API Called", extra={"fields": fields})
