"""One RPC on its way through a handler: who calls, with what metadata; and the errors that fronts raise themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol

from edge.api.grpc.context import NO_CONTEXT, Context
from edge.app import App
from edge.blocks import Blocks
from edge.errors import Grpc
from edge.rpc.status import RpcError, Undecoded

CARDINALITY = "cardinality violation"
__all__ = ["Call", "Direct", "RpcError", "Streaming", "Unary", "only_message"]


class Call:
    """The caller, what it sent, and `headers`, `trailers`: metadata before and after the answer, to be added to."""

    __slots__ = ("_context", "app", "blocks", "headers", "trailers")

    def __init__(self, app: App, blocks: Blocks, context: Context = NO_CONTEXT) -> None:
        self.app, self.blocks, self._context = app, blocks, context
        self.headers: list[tuple[str, str]] = []
        self.trailers: list[tuple[str, str]] = []

    @property
    def metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Lower-case names, values text (bytes for `-bin`), in order; the API token is not among them."""
        return self._context.metadata

    @property
    def traceparent(self) -> str:
        """A valid W3C traceparent, or ""."""
        return self._context.traceparent

    @property
    def tracestate(self) -> str:
        return self._context.tracestate

    @property
    def baggage(self) -> str:
        return self._context.baggage

    def get(self, name: str) -> str:
        """The first value of a metadata key, "" when absent."""
        return next((value for key, value in self.metadata if key == name and isinstance(value, str)), "")


Unary = Callable[[Call, Any], "Any | Awaitable[Any]"]
"""(call, request message) -> response message, at once or awaited; raises EdgeError or RpcError."""


class Streaming(Protocol):
    """(call, request messages) -> response messages; for server streams the request stream has one message."""

    def __call__(self, call: Call, requests: AsyncIterator[Any]) -> AsyncIterator[Any]: ...


Direct = Callable[[Call, Any], Awaitable[None]]
"""(call, the wire's StreamCall): for handlers that send from several places."""


async def only_message(requests: AsyncIterator[Any]) -> Any:
    """The message of a call that has one, whatever it answers. Raises Undecoded, in grpc-go's words."""
    message = await anext(requests, None)
    if message is None:
        raise Undecoded(Grpc.INTERNAL, f"{CARDINALITY}: received no request message from non-client-streaming RPC")
    if await anext(requests, None) is not None:
        raise Undecoded(Grpc.INTERNAL, f"{CARDINALITY}: received multiple request messages for non-client-streaming RPC")
    return message
