"""One RPC on its way through a handler: who calls, with what metadata; and the errors that fronts raise themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from edge.app import App
from edge.blocks import Blocks
from edge.rpc.status import RpcError

__all__ = ["Call", "RpcError", "Streaming", "Unary"]


@dataclass(slots=True)
class Call:
    """metadata: lower-case names, values text (bytes for `-bin`), in order. headers: initial metadata of the answer, to be added to."""

    app: App
    blocks: Blocks
    metadata: Sequence[tuple[str, str | bytes]] = ()
    traceparent: str = ""
    tracestate: str = ""
    baggage: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)

    def get(self, name: str) -> str:
        """The first value of a metadata key, "" when absent."""
        return next((value for key, value in self.metadata if key == name and isinstance(value, str)), "")


Unary = Callable[[Call, Any], Awaitable[Any]]
"""(call, request message) -> response message; raises EdgeError or RpcError."""


class Streaming(Protocol):
    """(call, request messages) -> response messages; for server streams the request stream has one message."""

    def __call__(self, call: Call, requests: AsyncIterator[Any]) -> AsyncIterator[Any]: ...
