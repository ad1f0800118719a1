"""A listener whose code is imported when the first client connects: protobuf and HTTP/2 cost 6 MB that many daemons never need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class Serving(Protocol):
    """What is behind the listener: `edge.rpc.server.Server` is one."""

    def protocol(self) -> asyncio.BaseProtocol: ...
    async def drain(self, grace: float) -> None: ...


class Lazy:
    """The protocol factory for loop.create_server. load: imports and makes the server; called once, at the first connection."""

    def __init__(self, load: Callable[[], Serving]) -> None:
        self._load = load
        self._serving: Serving | None = None

    def __call__(self) -> asyncio.BaseProtocol:
        if self._serving is None:
            self._serving = self._load()
        return self._serving.protocol()

    async def drain(self, grace: float) -> None:
        """Let the calls under way finish within `grace` seconds; nothing to do where nobody ever connected."""
        if self._serving is not None:
            await self._serving.drain(grace)
