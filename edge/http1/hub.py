"""What the connections of one server share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from edge.http1.encode import Encoder
from edge.http1.head import HeadParser
from edge.http1.messages import Handler, Limits
from edge.http1.upgrade import H2Protocol


class Peer(Protocol):
    """What a server asks of its connections when it closes."""

    def shutdown(self) -> None:
        """Close as soon as nothing is in flight."""

    def abort(self) -> None:
        """Close now, whatever is in flight."""


class Hub:
    """One handler, its limits and parser; and who is connected."""

    __slots__ = ("_empty", "closing", "connections", "encoder", "h2", "handler", "limits", "loop", "parser")

    def __init__(
        self, handler: Handler, limits: Limits, h2: Callable[[Handler], H2Protocol] | None, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.h2 = h2
        self.loop = loop
        self.parser = HeadParser()
        self.encoder = Encoder()
        self.connections: set[Peer] = set()
        self.closing = False
        self._empty = asyncio.Event()

    def discard(self, connection: Peer) -> None:
        """The connection is gone."""
        self.connections.discard(connection)
        if self.closing and not self.connections:
            self._empty.set()

    async def close(self, grace: float) -> None:
        """Let what is in flight end within `grace` seconds, then cut the rest off."""
        self.closing = True
        for connection in tuple(self.connections):
            connection.shutdown()
        try:
            async with asyncio.timeout(grace):
                while self.connections:
                    await self._empty.wait()
        except TimeoutError:
            for connection in tuple(self.connections):
                connection.abort()
